//! Source ports: who gets which, and what happens when none is left.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::collections::BTreeSet;

use lb_common::{FrontendKey, Outcome};
use lb_ebpf::headers::TcpFlags;

use crate::support::*;

fn translated<F: Net>(node: &mut Node, protocol: u8, client: (u16, u16)) -> Result<Seen, Outcome> {
    let mut packet = segment::<F>(protocol, client).build();
    match node.ingress(&mut packet).outcome() {
        Outcome::Redirected | Outcome::Local => Ok(Seen::of(&packet)),
        other => Err(other),
    }
}

fn clients_of_one_backend_never_share_a_port<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
    let mut seen = BTreeSet::new();
    for client in 0..2_000 {
        let source = translated::<F>(&mut node, protocol, (client, 4321)).unwrap().source;
        assert!((40_000..=59_999).contains(&source.1));
        assert!(seen.insert(source), "{source:?} given twice");
    }
}
for_all!(clients_of_one_backend_never_share_a_port);

fn without_a_free_port_the_flow_is_refused_and_others_go_on<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
    let settings = node.maps.settings.as_mut().unwrap();
    (settings.snat_port_first, settings.snat_port_last) = (50_000, 50_003);
    for client in 0..4 {
        translated::<F>(&mut node, protocol, (client, 4321)).unwrap();
    }
    assert_eq!(translated::<F>(&mut node, protocol, (4, 4321)), Err(Outcome::PortsExhausted));
    assert!(translated::<F>(&mut node, protocol, (0, 4321)).is_ok());
}
for_all!(without_a_free_port_the_flow_is_refused_and_others_go_on);

/// The last ports of the number space, and a range of one port: nothing wraps out of the range.
fn a_range_ends_where_it_ends<F: Net>(protocol: u8) {
    for (first, last) in [(65_534, 65_535), (1, 1), (60_000, 50_000)] {
        let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
        let settings = node.maps.settings.as_mut().unwrap();
        (settings.snat_port_first, settings.snat_port_last) = (first, last);
        let size = u32::from(last.saturating_sub(first)) + 1;
        for client in 0..size {
            let port = translated::<F>(&mut node, protocol, (client as u16, 1)).unwrap().source.1;
            assert!(u32::from(port) - u32::from(first) < size, "{port} in {first}..={last}");
        }
    }
}
for_all!(a_range_ends_where_it_ends);

/// One port serves many backends at once: what must be unique is the reply's 5-tuple.
fn backends_do_not_compete_for_ports<F: Net>(protocol: u8) {
    let backends: Vec<_> = (1..=64).map(|host| (REMOTE, host)).collect();
    let mut node = Node::new().with_service::<F>(1, protocol, &backends);
    let settings = node.maps.settings.as_mut().unwrap();
    (settings.snat_port_first, settings.snat_port_last) = (50_000, 50_015);
    let served = (0..256).filter(|client| translated::<F>(&mut node, protocol, (*client, 1)).is_ok()).count();
    assert_eq!(served, 256);
}
for_all!(backends_do_not_compete_for_ports);

/// The port does not follow from the choice of the backend: each backend can use the whole range.
fn every_backend_has_the_whole_range<F: Net>(protocol: u8) {
    let backends: Vec<_> = (1..=16).map(|host| (REMOTE, host)).collect();
    let mut node = Node::new().with_service::<F>(1, protocol, &backends);
    let settings = node.maps.settings.as_mut().unwrap();
    (settings.snat_port_first, settings.snat_port_last) = (50_000, 50_999);
    let served =
        (0..8_000).filter(|client| translated::<F>(&mut node, protocol, (*client, 1)).is_ok()).count();
    assert_eq!(served, 8_000, "of 16,000 places");
}
for_all!(every_backend_has_the_whole_range);

/// One client, one source port, two frontends, one local backend: the backend would see two flows as one.
fn two_frontends_of_one_local_backend_are_told_apart<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(LOCAL, 1)]);
    let tables = F::tables(&mut node.maps);
    let first = FrontendKey::new(F::address(VIPS, 1), PORT, protocol);
    let second = FrontendKey::new(F::address(VIPS, 2), PORT, protocol);
    let frontend = tables.frontends[&first];
    tables.frontends.insert(second, frontend);

    let plain = translated::<F>(&mut node, protocol, (1, 4321)).unwrap();
    assert_eq!(plain.source, (F::ip(&F::address(CLIENTS, 1)), 4321));
    let mut packet = segment::<F>(protocol, (1, 4321));
    packet.key.destination = second.address;
    let mut packet = packet.build();
    assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Local);
    let moved = Seen::of(&packet);
    assert_eq!(moved.source.0, plain.source.0, "a local backend always sees the client's address");
    assert!((40_000..=59_999).contains(&moved.source.1));

    let mut answer = reply_to::<F>(&packet).build();
    assert_eq!(node.egress(&mut answer).outcome(), Outcome::Replied);
    let answer = Seen::of(&answer);
    assert_eq!(answer.source, (F::ip(&second.address), PORT));
    assert_eq!(answer.destination, plain.source);
}
for_all!(two_frontends_of_one_local_backend_are_told_apart);

fn a_node_without_an_address_refuses_remote_backends_only<F: Net>(protocol: u8) {
    for (subnet, refused) in [(REMOTE, true), (LOCAL, false)] {
        let mut node = Node::new().with_service::<F>(1, protocol, &[(subnet, 1)]);
        F::set_snat(node.maps.settings.as_mut().unwrap(), <F::Address as lb_common::Address>::UNSPECIFIED);
        let result = translated::<F>(&mut node, protocol, (1, 4321));
        assert_eq!(result.err(), refused.then_some(Outcome::NoSourceAddress));
        node.maps.settings = None;
        assert_eq!(translated::<F>(&mut node, protocol, (2, 1)).err(), Some(Outcome::NoSourceAddress));
    }
}
for_all!(a_node_without_an_address_refuses_remote_backends_only);

/// Connections of one client keep the distance of their ports: none takes the port that another has just left.
fn the_ports_of_one_client_stay_apart<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
    let ports =
        node.maps.settings.map(|settings| settings.snat_port_first..=settings.snat_port_last).unwrap();
    let range = u32::from(ports.end() - ports.start()) + 1;
    let mut sent_from = |client: u16| {
        let mut packet = segment::<F>(protocol, (1, client)).with_flags(TcpFlags::SYN).build();
        assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Redirected);
        let port = Seen::of(&packet).source.1;
        assert!(ports.contains(&port), "{port}");
        u32::from(port - ports.start())
    };
    let first = sent_from(10_000);
    for step in 1..1_000 {
        assert_eq!(sent_from(10_000 + step), (first + u32::from(step)) % range);
    }
}
for_all!(the_ports_of_one_client_stay_apart);

/// Clients whose ports go in steps fill most of the range, and nobody is refused.
fn steps_of_ports_leave_room<F: Net>(protocol: u8) {
    for step in [2_u16, 10, 16] {
        let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
        // Half of the twenty thousand ports.
        for host in 0..10 {
            for number in 0..1_000 {
                let client = (host, 1_000_u16.wrapping_add(number * step));
                let mut packet = segment::<F>(protocol, client).with_flags(TcpFlags::SYN).build();
                assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Redirected, "{step} {client:?}");
            }
        }
    }
}
for_all!(steps_of_ports_leave_room);
