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
    match host.route(&query) {
        Route::Neighbour { ifindex, source, destination } => {
            let verdict = if ifindex == host.ingress_ifindex() {
                Verdict::new(Action::Transmit, Outcome::Transmitted, ifindex)
            } else {
                Verdict::new(Action::Redirect, Outcome::Redirected, ifindex)
            };
            let Some(ethernet) = packet.header::<Ethernet>(0) else {
                return Verdict::pass(Outcome::Malformed);
            };
            ethernet.source = source;
            ethernet.destination = destination;
            done(rewrite(packet, parsed, flow, 1), verdict)
        }
        Route::Unresolved { ifindex } if H::RESOLVES => {
            let verdict = Verdict::new(Action::Resolve, Outcome::Resolved, ifindex);
            done(rewrite(packet, parsed, flow, 1), verdict)
        }
        Route::TooBig if H::RESOLVES => Verdict::drop(Outcome::TooBig),
        // Left untouched for the hook that can resolve, and that sees packets as the stack merged them.
        Route::Unresolved { .. } | Route::TooBig => Verdict::pass(Outcome::Deferred),
        Route::ForwardingOff => Verdict::drop(Outcome::ForwardingOff),
        Route::Unreachable => Verdict::drop(Outcome::NoRoute),
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
