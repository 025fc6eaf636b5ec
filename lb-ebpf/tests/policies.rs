//! Which traffic a Service takes, and where it may go.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use lb_common::{
    AffinityKey, BackendFlags, FlowFlags, Frontend, FrontendFlags as Flags, FrontendKey, Outcome, Run,
    SettingsFlags, SourceKey, protocol,
};
use lb_ebpf::headers::TcpFlags;
use lb_ebpf::memory::{BufferPacket, Segment};
use lb_ebpf::{Action, V4, V6, Verdict};

use crate::support::*;

/// A Service with a remote and a local backend: slot 0 and 1 for traffic from inside, slot 1 alone from outside.
fn node<F: Net>(protocol: u8, flags: u32) -> Node {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1), (LOCAL, 1)]);
    let tables = F::tables(&mut node.maps);
    for frontend in tables.frontends.values_mut() {
        frontend.inside = Run { start: 0, length: 2 };
        frontend.outside = Run { start: 1, length: 1 };
        frontend.flags = flags;
    }
    tables.backends[1].flags |= BackendFlags::IN_CLUSTER;
    tables.backends[2].flags |= BackendFlags::IN_CLUSTER | BackendFlags::IN_LOCAL;
    node
}

fn send<F: Net>(node: &mut Node, protocol: u8, client: (u16, u16)) -> (Verdict, BufferPacket) {
    let mut packet = segment::<F>(protocol, client).with_flags(TcpFlags::SYN).build();
    let verdict = node.ingress(&mut packet);
    (verdict, packet)
}

fn empty<F: Net>(node: &mut Node) {
    F::tables(&mut node.maps)
        .frontends
        .values_mut()
        .for_each(|frontend| (frontend.inside, frontend.outside) = (Run::default(), Run::default()));
}

fn inside_and_outside_have_their_own_endpoints<F: Net>(protocol: u8) {
    let mut node = node::<F>(protocol, Flags::OUTSIDE_LOCAL);
    let outcomes = |node: &mut Node| -> Vec<Outcome> {
        (0..50).map(|port| send::<F>(node, protocol, (1, 1000 + port)).0.outcome()).collect()
    };
    assert!(outcomes(&mut node).iter().all(|outcome| *outcome == Outcome::Local));
    // The cluster's own pods on other nodes are inside, and yet their replies must come back here.
    let settings = node.maps.settings.as_mut().expect("settings");
    settings.flags |= SettingsFlags::CLUSTER_SOURCES;
    let pods = SourceKey { service: 0, address: F::address(CLIENTS, 0) };
    F::tables(&mut node.maps).sources.push((pods, if size_of::<F::Address>() == 4 { 16 } else { 64 }));
    F::tables(&mut node.maps).flows.clear();
    let seen = outcomes(&mut node);
    assert!(seen.contains(&Outcome::Redirected) && seen.contains(&Outcome::Local), "{seen:?}");
}
for_all!(inside_and_outside_have_their_own_endpoints);

fn a_workload_keeps_its_address_and_is_answered_at_egress<F: Net>(protocol: u8) {
    let mut node = node::<F>(protocol, 0);
    node.host.inside = true;
    for port in 1000..1020 {
        let (verdict, packet) = send::<F>(&mut node, protocol, (1, port));
        assert_eq!((verdict.action(), verdict.outcome()), (Action::Pass, Outcome::Local));
        assert_eq!(Seen::of(&packet).source, (F::ip(&F::address(CLIENTS, 1)), port));
        let mut answer = reply_to::<F>(&packet).build();
        assert_eq!(node.egress(&mut answer).outcome(), Outcome::Replied);
        let seen = Seen::of(&answer);
        assert_eq!(seen.source, (F::ip(&F::address(VIPS, 1)), PORT));
        assert_eq!(seen.destination, (F::ip(&F::address(CLIENTS, 1)), port));
    }
}
for_all!(a_workload_keeps_its_address_and_is_answered_at_egress);

