//! What leaves the engine by which outcome; whatever is not translated is not touched.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use lb_common::{Frontend, Outcome};
use lb_ebpf::headers::ETHERNET_BYTES;
use lb_ebpf::icmp::IcmpFamily;
use lb_ebpf::memory::{BufferPacket, Segment, TableHost};
use lb_ebpf::{Action, Route, Scratch, V4, V6, Verdict, ingress};

use crate::support::*;

/// The verdict on a packet that must leave as it came.
fn untouched(node: &mut Node, packet: &BufferPacket) -> (Action, Outcome) {
    let mut after = packet.clone();
    let verdict = node.ingress(&mut after);
    assert_eq!(&after, packet, "{verdict:?}");
    (verdict.action(), verdict.outcome())
}

fn node<F: Net>(protocol: u8) -> Node {
    Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)])
}

fn at_hop_limit_one_a_packet_ends_here<F: Net + IcmpFamily>(protocol: u8) {
    for (hop_limit, expected) in [(0, true), (1, true), (2, false)] {
        let segment = Segment::<F> { hop_limit, ..segment(protocol, (1, 1)) };
        let mut packet = segment.build();
        let verdict = node::<F>(protocol).ingress(&mut packet);
        assert_eq!(verdict == Verdict::new(Action::Transmit, Outcome::HopLimit, INGRESS), expected);
        if expected {
            let answer = SeenMessage::of(&packet);
            assert_eq!((answer.kind, answer.code), if F::PROTOCOL == 1 { (11, 0) } else { (3, 0) });
        }
    }
    // A local backend is not another hop for weir: the kernel forwards, and counts.
    let mut node = Node::new().with_service::<F>(1, protocol, &[(LOCAL, 1)]);
    let mut packet = Segment::<F> { hop_limit: 1, ..segment(protocol, (1, 1)) }.build();
    assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Local);
    assert_eq!(Seen::of(&packet).hop_limit, 1);
}
for_all!(at_hop_limit_one_a_packet_ends_here);

fn a_service_is_an_address_a_port_and_a_protocol<F: Net>(protocol: u8) {
    let mut node = node::<F>(protocol);
    let mut strangers = vec![segment::<F>(protocol, (1, 1)); 3];
    strangers[0].key.destination = F::address(VIPS, 2);
    strangers[1].key.destination_port = [0, 81];
    strangers[2].key.protocol = 6 + 17 - protocol;
    for stranger in strangers {
        assert_eq!(untouched(&mut node, &stranger.build()), (Action::Pass, Outcome::NotOurs));
    }
    assert!(F::tables(&mut node.maps).flows.is_empty());
}
for_all!(a_service_is_an_address_a_port_and_a_protocol);

fn a_service_without_backends_refuses<F: Net + IcmpFamily>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[]);
    node.host.answers = 1;
    let packet = segment::<F>(protocol, (1, 1)).build();
    let mut answer = packet.clone();
    assert_eq!(node.ingress(&mut answer), Verdict::new(Action::Transmit, Outcome::NoBackend, INGRESS));
    let answer = SeenMessage::of(&answer);
    assert_eq!((answer.kind, answer.code), if F::PROTOCOL == 1 { (3, 3) } else { (1, 4) });
    assert_eq!(untouched(&mut node, &packet), (Action::Drop, Outcome::NoBackend));
    assert!(F::tables(&mut node.maps).flows.is_empty());
}
for_all!(a_service_without_backends_refuses);

/// Slots that are beyond the arena, or name no backend, or one of another Service.
fn a_frontend_that_changes_under_the_packet_drops<F: Net>(protocol: u8) {
    for slot in [None, Some(0), Some(99), Some(2)] {
        let mut node = node::<F>(protocol).with_service::<F>(2, protocol, &[(REMOTE, 2)]);
        node.maps.slots.truncate(slot.iter().count());
        slot.iter().for_each(|id| node.maps.slots[0] = *id);
        let packet = segment::<F>(protocol, (1, 1)).build();
        assert_eq!(untouched(&mut node, &packet), (Action::Drop, Outcome::Changing), "{slot:?}");
    }
}
for_all!(a_frontend_that_changes_under_the_packet_drops);

