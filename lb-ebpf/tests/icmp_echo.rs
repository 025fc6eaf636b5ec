//! Echo requests and their replies.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use lb_common::Outcome;
use lb_ebpf::icmp::{IcmpFamily, echo};
use lb_ebpf::memory::{BufferPacket, InMemory, Message};
use lb_ebpf::{Action, V4, V6, Verdict};

use crate::support::*;

/// Length of an IP header without options.
fn header<F: IcmpFamily>() -> u8 {
    F::HEADER_BYTES
}

fn request<F: Net + IcmpFamily>(body: &[u8]) -> Message<F> {
    let (client, vip) = (F::address(CLIENTS, 1), F::address(VIPS, 1));
    Message { rest: [1, 2, 3, 4], ..Message::new(client, vip, F::ECHO_REQUEST, body) }
}

fn echoed<F: InMemory + IcmpFamily>(packet: &BufferPacket, l3: u8, l4: u8) -> (Verdict, BufferPacket) {
    let mut after = packet.clone();
    let verdict = echo::<F, _, _>(&mut after, l3, l4, &mut Node::new().host);
    (verdict, after)
}

fn a_reply_is_the_request_turned_round<F: Net + IcmpFamily>() {
    for (count, options, length) in (0..3)
        .flat_map(|tags| [0, 1, 10].map(|words| (tags, words)))
        .flat_map(|(tags, words)| [0, 1, 56, 1400].map(|length| (tags, words, length)))
    {
        let options = if F::PROTOCOL == 1 { options } else { 0 };
        let mut message = request::<F>(&vec![0xf3; length]);
        message.ip.option_words = options;
        for hop_limit in [1, 64, 255] {
            message.ip.hop_limit = hop_limit;
            let packet = tagged(&message.build(), tags(count));
            let l3 = 14 + 4 * count as u8;
            let (verdict, after) = echoed::<F>(&packet, l3, l3 + header::<F>() + 4 * options);
            assert_eq!(verdict, Verdict::new(Action::Transmit, Outcome::Echo, INGRESS));
            let (asked, seen) = (SeenMessage::of(&packet), SeenMessage::of(&after));
            let expected = SeenMessage {
                ethernet: (asked.ethernet.1, asked.ethernet.0),
                source: asked.destination,
                destination: asked.source,
                hop_limit: 64,
                kind: F::ECHO_REPLY,
                ..asked
            };
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn a_reply_of_ipv4() {
    a_reply_is_the_request_turned_round::<V4>();
}

#[test]
fn a_reply_of_ipv6() {
    a_reply_is_the_request_turned_round::<V6>();
}

fn left_alone<F: Net + IcmpFamily>(sources: &[F::Address]) {
    let l4 = 14 + header::<F>();
    let message = request::<F>(b"payload");
    let plain = message.build();
    assert_eq!(echoed::<F>(&plain, 14, l4).0.outcome(), Outcome::Echo);
    let mut cases = vec![
        ("a reply", Message { kind: F::ECHO_REPLY, ..message.clone() }.build()),
        ("another code", Message { code: 1, ..message.clone() }.build()),
        ("an error", Message { kind: 3, ..message.clone() }.build()),
        ("to all on the link", BufferPacket::new(&[&[0xff; 6], &plain.bytes()[6..]].concat())),
        ("to a group on the link", with_byte(&plain, 0, 1)),
    ];
    for source in sources {
        let mut message = message.clone();
        message.ip.key.source = *source;
        cases.push(("from no single machine", message.build()));
    }
    for length in 0..usize::from(l4) + 8 {
        cases.push(("short", cut(&plain, length)));
    }
    for (case, packet) in cases {
        let (verdict, after) = echoed::<F>(&packet, 14, l4);
        assert_eq!(verdict, Verdict::pass(Outcome::NotBalanced), "{case}: {packet:?}");
        assert_eq!(after, packet, "{case}");
    }
}

#[test]
fn what_is_no_request_of_ipv4_passes() {
    left_alone::<V4>(&[[224, 0, 0, 1], [127, 0, 0, 1], [0; 4], [255; 4]]);
    for fragment in [0x2000, 1] {
        let mut message = request::<V4>(b"payload");
        message.ip.fragment = fragment;
        let packet = message.build();
        let (verdict, after) = echoed::<V4>(&packet, 14, 34);
        assert_eq!((verdict, after), (Verdict::pass(Outcome::NotBalanced), packet));
    }
}

#[test]
fn what_is_no_request_of_ipv6_passes() {
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 2]);
    let mut own = [0; 16];
    own[15] = 1;
    left_alone::<V6>(&[group, own, [0; 16]]);
    // The same bytes behind an extension header: a fragment's, for example.
    let packet = with_byte(&request::<V6>(b"payload").build(), 20, 44);
    assert_eq!(echoed::<V6>(&packet, 14, 54).0, Verdict::pass(Outcome::NotBalanced));
}
