//! Manifests that cannot be used: the rest, and their last good version, go on being served.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use tests::agent::{Agent, PATIENCE, XdpMode};
use tests::manifests::{Manifests, service, slice};
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, Tally};

const SLICE: &str = "20-endpoints-v4.yaml";

fn ask(network: &Network, family: Family) -> Tally {
    let to = SocketAddr::new(family.vip(), Protocol::Udp.port());
    network.client.within(|| Tally::ask(Protocol::Udp, to, [0; 20])).unwrap()
}

#[test]
fn the_last_good_version_of_a_broken_manifest_is_served() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let [first, second, ..] = network.backends.as_slice() else { panic!("too few backends") };
    let manifests = Manifests::echo(&[(first, 1)]).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();

    let good = manifests.read(SLICE).unwrap();
    manifests
        .write(SLICE, "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: [1, 2\n")
        .unwrap();
    let log = agent.log().unwrap();
    let line = log.wait_for(SLICE, |line| line.contains(SLICE), PATIENCE).unwrap();
    let place = line.split(&format!("{SLICE}:")).nth(1).and_then(|rest| rest.split([':', ' ']).next());
    assert!(place.is_some_and(|number| number.parse::<u32>().is_ok()), "no line number: {line}");
    // Other files are still followed.
    manifests.write("21-endpoints-v6.yaml", &slice(Family::V6, &[(second, 1)])).unwrap();
    sleep(Duration::from_secs(1));
    assert_eq!(
        (ask(&network, Family::V4).of(first.name), ask(&network, Family::V6).of(second.name)),
        (20, 20)
    );
    assert_eq!(log.lines_with(SLICE).len(), 1, "the error is told once:\n{log}");

    manifests.write(SLICE, &good.replace(&first.v4.to_string(), &second.v4.to_string())).unwrap();
    sleep(Duration::from_secs(1));
    assert_eq!(ask(&network, Family::V4).of(second.name), 20);
}

#[test]
fn a_manifest_that_is_broken_from_the_start_keeps_no_other_from_being_served() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let [first, ..] = network.backends.as_slice() else { panic!("too few backends") };
    let manifests = Manifests::echo(&[(first, 1)]).unwrap();
    manifests.write("00-broken.json", "{\"kind\": \n").unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    assert_eq!(agent.log().unwrap().lines_with("00-broken.json:").len(), 1);
    let tally = ask(&network, Family::V4);
    assert_eq!((tally.of(first.name), tally.failures), (20, vec![]));
}

#[test]
fn an_unknown_kind_is_skipped_with_one_warning() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let [first, ..] = network.backends.as_slice() else { panic!("too few backends") };
    let manifests = Manifests::empty().unwrap();
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo}\nspec: {replicas: 3}\n";
    manifests.write("10-all.yaml", &format!("{deployment}---\n{}", service())).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    // More files make the agent read again.
    manifests.endpoints(&[(first, 1)]).unwrap();
    sleep(Duration::from_secs(1));
    assert_eq!(ask(&network, Family::V4).of(first.name), 20);
    let log = agent.log().unwrap();
    let warnings = log.lines_with("Deployment");
    assert!(matches!(warnings.as_slice(), [one] if one.contains("WARN")), "{warnings:?} in:\n{log}");
}
