//! The order of the steps, for packets that come in and for replies that go out.

use lb_common::{Address, Flow, FlowFlags, Outcome};

use crate::flow::established;
use crate::forward::{done, forward};
use crate::headers::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet};
use crate::icmp::{IcmpFamily, answer};
use crate::parse::{link, parse};
use crate::record::record;
use crate::rewrite::rewrite;
use crate::select::select;
use crate::unusual::{self, unusual};
use crate::work::{Scratch, Work};
use crate::{Action, Host, Maps, Packet, V4, V6, Verdict};

/// A packet that arrives at the node: on one of its devices, or from a workload.
#[inline(always)]
pub fn ingress<P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, scratch: &mut Scratch) -> Verdict
where
    P: Packet,
    M: Maps<V4> + Maps<V6>,
    H: Host<V4> + Host<V6>,
{
    let Some((ethertype, l3)) = link(packet) else { return Verdict::pass(Outcome::Malformed) };
    match ethertype {
        ETHERTYPE_IPV4 => ingress_ip::<V4, P, M, H>(packet, l3, maps, host, &mut scratch.v4),
        ETHERTYPE_IPV6 => ingress_ip::<V6, P, M, H>(packet, l3, maps, host, &mut scratch.v6),
        _ => Verdict::pass(Outcome::NotIp),
    }
}

/// A packet that leaves the node: perhaps the reply to a client that kept its address.
#[inline(always)]
pub fn egress<P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, scratch: &mut Scratch) -> Verdict
where
    P: Packet,
    M: Maps<V4> + Maps<V6>,
    H: Host<V4> + Host<V6>,
{
    match packet.header::<Ethernet>(0).map(|ethernet| ethernet.ethertype) {
        Some(ETHERTYPE_IPV4) => egress_ip::<V4, P, M, H>(packet, maps, host, &mut scratch.v4),
        Some(ETHERTYPE_IPV6) => egress_ip::<V6, P, M, H>(packet, maps, host, &mut scratch.v6),
        Some(_) => Verdict::pass(Outcome::NotIp),
        None => Verdict::pass(Outcome::Malformed),
    }
}

/// Step by step, as far as each is needed. The functions that are not inlined share the stack that is left, one after the
/// other; and each is called in one place only, since the verifier walks it anew for every place.
#[inline(always)]
fn ingress_ip<F, P, M, H>(packet: &mut P, l3: u8, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    work.parsed.ip.l3 = l3;
    let mut verdict = Verdict::UNUSUAL;
    if usize::from(l3) == ETHERNET_BYTES {
        verdict = known::<F, P, M, H>(packet, maps, host, work);
    }
    if verdict == Verdict::UNUSUAL {
        verdict = unusual::<F, P, M, H>(packet, maps, host, work);
    }
    if verdict == Verdict::ICMP {
        verdict = unusual::icmp::<F, P, M, H>(packet, maps, host, work);
    }
    if verdict == Verdict::FIRST {
        verdict = first::<F, P, M, H>(packet, maps, host, work);
    }
    match verdict.action() {
        Action::Reject => answer::<F, P, H>(packet, work.parsed.ip.l3, host, verdict),
        Action::Pass | Action::Drop | Action::Transmit | Action::Redirect | Action::Resolve => verdict,
    }
}

/// The whole way of a packet of a known flow, and of one that certainly is for no Service; [`Verdict::FIRST`] for any
/// other, and [`Verdict::UNUSUAL`] for one that must be read more closely.
///
/// Not inlined: the two families would not share their stack.
#[inline(never)]
fn known<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    match parse(packet, &mut work.parsed) {
        Ok(true) => {}
        Ok(false) => return Verdict::UNUSUAL,
        Err(outcome) => return Verdict::pass(outcome),
    }
    pursue::<F, P, M, H>(packet, maps, host, work)
}

