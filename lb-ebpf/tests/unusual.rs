//! Tags, extension headers and fragments.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use lb_common::{Frontend, FrontendFlags, FrontendKey, Outcome};
use lb_ebpf::memory::{BufferPacket, InMemory as _, Segment};
use lb_ebpf::{Action, V4, V6};

use crate::support::*;

const VLAN: [u8; 2] = [0x81, 0x00];
const QINQ: [u8; 2] = [0x88, 0xa8];

fn local<F: Net>(protocol: u8) -> Node {
    Node::new().with_service::<F>(1, protocol, &[(LOCAL, 1)])
}

fn remote<F: Net>(protocol: u8) -> Node {
    Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)])
}

/// A tagged packet becomes what the same packet without tags becomes, with its tags.
fn tags_stay<F: Net>(protocol: u8) {
    for tags in [&[VLAN][..], &[QINQ, VLAN], &[VLAN, VLAN]] {
        let mut plain = segment::<F>(protocol, (1, 1)).build();
        let mut with = tagged(&plain, tags);
        assert_eq!(local::<F>(protocol).ingress(&mut plain).outcome(), Outcome::Local);
        assert_eq!(local::<F>(protocol).ingress(&mut with).outcome(), Outcome::Local);
        assert_eq!(with, tagged(&plain, tags), "{tags:?}");
    }
}
for_all!(tags_stay);

/// Where the packet would leave by a device, the device of the tag is the one to send it.
fn a_tagged_packet_to_another_node_is_left_to_the_device_of_the_tag<F: Net>(protocol: u8) {
    let mut node = remote::<F>(protocol);
    let original = tagged(&segment::<F>(protocol, (1, 1)).build(), &[VLAN]);
    let mut packet = original.clone();
    let verdict = node.ingress(&mut packet);
    assert_eq!((verdict.action(), verdict.outcome()), (Action::Pass, Outcome::Deferred));
    assert_eq!(packet, original);
}
for_all!(a_tagged_packet_to_another_node_is_left_to_the_device_of_the_tag);

fn three_tags_are_too_many<F: Net>(protocol: u8) {
    let original = tagged(&segment::<F>(protocol, (1, 1)).build(), &[QINQ, VLAN, VLAN]);
    let mut packet = original.clone();
    assert_eq!(local::<F>(protocol).ingress(&mut packet).outcome(), Outcome::NotIp);
    assert_eq!(packet, original);
}
for_all!(three_tags_are_too_many);

/// Hop-by-hop options, routing header, destination options, authentication header.
#[test]
fn extension_headers_are_walked() {
    let options: &[u8] = &[1, 4, 0, 0, 0, 0];
    let long: &[u8] = &[0; 30];
    for protocol in [6, 17] {
        for headers in [
            &[(0, options)][..],
            &[(0, options), (43, options), (60, long)],
            &[(60, options), (60, options), (60, options), (60, options), (60, options), (60, options)],
        ] {
            let plain = segment::<V6>(protocol, (1, 1)).build();
            let mut packet = extended(&plain, headers);
            assert_eq!(remote::<V6>(protocol).ingress(&mut packet).outcome(), Outcome::Redirected);
            // The judge walks extension headers and proves every checksum.
            let seen = Seen::of(&packet);
            assert_eq!(seen.destination, (V6::ip(&V6::address(REMOTE, 1)), 8080));
            assert_eq!(seen.source.0, V6::ip(&V6::address(NODE, 1)));
            let mut node = local::<V6>(protocol);
            let mut packet = extended(&plain, headers);
            node.ingress(&mut packet);
            let mut answer = extended(&reply_to::<V6>(&packet).build(), headers);
            assert_eq!(node.egress(&mut answer).outcome(), Outcome::Replied);
            assert_eq!(Seen::of(&answer).source, (V6::ip(&V6::address(VIPS, 1)), PORT));
        }
    }
}

#[test]
fn the_walk_has_a_bound() {
    let options: &[u8] = &[1, 4, 0, 0, 0, 0];
    let plain = segment::<V6>(6, (1, 1)).build();
    for headers in [vec![(60, options); 7], vec![(60, &[0; 190][..])]] {
        let original = extended(&plain, &headers);
        let mut packet = original.clone();
        assert_eq!(remote::<V6>(6).ingress(&mut packet).outcome(), Outcome::ExtensionHeader);
        assert_eq!(packet, original);
    }
}

/// Puts two translated fragments together again.
fn together(parts: &[BufferPacket; 2]) -> BufferPacket {
    let (header, ip) = if parts[0].bytes()[12] == 0x08 { (34, 34) } else { (54, 62) };
    let mut bytes = parts[0].bytes()[..header].to_vec();
    for part in parts {
        bytes.extend(&part.bytes()[ip..]);
    }
    let content = (bytes.len() - header) as u16;
    if header == 34 {
        // The header of the whole is the one that was cut up: only the judge's sums matter.
        bytes[16..18].copy_from_slice(&(content + 20).to_be_bytes());
        bytes[20..22].copy_from_slice(&[0, 0]);
        bytes[24..26].copy_from_slice(&[0, 0]);
        let sum = bytes[14..34]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        bytes[20] = parts[0].bytes()[54];
        bytes[18..20].copy_from_slice(&content.to_be_bytes());
    }
    BufferPacket::new(&bytes)
}

