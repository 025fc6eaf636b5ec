//! When a flow is over, and what it then gives up.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use lb_common::{FlowState, Outcome, protocol};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::lifetime::idle_s_max;
use lb_ebpf::{V4, V6};

use crate::support::*;

const CLIENT: (u16, u16) = (1, 4321);
const OTHER: (u16, u16) = (2, 4321);
const FIN: u8 = TcpFlags::FIN | TcpFlags::ACK;

/// A node with one remote backend and one source port.
fn narrow<F: Net>(protocol: u8) -> Node {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
    let settings = node.maps.settings.as_mut().unwrap();
    (settings.snat_port_first, settings.snat_port_last) = (50_000, 50_000);
    node
}

fn send<F: Net>(node: &mut Node, protocol: u8, client: (u16, u16), flags: u8) -> Outcome {
    node.ingress(&mut segment::<F>(protocol, client).with_flags(flags).build()).outcome()
}

/// The backend answers the flow of `client`.
fn answer<F: Net>(node: &mut Node, protocol: u8, client: (u16, u16), flags: u8) -> Outcome {
    let flow = flow_of::<F>(node, &segment::<F>(protocol, client).build()).unwrap();
    let key = key_of::<F>(&Seen::of(&segment::<F>(protocol, client).build()));
    let reply =
        lb_ebpf::memory::Segment::<F>::new(key.opposite_key(&flow), b"answer").with_flags(flags).build();
    node.ingress(&mut reply.clone()).outcome()
}

fn state<F: Net>(node: &mut Node, protocol: u8) -> FlowState {
    FlowState::from_u8(flow_of::<F>(node, &segment::<F>(protocol, CLIENT).build()).unwrap().state)
}

#[test]
fn the_state_follows_both_directions() {
    use FlowState::{BackendClosed, ClientClosed, Closed, Established, New, Reset};
    // Segments with the side that sends them (client: true), and the state after them.
    let (syn, ack, rst) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::RST);
    let cases: [(&[(bool, u8)], FlowState); 7] = [
        (&[(true, syn), (false, syn | ack)], New),
        (&[(true, syn), (false, syn | ack), (true, ack)], Established),
        (&[(true, syn), (true, ack), (true, FIN), (false, ack)], ClientClosed),
        (&[(true, syn), (true, ack), (false, FIN), (true, ack)], BackendClosed),
        (&[(true, syn), (true, ack), (true, FIN), (false, FIN)], Closed),
        (&[(true, syn), (true, ack), (false, FIN), (true, FIN), (false, ack)], Closed),
        (&[(true, syn), (false, rst | ack)], Reset),
    ];
    for (segments, expected) in cases {
        let mut node = narrow::<V6>(6);
        for (client, flags) in segments {
            let outcome = if *client {
                send::<V6>(&mut node, 6, CLIENT, *flags)
            } else {
                answer::<V6>(&mut node, 6, CLIENT, *flags)
            };
            assert!(
                matches!(outcome, Outcome::Redirected | Outcome::Transmitted),
                "{segments:?}: {outcome:?}"
            );
        }
        assert_eq!(state::<V6>(&mut node, 6), expected, "{segments:?}");
        let halves: Vec<_> = <V6 as lb_ebpf::memory::InMemory>::tables(&mut node.maps)
            .flows
            .values()
            .map(|flow| flow.state)
            .collect();
        assert_eq!(halves, [expected.to_u8(); 2], "both directions: {segments:?}");
    }
}

#[test]
fn a_datagram_counts_as_answered_when_it_is() {
    let mut node = narrow::<V4>(17);
    send::<V4>(&mut node, 17, CLIENT, 0);
    send::<V4>(&mut node, 17, CLIENT, 0);
    assert_eq!(state::<V4>(&mut node, 17), FlowState::New);
    answer::<V4>(&mut node, 17, CLIENT, 0);
    assert_eq!(state::<V4>(&mut node, 17), FlowState::Established);
}

fn a_silent_connection_is_over_and_its_port_is_free<F: Net>() {
    let mut node = narrow::<F>(6);
    send::<F>(&mut node, 6, CLIENT, TcpFlags::SYN);
    send::<F>(&mut node, 6, CLIENT, TcpFlags::ACK);
    node.host.now_s += idle_s_max(6, FlowState::Established) - 1;
    assert_eq!(send::<F>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::PortsExhausted);
    node.host.now_s += 1;
    assert_eq!(send::<F>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::Redirected);
    // The one that was over does not send from the port that is another's now.
    assert_eq!(send::<F>(&mut node, 6, CLIENT, TcpFlags::SYN), Outcome::PortsExhausted);
    assert_eq!(answer::<F>(&mut node, 6, OTHER, TcpFlags::ACK), Outcome::Transmitted);
}

#[test]
fn silent_connections_of_both_families() {
    a_silent_connection_is_over_and_its_port_is_free::<V4>();
    a_silent_connection_is_over_and_its_port_is_free::<V6>();
}

