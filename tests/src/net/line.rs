//! A client, a node and a backend in a row without a bridge, perhaps with a router that has a narrow way.
//!
//! ```text
//! client eth0 --------------------------- eth0 node eth1 --------------------------- eth0 backend-1
//! client eth0 --------------------------- eth0 node eth1 --- eth0 router eth1 ------ eth0 backend-1
//! client eth0 ------ eth0 router eth1 --- eth0 node eth1 --------------------------- eth0 backend-1
//! ```
//!
//! All cables take packets of one size, and only the router's routes, in both directions, less than that: neither end
//! can know before it is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::sweep::{sweep, unique};
use super::{BackendHost, Family, Namespace};

/// Where the router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// There is none.
    None,
    /// Between the client and the node.
    BeforeNode,
    /// Between the node and the backend.
    BehindNode,
}

/// The largest packet that the router sends on, bytes from the IP header on.
pub const NARROW_MTU: u16 = 1400;

/// A cable's addresses of both families, up to their last digit: the left end has 1, the right end 2 or 11.
type Subnet = [&'static str; 2];

const CLIENTS: Subnet = ["10.1.0.", "fd00:1::"];
const BACKENDS: Subnet = ["10.1.1.", "fd00:1:1::"];
/// Between a client and a router before the node.
const BEFORE: Subnet = ["10.1.3.", "fd00:1:3::"];
/// Between the node and a router behind it.
const BEHIND: Subnet = ["10.1.4.", "fd00:1:4::"];

/// The network. Removed when it goes out of scope.
#[derive(Debug)]
pub struct Line {
    /// Unique: other things of the same test may be named after it.
    pub name: String,
    /// Sends the traffic.
    pub client: Namespace,
    /// Runs weir. Its addresses towards the client are the usual ones.
    pub node: Namespace,
    /// `backend-1`: on the node, or on another.
    pub backend: BackendHost,
    client_subnet: u8,
    /// Keeps the namespace of the router.
    _router: Option<Namespace>,
}

impl Line {
    /// Lays it with cables that take packets of `mtu` bytes. Needs root.
    pub fn lay(hop: Hop, mtu: u16, local: bool) -> Result<Self> {
        sweep();
        let name = unique();
        let namespace = |role: &str| Namespace::create(format!("{name}-{role}"));
        let (client, node, backend) = (namespace("client")?, namespace("node")?, namespace("backend-1")?);
        let router = if hop == Hop::None { None } else { Some(namespace("router")?) };
        [Some(&node), router.as_ref()].into_iter().flatten().try_for_each(forwards)?;
        match (&router, hop) {
            (Some(router), Hop::BeforeNode) => {
                cable([(&client, "eth0", "2"), (router, "eth0", "1")], BEFORE, mtu)?;
                cable([(router, "eth1", "2"), (&node, "eth0", "1")], CLIENTS, mtu)?;
                cable([(&node, "eth1", "1"), (&backend, "eth0", "11")], BACKENDS, mtu)?;
                route(&client, ["default"; 2], BEFORE, "1", "")?;
                route(router, ["default"; 2], CLIENTS, "1", &narrow())?;
                host_route(router, BEFORE, "2", "eth0")?;
                route(&node, prefixes(BEFORE), CLIENTS, "2", "")?;
            }
            (Some(router), Hop::BehindNode) => {
                cable([(&client, "eth0", "2"), (&node, "eth0", "1")], CLIENTS, mtu)?;
                cable([(&node, "eth1", "1"), (router, "eth0", "2")], BEHIND, mtu)?;
                cable([(router, "eth1", "1"), (&backend, "eth0", "11")], BACKENDS, mtu)?;
                route(&client, ["default"; 2], CLIENTS, "1", "")?;
                route(router, ["default"; 2], BEHIND, "1", &narrow())?;
                host_route(router, BACKENDS, "11", "eth1")?;
                route(&node, prefixes(BACKENDS), BEHIND, "2", "")?;
            }
            _ => {
                cable([(&client, "eth0", "2"), (&node, "eth0", "1")], CLIENTS, mtu)?;
                cable([(&node, "eth1", "1"), (&backend, "eth0", "11")], BACKENDS, mtu)?;
                route(&client, ["default"; 2], CLIENTS, "1", "")?;
            }
        }
        route(&backend, ["default"; 2], BACKENDS, "1", "")?;
        // The node keeps what its devices can do.
        [&client, &backend].iter().try_for_each(|end| sends_whole(end, "eth0"))?;
        if let Some(router) = &router {
            ["eth0", "eth1"].iter().try_for_each(|device| sends_whole(router, device))?;
        }
        Ok(Self {
            client,
            node,
            backend: BackendHost {
                name: "backend-1",
                local,
                v4: Ipv4Addr::new(10, 1, 1, 11),
                v6: Ipv6Addr::new(0xfd00, 1, 1, 0, 0, 0, 0, 0x11),
                namespace: backend,
            },
            client_subnet: if hop == Hop::BeforeNode { 3 } else { 0 },
            _router: router,
            name,
        })
    }

    /// The client's address.
    pub fn client_address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 1, self.client_subnet, 2)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 1, self.client_subnet.into(), 0, 0, 0, 0, 2)),
        }
    }

    /// Makes both ends forget what they were told of the path's MTU.
    pub fn forget_path_mtu(&self) -> Result<()> {
        for namespace in [&self.client, &self.backend.namespace] {
            for version in [4, 6] {
                namespace.ip(&format!("-{version} route flush cache"))?;
            }
        }
        Ok(())
    }

    /// The node's devices, as `--device` takes them: the one towards a pod is none of them.
    pub const fn devices(&self) -> &'static str {
        if self.backend.local { "eth0" } else { "eth0,eth1" }
    }
}

