//! What kinds of devices can run.

use std::time::Duration;

use tests::net::{CLIENT4, Namespace, Pair, PassProgram};

use super::{attached, manifests, pins, server, start, until, vip_served};

/// Moves the node's addresses from `eth0` to a device above it.
fn move_addresses(node: &Namespace, device: &str) {
    for address in ["10.1.0.1/24", "fd00:1::1/64"] {
        node.ip(&format!("address del {address} dev eth0")).unwrap();
    }
    // Else the device below answers for the address too, and gets the packets.
    node.sysctl("ipv4/conf/all/arp_ignore", "1").unwrap();
    node.ip(&format!("link set {device} up")).unwrap();
    for address in ["10.1.0.1/24", "fd00:1::1/64 nodad"] {
        let (address, flags) = address.split_once(' ').unwrap_or((address, ""));
        node.ip(&format!("address add {address} dev {device} {flags}")).unwrap();
    }
}

/// Starts weir on the node's only device with an address, which is `device`, and expects tc alone.
fn served_by_tc(pair: &Pair, device: &str) {
    let (_server, manifests) = (server(pair), manifests(pair));
    let agent = start(pair, &manifests, &[]);
    vip_served(pair, &agent);
    let encoded = device.replace('.', "%2e");
    assert_eq!(pins(&agent), ["tcx-egress", "tcx-ingress"].map(|slot| format!("{slot} {encoded}")));
    let told = agent.log().unwrap().lines_with("attached");
    assert!(matches!(told.as_slice(), [one] if one.contains(device) && one.contains("xdp=no")), "{told:?}");
}

#[test]
fn a_bridge_is_served_by_tc() {
    let pair = Pair::lay().unwrap();
    pair.node.ip("link add br.0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0").unwrap();
    pair.node.ip("link set eth0 master br.0").unwrap();
    move_addresses(&pair.node, "br.0");
    // Without a way to other networks, a bridge most likely is a pod network's.
    pair.node.ip(&format!("route add default via {CLIENT4}")).unwrap();
    served_by_tc(&pair, "br.0");
}

#[test]
fn a_macvlan_device_is_served_by_tc() {
    let pair = Pair::lay().unwrap();
    pair.node.ip("link add link eth0 name eth0.100 type macvlan mode bridge").unwrap();
    move_addresses(&pair.node, "eth0.100");
    served_by_tc(&pair, "eth0.100");
}

/// Only where the kernel has them: those of the machines that weir is tested on may not.
#[test]
fn a_vlan_and_a_bond_are_served_by_tc() {
    let mut kinds = 0;
    let pair = Pair::lay().unwrap();
    if pair.node.ip("link add link eth0 name eth0.100 type vlan id 100").is_ok() {
        kinds += 1;
        let peer = &pair.peer.namespace;
        peer.ip("link add link eth0 name eth0.100 type vlan id 100").unwrap();
        move_addresses(&pair.node, "eth0.100");
        peer.ip("address flush dev eth0").unwrap();
        peer.ip("link set eth0.100 up").unwrap();
        for address in ["10.1.0.2/24", "10.1.0.11/24", "fd00:1::2/64", "fd00:1::11/64"] {
            peer.ip(&format!("address add {address} dev eth0.100")).unwrap();
        }
        for gateway in ["10.1.0.1", "fd00:1::1"] {
            peer.ip(&format!("route replace default via {gateway}")).unwrap();
        }
        served_by_tc(&pair, "eth0.100");
    }
    drop(pair);
    let pair = Pair::lay().unwrap();
    if pair.node.ip("link add bond0 type bond mode active-backup miimon 100").is_ok() {
        kinds += 1;
        pair.node.ip("link set eth0 down").unwrap();
        pair.node.ip("link set eth0 master bond0").unwrap();
        move_addresses(&pair.node, "bond0");
        served_by_tc(&pair, "bond0");
    }
    // Whatever the kernel refuses to make must not exist all the same: then the refusal had another reason.
    let shown = pair.node.ip("-d link show").unwrap();
    assert!(kinds > 0 || !(shown.contains("vlan") || shown.contains("bond")), "{shown}");
}

#[test]
fn an_xdp_program_of_somebody_else_leaves_tc_until_it_goes() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let other = PassProgram::attach(&pair.node, "eth0").unwrap();
    let agent = start(&pair, &manifests, &[]);
    let log = agent.log().unwrap();
    log.wait_for(
        "the warning",
        |line| line.contains("WARN") && line.contains("eth0") && line.contains("somebody else"),
        Duration::from_secs(1),
    )
    .unwrap();
    vip_served(&pair, &agent);
    assert_eq!(pins(&agent), ["tcx-egress eth0", "tcx-ingress eth0"]);
    assert_eq!(log.lines_with("somebody else").len(), 1, "told once");

    drop(other);
    // The kernel does not tell that a link is gone: weir sees it by itself within half a minute, or with the next change.
    pair.node.ip("link set dev eth0 alias changed").unwrap();
    until("XDP", &agent, || pins(&agent).contains(&"xdp-native eth0".to_owned()));
    vip_served(&pair, &agent);
}

#[test]
fn jumbo_frames_keep_the_driver() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    for namespace in [&pair.node, &pair.peer.namespace] {
        namespace.ip("link set eth0 mtu 9000").unwrap();
    }
    let agent = start(&pair, &manifests, &[]);
    vip_served(&pair, &agent);
    assert!(pins(&agent).contains(&"xdp-native eth0".to_owned()), "{:?}", pins(&agent));
    assert!(attached(&pair.node).contains(&"eth0 xdp".to_owned()));
}