/// A SYN that nobody means holds its port for seconds, however often the backend repeats its answer.
#[test]
fn an_unconfirmed_connection_gives_way_after_seconds() {
    let mut node = narrow::<V4>(6);
    send::<V4>(&mut node, 6, CLIENT, TcpFlags::SYN);
    node.host.now_s += 2;
    assert_eq!(answer::<V4>(&mut node, 6, CLIENT, TcpFlags::SYN | TcpFlags::ACK), Outcome::Transmitted);
    assert_eq!(send::<V4>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::PortsExhausted);
    node.host.now_s += 1;
    assert_eq!(send::<V4>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::Redirected);
}

/// The LRU evicts a reply's entry, and another flow gets its port: the first must move on, and not send from it.
fn two_flows_never_send_from_one_port<F: Net>(protocol: u8) {
    let mut node = narrow::<F>(protocol);
    send::<F>(&mut node, protocol, CLIENT, TcpFlags::ACK);
    let forward = key_of::<F>(&Seen::of(&segment::<F>(protocol, CLIENT).build()));
    F::tables(&mut node.maps).flows.retain(|key, _| *key == forward);
    assert_eq!(send::<F>(&mut node, protocol, OTHER, TcpFlags::ACK), Outcome::Redirected);
    node.host.now_s += 1;
    assert_eq!(send::<F>(&mut node, protocol, CLIENT, TcpFlags::ACK), Outcome::PortsExhausted);
    assert_eq!(answer::<F>(&mut node, protocol, OTHER, TcpFlags::ACK), Outcome::Transmitted);
}
for_all!(two_flows_never_send_from_one_port);

/// A connection that began anew on another backend leaves nothing of the old one: its late answers have no say.
#[test]
fn what_began_anew_leaves_no_replies_behind() {
    let mut node = narrow::<V6>(6);
    send::<V6>(&mut node, 6, CLIENT, TcpFlags::SYN);
    send::<V6>(&mut node, 6, CLIENT, TcpFlags::ACK);
    let before: Vec<_> =
        <V6 as lb_ebpf::memory::InMemory>::tables(&mut node.maps).flows.keys().copied().collect();
    for backend in &mut <V6 as lb_ebpf::memory::InMemory>::tables(&mut node.maps).backends {
        backend.generation += 1;
        backend.address = <V6 as Net>::address(REMOTE, 99);
    }
    assert_eq!(send::<V6>(&mut node, 6, CLIENT, TcpFlags::SYN), Outcome::Redirected);
    let after = &<V6 as lb_ebpf::memory::InMemory>::tables(&mut node.maps).flows;
    assert_eq!(after.len(), 2);
    assert_eq!(
        before.iter().filter(|key| after.contains_key(key)).count(),
        1,
        "the client's half alone stays"
    );
}

/// A VIP goes to another Service while a client keeps sending to it.
fn datagrams_follow_their_vip<F: Net>(protocol: u8) {
    let mut node = narrow::<F>(protocol);
    send::<F>(&mut node, protocol, CLIENT, TcpFlags::ACK);
    F::tables(&mut node.maps).frontends.clear();
    node.host.now_s += 1;
    let expected = if protocol == 17 { Outcome::NotOurs } else { Outcome::Redirected };
    assert_eq!(send::<F>(&mut node, protocol, CLIENT, TcpFlags::ACK), expected);
}
for_all!(datagrams_follow_their_vip);

#[test]
fn a_closed_connection_gives_way_at_once_and_an_open_one_does_not() {
    let mut node = narrow::<V4>(6);
    for flags in [TcpFlags::SYN, TcpFlags::ACK, FIN] {
        send::<V4>(&mut node, 6, CLIENT, flags);
        assert_eq!(send::<V4>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::PortsExhausted);
    }
    answer::<V4>(&mut node, 6, CLIENT, FIN);
    assert_eq!(send::<V4>(&mut node, 6, OTHER, TcpFlags::SYN), Outcome::Redirected);
    assert!(
        flow_of::<V4>(&mut node, &segment::<V4>(6, CLIENT).build()).is_none(),
        "the closed one is forgotten"
    );
}

#[test]
fn an_answered_datagram_gives_way_after_seconds_only() {
    let mut node = narrow::<V6>(17);
    send::<V6>(&mut node, 17, CLIENT, 0);
    answer::<V6>(&mut node, 17, CLIENT, 0);
    node.host.now_s += 4;
    assert_eq!(send::<V6>(&mut node, 17, OTHER, 0), Outcome::PortsExhausted);
    node.host.now_s += 1;
    assert_eq!(send::<V6>(&mut node, 17, OTHER, 0), Outcome::Redirected);
}

#[test]
fn every_state_has_a_time() {
    for protocol in [protocol::TCP, protocol::UDP] {
        for raw in 0..=u8::MAX {
            assert!((10..=86_400).contains(&idle_s_max(protocol, FlowState::from_u8(raw))));
        }
    }
}
