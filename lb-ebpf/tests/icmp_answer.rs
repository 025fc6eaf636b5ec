//! Rejected packets and what is sent in answer.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by a panic")]

mod support;

use lb_common::{FlowKey, Outcome};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::icmp::{IcmpFamily, answer};
use lb_ebpf::memory::{BufferPacket, Message, Segment};
use lb_ebpf::{Action, V4, V6, Verdict};

use crate::support::*;

const NO_BACKEND: Verdict = Verdict::new(Action::Reject, Outcome::NoBackend, 0);

fn answered<F: Net + IcmpFamily>(
    packet: &BufferPacket,
    tags: usize,
    verdict: Verdict,
) -> (Verdict, BufferPacket) {
    let mut after = packet.clone();
    let verdict = answer::<F, _, _>(&mut after, l3(tags), &mut Node::new().host, verdict);
    (verdict, after)
}

const fn l3(tags: usize) -> u8 {
    14 + 4 * tags as u8
}

/// Panics unless the packet is dropped, and as it was.
fn silent<F: Net + IcmpFamily>(packet: &BufferPacket, case: &str) {
    let (verdict, after) = answered::<F>(packet, 0, NO_BACKEND);
    assert_eq!(verdict, Verdict::drop(Outcome::NoBackend), "{case}");
    assert_eq!(after, *packet, "{case}");
}

fn what_is_sent<F: Net + IcmpFamily>(protocol: u8) {
    let version = usize::from(F::PROTOCOL == 58);
    for (verdict, says) in [
        (NO_BACKEND, [(3, 3, [0; 4]), (1, 4, [0; 4])]),
        (Verdict::new(Action::Reject, Outcome::UnusedPort, 0), [(3, 3, [0; 4]), (1, 4, [0; 4])]),
        (Verdict::new(Action::Reject, Outcome::HopLimit, 0), [(11, 0, [0; 4]), (3, 0, [0; 4])]),
        (
            Verdict::new(Action::Reject, Outcome::TooBig, 1400),
            [(3, 4, [0, 0, 5, 120]), (2, 0, [0, 0, 5, 120])],
        ),
    ] {
        for (count, options, payload) in
            (0..3).flat_map(|tags| [0, 1, 10].map(|options| (tags, options))).flat_map(|(tags, options)| {
                [0, 1, 7, 64, 79, 80, 81, 600].map(|payload| (tags, options, payload))
            })
        {
            let (tags, l3) = (tags(count), l3(count));
            let case = format!("{verdict:?}, {count} tags, {options} words, {payload} bytes");
            let key = key::<F>(protocol, (1, 40_000), 1);
            let segment = Segment::<F> { option_words: options, ..Segment::new(key, &vec![3; payload]) };
            let plain = segment.build();
            // Padding of the link is none of the packet.
            let padded = BufferPacket::new(&[plain.bytes(), &[0xaa; 9]].concat());
            let (sent, after) = answered::<F>(&tagged(&padded, tags), count, verdict);
            assert_eq!(sent, Verdict::new(Action::Transmit, verdict.outcome(), INGRESS), "{case}");
            let seen = SeenMessage::of(&after);
            let quote = ip_of(&plain).len().min(128) & !1;
            let asked = SlicedEthernet::of(&plain);
            assert_eq!(seen.ethernet, (asked.destination, asked.source), "{case}");
            assert_eq!(seen.tags, tagged(&plain, tags).bytes()[12..usize::from(l3)], "{case}");
            assert_eq!((seen.source, seen.destination), (F::ip(&key.destination), F::ip(&key.source)));
            assert_eq!(seen.hop_limit, 64);
            assert_eq!((seen.kind, seen.code, seen.rest), says[version], "{case}");
            assert_eq!(seen.body, ip_of(&plain)[..quote], "{case}");
            let headers = if version == 0 { 20 + 8 } else { 40 + 8 };
            assert_eq!(after.bytes().len(), usize::from(l3) + headers + quote, "{case}");
        }
    }
}

for_all!(what_is_sent);

/// Addresses of an Ethernet frame.
struct SlicedEthernet {
    destination: [u8; 6],
    source: [u8; 6],
}

impl SlicedEthernet {
    fn of(packet: &BufferPacket) -> Self {
        let field = |at: usize| packet.bytes()[at..at + 6].try_into().expect("six bytes");
        Self { destination: field(0), source: field(6) }
    }
}