fn the_way_out_decides<F: Net>(protocol: u8) {
    let neighbour = Route::Neighbour { ifindex: OTHER, source: SOURCE, destination: DESTINATION, mtu: 1500 };
    let unresolved = Route::Unresolved { ifindex: OTHER };
    // (route, mtu, verdict of the device hook, verdict of the tc hook)
    let cases = [
        (neighbour, 1500, (Action::Redirect, Outcome::Redirected), (Action::Resolve, Outcome::Resolved)),
        (unresolved, 1500, (Action::Pass, Outcome::Deferred), (Action::Resolve, Outcome::Resolved)),
        (neighbour, 30, (Action::Pass, Outcome::Deferred), (Action::Transmit, Outcome::TooBig)),
        (
            Route::ForwardingOff,
            30,
            (Action::Drop, Outcome::ForwardingOff),
            (Action::Drop, Outcome::ForwardingOff),
        ),
        (Route::Unreachable, 30, (Action::Drop, Outcome::NoRoute), (Action::Drop, Outcome::NoRoute)),
    ];
    for (route, mtu, device, tc) in cases {
        let mut node = node::<F>(protocol);
        for way in &mut node.host.ways {
            (way.route, way.mtu) = (route, mtu);
        }
        let mut resolving = TableHost::<true>::new(INGRESS, node.host.ways.clone());
        let original = segment::<F>(protocol, (1, 1)).build();
        let mut packet = original.clone();
        let verdict = node.ingress(&mut packet);
        assert_eq!((verdict.action(), verdict.outcome()), device);
        assert_eq!(packet != original, device.1 == Outcome::Redirected);
        let mut packet = original.clone();
        let verdict = ingress(&mut packet, &mut node.maps, &mut resolving, &mut Scratch::EMPTY.clone());
        assert_eq!((verdict.action(), verdict.outcome()), tc);
        assert_eq!(packet != original, tc.0 != Action::Drop);
    }
}
for_all!(the_way_out_decides);

#[test]
fn a_neighbour_on_the_device_of_arrival_is_transmitted() {
    let mut node = node::<V4>(17);
    for way in &mut node.host.ways {
        way.route =
            Route::Neighbour { ifindex: INGRESS, source: SOURCE, destination: DESTINATION, mtu: 1500 };
    }
    let verdict = node.ingress(&mut segment::<V4>(17, (1, 1)).build());
    assert_eq!((verdict.action(), verdict.outcome()), (Action::Transmit, Outcome::Transmitted));
}

/// From outside, a packet that looks like the reply of a local backend is a stranger's.
fn replies_of_local_backends_come_by_egress_only<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(LOCAL, 1)]);
    let mut packet = segment::<F>(protocol, (1, 1)).build();
    node.ingress(&mut packet);
    let answer = reply_to::<F>(&packet).build();
    assert_eq!(untouched(&mut node, &answer), (Action::Pass, Outcome::NotOurs));
    assert_eq!(node.egress(&mut answer.clone()).outcome(), Outcome::Replied);
    // And egress leaves the client's direction alone.
    let original = segment::<F>(protocol, (1, 1)).build();
    let mut packet = original.clone();
    assert_eq!(node.egress(&mut packet).outcome(), Outcome::NotOurs);
    assert_eq!(packet, original);
}
for_all!(replies_of_local_backends_come_by_egress_only);

/// Bytes of a valid packet that are changed: (name, protocol, changes, outcome).
type Case = (&'static str, u8, &'static [(usize, u8)], Outcome);

fn check_cases<F: Net>(cases: &[Case]) {
    for (name, protocol, changes, outcome) in cases {
        let mut bytes = segment::<F>(*protocol, (1, 1)).build().bytes().to_vec();
        changes.iter().for_each(|(offset, value)| bytes[*offset] = *value);
        let mut node = node::<F>(*protocol);
        assert_eq!(untouched(&mut node, &BufferPacket::new(&bytes)), (Action::Pass, *outcome), "{name}");
    }
}