/// What [`known`] does with a packet that was read.
#[inline(always)]
pub(crate) fn pursue<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    if !maps.may_concern(&work.parsed.key) {
        return Verdict::pass(Outcome::NotOurs);
    }
    let destination = packet.header::<Ethernet>(0).map(|ethernet| ethernet.destination);
    if !destination.is_some_and(|destination| host.is_addressed(destination)) {
        return Verdict::pass(Outcome::OtherHost);
    }
    if !established::<F, M, H>(work, maps, host) {
        return Verdict::FIRST;
    }
    if is_local_reply(&work.flow) {
        // Such replies are translated on their way out; from outside such a packet is a stranger's.
        return Verdict::pass(Outcome::NotOurs);
    }
    let verdict = forward::<F, P, M, H>(packet, work, maps, host);
    account::<F, M>(work, maps, verdict);
    verdict
}

/// Adds a translated packet to the figures of its service.
#[inline(always)]
fn account<F: IcmpFamily, M: Maps<F>>(work: &Work<F>, maps: &mut M, verdict: Verdict) {
    if verdict.is_translated() {
        let reply = work.flow.flags & FlowFlags::FORWARD == 0;
        maps.account(work.flow.service, work.parsed.ip.length, reply);
    }
}

/// The way of the first packet of a flow, which was read. Not inlined, as `known`.
#[inline(never)]
fn first<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    match new_flow::<F, M, H>(work, maps, host) {
        Ok(()) => {}
        Err(outcome) => return refusal(outcome),
    }
    let verdict = forward_first::<F, P, M, H>(packet, maps, host, work);
    account::<F, M>(work, maps, verdict);
    verdict
}

/// What becomes of a packet for which there is no new flow.
#[inline(always)]
fn refusal(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::NotOurs => Verdict::pass(outcome),
        Outcome::NoBackend | Outcome::UnusedPort | Outcome::PortsExhausted | Outcome::FlowTableFull => {
            Verdict::reject(outcome)
        }
        _ => Verdict::drop(outcome),
    }
}

/// Selects a backend and records the flow. Not inlined: forwarding needs the same stack.
#[inline(never)]
fn new_flow<F, M, H>(work: &mut Work<F>, maps: &mut M, host: &mut H) -> Result<(), Outcome>
where
    F: IcmpFamily,
    M: Maps<F>,
    H: Host<F>,
{
    select::<F, M, H>(work, maps, host)?;
    // A late RST must not make a flow: it would hold a port for a connection that no longer is.
    if work.parsed.resets() {
        return Err(Outcome::ResetWithoutFlow);
    }
    record::<F, M, H>(work, maps, host)
}

/// [`forward`] for the first packet. Not inlined, as `new_flow`.
#[inline(never)]
fn forward_first<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    forward::<F, P, M, H>(packet, work, maps, host)
}

#[inline(always)]
fn egress_ip<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    match egress_known::<F, P, M, H>(packet, maps, host, work) {
        Verdict::UNUSUAL => match unusual::egress::<F, P, M, H>(packet, maps, host, work) {
            Verdict::ICMP => unusual::egress_icmp::<F, P, M, H>(packet, maps, host, work),
            verdict => verdict,
        },
        verdict => verdict,
    }
}

/// Not inlined, as `known`.
#[inline(never)]
fn egress_known<F, P, M, H>(packet: &mut P, maps: &mut M, host: &mut H, work: &mut Work<F>) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    match parse(packet, &mut work.parsed) {
        Ok(true) => translate_reply::<F, P, M, H>(packet, maps, host, work),
        Ok(false) => Verdict::UNUSUAL,
        Err(outcome) => Verdict::pass(outcome),
    }
}

/// Translates a packet that was read, when it is the reply to a client that kept its address.
#[inline(always)]
pub(crate) fn translate_reply<F, P, M, H>(
    packet: &mut P,
    maps: &mut M,
    host: &mut H,
    work: &mut Work<F>,
) -> Verdict
where
    F: IcmpFamily,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    if established::<F, M, H>(work, maps, host) && is_local_reply(&work.flow) {
        let rewritten = rewrite(packet, &work.parsed, &work.flow, 0);
        maps.account(work.flow.service, work.parsed.ip.length, true);
        done(rewritten, Verdict::pass(Outcome::Replied))
    } else {
        Verdict::pass(Outcome::NotOurs)
    }
}

#[inline(always)]
fn is_local_reply<A: Address>(flow: &Flow<A>) -> bool {
    flow.flags & (FlowFlags::LOCAL | FlowFlags::FORWARD) == FlowFlags::LOCAL
}
