//! Last step: find the way out, and only then touch the packet.

use lb_common::{Flow, FlowFlags, Outcome};

use crate::headers::Ethernet;
use crate::parse::Parsed;
use crate::rewrite::rewrite;
use crate::work::Work;
use crate::{Action, Family, Host, Maps, Packet, Route, RouteQuery, Verdict};

/// Sends the packet on as its flow says.
#[inline(always)]
pub(crate) fn forward<F, P, M, H>(packet: &mut P, work: &mut Work<F>, maps: &mut M, host: &mut H) -> Verdict
where
    F: Family,
    P: Packet,
    M: Maps<F>,
    H: Host<F>,
{
    let Work { parsed, flow, .. } = work;
    if flow.flags & FlowFlags::LOCAL != 0 {
        // The kernel routes it, and lowers the hop limit there.
        return done(rewrite(packet, parsed, flow, 0), Verdict::pass(Outcome::Local));
    }
    if parsed.ip.hop_limit <= 1 {
        return Verdict::reject(Outcome::HopLimit);
    }
    // A way out depends on tags that a frame has, and would get others: the device of the tag sends it on.
    if parsed.is_tagged() {
        return Verdict::pass(Outcome::Deferred);
    }
    let route = way_out(parsed, flow, maps, host);
    match depart::<F, P, H>(packet, &route, host) {
        Ok(verdict) => done(rewrite(packet, parsed, flow, 1), verdict),
        Err(verdict) => verdict,
    }
}

/// The way out: the one that the flow has kept since the tick began, or a fresh look at the routing table.
#[inline(always)]
fn way_out<F, M, H>(parsed: &Parsed<F>, flow: &mut Flow<F::Address>, maps: &mut M, host: &mut H) -> Route
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    if flow.ifindex != 0
        && parsed.ip.length <= flow.mtu
        && let Some(source) = host.mac(flow.ifindex)
    {
        return Route::Neighbour {
            ifindex: flow.ifindex,
            source,
            destination: flow.neighbour,
            mtu: flow.mtu,
        };
    }
    let query = RouteQuery::<F> {
        flow,
        protocol: parsed.key.protocol,
        traffic_class: parsed.ip.traffic_class,
        length: parsed.ip.length,
    };
    let route = host.route(&query);
    if let Route::Neighbour { ifindex, destination, mtu, .. } = route
        && let Some(entry) = maps.flow(&parsed.key)
    {
        // Two CPUs may do so at once: they write the same, but for the moment in which the way changes. The device comes
        // last, since it says that there is a way.
        entry.neighbour = destination;
        entry.mtu = mtu;
        entry.ifindex = ifindex;
    }
    route
}

/// Writes the link header for a way out and gives the verdict; addresses and hop limit are the caller's to change.
/// `Err` for a packet that does not go that way, and is as it was.
#[inline(always)]
pub(crate) fn depart<F, P, H>(packet: &mut P, route: &Route, host: &mut H) -> Result<Verdict, Verdict>
where
    F: Family,
    P: Packet,
    H: Host<F>,
{
    match *route {
        Route::Neighbour { ifindex, source, destination, .. } => {
            let Some(ethernet) = packet.header::<Ethernet>(0) else {
                return Err(Verdict::pass(Outcome::Malformed));
            };
            ethernet.source = source;
            ethernet.destination = destination;
            Ok(if ifindex == host.ingress_ifindex() {
                Verdict::new(Action::Transmit, Outcome::Transmitted, ifindex)
            } else {
                Verdict::new(Action::Redirect, Outcome::Redirected, ifindex)
            })
        }
        Route::Unresolved { ifindex } if H::RESOLVES => {
            Ok(Verdict::new(Action::Resolve, Outcome::Resolved, ifindex))
        }
        Route::TooBig { mtu } if H::RESOLVES => Err(Verdict::too_big(mtu)),
        // Left untouched for the hook that can resolve, and that sees packets as the stack merged them.
        Route::Unresolved { .. } | Route::TooBig { .. } => Err(Verdict::pass(Outcome::Deferred)),
        Route::ForwardingOff => Err(Verdict::drop(Outcome::ForwardingOff)),
        Route::Unreachable => Err(Verdict::drop(Outcome::NoRoute)),
    }
}

/// `verdict`, unless the packet could not be rewritten whole.
#[inline(always)]
pub(crate) fn done(rewritten: Option<()>, verdict: Verdict) -> Verdict {
    match rewritten {
        Some(()) => verdict,
        None => Verdict::drop(Outcome::Malformed),
    }
}
