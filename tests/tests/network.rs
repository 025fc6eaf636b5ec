//! The test network by itself: before weir is blamed, plain routing must work.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;

use tests::net::{Arms, DNS_TARGET_PORT, Family, HTTP_TARGET_PORT, Network};
use tests::traffic::{Connection, Protocol, Server, ask};

fn every_backend_answers_its_own_name(arms: Arms) {
    let network = Network::lay(arms).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    for backend in &network.backends {
        for (protocol, port) in [(Protocol::Tcp, HTTP_TARGET_PORT), (Protocol::Udp, DNS_TARGET_PORT)] {
            for family in Family::ALL {
                let to = SocketAddr::new(backend.address(family), port);
                let case = format!("{arms:?} {protocol:?} {to}");
                let answer = network.client.within(|| ask(protocol, to, 0)).unwrap();
                let answer = answer.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(
                    (answer.backend.as_str(), answer.peer.ip()),
                    (backend.name, family.client()),
                    "{case}"
                );
                assert_eq!(answer.peer, answer.local, "{case}");
            }
        }
    }
}

#[test]
fn one_arm() {
    every_backend_answers_its_own_name(Arms::One);
}

#[test]
fn two_arms() {
    every_backend_answers_its_own_name(Arms::Two);
}

#[test]
fn bytes_come_back_as_they_were_sent() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for backend in &network.backends {
        let to = SocketAddr::new(backend.v6.into(), HTTP_TARGET_PORT);
        let back = network.client.within(|| Connection::open(to, 0)?.echo(&bytes)).unwrap().unwrap();
        assert!(back == bytes, "{}: other bytes came back", backend.name);
    }
}

#[test]
fn a_network_takes_itself_down() {
    let network = Network::lay(Arms::One).unwrap();
    let name = network.name.clone();
    assert!(tests::net::run("ip netns list").unwrap().contains(&name));
    drop(network);
    assert!(!tests::net::run("ip netns list").unwrap().contains(&name));
}

#[test]
fn a_network_takes_itself_down_when_a_test_panics() {
    let name = std::panic::catch_unwind(|| {
        let network = Network::lay(Arms::Two).unwrap();
        std::panic::panic_any(network.name.clone());
    });
    let name = *name.unwrap_err().downcast::<String>().expect("the name");
    assert!(!tests::net::run("ip netns list").unwrap().contains(&name));
}
