//! Bulk transfers through each hook, with usual and with jumbo frames: every byte arrives, in order, both ways.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;

use tests::agent::Agent;
use tests::manifests::Manifests;
use tests::net::{Family, HTTP_NODE_PORT, HTTP_PORT, HTTP_TARGET_PORT, Hop, Line};
use tests::traffic::{BulkServer, Direction, transfer};

/// Enough for windows to open fully, and for the node's ports to see thousands of packets of each size.
const BYTES: u64 = 24 << 20;

/// Transfers by each family, way and frontend. `mode` is what `--xdp-mode` takes.
fn every_byte_arrives(mode: &str, mtu: u16) {
    let line = Line::lay(Hop::None, mtu, false).unwrap();
    let _server = BulkServer::start(&line.backend.namespace, HTTP_TARGET_PORT).unwrap();
    let manifests = Manifests::echo(&[(&line.backend, 1)]).unwrap();
    let mut agent = Agent::on_line(&line, &manifests, mode, &[]);
    agent.launch().unwrap();
    let shown = line.node.ip("link show dev eth1").unwrap();
    let (native, generic) = (shown.contains(" xdp "), shown.contains(" xdpgeneric "));
    assert_eq!((native, generic), (mode == "native", mode == "generic"), "{mode}: {shown}");
    assert!(shown.contains(&format!(" mtu {mtu} ")), "{shown}");
    for family in Family::ALL {
        for (to, direction) in [
            (SocketAddr::new(family.vip(), HTTP_PORT), Direction::Upload),
            (SocketAddr::new(family.node(), HTTP_NODE_PORT), Direction::Download),
        ] {
            let done = line.client.within(|| transfer(to, direction, BYTES)).unwrap();
            assert!(done.is_ok(), "{mode} {mtu} {direction:?} {to}: {done:?}");
        }
    }
}

#[test]
fn native_1500() {
    every_byte_arrives("native", 1500);
}

#[test]
fn native_9000() {
    every_byte_arrives("native", 9000);
}

#[test]
fn generic_1500() {
    every_byte_arrives("generic", 1500);
}

#[test]
fn generic_9000() {
    every_byte_arrives("generic", 9000);
}

#[test]
fn tc_alone_1500() {
    every_byte_arrives("off", 1500);
}

#[test]
fn tc_alone_9000() {
    every_byte_arrives("off", 9000);
}
