//! A request through the node and its reply back through it arrive as if the node had not been there.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use lb_common::Outcome;
use lb_ebpf::Action;
use lb_ebpf::memory::Segment;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::*;

/// What varies from packet to packet.
type Shape = ((u16, u16), (u8, u8, u8), Vec<u8>, bool);

fn shapes() -> impl Strategy<Value = Shape> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    ((any::<u16>(), any::<u16>()), (2..=255_u8, any::<u8>(), 0..=10_u8), payload, any::<bool>())
}

fn check<F: Net>(protocol: u8, subnet: u8) {
    let test = |shape: Shape| {
        round_trip::<F>(protocol, subnet, &shape);
        Ok(())
    };
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(512) })
        .run(&shapes(), test)
        .unwrap();
}

fn round_trip<F: Net>(protocol: u8, subnet: u8, (client, (hops, class, options), payload, bare): &Shape) {
    let local = subnet == LOCAL;
    let mut node = Node::new().with_service::<F>(1, protocol, &[(subnet, 1), (subnet, 2), (subnet, 3)]);
    let request = Segment::<F> {
        hop_limit: *hops,
        traffic_class: *class,
        option_words: *options,
        no_checksum: *bare,
        payload: payload.clone(),
        flags: 2,
        ..segment(protocol, *client)
    };
    let original = request.build();
    let sent = Seen::of(&original);
    let mut packet = original.clone();
    let verdict = node.ingress(&mut packet);
    let seen = Seen::of(&packet);
    // Both directions: the payload is as it was, and the hop limit is lowered once by each forward.
    assert_eq!(seen.payload, sent.payload);
    assert_eq!(seen.udp_checksum == 0, sent.udp_checksum == 0);
    let mut backends = (1..=3).map(|host| (F::ip(&F::address(subnet, host)), 8080));
    assert!(backends.any(|backend| backend == seen.destination), "{seen:?}");
    if local {
        assert_eq!((verdict.action(), verdict.outcome()), (Action::Pass, Outcome::Local));
        assert_eq!(
            (seen.source, seen.hop_limit, seen.ethernet),
            (sent.source, sent.hop_limit, sent.ethernet)
        );
    } else {
        assert_eq!((verdict.action(), verdict.ifindex()), (Action::Redirect, OTHER));
        assert_eq!(seen.source.0, F::ip(&F::address(NODE, 1)));
        assert!((40_000..=59_999).contains(&seen.source.1));
        assert_eq!((seen.hop_limit, seen.ethernet), (sent.hop_limit - 1, (SOURCE, DESTINATION)));
    }

    let answer =
        Segment { hop_limit: *hops, no_checksum: *bare, option_words: *options, ..reply_to::<F>(&packet) };
    let mut packet = answer.build();
    let verdict = if local { node.egress(&mut packet) } else { node.ingress(&mut packet) };
    let outcome = if local { Outcome::Replied } else { Outcome::Transmitted };
    assert_eq!(verdict.outcome(), outcome);
    let seen = Seen::of(&packet);
    assert_eq!((seen.source, seen.destination), (sent.destination, sent.source));
    assert_eq!(seen.hop_limit, hops - u8::from(!local));
    assert_eq!(seen.payload, answer.payload);
    assert_eq!(seen.udp_checksum == 0, protocol == 6 || *bare);
}

fn a_remote_backend<F: Net>(protocol: u8) {
    check::<F>(protocol, REMOTE);
}
for_all!(a_remote_backend);

fn a_local_backend<F: Net>(protocol: u8) {
    check::<F>(protocol, LOCAL);
}
for_all!(a_local_backend);

/// The payload is chosen so that the translated datagram's sum is zero, which means "none" on the wire.
fn a_udp_sum_that_comes_out_as_zero_is_sent_as_ones<F: Net>() {
    let mut node = Node::new().with_service::<F>(1, 17, &[(REMOTE, 1)]);
    let with = |payload: &[u8]| Segment::<F> { payload: payload.to_vec(), ..segment(17, (9, 4321)) };
    let mut probe = with(&[0, 0]).build();
    node.ingress(&mut probe);
    // Adding the checksum itself to the data makes the new checksum zero.
    let sum = Seen::of(&probe).udp_checksum;
    let mut packet = with(&sum.to_be_bytes()).build();
    node.ingress(&mut packet);
    assert_eq!(Seen::of(&packet).udp_checksum, 0xffff);
}

#[test]
fn zero_sum_ipv4() {
    a_udp_sum_that_comes_out_as_zero_is_sent_as_ones::<lb_ebpf::V4>();
}

#[test]
fn zero_sum_ipv6() {
    a_udp_sum_that_comes_out_as_zero_is_sent_as_ones::<lb_ebpf::V6>();
}
