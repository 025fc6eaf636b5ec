//! Flows to one remote backend that need more source ports than the node has for them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, Tally};

/// 2,000 ports.
const PORTS: &str = "1024-3023";
/// Longer than an answered UDP flow keeps its port from others.
const SILENCE: Duration = Duration::from_secs(6);

/// Asks from each of the clients' ports, with a pause between two ranges: none may be refused for the sake of a flow
/// that is no more.
fn flows_that_are_over_hold_no_ports(protocol: Protocol, family: Family, clients: [Range<u16>; 2]) {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let remote = network.backend("backend-1").unwrap();
    let manifests = Manifests::echo(&[(remote, 1)]).unwrap();
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--snat-ports", PORTS]);
    agent.launch().unwrap();
    network.settle().unwrap();
    let to = SocketAddr::new(family.vip(), protocol.port());
    for clients in clients {
        let flows = clients.len() as u64;
        let tally = network.client.within(|| Tally::ask(protocol, to, clients)).unwrap();
        assert_eq!((tally.of(remote.name), tally.failures), (flows, vec![]));
        sleep(SILENCE);
    }
}

#[test]
fn tcp_connections_that_are_closed() {
    flows_that_are_over_hold_no_ports(Protocol::Tcp, Family::V4, [10_000..15_000, 15_000..16_000]);
}

#[test]
fn udp_questions_that_are_answered() {
    flows_that_are_over_hold_no_ports(Protocol::Udp, Family::V6, [10_000..11_400, 11_400..12_800]);
}
