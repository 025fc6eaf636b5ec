//! A hop that takes 1,400 bytes, on either side of the node: both ends are told, and a bulk transfer completes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;

use tests::agent::Agent;
use tests::manifests::Manifests;
use tests::net::{Family, HTTP_PORT, HTTP_TARGET_PORT, Hop, Line, NARROW_MTU};
use tests::traffic::{BulkServer, Direction, transfer};

/// Much more than what is on its way before the first error comes back.
const BYTES: u64 = 4 << 20;

/// Transfers both ways by each family, first to the backend itself: then the hop is what it is meant to be.
fn a_transfer_completes(hop: Hop, local: bool) {
    let line = Line::lay(hop, 1500, local).unwrap();
    let _server = BulkServer::start(&line.backend.namespace, HTTP_TARGET_PORT).unwrap();
    let manifests = Manifests::echo(&[(&line.backend, 1)]).unwrap();
    let go = |how: &str, family: Family, to: SocketAddr| {
        for direction in Direction::ALL {
            // An end that knows the hop from the transfer before would announce it in its first segment.
            line.forget_path_mtu().unwrap();
            let done = line.client.within(|| transfer(to, direction, BYTES)).unwrap();
            assert!(done.is_ok(), "{hop:?}, local {local}, {how}: {direction:?} {to}: {done:?}");
            let learnt = match direction {
                Direction::Upload => line.client.ip(&format!("route get {}", to.ip())).unwrap(),
                Direction::Download if how == "plain" => {
                    line.backend.namespace.ip(&format!("route get {}", line.client_address(family))).unwrap()
                }
                // The backend's peer is the client or the node.
                Direction::Download => continue,
            };
            let mtu = format!("mtu {NARROW_MTU}");
            assert!(learnt.contains(&mtu), "{hop:?}, {how}: {direction:?} {to}: nobody was told: {learnt}");
        }
    };
    for family in Family::ALL {
        go("plain", family, SocketAddr::new(line.backend.address(family), HTTP_TARGET_PORT));
    }
    for mode in ["native", "generic"] {
        let mut agent = Agent::on_line(&line, &manifests, mode, &[]);
        agent.launch().unwrap();
        for family in Family::ALL {
            go(mode, family, SocketAddr::new(family.vip(), HTTP_PORT));
        }
    }
}

#[test]
fn behind_the_node() {
    a_transfer_completes(Hop::BehindNode, false);
}

#[test]
fn before_the_node() {
    a_transfer_completes(Hop::BeforeNode, false);
}

#[test]
fn before_the_node_that_runs_the_backend() {
    a_transfer_completes(Hop::BeforeNode, true);
}
