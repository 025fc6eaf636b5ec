//! Runs the engine on maps in memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{Flow, FlowKey, FlowState, Outcome};
use lb_ebpf::lifetime::idle_s_max;
use lb_ebpf::memory::{MemoryMaps, TableHost, Way};
use lb_ebpf::{Route, Scratch, ingress};

use super::family::Family;
use super::packet::packet;
use super::world::World;
use super::{Origin, Question};

/// The device that the packet comes in by, and the one to which every way leads: the way out is not what is asked for.
const IN: u32 = 1;
const OUT: u32 = 2;

/// What a packet did to the maps.
pub(super) struct Run {
    /// Whether it was the first of a connection.
    pub(super) opens: bool,
    /// Why it left the engine.
    pub(super) outcome: Outcome,
    /// The maps as it left them.
    pub(super) after: MemoryMaps,
}

/// The question as the maps are asked. To a socket of the node loopback, which the unspecified address also means (RFC 1122
/// section 3.2.1.3), is the node itself, whose NodePorts are at the unspecified address if they are served there.
pub(super) fn looked_up(question: &Question, serves_loopback: bool) -> Question {
    let at = question.destination;
    let ip: IpAddr = match (at.ip(), serves_loopback) {
        (ip, _) if !is_this_node(question) => ip,
        (IpAddr::V4(_), true) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V4(_), false) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V6(_), true) => Ipv6Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), false) => Ipv6Addr::LOCALHOST.into(),
    };
    Question { destination: SocketAddr::new(ip, at.port()), ..*question }
}

/// Whether it is about a socket of the node that talks to the node itself.
pub(super) const fn is_this_node(question: &Question) -> bool {
    let ip = question.destination.ip();
    matches!(question.origin, Origin::Host) && (ip.is_loopback() || ip.is_unspecified())
}

/// The 5-tuple of a question, if its addresses are of this family.
pub(super) fn key<F: Family>(question: &Question) -> Option<FlowKey<F::Address>> {
    Some(FlowKey {
        source: F::address(question.source.ip())?,
        destination: F::address(question.destination.ip())?,
        source_port: question.source.port().to_be_bytes(),
        destination_port: question.destination.port().to_be_bytes(),
        protocol: question.protocol.number(),
        ..FlowKey::EMPTY
    })
}

/// Gives a packet to the engine: one from the middle of its flow where that is known, else the first of a connection.
pub(super) fn run<F: Family>(key: FlowKey<F::Address>, origin: Origin, world: &World) -> Run {
    let mut after = world.maps.clone();
    if let (Origin::Host, Some(settings)) = (origin, &mut after.settings) {
        // The kernel gives a socket its source: weir's own address does not count.
        (settings.snat4, settings.snat6) = (Ipv4Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets());
    }
    let known = F::tables(&mut after).flows.get(&key);
    let opens = known.is_none_or(|flow| {
        is_over::<F>(flow, key.protocol, world.now_s)
            || matches!(FlowState::from_u8(flow.state), FlowState::Closed | FlowState::Reset)
    });
    let route = Route::Neighbour { ifindex: OUT, source: [0; 6], destination: [0; 6], mtu: u16::MAX };
    let way = |prefix| Way { prefix, bits: 0, mtu: u16::MAX, route };
    let ways = vec![way(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), way(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
    let mut host = TableHost::<false>::new(IN, ways);
    host.now_s = world.now_s;
    // What the node itself sends meets the same policies as what its pods send.
    host.inside = matches!(origin, Origin::Pod | Origin::Host);
    let mut scratch = Scratch::EMPTY;
    let verdict = ingress(&mut packet::<F>(key, opens), &mut after, &mut host, &mut scratch);
    Run { opens, outcome: verdict.outcome(), after }
}

/// Whether a flow has been silent for too long.
pub(super) fn is_over<F: Family>(flow: &Flow<F::Address>, protocol: u8, now_s: u32) -> bool {
    now_s.saturating_sub(flow.last_seen_s) >= idle_s_max(protocol, FlowState::from_u8(flow.state))
}