fn a_datagram<F: Net>(protocol: u8) -> Segment<F> {
    Segment { payload: (0..200).collect(), ..segment::<F>(protocol, (1, 1)) }
}

fn fragments_follow_the_first<F: Net>(protocol: u8) {
    let mut node = remote::<F>(protocol);
    let mut parts = fragments(&a_datagram::<F>(protocol).build(), 64);
    for part in &mut parts {
        assert_eq!(node.ingress(part).outcome(), Outcome::Redirected);
    }
    let seen = Seen::of(&together(&parts));
    assert_eq!(seen.destination, (F::ip(&F::address(REMOTE, 1)), 8080));
    assert_eq!(seen.payload, a_datagram::<F>(protocol).payload);
    // And so does the answer in fragments.
    let whole = together(&parts);
    let mut reply = reply_to::<F>(&whole);
    reply.payload = (0..200).rev().collect();
    let mut answers = fragments(&reply.build(), 64);
    for part in &mut answers {
        assert_eq!(node.ingress(part).outcome(), Outcome::Transmitted);
    }
    let seen = Seen::of(&together(&answers));
    assert_eq!(seen.source, (F::ip(&F::address(VIPS, 1)), PORT));
    assert_eq!(seen.payload, reply.payload);
}
for_all!(fragments_follow_the_first);

fn fragments_of_local_replies_are_translated_at_egress<F: Net>(protocol: u8) {
    let mut node = local::<F>(protocol);
    let mut parts = fragments(&a_datagram::<F>(protocol).build(), 64);
    for part in &mut parts {
        assert_eq!(node.ingress(part).outcome(), Outcome::Local);
    }
    let mut reply = reply_to::<F>(&together(&parts));
    reply.payload = (0..200).rev().collect();
    let mut answers = fragments(&reply.build(), 64);
    for part in &mut answers {
        assert_eq!(node.egress(part).outcome(), Outcome::Replied);
    }
    assert_eq!(Seen::of(&together(&answers)).source, (F::ip(&F::address(VIPS, 1)), PORT));
}
for_all!(fragments_of_local_replies_are_translated_at_egress);

/// A later fragment that comes first is nobody's: to a virtual IP it is dropped, else it passes; never misdirected.
fn a_fragment_before_the_first_misdirects_nothing<F: Net>(protocol: u8) {
    for is_virtual in [true, false] {
        let mut node = remote::<F>(protocol);
        if is_virtual {
            let address = Frontend { service: 1, flags: FrontendFlags::ADDRESS, ..Frontend::default() };
            F::tables(&mut node.maps).frontends.insert(FrontendKey::new(F::address(VIPS, 1), 0, 0), address);
        }
        let [first, later] = fragments(&a_datagram::<F>(protocol).build(), 64);
        let mut early = later.clone();
        let verdict = node.ingress(&mut early);
        let expected = if is_virtual {
            (Action::Drop, Outcome::FragmentUnknown)
        } else {
            (Action::Pass, Outcome::Fragment)
        };
        assert_eq!((verdict.action(), verdict.outcome()), expected);
        assert_eq!(early, later);
        assert_eq!(node.ingress(&mut first.clone()).outcome(), Outcome::Redirected);
        assert_eq!(node.ingress(&mut later.clone()).outcome(), Outcome::Redirected);
        // Another datagram of the same flow, and the same number much later.
        node.host.now_s += 31;
        assert_ne!(node.ingress(&mut later.clone()).outcome(), Outcome::Redirected);
    }
}
for_all!(a_fragment_before_the_first_misdirects_nothing);

#[test]
fn a_lone_fragment_header_is_no_fragment() {
    // "Atomic" fragments, RFC 6946.
    let plain = segment::<V6>(17, (1, 1)).build();
    let mut packet = extended(&plain, &[(44, &[0, 0, 1, 2, 3, 4])]);
    let mut node = remote::<V6>(17);
    assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Redirected);
    assert!(node.maps.v6.fragments.is_empty());
    let mut plain = segment::<V4>(17, (1, 1)).build();
    assert_eq!(remote::<V4>(17).ingress(&mut plain).outcome(), Outcome::Redirected);
}

/// What another machine on the link is sent stays its own: fragments, tags, extension headers.
fn another_machines_packets_are_left_alone<F: Net>(protocol: u8) {
    let mut node = remote::<F>(protocol);
    let address = Frontend { service: 1, flags: FrontendFlags::ADDRESS, ..Frontend::default() };
    F::tables(&mut node.maps).frontends.insert(FrontendKey::new(F::address(VIPS, 1), 0, 0), address);
    let [first, later] = fragments(&a_datagram::<F>(protocol).build(), 64);
    let with_tag = tagged(&segment::<F>(protocol, (1, 1)).build(), &[VLAN]);
    for packet in [first, later, with_tag] {
        let mut bytes = packet.bytes().to_vec();
        bytes[5] ^= 0xff;
        let original = BufferPacket::new(&bytes);
        let mut packet = original.clone();
        let verdict = node.ingress(&mut packet);
        assert_eq!((verdict.action(), verdict.outcome()), (Action::Pass, Outcome::OtherHost));
        assert_eq!(packet, original);
    }
    assert!(F::tables(&mut node.maps).fragments.is_empty());
}
for_all!(another_machines_packets_are_left_alone);