/// A workload that selects itself would answer itself past the node: it must see somebody else.
fn a_workload_that_reaches_itself_sees_the_node<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(CLIENTS, 1)]);
    let tables = F::tables(&mut node.maps);
    tables.frontends.values_mut().for_each(|frontend| frontend.inside = frontend.outside);
    tables.backends[1].flags = BackendFlags::LOCAL;
    node.host.inside = true;
    let (verdict, packet) = send::<F>(&mut node, protocol, (1, 1000));
    assert_eq!(verdict.outcome(), Outcome::Transmitted);
    let seen = Seen::of(&packet);
    assert_eq!(seen.source.0, F::ip(&F::address(NODE, 1)));
    assert_eq!(seen.destination, (F::ip(&F::address(CLIENTS, 1)), 8080));
    let mut answer = reply_to::<F>(&packet).build();
    assert_eq!(node.ingress(&mut answer).outcome(), Outcome::Transmitted);
    let seen = Seen::of(&answer);
    assert_eq!(seen.source, (F::ip(&F::address(VIPS, 1)), PORT));
    assert_eq!(seen.destination, (F::ip(&F::address(CLIENTS, 1)), 1000));
}
for_all!(a_workload_that_reaches_itself_sees_the_node);

/// (flags, from inside, without endpoints): what becomes of a first packet.
fn policy_table<F: Net>(protocol: u8) {
    let cases = [
        (0, false, false, Outcome::Local),
        (Flags::INSIDE_ONLY, false, false, Outcome::FromOutside),
        (Flags::INSIDE_ONLY, true, false, Outcome::Local),
        (0, false, true, Outcome::NoBackend),
        (0, true, true, Outcome::NoBackend),
        (Flags::OUTSIDE_DROPS, false, true, Outcome::NoLocalBackend),
        (Flags::OUTSIDE_DROPS, true, true, Outcome::NoBackend),
        (Flags::INSIDE_DROPS, true, true, Outcome::NoLocalBackend),
        (Flags::INSIDE_DROPS, false, true, Outcome::NoBackend),
        (Flags::SOURCE_RANGES, false, false, Outcome::SourceRefused),
        (Flags::SOURCE_RANGES, true, false, Outcome::SourceRefused),
        (Flags::SOURCE_RANGES, false, true, Outcome::SourceRefused),
    ];
    for (flags, inside, without, outcome) in cases {
        let mut node = node::<F>(protocol, flags);
        node.host.inside = inside;
        // Without answers, what is rejected is dropped as it came.
        node.host.answers = 0;
        if without {
            empty::<F>(&mut node);
        }
        let original = segment::<F>(protocol, (1, 1)).with_flags(TcpFlags::SYN).build();
        let (verdict, packet) = send::<F>(&mut node, protocol, (1, 1));
        let action = if outcome == Outcome::Local { Action::Pass } else { Action::Drop };
        assert_eq!((verdict.action(), verdict.outcome()), (action, outcome), "{flags} {inside} {without}");
        assert_eq!(packet == original, action == Action::Drop);
        assert_eq!(F::tables(&mut node.maps).flows.is_empty(), action == Action::Drop);
    }
}
for_all!(policy_table);

fn sources_are_matched_by_their_prefix<F: Net>(protocol: u8) {
    let width = size_of::<F::Address>() as u32 * 8;
    let mut node = node::<F>(protocol, Flags::SOURCE_RANGES);
    F::tables(&mut node.maps).sources =
        vec![(SourceKey { service: 1, address: F::address(CLIENTS, 8) }, width - 2)];
    for (host, allowed) in [(7, false), (8, true), (11, true), (12, false)] {
        let (verdict, _) = send::<F>(&mut node, protocol, (host, 1));
        assert_eq!(verdict.outcome() != Outcome::SourceRefused, allowed, "{host}");
    }
    // A prefix of length zero allows all, and another Service's nobody.
    F::tables(&mut node.maps).sources = vec![(SourceKey { service: 1, address: F::address(9, 9) }, 0)];
    assert_eq!(send::<F>(&mut node, protocol, (7, 1)).0.outcome(), Outcome::Local);
    F::tables(&mut node.maps).sources = vec![(SourceKey { service: 2, address: F::address(9, 9) }, 0)];
    assert_eq!(send::<F>(&mut node, protocol, (6, 1)).0.outcome(), Outcome::SourceRefused);
}
for_all!(sources_are_matched_by_their_prefix);

