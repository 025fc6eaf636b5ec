//! tc alone, by links and by filters.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use tests::agent::Agent;
use tests::net::{Family, Pair, add_filter};
use tests::traffic::{Continuous, Protocol};

use super::{attached, manifests, pins, server, start, vip, vip_served};

/// Each side of `eth0` runs its program once.
fn each_side_once(pair: &Pair, way: &str) {
    let expected = ["ingress", "egress"].map(|side| format!("eth0 {way}-{side} weir_tc_{side}"));
    assert_eq!(attached(&pair.node), expected);
}

/// Serves, and goes on serving through a restart of the agent, without one question unanswered.
fn a_restart_is_not_noticed(way: &str, expected: &[&str]) {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let mut agent = start(&pair, &manifests, &["--xdp-mode", "off", "--tc-mode", way]);
    vip_served(&pair, &agent);
    assert_eq!(pins(&agent), expected);
    each_side_once(&pair, way);
    let traffic: Vec<Continuous> = Family::ALL
        .map(|family| Continuous::start(&pair.peer.namespace, Protocol::Tcp, vip(family)))
        .into_iter()
        .collect();
    sleep(Duration::from_millis(200));
    agent.end(Signal::KILL).unwrap();
    agent.launch().unwrap();
    sleep(Duration::from_millis(200));
    for traffic in traffic {
        let records = traffic.stop().unwrap();
        let failed: Vec<_> = records.iter().filter(|record| record.result.is_err()).collect();
        assert!(records.len() > 20 && failed.is_empty(), "{} asked, {failed:?}", records.len());
    }
    assert_eq!(pins(&agent), expected);
    each_side_once(&pair, way);
    cleaned(&pair, &mut agent);
}

/// Ends the agent and cleans up: nothing of weir is left, and something of others is.
fn cleaned(pair: &Pair, agent: &mut Agent<'_>) {
    agent.end(Signal::TERM).unwrap();
    let ended = agent.clean_up().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!agent.pin_path().exists());
    assert_eq!(attached(&pair.node), Vec::<String>::new());
    let qdiscs = pair.node.run("tc qdisc show dev eth0").unwrap();
    assert!(!qdiscs.contains("clsact"), "{qdiscs}");
}

#[test]
fn by_tcx() {
    a_restart_is_not_noticed("tcx", &["tcx-egress eth0", "tcx-ingress eth0"]);
}

#[test]
fn by_clsact() {
    a_restart_is_not_noticed("clsact", &["clsact-egress eth0", "clsact-ingress eth0", "clsact-qdisc eth0"]);
}

#[test]
fn a_filter_that_somebody_removed_is_put_back_by_the_next_start() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let mut agent = start(&pair, &manifests, &["--xdp-mode", "off", "--tc-mode", "clsact"]);
    agent.end(Signal::TERM).unwrap();
    pair.node.run("tc qdisc del dev eth0 clsact").unwrap();
    assert_eq!(attached(&pair.node), Vec::<String>::new());
    agent.launch().unwrap();
    vip_served(&pair, &agent);
    each_side_once(&pair, "clsact");
}

#[test]
fn the_way_is_changed_under_traffic() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let mut agent = start(&pair, &manifests, &["--xdp-mode", "off", "--tc-mode", "clsact"]);
    vip_served(&pair, &agent);
    let traffic = Continuous::start(&pair.peer.namespace, Protocol::Tcp, vip(Family::V4));
    agent.end(Signal::TERM).unwrap();
    let mut agent = Agent::alone(&pair.node, &pair.name, &manifests, &["--xdp-mode", "off"]);
    agent.launch().unwrap();
    sleep(Duration::from_millis(100));
    let records = traffic.stop().unwrap();
    let failed: Vec<_> = records.iter().filter(|record| record.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(pins(&agent), ["clsact-qdisc eth0", "tcx-egress eth0", "tcx-ingress eth0"]);
    each_side_once(&pair, "tcx");
    cleaned(&pair, &mut agent);
}

#[test]
fn filters_of_others_stay() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    pair.node.run("tc qdisc add dev eth0 clsact").unwrap();
    add_filter(&pair.node, "eth0", 9).unwrap();
    let mut agent = start(&pair, &manifests, &["--xdp-mode", "off", "--tc-mode", "clsact"]);
    vip_served(&pair, &agent);
    assert_eq!(pins(&agent), ["clsact-egress eth0", "clsact-ingress eth0"], "the qdisc is not weir's");
    agent.end(Signal::TERM).unwrap();
    assert_eq!(agent.clean_up().unwrap().code, Some(0));
    let filters = pair.node.run("tc filter show dev eth0 ingress").unwrap();
    assert!(filters.contains("pref 9") && !filters.contains("weir"), "{filters}");
}