#[test]
fn ipv4_headers() {
    const IP: usize = ETHERNET_BYTES;
    check_cases::<V4>(&[
        ("ARP", 6, &[(12, 0x08), (13, 0x06)], Outcome::NotIp),
        ("a VLAN tag of nothing known", 6, &[(12, 0x81), (13, 0x00)], Outcome::NotIp),
        ("version 6", 6, &[(IP, 0x65)], Outcome::Malformed),
        ("header of 16 bytes", 6, &[(IP, 0x44)], Outcome::Malformed),
        ("header of 0 bytes", 6, &[(IP, 0x40)], Outcome::Malformed),
        ("header longer than the packet", 17, &[(IP, 0x4f)], Outcome::Malformed),
        ("length shorter than the header", 6, &[(IP + 2, 0), (IP + 3, 19)], Outcome::Malformed),
        ("length that ends before the TCP header", 6, &[(IP + 2, 0), (IP + 3, 39)], Outcome::Malformed),
        ("length that ends before the UDP header", 17, &[(IP + 2, 0), (IP + 3, 27)], Outcome::Malformed),
        ("later fragment", 17, &[(IP + 6, 0x00), (IP + 7, 1)], Outcome::Fragment),
        ("ICMP", 6, &[(IP + 9, 1)], Outcome::NotBalanced),
        ("SCTP to no Service", 6, &[(IP + 9, 132)], Outcome::NotOurs),
        ("ESP", 6, &[(IP + 9, 50)], Outcome::NotBalanced),
        ("another machine's", 6, &[(5, 7)], Outcome::OtherHost),
    ]);
}

#[test]
fn ipv6_headers() {
    const IP: usize = ETHERNET_BYTES;
    check_cases::<V6>(&[
        ("version 4", 6, &[(IP, 0x40)], Outcome::Malformed),
        ("length that ends before the TCP header", 6, &[(IP + 4, 0), (IP + 5, 19)], Outcome::Malformed),
        ("length that ends before the UDP header", 17, &[(IP + 4, 0), (IP + 5, 7)], Outcome::Malformed),
        ("jumbogram", 17, &[(IP + 4, 0), (IP + 5, 0)], Outcome::Malformed),
        (
            "hop-by-hop options before nothing",
            6,
            &[(IP + 6, 0), (IP + 40, 59), (IP + 41, 0)],
            Outcome::NotBalanced,
        ),
        ("options beyond the packet", 6, &[(IP + 6, 60), (IP + 40, 60), (IP + 41, 9)], Outcome::Malformed),
        ("options beyond the bound", 6, &[(IP + 6, 60), (IP + 41, 30)], Outcome::ExtensionHeader),
        ("later fragment", 6, &[(IP + 6, 44), (IP + 43, 8)], Outcome::Fragment),
        ("ICMPv6", 6, &[(IP + 6, 58)], Outcome::NotBalanced),
        ("no next header", 6, &[(IP + 6, 59)], Outcome::NotBalanced),
    ]);
}

/// Every length shorter than the headers: nothing is read beyond the end, and nothing written.
fn a_truncated_packet_passes<F: Net>(protocol: u8) {
    for option_words in [0, 3, 10] {
        let whole = Segment::<F> { option_words, payload: Vec::new(), ..segment(protocol, (1, 1)) }.build();
        for length in 0..whole.bytes().len() {
            let packet = BufferPacket::new(&whole.bytes()[..length]);
            let mut node = node::<F>(protocol);
            assert_eq!(untouched(&mut node, &packet), (Action::Pass, Outcome::Malformed), "{length}");
            let mut after = packet.clone();
            node.egress(&mut after);
            assert_eq!(after, packet);
        }
    }
}
for_all!(a_truncated_packet_passes);

#[test]
fn a_dropped_frontend_keeps_its_connections() {
    let mut node = node::<V4>(6);
    let packet = || segment::<V4>(6, (1, 1)).build();
    node.ingress(&mut packet());
    node.maps.v4.frontends.values_mut().for_each(|frontend| *frontend = Frontend::default());
    node.maps.v4.frontends.clear();
    assert_eq!(node.ingress(&mut packet()).outcome(), Outcome::Redirected);
}
