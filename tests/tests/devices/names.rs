//! Devices by name and pattern.

use std::time::Duration;

use tests::net::Pair;

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
    super::served(&pair, &agent, super::vip(tests::net::Family::V4));

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