/// A flow that was allowed goes on when the ranges change: they are asked for new flows only.
fn ranges_concern_new_flows<F: Net>(protocol: u8) {
    let mut node = node::<F>(protocol, 0);
    send::<F>(&mut node, protocol, (1, 1));
    F::tables(&mut node.maps)
        .frontends
        .values_mut()
        .for_each(|frontend| frontend.flags = Flags::SOURCE_RANGES);
    let mut packet = segment::<F>(protocol, (1, 1)).build();
    assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Local);
    assert_eq!(send::<F>(&mut node, protocol, (1, 2)).0.outcome(), Outcome::SourceRefused);
}
for_all!(ranges_concern_new_flows);

fn an_unused_port_of_a_virtual_ip_is_rejected<F: Net>(protocol: u8) {
    let mut node = node::<F>(protocol, 0);
    node.host.answers = 0;
    let address = Frontend { service: 1, flags: Flags::ADDRESS, ..Frontend::default() };
    F::tables(&mut node.maps).frontends.insert(FrontendKey::new(F::address(VIPS, 1), 0, 0), address);
    for other in [protocol::TCP, protocol::UDP, protocol::SCTP] {
        let mut unused = segment::<F>(protocol, (1, 1));
        unused.key.destination_port = [0, 81];
        unused.key.protocol = other;
        unused.payload = vec![0; 64];
        let verdict = node.ingress(&mut unused.build());
        assert_eq!((verdict.action(), verdict.outcome()), (Action::Drop, Outcome::UnusedPort));
    }
    assert_eq!(send::<F>(&mut node, protocol, (1, 1)).0.outcome(), Outcome::Local);
}
for_all!(an_unused_port_of_a_virtual_ip_is_rejected);

/// A node whose Service keeps clients for ten seconds.
fn with_affinity<F: Net>(protocol: u8) -> Node {
    let backends: Vec<_> = (1..=20).map(|host| (REMOTE, host)).collect();
    let mut node = Node::new().with_service::<F>(1, protocol, &backends);
    let tables = F::tables(&mut node.maps);
    tables.frontends.values_mut().for_each(|frontend| frontend.affinity_timeout_s = 10);
    tables.backends.iter_mut().for_each(|backend| backend.flags = BackendFlags::IN_CLUSTER);
    node
}

fn a_client_stays_with_its_backend<F: Net>(protocol: u8) {
    let mut node = with_affinity::<F>(protocol);
    let to = |node: &mut Node, client| Seen::of(&send::<F>(node, protocol, client).1).destination;
    let first = to(&mut node, (1, 1000));
    for port in 0..30 {
        // Each new flow begins the time anew.
        node.host.now_s += 5;
        assert_eq!(to(&mut node, (1, 2000 + port)), first);
    }
    let others: std::collections::BTreeSet<_> = (2..40).map(|host| to(&mut node, (host, 1000))).collect();
    assert!(others.len() > 5, "{others:?}");
    node.host.now_s += 11;
    let again: std::collections::BTreeSet<_> = (0..8)
        .map(|port| {
            node.host.now_s += 11;
            to(&mut node, (1, 3000 + port))
        })
        .collect();
    assert!(again.len() > 1, "the time is over, and yet {again:?}");
}
for_all!(a_client_stays_with_its_backend);

/// What ends a client's affinity: the endpoint goes, drains, or leaves the endpoints that the policy allows.
fn affinity_ends_with_its_backend<F: Net>(protocol: u8) {
    for change in 0..3 {
        let mut node = with_affinity::<F>(protocol);
        send::<F>(&mut node, protocol, (1, 1000));
        let key = AffinityKey { client: F::address(CLIENTS, 1), service: 1 };
        let kept = F::tables(&mut node.maps).affinity[&key];
        let backend = &mut F::tables(&mut node.maps).backends[kept.backend as usize];
        match change {
            0 => backend.generation += 1,
            1 => backend.flags = 0,
            _ => backend.flags = BackendFlags::IN_LOCAL,
        }
        let moved = (0..20).any(|port| {
            let (_, packet) = send::<F>(&mut node, protocol, (1, 2000 + port));
            let now = F::tables(&mut node.maps).affinity[&key];
            let destination = Seen::of(&packet).destination.0;
            let chosen = F::tables(&mut node.maps).backends[now.backend as usize].address;
            assert_eq!(destination, F::ip(&chosen));
            now.backend != kept.backend || now.generation != kept.generation
        });
        assert!(moved, "change {change}");
    }
}
for_all!(affinity_ends_with_its_backend);

