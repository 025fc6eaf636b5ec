//! Puts cables, addresses and routes into a network's namespaces.

use anyhow::{Context as _, Result};

use super::{Arms, CLIENT4, CLIENT6, NODE4, NODE6, Namespace, Network, PassProgram};

/// The node's addresses towards the remote backends, and towards the one that it runs.
const REMOTE_GATEWAYS: [&str; 2] = ["10.1.1.1", "fd00:1:1::1"];
const LOCAL_GATEWAYS: [&str; 2] = ["10.1.2.1", "fd00:1:2::1"];

/// Connects the namespaces of `network`.
pub(super) fn lay(network: &Network) -> Result<()> {
    let Network { client, node, fabric, .. } = network;
    fabric_settings(fabric)?;
    bridge(fabric, "clients")?;
    plug(network, client, "eth0", "clients", "client")?;
    plug(network, node, "eth0", "clients", "node-eth0")?;
    let (bridge_of_backends, device_of_backends) = match network.arms {
        Arms::One => ("clients", "eth0"),
        Arms::Two => {
            bridge(fabric, "backends")?;
            plug(network, node, "eth1", "backends", "node-eth1")?;
            ("backends", "eth1")
        }
    };
    address(client, "eth0", &[&CLIENT4.to_string(), &CLIENT6.to_string()])?;
    address(node, "eth0", &[&NODE4.to_string(), &NODE6.to_string()])?;
    address(node, device_of_backends, &REMOTE_GATEWAYS)?;
    default_routes(client, &[&NODE4.to_string(), &NODE6.to_string()])?;
    for backend in &network.backends {
        let namespace = &backend.namespace;
        let gateways = if backend.local {
            connect_directly(network, namespace, "pod0")?;
            address(node, "pod0", &LOCAL_GATEWAYS)?;
            LOCAL_GATEWAYS
        } else {
            plug(network, namespace, "eth0", bridge_of_backends, backend.name)?;
            REMOTE_GATEWAYS
        };
        address(namespace, "eth0", &[&backend.v4.to_string(), &backend.v6.to_string()])?;
        default_routes(namespace, &gateways)?;
    }
    node_settings(node)
}

/// Makes the bridge's ends of the node's cables take what the node transmits by `XDP_TX`.
///
/// A veth device takes such a frame while it polls, but is woken for it only when it has an XDP program of its own
/// (`veth_xdp_flush` of the kernel's `drivers/net/veth.c`); without one the frame waits for the next.
pub(super) fn receive_from_xdp(network: &Network) -> Result<Vec<PassProgram>> {
    let devices = network.arms.devices().split(',');
    devices.map(|device| PassProgram::attach(&network.fabric, &format!("node-{device}"))).collect()
}

/// Frames cross the bridges untouched by the packet filter of the machine.
fn fabric_settings(fabric: &Namespace) -> Result<()> {
    fabric.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
    // Absent where the kernel has no bridge netfilter: then there is nothing to switch off.
    for protocol in ["iptables", "ip6tables", "arptables"] {
        let key = format!("bridge/bridge-nf-call-{protocol}");
        if fabric.within(|| std::path::Path::new("/proc/sys/net").join(&key).exists())? {
            fabric.sysctl(&key, "0")?;
        }
    }
    Ok(())
}

/// The node routes. Redirects would teach the client of a one-armed node to go round it.
pub(super) fn node_settings(node: &Namespace) -> Result<()> {
    node.sysctl("ipv4/ip_forward", "1")?;
    node.sysctl("ipv6/conf/all/forwarding", "1")?;
    for scope in ["all", "default", "eth0"] {
        node.sysctl(&format!("ipv4/conf/{scope}/send_redirects"), "0")?;
        // A client's packet may come in where its address is not routed to: only translation is tested here.
        node.sysctl(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
    }
    Ok(())
}

fn bridge(fabric: &Namespace, name: &str) -> Result<()> {
    // Without snooping, neighbour solicitations need no querier to get through.
    fabric.ip(&format!("link add name {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"))?;
    fabric.ip(&format!("link set {name} up")).map(|_| ())
}

/// Connects `device` of `namespace` with a bridge.
fn plug(network: &Network, namespace: &Namespace, device: &str, bridge: &str, port: &str) -> Result<()> {
    cable(namespace, device, &network.fabric, port)?;
    network.fabric.ip(&format!("link set {port} master {bridge}")).map(|_| ())
}

/// Connects `eth0` of a pod with `device` of the node.
fn connect_directly(network: &Network, pod: &Namespace, device: &str) -> Result<()> {
    cable(pod, "eth0", &network.node, device)
}

/// A pair of veth devices, both up.
///
/// Neither leaves checksums to offload: nothing would complete them in a frame that XDP sends on. Both poll
/// (`gro on`): only then does a veth device accept frames that XDP sends by its other end. The kernel notes this for
/// the other end only while the device is up.
pub(super) fn cable(
    left: &Namespace,
    left_device: &str,
    right: &Namespace,
    right_device: &str,
) -> Result<()> {
    left.ip(&format!(
        "link add name {left_device} type veth peer name {right_device} netns {}",
        right.name()
    ))?;
    let ends = [(left, left_device), (right, right_device)];
    for (namespace, device) in ends {
        namespace.ip(&format!("link set {device} up"))?;
    }
    for (namespace, device) in ends {
        namespace.run(&format!("ethtool -K {device} tx off gro on"))?;
    }
    Ok(())
}

/// Gives `device` addresses, with the prefix lengths of the test network.
pub(super) fn address(namespace: &Namespace, device: &str, addresses: &[&str]) -> Result<()> {
    for address in addresses {
        let (length, flags) = if address.contains(':') { ("/64", "nodad") } else { ("/24", "") };
        namespace
            .ip(&format!("address add {address}{length} dev {device} {flags}"))
            .with_context(|| format!("address {address}"))?;
    }
    Ok(())
}

pub(super) fn default_routes(namespace: &Namespace, gateways: &[&str]) -> Result<()> {
    for gateway in gateways {
        namespace.ip(&format!("route add default via {gateway}"))?;
    }
    Ok(())
}
