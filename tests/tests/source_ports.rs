//! Flows to one remote backend that come faster than the node has source ports for them.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;

use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, Tally};

/// More than the source ports that weir gives flows to remote backends by default, which are 4,536.
const FLOWS: u16 = 7000;
/// Below the range that the kernel takes ports from by itself: each run is the same.
const FIRST_PORT: u16 = 10_000;

/// Each flow is over before the next one begins: none may be refused for the sake of a flow that is no more.
fn flows_that_are_over_hold_no_ports(protocol: Protocol, family: Family) {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let remote = network.backend("backend-1").unwrap();
    let manifests = Manifests::echo(&[(remote, 1)]).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let to = SocketAddr::new(family.vip(), protocol.port());
    let tally = network.client.within(|| Tally::ask(protocol, to, FIRST_PORT..FIRST_PORT + FLOWS)).unwrap();
    assert_eq!((tally.of(remote.name), tally.failures), (u64::from(FLOWS), vec![]));
}

#[test]
fn tcp_connections_that_are_closed() {
    flows_that_are_over_hold_no_ports(Protocol::Tcp, Family::V4);
}

#[test]
fn udp_questions_that_are_answered() {
    flows_that_are_over_hold_no_ports(Protocol::Udp, Family::V6);
}
