//! Last step: find the way out, and only then touch the packet.

use lb_common::{Flow, FlowFlags, Outcome};

use crate::headers::Ethernet;
use crate::parse::Parsed;
use crate::rewrite::rewrite;
use crate::{Action, Family, Host, Packet, Route, RouteQuery, Verdict};

/// Sends the packet on as `flow` says.
#[inline(always)]
pub(crate) fn forward<F, P, H>(
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
    if flow.flags & FlowFlags::LOCAL != 0 {
        // The kernel routes it to the endpoint, and lowers the hop limit there.
        return done(rewrite(packet, parsed, flow, 0), Verdict::pass(Outcome::Local));
    }
    if parsed.ip.hop_limit <= 1 {
        return Verdict::drop(Outcome::HopLimit);
    }
    let query = RouteQuery::<F> {
        flow,
        protocol: parsed.key.protocol,
        traffic_class: parsed.ip.traffic_class,
        length: parsed.ip.length,
    };
    let route = host.route(&query);
    match depart::<F, P, H>(packet, &route, host) {
        Ok(verdict) => done(rewrite(packet, parsed, flow, 1), verdict),
        Err(verdict) => verdict,
    }
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
        Route::Neighbour { ifindex, source, destination } => {
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
