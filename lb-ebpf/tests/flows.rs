//! Which packets belong to a flow, and which start one anew.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use lb_common::{BackendState, FlowState, Outcome};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::memory::WhenFull;
use lb_ebpf::{Action, Verdict};

use crate::support::*;

const CLIENT: (u16, u16) = (1, 4321);

/// A node with three remote backends and one established flow, and what its client's packet became.
fn established<F: Net>(protocol: u8) -> (Node, Seen) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1), (REMOTE, 2), (REMOTE, 3)]);
    node.ingress(&mut segment::<F>(protocol, CLIENT).with_flags(TcpFlags::SYN).build());
    let mut packet = segment::<F>(protocol, CLIENT).build();
    node.ingress(&mut packet);
    (node, Seen::of(&packet))
}

/// Replaces the endpoint of the flow's backend id by another, as the agent does when an endpoint goes.
fn replace_endpoint<F: Net>(node: &mut Node) {
    for backend in &mut F::tables(&mut node.maps).backends {
        backend.generation += 1;
        backend.address = F::address(REMOTE, 99);
    }
}

fn send<F: Net>(node: &mut Node, protocol: u8, flags: u8) -> (Outcome, Seen) {
    let mut packet = segment::<F>(protocol, CLIENT).with_flags(flags).build();
    let verdict = node.ingress(&mut packet);
    (verdict.outcome(), Seen::of(&packet))
}

fn when_the_endpoint_goes_datagrams_move_and_connections_stay<F: Net>(protocol: u8) {
    let (mut node, before) = established::<F>(protocol);
    replace_endpoint::<F>(&mut node);
    let (outcome, after) = send::<F>(&mut node, protocol, TcpFlags::ACK);
    assert_eq!(outcome, Outcome::Redirected);
    let fresh = F::ip(&F::address(REMOTE, 99));
    assert_eq!(after.destination.0, if protocol == 17 { fresh } else { before.destination.0 });
}
for_all!(when_the_endpoint_goes_datagrams_move_and_connections_stay);

fn an_id_that_went_to_another_service_is_stale<F: Net>(protocol: u8) {
    let (mut node, before) = established::<F>(protocol);
    for backend in &mut F::tables(&mut node.maps).backends {
        backend.service = 2;
    }
    let (outcome, after) = send::<F>(&mut node, protocol, TcpFlags::ACK);
    // No slot of the frontend leads to a backend of its Service any more.
    assert_eq!(outcome, if protocol == 17 { Outcome::Changing } else { Outcome::Redirected });
    assert_eq!(after.destination == before.destination, protocol == 6);
}
for_all!(an_id_that_went_to_another_service_is_stale);

fn a_draining_backend_keeps_its_flows<F: Net>(protocol: u8) {
    let (mut node, before) = established::<F>(protocol);
    for backend in &mut F::tables(&mut node.maps).backends {
        backend.state = BackendState::Draining.to_u8();
    }
    node.maps.slots.clear();
    let (outcome, after) = send::<F>(&mut node, protocol, TcpFlags::ACK);
    assert_eq!((outcome, after), (Outcome::Redirected, before));
}
for_all!(a_draining_backend_keeps_its_flows);

/// Which SYN selects: (what came before it, whether the endpoint was replaced, whether it selects afresh).
#[test]
fn syn_table() {
    let cases: [(&[u8], bool, bool); 6] = [
        (&[TcpFlags::SYN], false, false),
        (&[TcpFlags::SYN], true, true),
        (&[TcpFlags::SYN, TcpFlags::ACK], true, true),
        (&[TcpFlags::SYN, TcpFlags::ACK | TcpFlags::FIN], true, true),
        (&[TcpFlags::SYN, TcpFlags::RST], true, true),
        (&[TcpFlags::ACK], true, true),
    ];
    for (before, replaced, selects) in cases {
        syn_case::<lb_ebpf::V4>(before, replaced, selects);
        syn_case::<lb_ebpf::V6>(before, replaced, selects);
    }
}

fn syn_case<F: Net>(before: &[u8], replaced: bool, selects: bool) {
    let mut node = Node::new().with_service::<F>(1, 6, &[(REMOTE, 1)]);
    for flags in before {
        send::<F>(&mut node, 6, *flags);
    }
    if replaced {
        replace_endpoint::<F>(&mut node);
    }
    let (outcome, seen) = send::<F>(&mut node, 6, TcpFlags::SYN);
    assert_eq!(outcome, Outcome::Redirected);
    let host = if selects { 99 } else { 1 };
    assert_eq!(seen.destination.0, F::ip(&F::address(REMOTE, host)), "{before:?} {replaced}");
}

/// An established connection whose port the client uses again is a new connection, even on the same backend.
#[test]
fn a_syn_on_an_established_flow_starts_anew() {
    let (mut node, before) = established::<lb_ebpf::V4>(6);
    let (_, after) = send::<lb_ebpf::V4>(&mut node, 6, TcpFlags::SYN);
    assert_eq!(after, before, "the same backend and the same port, by the same hash");
    let flow = flow_of::<lb_ebpf::V4>(&mut node, &segment::<lb_ebpf::V4>(6, CLIENT).build());
    assert_eq!(flow.unwrap().state, FlowState::New.to_u8());
}