fn narrow() -> String {
    format!("mtu lock {NARROW_MTU}")
}

fn prefixes(subnet: Subnet) -> [&'static str; 2] {
    if subnet == BEFORE { ["10.1.3.0/24", "fd00:1:3::/64"] } else { ["10.1.1.0/24", "fd00:1:1::/64"] }
}

fn forwards(namespace: &Namespace) -> Result<()> {
    ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].iter().try_for_each(|key| namespace.sysctl(key, "1"))
}

/// A pair of veth devices with addresses, both up. Both poll (`gro on`): only then do they merge segments as a network
/// card does, and take frames that XDP sends by their other end.
fn cable(ends: [(&Namespace, &str, &str); 2], subnet: Subnet, mtu: u16) -> Result<()> {
    let [(left, left_device, _), (right, right_device, _)] = ends;
    left.ip(&format!(
        "link add name {left_device} mtu {mtu} type veth peer name {right_device} mtu {mtu} netns {}",
        right.name()
    ))?;
    for (namespace, device, last) in ends {
        for (start, length) in subnet.iter().zip([24, 64]) {
            // The namespaces detect no duplicate addresses.
            namespace.ip(&format!("address add {start}{last}/{length} dev {device}"))?;
        }
        namespace.ip(&format!("link set {device} up"))?;
    }
    for (namespace, device, _) in ends {
        namespace.run(&format!("ethtool -K {device} gro on"))?;
    }
    Ok(())
}

/// What this device sends arrives whole, as from a cable: in packets of at most the MTU, with their checksums. Nothing
/// would complete a checksum in a frame that XDP sends on.
fn sends_whole(namespace: &Namespace, device: &str) -> Result<()> {
    namespace.run(&format!("ethtool -K {device} tx off")).map(|_| ())
}

/// Routes of both families to `destinations` by the host of `subnet` with this last digit.
fn route(
    namespace: &Namespace,
    destinations: [&str; 2],
    subnet: Subnet,
    last: &str,
    options: &str,
) -> Result<()> {
    for (version, (destination, start)) in [4, 6].iter().zip(destinations.iter().zip(subnet)) {
        namespace.ip(&format!("-{version} route add {destination} via {start}{last} {options}"))?;
    }
    Ok(())
}

/// A narrow route to one neighbour.
fn host_route(router: &Namespace, subnet: Subnet, last: &str, device: &str) -> Result<()> {
    for (version, start) in [4, 6].iter().zip(subnet) {
        router.ip(&format!("-{version} route add {start}{last} dev {device} {}", narrow()))?;
    }
    Ok(())
}