fn figures_count_packets_of_both_directions<F: Net>(protocol: u8) {
    let mut node = Node::new().with_service::<F>(1, protocol, &[(REMOTE, 1)]);
    let (_, packet) = send::<F>(&mut node, protocol, (1, 1));
    send::<F>(&mut node, protocol, (1, 1));
    let mut answer = reply_to::<F>(&packet).build();
    node.ingress(&mut answer);
    let stats = node.maps.stats[&1];
    let ip_bytes = |packet: &BufferPacket| packet.bytes().len() as u64 - 14;
    assert_eq!((stats.packets, stats.bytes), (2, 2 * ip_bytes(&packet)));
    assert_eq!((stats.reply_packets, stats.reply_bytes), (1, ip_bytes(&answer)));
    assert_eq!(stats.new_flows, 1);
}
for_all!(figures_count_packets_of_both_directions);

/// An SCTP packet of one chunk. Its checksum covers no address, so it must arrive as it was sent.
fn sctp<F: Net>(port: u16, chunk: u8) -> Segment<F> {
    let mut payload = vec![0; 24];
    payload[0] = chunk;
    // The builder's UDP header is eight bytes; what follows the ports is SCTP's from here on.
    Segment { no_checksum: true, ..Segment::new(key::<F>(protocol::UDP, (1, port), 1), &payload) }
}

fn as_sctp<F: Net>(segment: &Segment<F>) -> BufferPacket {
    let mut bytes = segment.build().bytes().to_vec();
    if size_of::<F::Address>() == 4 {
        bytes[23] = protocol::SCTP;
        // One's complement of the header changes by the difference of the protocols.
        let sum = u16::from_be_bytes([bytes[24], bytes[25]]);
        let (sum, borrow) = sum.overflowing_sub(u16::from(protocol::SCTP - protocol::UDP));
        bytes[24..26].copy_from_slice(&(sum - u16::from(borrow)).to_be_bytes());
    } else {
        bytes[20] = protocol::SCTP;
    }
    // Verification tag, checksum, chunk.
    let l4 = if size_of::<F::Address>() == 4 { 34 } else { 54 };
    bytes[l4 + 4..l4 + 12].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    bytes[l4 + 12] = segment.payload[0];
    BufferPacket::new(&bytes)
}

fn sctp_case<F: Net>() {
    let mut node = Node::new().with_service::<F>(1, protocol::SCTP, &[(REMOTE, 1)]);
    let l4 = if size_of::<F::Address>() == 4 { 34 } else { 54 };
    let original = as_sctp(&sctp::<F>(1000, 1));
    assert_eq!(node.ingress(&mut original.clone()).outcome(), Outcome::SctpPorts, "8080 is not 80");
    F::tables(&mut node.maps).backends[1].port = PORT.to_be_bytes();
    let mut packet = original.clone();
    assert_eq!(node.ingress(&mut packet).outcome(), Outcome::Redirected);
    assert_eq!(packet.bytes()[l4..], original.bytes()[l4..]);
    assert_eq!(addresses(&packet), (F::ip(&F::address(NODE, 1)), F::ip(&F::address(REMOTE, 1))));
    let mut answer = packet.turned().expect("whole");
    assert_eq!(node.ingress(&mut answer).outcome(), Outcome::Transmitted);
    assert_eq!(addresses(&answer), (F::ip(&F::address(VIPS, 1)), F::ip(&F::address(CLIENTS, 1))));
    // The port cannot be changed, so a second client of the same port finds it taken.
    let mut second = sctp::<F>(1000, 1);
    second.key.source = F::address(CLIENTS, 2);
    assert_eq!(node.ingress(&mut as_sctp(&second)).outcome(), Outcome::PortsExhausted);
    // An ABORT ends the association, after which it is free.
    assert_eq!(node.ingress(&mut as_sctp(&sctp::<F>(1000, 6))).outcome(), Outcome::Redirected);
    node.host.now_s += 11;
    assert_eq!(node.ingress(&mut as_sctp(&second)).outcome(), Outcome::Redirected);
    let forward =
        F::tables(&mut node.maps).flows.values().filter(|flow| flow.flags & FlowFlags::FORWARD != 0);
    assert_eq!(forward.count(), 1, "the first association gave way");
}

#[test]
fn sctp_changes_addresses_only() {
    sctp_case::<V4>();
    sctp_case::<V6>();
}
