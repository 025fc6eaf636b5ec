//! Edge file: packets shown to those who watch, `weir trace` and the kernel-side log.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_log_ebpf::debug;
use lb_common::{Destination, Event, FrontendKey, Outcome, TraceFlags};
use lb_ebpf::socket::Decision;
use lb_ebpf::{Action, Family, Maps, NO_EVENT, Packet, Scratch, Verdict, describe, put_address, service};

use crate::kernel::clock::now_s;
use crate::kernel::maps::{Tables, may_report, send_event, trace};

/// Notes what the packet says before anything happens to it, when somebody watches.
#[inline(always)]
pub(crate) fn before<P: Packet>(packet: &mut P, scratch: &mut Scratch) {
    if is_watched() {
        describe(packet, scratch, false);
    }
}

/// Tells what became of the packet, when somebody watches. Asks anew whether somebody does: an answer that is kept would
/// make the verifier walk all that lies between twice.
#[inline(always)]
pub(crate) fn after<P: Packet, C: EbpfContext>(
    ctx: &C,
    packet: &mut P,
    scratch: &mut Scratch,
    verdict: Verdict,
    hook: u8,
    ifindex: u32,
) {
    log(ctx, verdict, hook, ifindex);
    if !is_watched() {
        return;
    }
    describe(packet, scratch, true);
    scratch.event.outcome = verdict.outcome_index() as u16;
    scratch.event.action = verdict.action() as u8;
    scratch.event.out_ifindex = if verdict.action() == Action::Pass { 0 } else { verdict.ifindex() };
    scratch.event.hook = hook;
    scratch.event.ifindex = ifindex;
    scratch.event.length = packet.length();
    report(scratch, verdict);
}

/// The verdict, by way of memory: the verifier would walk what follows once for each reason that a packet can have.
#[inline(always)]
pub(crate) fn settle(scratch: &mut Scratch, verdict: Verdict) -> Verdict {
    let place = &raw mut scratch.verdict;
    // SAFETY: the place is a reference's; a volatile access only keeps the compiler from leaving it out.
    unsafe {
        place.write_volatile(verdict);
        place.read_volatile()
    }
}

/// Whether somebody watches packets.
#[inline(always)]
fn is_watched() -> bool {
    trace().is_some_and(|trace| trace.until_s != 0 && now_s() <= trace.until_s)
}

/// Sends the event, unless the watcher wants others or has seen enough for this second. Not inlined, for its stack.
#[inline(never)]
fn report(scratch: &mut Scratch, verdict: Verdict) {
    let Some(trace) = trace() else { return };
    if trace.flags & TraceFlags::DROPS != 0 && !is_loss(verdict) {
        return;
    }
    scratch.event.service = service(&mut Tables, scratch);
    if trace.service != 0 && trace.service != scratch.event.service {
        return;
    }
    if !may_report(trace.per_second_max) {
        return;
    }
    // SAFETY: neither helper takes anything, and both always answer.
    unsafe {
        scratch.event.time_ns = bpf_ktime_get_ns();
        scratch.event.cpu = bpf_get_smp_processor_id() as u32;
    }
    send_event(&scratch.event);
}

/// Tells what became of a call on a socket, when somebody watches. Calls that concern no Service are of no interest.
#[inline(always)]
pub(crate) fn report_call<F: Family>(
    call: CallKind,
    asked: &Destination<F::Address>,
    got: &Destination<F::Address>,
    decision: Decision,
) where
    Tables: Maps<F>,
{
    if is_watched() && decision.outcome != Outcome::NotOurs {
        send_call::<F>(&(call, decision), asked, got);
    }
}

/// Which call it is.
#[derive(Clone, Copy)]
pub(crate) struct CallKind {
    /// See [`lb_common::Hook`].
    pub(crate) hook: u8,
    /// 4 or 6.
    pub(crate) ip_version: u8,
    /// IP protocol number.
    pub(crate) protocol: u8,
}

/// Not inlined, for its stack.
#[inline(never)]
fn send_call<F: Family>(
    (call, decision): &(CallKind, Decision),
    asked: &Destination<F::Address>,
    got: &Destination<F::Address>,
) where
    Tables: Maps<F>,
{
    let CallKind { hook, ip_version, protocol } = *call;
    let Some(trace) = trace() else { return };
    if trace.flags & TraceFlags::DROPS != 0 && decision.errno == 0 {
        return;
    }
    let key = FrontendKey { address: asked.address, port: asked.port, protocol, pad: 0 };
    let service = Tables.frontend(&key).map_or(0, |frontend| frontend.service);
    if trace.service != 0 && trace.service != service || !may_report(trace.per_second_max) {
        return;
    }
    let mut event = Event { hook, service, action: u8::from(decision.errno != 0), ..NO_EVENT };
    event.outcome = decision.outcome.index() as u16;
    // SAFETY: neither helper takes anything, and both always answer.
    unsafe {
        event.time_ns = bpf_ktime_get_ns();
        event.cpu = bpf_get_smp_processor_id() as u32;
    }
    for (tuple, end) in [(&mut event.before, asked), (&mut event.after, got)] {
        put_address(&mut tuple.destination, &end.address);
        tuple.destination_port = end.port;
        tuple.protocol = protocol;
        tuple.ip_version = ip_version;
    }
    send_event(&event);
}

/// Whether the packet did not reach anybody: dropped, or answered with an error.
#[inline(always)]
fn is_loss(verdict: Verdict) -> bool {
    match verdict.action() {
        Action::Drop | Action::Reject => true,
        Action::Transmit => !verdict.is_translated() && verdict.outcome_index() != Outcome::Echo.index(),
        Action::Pass | Action::Redirect | Action::Resolve => false,
    }
}

/// The kernel-side log. Its level is a constant from the loading on: while it is off, the verifier takes this out.
#[inline(always)]
fn log<C: EbpfContext>(ctx: &C, verdict: Verdict, hook: u8, ifindex: u32) {
    debug!(ctx, "hook {} device {} outcome {}", hook, ifindex, verdict.outcome_index());
}