fn what_must_not_be_answered<F: Net + IcmpFamily>(protocol: u8) {
    let plain = segment::<F>(protocol, (1, 40_000)).build();
    assert_eq!(answered::<F>(&plain, 0, NO_BACKEND).0.action(), Action::Transmit);
    silent::<F>(&with_byte(&plain, 0, 0x03), "to a group of machines on the link");
    silent::<F>(&BufferPacket::new(&[&[0xff; 6], &plain.bytes()[6..]].concat()), "to all on the link");
    let own = key::<F>(protocol, (1, 40_000), 1);
    silent::<F>(&Segment::<F>::new(FlowKey { source: own.destination, ..own }, &[]).build(), "to itself");
    let mut host = Node::new().host;
    host.answers = 1;
    for expected in [Action::Transmit, Action::Drop, Action::Drop] {
        let mut packet = plain.clone();
        let verdict = answer::<F, _, _>(&mut packet, 14, &mut host, NO_BACKEND);
        assert_eq!(verdict.action(), expected);
        assert_eq!(packet == plain, expected == Action::Drop);
    }
    if protocol == 6 {
        for flags in [TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK] {
            silent::<F>(&segment::<F>(6, (1, 2)).with_flags(flags).build(), "an RST");
        }
    }
    for length in 0..plain.bytes().len() {
        let short = cut(&plain, length);
        let (verdict, after) = answered::<F>(&short, 0, NO_BACKEND);
        match verdict.action() {
            Action::Drop => assert_eq!(after, short, "{length} bytes"),
            Action::Transmit => {
                assert_eq!(SeenMessage::of(&after).body, short.bytes()[14..length & !1], "{length} bytes");
            }
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

for_all!(what_must_not_be_answered);

fn errors_are_not_answered<F: Net + IcmpFamily>(errors: &[u8]) {
    let (client, vip) = (F::address(CLIENTS, 1), F::address(VIPS, 1));
    for kind in 0..=u8::MAX {
        let message = Message::<F>::new(client, vip, kind, &[0; 40]).build();
        if errors.contains(&kind) {
            silent::<F>(&message, "an error");
        } else {
            let (verdict, after) = answered::<F>(&message, 0, NO_BACKEND);
            assert_eq!(verdict.action(), Action::Transmit, "type {kind}");
            assert_eq!(SeenMessage::of(&after).body, ip_of(&message), "type {kind}");
        }
    }
}

#[test]
fn errors_of_ipv4_are_not_answered() {
    errors_are_not_answered::<V4>(&[3, 4, 5, 11, 12]);
}

#[test]
fn errors_of_ipv6_are_not_answered() {
    errors_are_not_answered::<V6>(&(0..128).chain([137]).collect::<Vec<_>>());
}

#[test]
fn addresses_of_ipv4_that_are_no_single_machine() {
    let own = key::<V4>(17, (1, 2), 1);
    for (address, single) in [
        ([0, 0, 0, 0], false),
        ([0, 1, 2, 3], false),
        ([127, 0, 0, 1], false),
        ([224, 0, 0, 1], false),
        ([239, 9, 9, 9], false),
        ([255, 255, 255, 255], false),
        ([126, 0, 0, 1], true),
        ([128, 0, 0, 1], true),
        ([223, 0, 0, 1], true),
    ] {
        for key in [FlowKey { source: address, ..own }, FlowKey { destination: address, ..own }] {
            let packet = Segment::<V4>::new(key, b"payload").build();
            if single {
                assert_eq!(answered::<V4>(&packet, 0, NO_BACKEND).0.action(), Action::Transmit, "{key:?}");
            } else {
                silent::<V4>(&packet, &format!("{key:?}"));
            }
        }
    }
}

#[test]
fn addresses_of_ipv6_that_are_no_single_machine() {
    let own = key::<V6>(17, (1, 2), 1);
    for (address, single) in [
        ("::", false),
        ("::1", false),
        ("ff02::1", false),
        ("::2", true),
        ("100::1", true),
        ("fe80::1", true),
    ] {
        let address = address.parse::<std::net::Ipv6Addr>().expect("an address").octets();
        for key in [FlowKey { source: address, ..own }, FlowKey { destination: address, ..own }] {
            let packet = Segment::<V6>::new(key, b"payload").build();
            if single {
                assert_eq!(answered::<V6>(&packet, 0, NO_BACKEND).0.action(), Action::Transmit, "{key:?}");
            } else {
                silent::<V6>(&packet, &format!("{key:?}"));
            }
        }
    }
}

#[test]
fn only_the_first_fragment_of_ipv4_is_answered() {
    for (fragment, answers) in [(0x2000, true), (0x4000, true), (1, false), (0x2001, false), (0x1fff, false)]
    {
        let packet = Segment::<V4> { fragment, ..segment(17, (1, 2)) }.build();
        if answers {
            assert_eq!(answered::<V4>(&packet, 0, NO_BACKEND).0.action(), Action::Transmit);
        } else {
            silent::<V4>(&packet, "a later fragment");
        }
    }
}

#[test]
fn extension_headers_are_quoted_and_walked() {
    let options = |words: usize| [&[1, 4, 0, 0, 0, 0][..], &vec![0; words * 8]].concat();
    let fragment = |high: u8, low: u8| vec![high, low, 0, 0, 0, 9];
    let plain = segment::<V6>(6, (1, 2)).build();
    let reset = segment::<V6>(6, (1, 2)).with_flags(TcpFlags::RST).build();
    for (extensions, answers) in [
        (vec![(0, options(0))], true),
        (vec![(0, options(0)), (60, options(2)), (43, options(1))], true),
        (vec![(44, fragment(0, 1))], true),
        (vec![(44, fragment(0, 8))], false),
        (vec![(44, fragment(1, 1))], false),
        (vec![(0, options(1)), (44, fragment(0, 9))], false),
        // Not all of it would be quoted.
        (vec![(0, options(9))], true),
        (vec![(0, options(10))], false),
        (vec![(0, options(200))], false),
        // More than are walked.
        (vec![(0, options(0)), (60, options(0)), (43, options(0)), (60, options(0))], false),
    ] {
        let case = format!("{extensions:?}");
        let extensions: Vec<_> = extensions.iter().map(|(number, rest)| (*number, rest.as_slice())).collect();
        let packet = extended(&plain, &extensions);
        if answers {
            let (verdict, after) = answered::<V6>(&packet, 0, NO_BACKEND);
            assert_eq!(verdict.action(), Action::Transmit, "{case}");
            let ip = ip_of(&packet);
            assert_eq!(SeenMessage::of(&after).body, ip[..ip.len().min(128) & !1], "{case}");
            silent::<V6>(&extended(&reset, &extensions), &case);
        } else {
            silent::<V6>(&packet, &case);
        }
    }
}
