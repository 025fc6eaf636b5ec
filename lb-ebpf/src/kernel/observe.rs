//! Edge file: packets shown to those who watch, `weir trace` and the kernel-side log.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_log_ebpf::debug;
use lb_common::{Outcome, TraceFlags};
use lb_ebpf::{Action, Packet, Scratch, Verdict, describe, service};

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
