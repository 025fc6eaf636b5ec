//! The order of the steps, for packets that come in and for replies that go out.

use lb_common::{Address, Backend, Flow, FlowFlags, Outcome};

use crate::flow::established;
use crate::forward::{done, forward};
use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use crate::parse::{Parsed, parse};
use crate::record::record;
use crate::rewrite::rewrite;
use crate::select::{Selection, frontend_key, select};
use crate::{Family, Host, Maps, Packet, V4, V6, Verdict};

/// A packet that arrives at the node on one of its devices.
#[inline(always)]
pub fn ingress<P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    P: Packet,
    M: Maps<V4> + Maps<V6>,
    H: Host<V4> + Host<V6>,
{
    match packet.header::<Ethernet>(0).map(|ethernet| ethernet.ethertype) {
        Some(ETHERTYPE_IPV4) => ingress_ip::<V4, P, M, H>(packet, maps, host),
        Some(ETHERTYPE_IPV6) => ingress_ip::<V6, P, M, H>(packet, maps, host),
        Some(_) => Verdict::pass(Outcome::NotIp),
        None => Verdict::pass(Outcome::Malformed),
    }
}

/// A packet that leaves the node by one of its devices: perhaps the reply of a local backend.
#[inline(always)]
pub fn egress<P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    P: Packet,
    M: Maps<V4> + Maps<V6>,
    H: Host<V4> + Host<V6>,
{
    match packet.header::<Ethernet>(0).map(|ethernet| ethernet.ethertype) {
        Some(ETHERTYPE_IPV4) => egress_ip::<V4, P, M, H>(packet, maps, host),
        Some(ETHERTYPE_IPV6) => egress_ip::<V6, P, M, H>(packet, maps, host),
        Some(_) => Verdict::pass(Outcome::NotIp),
        None => Verdict::pass(Outcome::Malformed),
    }
}

/// Two functions, because a packet of a known flow shall neither pay calls nor leave stack unused for what only the
/// first packet of a flow needs. The first packet is parsed twice for it.
#[inline(always)]
fn ingress_ip<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    F: Family,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    match known::<F, P, M, H>(packet, maps, host) {
        Verdict::FIRST => first::<F, P, M, H>(packet, maps, host),
        verdict => verdict,
    }
}

/// The whole way of a packet of a known flow, and of one for no Service; [`Verdict::FIRST`] for any other.
///
/// Not inlined: the two families would not share their stack.
#[inline(never)]
fn known<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    F: Family,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let (mut parsed, mut flow) = (Parsed::<F>::EMPTY, Flow::EMPTY);
    if let Err(outcome) = parse(packet, &mut parsed) {
        return Verdict::pass(outcome);
    }
    if !established::<F, M, H>(&parsed, maps, host, &mut flow) {
        return match maps.frontend(&frontend_key(&parsed.key)) {
            Some(_) => Verdict::FIRST,
            None => Verdict::pass(Outcome::NotOurs),
        };
    }
    if is_local_reply(&flow) {
        // Replies of local backends leave by the node's egress; from outside such a packet is a stranger's.
        return Verdict::pass(Outcome::NotOurs);
    }
    forward::<F, P, H>(packet, &parsed, &flow, host)
}

/// The way of the first packet of a flow. Not inlined, as `known`.
#[inline(never)]
fn first<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    F: Family,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let (mut parsed, mut flow) = (Parsed::<F>::EMPTY, Flow::EMPTY);
    if let Err(outcome) = parse(packet, &mut parsed) {
        return Verdict::pass(outcome);
    }
    match new_flow::<F, M, H>(&parsed, maps, host, &mut flow) {
        Ok(()) => forward_first::<F, P, H>(packet, &parsed, &flow, host),
        Err(Outcome::NotOurs) => Verdict::pass(Outcome::NotOurs),
        Err(outcome) => Verdict::drop(outcome),
    }
}

/// Selects a backend and records the flow. Not inlined: forwarding needs the same stack.
#[inline(never)]
fn new_flow<F, M, H>(
    parsed: &Parsed<F>,
    maps: &mut M,
    host: &mut H,
    flow: &mut Flow<F::Address>,
) -> Result<(), Outcome>
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let mut selection = Selection { id: 0, backend: Backend::FREE };
    select::<F, M>(&parsed.key, maps, &mut selection)?;
    // A late RST must not make a flow: it would hold a port for a connection that no longer is.
    if parsed.resets() {
        return Err(Outcome::ResetWithoutFlow);
    }
    record::<F, M, H>(parsed, &selection, maps, host, flow)
}

/// [`forward`] for the first packet. Not inlined, as `new_flow`.
#[inline(never)]
fn forward_first<F, P, H>(
    packet: &mut P,
    parsed: &Parsed<F>,
    flow: &Flow<F::Address>,
    host: &mut H,
) -> Verdict
where
    F: Family,
    P: Packet,
    H: Host<F>,
{
    forward::<F, P, H>(packet, parsed, flow, host)
}

/// Not inlined, as `known`.
#[inline(never)]
fn egress_ip<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H) -> Verdict
where
    F: Family,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let (mut parsed, mut flow) = (Parsed::<F>::EMPTY, Flow::EMPTY);
    if let Err(outcome) = parse(packet, &mut parsed) {
        return Verdict::pass(outcome);
    }
    if established::<F, M, H>(&parsed, maps, host, &mut flow) && is_local_reply(&flow) {
        done(rewrite(packet, &parsed, &flow, 0), Verdict::pass(Outcome::Replied))
    } else {
        Verdict::pass(Outcome::NotOurs)
    }
}

#[inline(always)]
fn is_local_reply<A: Address>(flow: &Flow<A>) -> bool {
    flow.flags & (FlowFlags::LOCAL | FlowFlags::FORWARD) == FlowFlags::LOCAL
}
