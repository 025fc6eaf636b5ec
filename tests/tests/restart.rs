//! The agent comes and goes; the data path stays, until it is removed on purpose.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, BackendHost, Family, Network};
use tests::traffic::{Connection, Continuous, Protocol, Server, Tally};

fn all(network: &Network) -> Vec<(&BackendHost, u16)> {
    network.backends.iter().map(|backend| (backend, 1)).collect()
}

fn http(family: Family) -> SocketAddr {
    SocketAddr::new(family.vip(), Protocol::Tcp.port())
}

#[test]
fn a_killed_agent_is_not_missed_and_its_successor_writes_nothing() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let mut agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let mut held = network.client.within(|| Connection::open(http(Family::V6), 0)).unwrap().unwrap();
    let holder = held.ask().unwrap().backend;
    let traffic = Continuous::start(&network.client, Protocol::Tcp, http(Family::V4));
    sleep(Duration::from_millis(200));

    let killed = Instant::now();
    agent.end(Signal::KILL).unwrap();
    sleep(Duration::from_millis(500));
    let started = Instant::now();
    agent.launch().unwrap();
    let log = agent.log().unwrap();
    let programmed = log.lines_with("programmed");
    let unwritten = |line: &str| line.split_whitespace().any(|word| word == "writes=0");
    assert!(matches!(programmed.as_slice(), [one] if unwritten(one)), "the restart wrote something:\n{log}");
    sleep(Duration::from_millis(300));

    let records = traffic.stop().unwrap();
    let failed: Vec<_> = records.iter().filter(|record| record.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let alone = records.iter().filter(|record| record.asked > killed && record.asked < started).count();
    assert!(alone > 0, "the test shows nothing: no connection was made without an agent");
    assert_eq!(held.ask().unwrap().backend, holder);
}

#[test]
fn what_changed_while_no_agent_ran_is_served_after_the_restart() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let mut agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    agent.end(Signal::TERM).unwrap();
    let [first, ..] = network.backends.as_slice() else { panic!("a network without backends") };
    manifests.endpoints(&[(first, 1)]).unwrap();
    agent.launch().unwrap();
    let tally = network.client.within(|| Tally::ask(Protocol::Tcp, http(Family::V4), [0; 40])).unwrap();
    assert_eq!((tally.of(first.name), tally.failures), (40, vec![]));
}

#[test]
fn a_stopped_agent_leaves_the_data_path_and_cleanup_removes_it() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let mut agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    agent.end(Signal::INT).unwrap();
    let tally = network.client.within(|| Tally::ask(Protocol::Tcp, http(Family::V4), [0; 40])).unwrap();
    assert_eq!((tally.total(), tally.failures), (40, vec![]));
    assert!(agent.get("backends", "json").unwrap().contains("10.1.1.11"));

    let ended = agent.clean_up().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!agent.pin_path().exists(), "{} is still there", agent.pin_path().display());
    assert!(!network.node.ip("link show").unwrap().contains("xdp"), "an XDP program is still attached");
    let attached = network.node.run("bpftool net show").unwrap();
    assert!(!attached.contains("weir"), "{attached}");
    let tally = network.client.within(|| Tally::ask(Protocol::Tcp, http(Family::V4), [0; 2])).unwrap();
    assert_eq!(tally.total(), 0, "somebody still answers");
}

#[test]
fn a_manifest_that_broke_while_no_agent_ran_takes_nothing_away() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let mut agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    agent.end(Signal::TERM).unwrap();
    let slice = "20-endpoints-v4.yaml";
    manifests.write(slice, "endpoints: [\n").unwrap();
    agent.launch().unwrap();
    let ask = || network.client.within(|| Tally::ask(Protocol::Tcp, http(Family::V4), [0; 40])).unwrap();
    let tally = ask();
    assert_eq!((tally.total(), tally.failures), (40, vec![]), "the maps know more than the manifests");

    let [first, ..] = network.backends.as_slice() else { panic!("a network without backends") };
    manifests.endpoints(&[(first, 1)]).unwrap();
    sleep(Duration::from_millis(500));
    assert_eq!(ask().of(first.name), 40, "the mended manifest is not followed");
}

/// Flows keep their source port when the next start takes others, and are told apart from the node's own traffic.
#[test]
fn flows_outlive_the_range_of_ports_that_they_were_made_with() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let remote: Vec<_> =
        network.backends.iter().filter(|backend| !backend.local).map(|one| (one, 1)).collect();
    let manifests = Manifests::echo(&remote).unwrap();
    let with = |ports| Agent::prepare(&network, &manifests, XdpMode::Native, &["--snat-ports", ports]);
    let mut agent = with("20000-20999");
    agent.launch().unwrap();
    network.settle().unwrap();
    let mut held: Vec<Connection> = Family::ALL
        .map(|family| network.client.within(|| Connection::open(http(family), 0)).unwrap().unwrap())
        .into();
    let before: Vec<_> = held.iter_mut().map(|one| one.ask().unwrap()).collect();
    agent.end(Signal::TERM).unwrap();
    let mut next = with("21000-21999");
    next.launch().unwrap();
    let after: Vec<_> = held.iter_mut().map(|one| one.ask().unwrap()).collect();
    assert_eq!(after, before);
    assert!(after.iter().all(|answer| (20_000..21_000).contains(&answer.peer.port())), "{after:?}");
    let fresh =
        network.client.within(|| Connection::open(http(Family::V4), 0)).unwrap().unwrap().ask().unwrap();
    assert!((21_000..22_000).contains(&fresh.peer.port()), "{fresh:?}");
}
