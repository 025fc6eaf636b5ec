//! Real sockets through every way that a packet can take.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Answer, Connection, Protocol, Server, ask};

/// So many flows miss a backend once in 10^17 choices of ports.
const FLOWS: usize = 100;
/// First packets to a node that knows no neighbour.
const COLD_STARTS: usize = 15;

/// Below the range that the kernel takes ports from by itself. No two flows of a test have one source port: a backend on
/// the node could not tell them apart by the port that it sees, and one of them would get another.
const FIRST_PORT: u16 = 10_000;

/// Asks each frontend of each family and protocol, first with cold neighbour tables.
fn every_frontend_is_served(arms: Arms, mode: XdpMode) {
    let network = Network::lay(arms).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let _agent = Agent::start(&network, &manifests, mode).unwrap();
    attached_as_asked(&network, mode);
    let mut source_ports = FIRST_PORT..;
    for family in Family::ALL {
        for protocol in Protocol::ALL {
            for to in [
                SocketAddr::new(family.vip(), protocol.port()),
                SocketAddr::new(family.node(), protocol.node_port()),
            ] {
                let case = format!("{arms:?} {mode:?} {protocol:?} {to}");
                let mut seen = BTreeSet::new();
                for n in 0..COLD_STARTS + FLOWS {
                    if n < COLD_STARTS {
                        network.forget_neighbours().unwrap();
                    }
                    let port = source_ports.next().expect("a port is left");
                    let answer = network.client.within(|| ask(protocol, to, port)).unwrap();
                    let answer = answer.unwrap_or_else(|error| panic!("{case}: flow {n}: {error}"));
                    check_peer(&network, family, &answer, &case);
                    seen.insert(answer.backend);
                }
                assert_eq!(Vec::from_iter(&seen), ["backend-1", "backend-2", "backend-3"], "{case}");
            }
        }
    }
}

/// A backend on the node sees the client as it is; a remote one sees the node, where its replies must go.
fn check_peer(network: &Network, family: Family, answer: &Answer, case: &str) {
    let backend = network.backend(&answer.backend).expect("a name of the network");
    if backend.local {
        assert_eq!(answer.peer, answer.local, "{case}: {}", backend.name);
    } else {
        assert_eq!(answer.peer.ip(), family.node(), "{case}: {}", backend.name);
    }
}

/// Without this a fallback to the other mode would go unnoticed.
fn attached_as_asked(network: &Network, mode: XdpMode) {
    for device in network.arms.devices().split(',') {
        let shown = network.node.ip(&format!("link show dev {device}")).unwrap();
        let generic = shown.contains(" xdpgeneric ");
        let native = shown.contains(" xdp ");
        let expected = (mode == XdpMode::Native, mode == XdpMode::Generic);
        assert_eq!((native, generic), expected, "{device}: {shown}");
    }
}

#[test]
fn one_arm_native() {
    every_frontend_is_served(Arms::One, XdpMode::Native);
}

#[test]
fn one_arm_generic() {
    every_frontend_is_served(Arms::One, XdpMode::Generic);
}

#[test]
fn two_arms_native() {
    every_frontend_is_served(Arms::Two, XdpMode::Native);
}

#[test]
fn two_arms_generic() {
    every_frontend_is_served(Arms::Two, XdpMode::Generic);
}

/// Large segments: merged by the receiving device, split by the sending one, and larger than the MTU between.
#[test]
fn a_megabyte_comes_back_as_it_was_sent() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (arms, mode) in [
        (Arms::One, XdpMode::Native),
        (Arms::One, XdpMode::Generic),
        (Arms::Two, XdpMode::Native),
        (Arms::Two, XdpMode::Generic),
    ] {
        let network = Network::lay(arms).unwrap();
        let _servers = Server::start_all(&network.backends).unwrap();
        let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
        let manifests = Manifests::echo(&backends).unwrap();
        let _agent = Agent::start(&network, &manifests, mode).unwrap();
        for family in Family::ALL {
            let to = SocketAddr::new(family.vip(), Protocol::Tcp.port());
            let mut seen = BTreeSet::new();
            while seen.len() < network.backends.len() {
                let mut connection = network.client.within(|| Connection::open(to, 0)).unwrap().unwrap();
                let backend = connection.ask().unwrap().backend;
                let case = format!("{arms:?} {mode:?} {family:?} {backend}");
                if seen.insert(backend) {
                    let back = connection.echo(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert!(back == bytes, "{case}: other bytes came back");
                }
            }
        }
    }
}

#[test]
fn a_port_without_a_service_is_not_served() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    for family in Family::ALL {
        // The TCP port of the Service is no UDP port of it, and the other way round.
        for (protocol, port) in [(Protocol::Tcp, Protocol::Udp.port()), (Protocol::Udp, Protocol::Tcp.port())]
        {
            let to = SocketAddr::new(family.vip(), port);
            let answer = network.client.within(|| ask(protocol, to, 0)).unwrap();
            assert!(answer.is_err(), "{protocol:?} {to}: {answer:?}");
        }
    }
}
