//! ICMP errors about translated packets: who gets them, and what they quote then.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use std::net::IpAddr;

use lb_common::{FlowKey, Outcome};
use lb_ebpf::icmp::{IcmpFamily, translate};
use lb_ebpf::memory::{BufferPacket, Message, Segment, TableHost};
use lb_ebpf::{V4, V6, Verdict};
use proptest::prelude::*;

use crate::support::errors::*;
use crate::support::*;

fn errors_reach_the_sender<F: Net + IcmpFamily>(protocol: u8) {
    for (name, make) in cases::<F>() {
        for (options, payload, no_checksum) in
            [(0, 0, false), (0, 7, false), (0, 7, true), (1, 200, false), (10, 64, true)]
        {
            let segment = Segment::<F> {
                option_words: options,
                no_checksum,
                ..Segment::new(key::<F>(protocol, (1, 40_000), 1), &vec![0x5a; payload])
            };
            let mut case = make(&segment);
            let whole = ip_of(&case.seen).len();
            let headers = whole - payload - if protocol == 6 { 20 } else { 8 };
            for kind in kinds::<F>() {
                for quote in [headers + 8, whole, headers + 4, headers + 17, headers + 18] {
                    for router in [false, true] {
                        let mut error = case.error(*kind, quote.min(whole), router);
                        let what =
                            format!("{name}, {options}, {payload}, type {kind}, {quote} bytes, {router}");
                        case.check(&error, &what);
                        error.ip.option_words = 7;
                        case.check(&error, &what);
                        error.ip.option_words = 10;
                        case.check(&error, &what);
                    }
                }
            }
        }
    }
}

for_all!(errors_reach_the_sender);

fn what_is_none_of_a_flow_passes<F: Net + IcmpFamily>(protocol: u8) {
    for (name, make) in cases::<F>() {
        let mut case = make(&Segment::new(key::<F>(protocol, (1, 40_000), 1), &[9; 40]));
        let kind = kinds::<F>()[0];
        let error = case.error(kind, 128, true);
        case.check(&error, name);
        let mut others = Vec::new();
        for other in (0..=u8::MAX).filter(|other| !kinds::<F>().contains(other)) {
            others.push(("another type", Message { kind: other, ..error.clone() }));
        }
        let mut elsewhere = error.clone();
        elsewhere.ip.key.destination = F::address(CLIENTS, 99);
        others.push(("to one who did not send the packet", elsewhere));
        for (what, at, value) in quoted_fields::<F>(error.body[0]) {
            let mut error = error.clone();
            error.body[at] = value;
            others.push((what, error));
        }
        for (what, error) in others {
            let packet = error.build();
            let (verdict, after) = given::<F>(&mut case.node, &packet, case.egress);
            assert_eq!(verdict, Verdict::pass(Outcome::NotBalanced), "{name}: {what}: {error:?}");
            assert_eq!(after, packet, "{name}: {what}");
        }
        // At the other hook.
        let packet = error.build();
        let (verdict, after) = given::<F>(&mut case.node, &packet, !case.egress);
        assert_eq!((verdict, after), (Verdict::pass(Outcome::NotOurs), packet), "{name}");
    }
}

/// Changes of the quoted IP header after which it is that of no packet of a flow.
fn quoted_fields<F: IcmpFamily>(first: u8) -> Vec<(&'static str, usize, u8)> {
    if F::PROTOCOL == 1 {
        vec![
            ("a later fragment", 7, 1),
            ("a later fragment", 6, 0x10),
            ("no header", 0, 0x44),
            ("another version", 0, 0x65),
            ("another protocol", 9, 1),
            ("another source", 15, 250),
            ("another destination", 19, 250),
            ("another port", 21, 250),
        ]
    } else {
        vec![
            ("another version", 0, first ^ 0x20),
            ("an extension header", 6, 0),
            ("a fragment", 6, 44),
            ("another protocol", 6, 58),
            ("another source", 23, 250),
            ("another destination", 39, 250),
            ("another port", 41, 250),
        ]
    }
}

for_all!(what_is_none_of_a_flow_passes);

