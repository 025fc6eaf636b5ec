//! Devices by name and pattern.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use lb_common::Outcome;
use tests::net::{CLUSTER4, CLUSTER6, Family, NODE4, NODE6, Namespace, Pair};
use tests::traffic::{Protocol, ask};

use super::{attached, manifests, pins, server, start, until, vip_served};

#[test]
fn a_pattern_waits_for_its_device_and_takes_no_other() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let agent = start(&pair, &manifests, &["--device", "uplink?,nothing*", "--node-ip", "10.1.0.1"]);
    let log = agent.log().unwrap();
    log.wait_for(
        "a warning",
        |line| line.contains("WARN") && line.contains("uplink?"),
        Duration::from_secs(1),
    )
    .unwrap();
    assert_eq!(attached(&pair.node), Vec::<String>::new(), "eth0 is not named");

    for line in ["set eth0 down", "set eth0 name uplink1"] {
        pair.node.ip(&format!("link {line}")).unwrap();
    }
    pair.node.ip("link set uplink1 up").unwrap();
    until("the device", &agent, || pins(&agent).len() == 3);
    super::served(&pair, &agent, super::vip(Family::V4));

    pair.node.ip("link set uplink1 down").unwrap();
    pair.node.ip("link set uplink1 name eth0").unwrap();
    until("it to be left alone", &agent, || pins(&agent).is_empty());
    assert_eq!(attached(&pair.node), Vec::<String>::new());
}

#[test]
fn workload_devices_get_the_tc_programs_for_workloads_and_nothing_else() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    pair.node.ip("link add pod1 type veth peer name other1").unwrap();
    // What carries a node's address, and leads to workloads, is no device of the node.
    pair.node.ip("link add cni0 type bridge").unwrap();
    pair.node.ip("address add 10.9.0.1/24 dev cni0").unwrap();
    pair.node.ip("link set pod1 master cni0").unwrap();
    let agent = start(&pair, &manifests, &["--workload-device", "pod*"]);
    vip_served(&pair, &agent);
    // The kernel keeps fifteen bytes of a program's name.
    let expected = [
        "eth0 xdp",
        "eth0 tcx-ingress weir_tc_ingress",
        "eth0 tcx-egress weir_tc_egress",
        "pod1 tcx-ingress weir_tc_workloa",
        "pod1 tcx-egress weir_tc_egress",
    ];
    let mut shown = attached(&pair.node);
    shown.sort_by_key(|line| !line.starts_with("eth0"));
    assert_eq!(shown, expected);

    pair.node.ip("link add pod2 type veth peer name other2").unwrap();
    until("the second workload", &agent, || pins(&agent).contains(&"tcx-ingress pod2".to_owned()));
}

/// A pod behind a bridge sends to the bridge's Ethernet address, which is not that of the port that it comes in by.
#[test]
fn pods_behind_a_bridge_reach_services_by_their_own_devices() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let pod = Namespace::create(format!("{}-pod", pair.name)).unwrap();
    pair.node.ip("link add cni0 type bridge").unwrap();
    pair.node.ip("address add 10.9.0.1/24 dev cni0").unwrap();
    pair.node.ip("address add fd00:9::1/64 dev cni0 nodad").unwrap();
    pair.node.ip("link set cni0 up").unwrap();
    pair.node.ip(&format!("link add pod1 type veth peer name eth0 netns {}", pod.name())).unwrap();
    pair.node.ip("link set pod1 master cni0 up").unwrap();
    for line in [
        "address add 10.9.0.2/24 dev eth0",
        "address add fd00:9::2/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 10.9.0.1",
        "-6 route add default via fd00:9::1",
    ] {
        pod.ip(line).unwrap();
    }
    let agent = start(&pair, &manifests, &["--workload-device", "pod*"]);
    vip_served(&pair, &agent);
    for (family, address) in [(Family::V4, CLUSTER4.into()), (Family::V6, IpAddr::from(CLUSTER6))] {
        // The peer has two addresses, and answers datagrams from the other one.
        for protocol in [Protocol::Tcp] {
            for to in
                [SocketAddr::new(address, protocol.port()), SocketAddr::new(family.vip(), protocol.port())]
            {
                let deadline = Instant::now() + Duration::from_secs(5);
                // The bridge's port forwards when the devices have found each other.
                let answer = loop {
                    match pod.within(|| ask(protocol, to, 0)).unwrap() {
                        Ok(answer) => break answer,
                        Err(error) => assert!(Instant::now() < deadline, "{to} {protocol:?}: {error}"),
                    }
                };
                assert_eq!(answer.peer.ip(), answer.local.ip(), "{to}: the pod keeps its address");
            }
        }
    }
    // And without a name the bridge is a pod network's: what comes by it is nobody's from outside.
    assert_eq!(agent.count(Outcome::FromOutside).unwrap(), 0);
}

/// A Service's address that the machine has itself is the machine's too: weir answers for the Service's ports only.
#[test]
fn an_address_of_the_machine_is_no_virtual_ip_whatever_the_options_name() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    for family in Family::ALL {
        let bits = if family == Family::V4 { 32 } else { 128 };
        pair.node.ip(&format!("address add {}/{bits} dev lo", family.vip())).unwrap();
    }
    pair.node.ip("link set lo up").unwrap();
    let own = ["--node-ip", &NODE4.to_string(), "--node-ip", &NODE6.to_string()];
    let agent = start(&pair, &manifests, &own);
    vip_served(&pair, &agent);
    for family in Family::ALL {
        let ssh = SocketAddr::new(family.vip(), 22);
        let listener = pair.node.within(|| TcpListener::bind(ssh)).unwrap().unwrap();
        let client = || TcpStream::connect_timeout(&ssh, Duration::from_secs(3));
        pair.peer.namespace.within(client).unwrap().unwrap();
        drop(listener);
    }
    assert_eq!(agent.count(Outcome::UnusedPort).unwrap(), 0);
}