/// State after each sequence of segments.
#[test]
fn state_table() {
    let (syn, ack, fin, rst) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST);
    let cases: [(&[u8], FlowState); 13] = [
        (&[syn], FlowState::New),
        (&[syn, syn], FlowState::New),
        (&[syn, ack], FlowState::Established),
        (&[ack], FlowState::New),
        (&[syn, ack, fin | ack], FlowState::ClientClosed),
        (&[syn, rst], FlowState::Reset),
        // Anybody can send one; a connection that goes on was not reset.
        (&[syn, ack, rst], FlowState::Reset),
        (&[syn, ack, rst, ack], FlowState::Established),
        (&[syn, ack, rst, fin | ack], FlowState::Reset),
        (&[ack, ack], FlowState::Established),
        (&[syn, syn | rst], FlowState::Reset),
        (&[syn, ack, fin | ack, fin | ack], FlowState::ClientClosed),
        (&[syn, ack, fin | ack, ack], FlowState::ClientClosed),
    ];
    for (segments, state) in cases {
        let mut node = Node::new().with_service::<lb_ebpf::V6>(1, 6, &[(REMOTE, 1)]);
        for flags in segments {
            send::<lb_ebpf::V6>(&mut node, 6, *flags);
        }
        let flow = flow_of::<lb_ebpf::V6>(&mut node, &segment::<lb_ebpf::V6>(6, CLIENT).build());
        assert_eq!(FlowState::from_u8(flow.unwrap().state), state, "{segments:?}");
    }
}

#[test]
fn a_reset_without_a_flow_makes_none() {
    let mut node = Node::new().with_service::<lb_ebpf::V4>(1, 6, &[(REMOTE, 1)]);
    for flags in [TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK] {
        let original = segment::<lb_ebpf::V4>(6, CLIENT).with_flags(flags).build();
        let mut packet = original.clone();
        assert_eq!(node.ingress(&mut packet).outcome(), Outcome::ResetWithoutFlow);
        assert_eq!(packet, original);
    }
    assert!(node.maps.v4.flows.is_empty());
}

fn a_lost_reply_half_comes_back_within_a_second<F: Net>(protocol: u8) {
    let (mut node, before) = established::<F>(protocol);
    let whole = F::tables(&mut node.maps).flows.clone();
    assert_eq!(whole.len(), 2);
    let mut packet = segment::<F>(protocol, CLIENT).build();
    let forward = key_of::<F>(&Seen::of(&packet));
    F::tables(&mut node.maps).flows.retain(|key, _| *key == forward);
    node.host.now_s += 1;
    node.ingress(&mut packet);
    let keys = |node: &mut Node| F::tables(&mut node.maps).flows.keys().copied().collect::<Vec<_>>();
    assert_eq!(keys(&mut node), whole.keys().copied().collect::<Vec<_>>());
    let mut answer = reply_to::<F>(&packet).build();
    node.ingress(&mut answer);
    assert_eq!(Seen::of(&answer).destination, segment_source::<F>());
    assert_eq!(Seen::of(&packet), before);
}
for_all!(a_lost_reply_half_comes_back_within_a_second);

fn segment_source<F: Net>() -> (std::net::IpAddr, u16) {
    (F::ip(&F::address(CLIENTS, CLIENT.0)), CLIENT.1)
}

fn a_lost_forward_half_is_made_again_with_its_port<F: Net>(protocol: u8) {
    let (mut node, before) = established::<F>(protocol);
    let forward = key_of::<F>(&Seen::of(&segment::<F>(protocol, CLIENT).build()));
    F::tables(&mut node.maps).flows.remove(&forward).unwrap();
    let (outcome, after) = send::<F>(&mut node, protocol, TcpFlags::ACK);
    assert_eq!((outcome, after), (Outcome::Redirected, before));
}
for_all!(a_lost_forward_half_is_made_again_with_its_port);

fn traffic_in_one_direction_keeps_both_halves_young<F: Net>(protocol: u8) {
    let (mut node, _) = established::<F>(protocol);
    for _ in 0..5 {
        node.host.now_s += 1;
        send::<F>(&mut node, protocol, TcpFlags::ACK);
    }
    let now_s = node.host.now_s;
    assert!(F::tables(&mut node.maps).flows.values().all(|flow| flow.last_seen_s == now_s));
}
for_all!(traffic_in_one_direction_keeps_both_halves_young);

fn a_table_without_room_refuses_the_flow<F: Net>(protocol: u8) {
    for (room, outcome) in [(0, Outcome::PortsExhausted), (1, Outcome::FlowTableFull)] {
        let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
        let tables = F::tables(&mut node.maps);
        (tables.flows_max, tables.when_full) = (room, WhenFull::Refuse);
        let original = segment::<F>(protocol, CLIENT).build();
        let mut packet = original.clone();
        assert_eq!(node.ingress(&mut packet), Verdict::new(Action::Transmit, outcome, INGRESS));
        assert_eq!(SeenMessage::of(&packet).destination, F::ip(&F::address(CLIENTS, CLIENT.0)));
        // When no more answers may be sent, the packet is dropped as it is.
        node.host.answers = 0;
        let mut packet = original.clone();
        assert_eq!(node.ingress(&mut packet), Verdict::drop(outcome));
        assert_eq!(packet, original);
    }
}
for_all!(a_table_without_room_refuses_the_flow);

/// With room for four flows, eight that send in turn all go on: what is evicted comes back by the same hash.
fn flows_beyond_the_table_go_on<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1), (REMOTE, 2), (REMOTE, 3)]);
    F::tables(&mut node.maps).flows_max = 8;
    let mut first = Vec::new();
    for round in 0..3 {
        for port in 0..8 {
            node.host.now_s += 1;
            let mut packet = segment::<F>(protocol, (1, 1000 + port)).build();
            assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Redirected);
            match round {
                0 => first.push(Seen::of(&packet)),
                _ => assert_eq!(Seen::of(&packet), first[usize::from(port)]),
            }
        }
    }
}
for_all!(flows_beyond_the_table_go_on);