fn short_and_damaged_errors_stay_as_they_are<F: Net + IcmpFamily>(protocol: u8) {
    for (name, make) in cases::<F>() {
        let mut case = make(&Segment::new(key::<F>(protocol, (1, 40_000), 1), &[9; 12]));
        let packet = case.error(kinds::<F>()[0], 128, true).build();
        for length in 0..packet.bytes().len() {
            let short = cut(&packet, length);
            let (verdict, after) = given::<F>(&mut case.node, &short, case.egress);
            assert!(verdict == case.verdict || after == short, "{name}: {length} bytes: {verdict:?}");
            // The addresses and ports must be there, and then it is translated.
            let needed = 14 + 2 * usize::from(F::HEADER_BYTES) + 8 + 4;
            assert_eq!(verdict == case.verdict, length >= needed, "{name}: {length} bytes: {verdict:?}");
        }
        // An IP packet that ends before the frame does: what follows is padding, and no ports.
        for (length, translated) in [(3, false), (4, true), (8, true)] {
            let mut error = case.error(kinds::<F>()[0], usize::from(F::HEADER_BYTES) + length, true);
            error.ip.option_words = 0;
            let padded = BufferPacket::new(&[error.build().bytes(), &[0; 40]].concat());
            let (verdict, after) = given::<F>(&mut case.node, &padded, case.egress);
            assert_eq!(verdict == case.verdict, translated, "{name}: {length}");
            assert_eq!(after != padded, translated, "{name}: {length}");
            assert_eq!(after.bytes()[padded.bytes().len() - 40..], [0; 40], "{name}: padding is left alone");
        }
    }
}

for_all!(short_and_damaged_errors_stay_as_they_are);

fn an_error_that_does_not_go_on_is_dropped_untouched<F: Net + IcmpFamily>(protocol: u8) {
    let mut case = behind_the_node::<F>(&Segment::new(key::<F>(protocol, (1, 40_000), 1), &[9; 900]));
    let mut error = case.error(kinds::<F>()[0], 948, true);
    for (hop_limit, outcome) in [(0, Outcome::HopLimit), (1, Outcome::HopLimit), (2, Outcome::Transmitted)] {
        error.ip.hop_limit = hop_limit;
        let packet = error.build();
        let (verdict, after) = given::<F>(&mut case.node, &packet, false);
        assert_eq!(verdict.outcome(), outcome);
        if outcome == Outcome::HopLimit {
            assert_eq!((verdict, after), (Verdict::drop(outcome), packet));
        }
    }
    error.ip.hop_limit = 64;
    let packet = error.build();
    // Larger than the way: the device hook leaves it to the next, which never rejects an error.
    case.node.host.ways.iter_mut().for_each(|way| way.mtu = 500);
    assert_eq!(
        given::<F>(&mut case.node, &packet, false),
        (Verdict::pass(Outcome::Deferred), packet.clone())
    );
    let mut stack = TableHost::<true>::new(INGRESS, case.node.host.ways.clone());
    let mut after = packet.clone();
    let l4 = 14 + F::HEADER_BYTES;
    let verdict = translate::<F, _, _, _>(&mut after, 14, l4, &mut case.node.maps, &mut stack, false);
    assert_eq!((verdict, after), (Verdict::drop(Outcome::TooBig), packet.clone()));
    case.node.host.ways.clear();
    assert_eq!(given::<F>(&mut case.node, &packet, false), (Verdict::drop(Outcome::NoRoute), packet));
}

for_all!(an_error_that_does_not_go_on_is_dropped_untouched);

fn tagged_errors<F: Net + IcmpFamily>(protocol: u8) {
    for (name, make) in cases::<F>() {
        for count in [1, 2] {
            let mut case = make(&Segment::new(key::<F>(protocol, (1, 40_000), 1), &[9; 12]));
            let plain = case.error(kinds::<F>()[0], 128, true).build();
            let packet = tagged(&plain, tags(count));
            let l3 = 14 + 4 * count as u8;
            let mut after = packet.clone();
            let l4 = l3 + F::HEADER_BYTES;
            let Case { node, egress, .. } = &mut case;
            let verdict =
                translate::<F, _, _, _>(&mut after, l3, l4, &mut node.maps, &mut node.host, *egress);
            if case.hops == 0 {
                let (_, expected) = given::<F>(&mut case.node, &plain, case.egress);
                assert_eq!((verdict, after), (case.verdict, tagged(&expected, tags(count))), "{name}");
            } else {
                // The way out is of another network.
                assert_eq!((verdict, after), (Verdict::pass(Outcome::Deferred), packet), "{name}");
            }
        }
    }
}

for_all!(tagged_errors);

