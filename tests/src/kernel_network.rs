//! The network of [`lb_ebpf::memory::network`] as devices and routes of a namespace, and the same as a list.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_ebpf::memory::Way;
use lb_ebpf::memory::network::{CLIENTS, DESTINATION, INGRESS, Net, OTHER, REMOTE, SOURCE};
use lb_ebpf::{Route, V4, V6};

use crate::net::{Namespace, sweep, unique};

/// Subnet whose hosts are on a link and have not been resolved.
pub const UNRESOLVED: u8 = 6;
/// Subnet that the routing table names unreachable.
pub const UNREACHABLE: u8 = 7;
/// Subnet that the routing table throws away.
pub const BLACKHOLE: u8 = 8;
/// Subnet that no route leads to.
pub const NOWHERE: u8 = 9;
/// Subnet behind a way with a small MTU.
pub const NARROW: u8 = 10;
/// The MTU of that way, bytes.
pub const NARROW_MTU: u16 = 1400;

/// Creates the namespace. Nothing is ever sent: neighbours are entries without hosts.
pub fn lay() -> Result<Namespace> {
    sweep();
    let namespace = Namespace::create(unique())?;
    let settings = ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"];
    settings.iter().try_for_each(|key| namespace.sysctl(key, "1"))?;
    for (index, name, subnet) in [(INGRESS, "in", 1), (OTHER, "other", 2)] {
        namespace.ip(&format!("link add name {name} index {index} type veth peer name {name}-peer"))?;
        namespace.ip(&format!("link set {name} address {}", mac(SOURCE)))?;
        for device in [name.to_owned(), format!("{name}-peer")] {
            // No address of its own making, so that only the routes below decide.
            namespace.ip(&format!("link set {device} addrgenmode none up"))?;
        }
        namespace.ip(&format!("addr add 10.255.{subnet}.1/24 dev {name}"))?;
        namespace.ip(&format!("addr add fd00:ff:{subnet}::1/64 dev {name} nodad"))?;
        for gateway in [format!("10.255.{subnet}.2"), format!("fd00:ff:{subnet}::2")] {
            namespace
                .ip(&format!("neigh add {gateway} lladdr {} nud permanent dev {name}", mac(DESTINATION)))?;
        }
    }
    for (subnet, kind, route) in [
        (CLIENTS, "", Some((1, "in", ""))),
        (REMOTE, "", Some((2, "other", ""))),
        (NARROW, "", Some((2, "other", "mtu lock 1400"))),
        (UNREACHABLE, "unreachable", None),
        (BLACKHOLE, "blackhole", None),
    ] {
        for (version, prefix, gateway) in [
            (4, format!("10.{subnet}.0.0/16"), "10.255.{}.2"),
            (6, format!("fd00:0:0:{subnet:x}::/64"), "fd00:ff:{}::2"),
        ] {
            let way = route.map_or(String::new(), |(index, device, mtu)| {
                format!("via {} dev {device} {mtu}", gateway.replace("{}", &index.to_string()))
            });
            namespace.ip(&format!("-{version} route add {kind} {prefix} {way}"))?;
        }
    }
    namespace.ip(&format!("route add 10.{UNRESOLVED}.0.0/16 dev other"))?;
    namespace.ip(&format!("-6 route add fd00:0:0:{UNRESOLVED:x}::/64 dev other"))?;
    wait_until_up(&namespace)?;
    Ok(namespace)
}

/// Waits until the kernel has noticed that the devices have a carrier: what it does then disturbs look-ups.
fn wait_until_up(namespace: &Namespace) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    for name in ["in", "other"] {
        while !namespace.ip(&format!("link show {name}"))?.contains("state UP") {
            ensure!(Instant::now() < deadline, "device {name} of {} does not come up", namespace.name());
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// The same routes as a list.
pub fn ways() -> Vec<Way> {
    [ways_of::<V4>(), ways_of::<V6>()].concat()
}

fn ways_of<F: Net>() -> Vec<Way> {
    let neighbour =
        |ifindex| Route::Neighbour { ifindex, source: SOURCE, destination: DESTINATION, mtu: 1500 };
    let way = |subnet, mtu, route| {
        let prefix = F::ip(&F::address(subnet, 0));
        Way { prefix, bits: if prefix.is_ipv4() { 16 } else { 64 }, mtu, route }
    };
    vec![
        way(CLIENTS, 1500, neighbour(INGRESS)),
        way(REMOTE, 1500, neighbour(OTHER)),
        way(NARROW, NARROW_MTU, neighbour(OTHER)),
        way(UNRESOLVED, 1500, Route::Unresolved { ifindex: OTHER }),
        way(UNREACHABLE, 1500, Route::Unreachable),
        way(BLACKHOLE, 1500, Route::Unreachable),
    ]
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