/// SCTP's checksum covers neither addresses nor anything else that changes.
fn sctp<F: Net + IcmpFamily>() {
    let mut case = behind_the_node::<F>(&Segment::new(key::<F>(17, (1, 40_000), 1), &[9; 12]));
    for egress in [false, true] {
        // The flow of another protocol, made by hand: the engine's own may not yet know SCTP.
        let flows = F::tables(&mut case.node.maps).flows.clone();
        for (key, mut flow) in flows {
            // Ports stay.
            flow.source_port = key.source_port;
            flow.destination_port = key.destination_port;
            let key = FlowKey { protocol: 132, ..key };
            F::tables(&mut case.node.maps).flows.insert(key, flow);
        }
        let mut error = case.error(kinds::<F>()[0], 128, false);
        let at = if F::PROTOCOL == 1 { 9 } else { 6 };
        error.body[at] = 132;
        let packet = error.build();
        let (verdict, after) = given::<F>(&mut case.node, &packet, egress);
        if egress {
            assert_eq!((verdict, after), (Verdict::pass(Outcome::NotOurs), packet));
            continue;
        }
        assert_eq!(verdict.outcome(), Outcome::Transmitted);
        let header = usize::from(F::HEADER_BYTES);
        let seen = SeenMessage::of(&after);
        assert_eq!(seen.body[header..], error.body[header..], "nothing behind the IP header changes");
        assert_eq!(seen.destination, F::ip(&F::address(CLIENTS, 1)));
        let quoted = |range: std::ops::Range<usize>| seen.body[range].to_vec();
        let (source, destination) =
            if F::PROTOCOL == 1 { (quoted(12..16), quoted(16..20)) } else { (quoted(8..24), quoted(24..40)) };
        let bytes = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        assert_eq!(source, bytes(F::ip(&F::address(CLIENTS, 1))));
        assert_eq!(destination, bytes(F::ip(&F::address(VIPS, 1))));
    }
}

#[test]
fn sctp_of_ipv4() {
    sctp::<V4>();
}

#[test]
fn sctp_of_ipv6() {
    sctp::<V6>();
}

/// An error quotes to its receiver what that one sent, whatever it was.
fn comes_back<F: Net + IcmpFamily>(fields: &Fields) {
    let segment = Segment::<F> {
        option_words: fields.options.0,
        no_checksum: fields.no_checksum,
        hop_limit: fields.hop_limit,
        traffic_class: fields.traffic_class,
        ..Segment::new(key::<F>(if fields.tcp { 6 } else { 17 }, fields.client, 1), &fields.payload)
    };
    let (name, make) = cases::<F>()[fields.case];
    let mut case = make(&segment);
    let whole = ip_of(&case.seen).len();
    let least =
        usize::from(F::HEADER_BYTES) + 4 * usize::from(fields.options.0) * usize::from(F::PROTOCOL == 1);
    let quote = least + 4 + fields.quote.index(whole - least - 3);
    let mut error = case.error(kinds::<F>()[fields.kind % kinds::<F>().len()], quote, fields.router);
    error.ip.option_words = fields.options.1;
    error.rest = fields.rest;
    case.check(&error, name);
}

#[derive(Clone, Debug)]
struct Fields {
    case: usize,
    kind: usize,
    tcp: bool,
    client: (u16, u16),
    payload: Vec<u8>,
    options: (u8, u8),
    no_checksum: bool,
    hop_limit: u8,
    traffic_class: u8,
    router: bool,
    quote: prop::sample::Index,
    rest: [u8; 4],
}

fn fields() -> impl Strategy<Value = Fields> {
    let packet = (any::<bool>(), any::<(u16, u16)>(), proptest::collection::vec(any::<u8>(), 0..300));
    let header = ((0..=10_u8, 0..=10_u8), any::<bool>(), 2..=255_u8, any::<u8>());
    let error = (0..4_usize, 0..4_usize, any::<bool>(), any::<prop::sample::Index>(), any::<[u8; 4]>());
    (packet, header, error).prop_map(
        |((tcp, client, payload), (options, no_checksum, hop_limit, traffic_class), error)| {
            let (case, kind, router, quote, rest) = error;
            Fields {
                case,
                kind,
                tcp,
                client,
                payload,
                options,
                no_checksum,
                hop_limit,
                traffic_class,
                router,
                quote,
                rest,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn an_error_quotes_what_its_receiver_sent(fields in fields(), v6: bool) {
        if v6 { comes_back::<V6>(&fields) } else { comes_back::<V4>(&fields) }
    }

    #[test]
    fn damaged_errors_are_untouched_unless_they_are_translated(
        fields in fields(), v6: bool, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        if v6 { damaged::<V6>(&fields, &changes) } else { damaged::<V4>(&fields, &changes) }
    }
}

fn damaged<F: Net + IcmpFamily>(fields: &Fields, changes: &[(prop::sample::Index, u8)]) {
    let protocol = if fields.tcp { 6 } else { 17 };
    let (_, make) = cases::<F>()[fields.case];
    let mut case = make(&Segment::new(key::<F>(protocol, fields.client, 1), &fields.payload));
    let mut bytes = case.error(kinds::<F>()[0], 128, fields.router).build().bytes().to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    let packet = BufferPacket::new(&bytes);
    let (verdict, after) = given::<F>(&mut case.node, &packet, case.egress);
    assert!(verdict == case.verdict || after == packet, "{verdict:?}");
    assert_eq!(after.bytes().len(), packet.bytes().len());
}
