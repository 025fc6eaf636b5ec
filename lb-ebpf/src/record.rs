//! Fourth step: give a new flow its source, and remember both directions.

use lb_common::{Address, Flow, FlowFlags, FlowKey, FlowState, Outcome, protocol};

use crate::lifetime::{is_over, is_spare};
use crate::parse::Parsed;
use crate::select::{Selection, hash_wide};
use crate::{Family, Host, Maps};

/// How many source ports are tried before a flow is refused.
const PROBES: u32 = 16;

/// Records `selection` for the flow of `parsed` and fills in what its packets become.
///
/// A local backend sees the client's own address and port. A remote one sees the node's address and a port from
/// the configured range, so that its replies come back here. The reply's 5-tuple decides whether a port is free:
/// the same port serves many backends at once, and a flow that is over holds none. The first port tried follows from the flow alone, so that a flow
/// whose entries were lost gets its old port back.
#[inline(always)]
pub(crate) fn record<F, M, H>(
    parsed: &Parsed<F>,
    selection: &Selection<F::Address>,
    maps: &mut M,
    host: &mut H,
    flow: &mut Flow<F::Address>,
) -> Result<(), Outcome>
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let settings = maps.settings().ok_or(Outcome::NoSourceAddress)?;
    let backend = &selection.backend;
    let local = backend.local != 0;
    // Field by field: a whole value would be on the stack twice.
    flow.source = if local { parsed.key.source } else { F::snat(&settings) };
    flow.destination = backend.address;
    flow.source_port = parsed.key.source_port;
    flow.destination_port = backend.port;
    flow.backend = selection.id;
    flow.generation = backend.generation;
    flow.service = backend.service;
    flow.last_seen_s = host.now_s();
    // A TCP segment without a SYN belongs to a connection whose entry was lost.
    let new = parsed.opens() || parsed.key.protocol == protocol::UDP;
    flow.state = if new { FlowState::New } else { FlowState::Established }.to_u8();
    flow.flags = FlowFlags::FORWARD | if local { FlowFlags::LOCAL } else { 0 };
    flow.tick = host.tick();
    if flow.source == <F::Address as Address>::UNSPECIFIED {
        return Err(Outcome::NoSourceAddress);
    }
    let first = settings.snat_port_first;
    let ports = u32::from(settings.snat_port_last.saturating_sub(first)) + 1;
    let hash = hash_wide(&parsed.key) as u32;
    let offset = ((u64::from(hash) * u64::from(ports)) >> 32) as u32;
    // A stride of the flow's own, for else flows would queue behind each other where ports are taken in a row. It is
    // short enough that no port is tried twice.
    let stride = 1 + (((hash & 0xffff) * (ports / PROBES)) >> 16);
    // Zero for none: an option without a value has bytes that the verifier would not have copied.
    let mut spare = [0; 2];
    for probe in 0..PROBES {
        // A local backend gets the client's port as it is, unless another flow already looks like this one.
        if !local || probe > 0 {
            let step = (offset + probe * stride) % ports;
            flow.source_port = first.wrapping_add(step as u16).to_be_bytes();
        }
        match claim::<F, M>(&parsed.key, flow, maps, Seize::Over) {
            Claim::Taken => return finish::<F, M>(&parsed.key, flow, maps),
            Claim::Held => {}
            Claim::Spare => spare = flow.source_port,
        }
    }
    // No port was free: one whose flow can do without it.
    if spare != [0; 2] {
        flow.source_port = spare;
        if claim::<F, M>(&parsed.key, flow, maps, Seize::Spare) == Claim::Taken {
            return finish::<F, M>(&parsed.key, flow, maps);
        }
    }
    Err(Outcome::PortsExhausted)
}

/// Writes the forward direction.
#[inline(always)]
fn finish<F: Family, M: Maps<F>>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    maps: &mut M,
) -> Result<(), Outcome> {
    if maps.remember(key, flow, false) { Ok(()) } else { Err(Outcome::FlowTableFull) }
}

/// Whom a new flow may take a reply's 5-tuple from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Seize {
    /// From a flow that is over.
    Over,
    /// From one that can do without it, too.
    Spare,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Claim {
    /// The 5-tuple is this flow's.
    Taken,
    /// Another flow has it.
    Held,
    /// Another flow has it and can do without.
    Spare,
}

/// Takes the reply's 5-tuple for this flow, unless another flow has it.
#[inline(always)]
fn claim<F: Family, M: Maps<F>>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    maps: &mut M,
    seize: Seize,
) -> Claim {
    // The usual case first: nobody has it. Another CPU may take it at the same time, and only one gets it.
    if insert::<F, M>(key, flow, maps) { Claim::Taken } else { contest::<F, M>(key, flow, maps, seize) }
}

/// Writes the reply direction, if nobody has its 5-tuple. Not inlined, for its stack.
#[inline(never)]
fn insert<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    maps.remember(&key.opposite_key(flow), &key.opposite_flow(flow), true)
}

/// Takes the reply's 5-tuple from the flow that has it, if that is this very flow, or may be seized from.
///
/// Not inlined, for its stack; field by field for the same reason.
#[inline(never)]
fn contest<F: Family, M: Maps<F>>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    maps: &mut M,
    seize: Seize,
) -> Claim {
    let reply_key = key.opposite_key(flow);
    let Some(held) = maps.flow(&reply_key) else { return Claim::Held };
    let own = held.destination == key.source
        && held.destination_port == key.source_port
        && held.source == key.destination
        && held.source_port == key.destination_port;
    if !own {
        if !is_over::<F>(held, key.protocol, flow.last_seen_s) {
            if !is_spare::<F>(held, key.protocol, flow.last_seen_s) {
                return Claim::Held;
            }
            if seize == Seize::Over {
                return Claim::Spare;
            }
        }
        // The flow that had it must not send from this port any more: its next packet finds another.
        let other = reply_key.opposite_key(held);
        held.source = key.destination;
        held.destination = key.source;
        held.source_port = key.destination_port;
        held.destination_port = key.source_port;
        let sends_from_here = maps.flow(&other).is_some_and(|entry| {
            entry.destination == flow.destination
                && entry.destination_port == flow.destination_port
                && entry.source_port == flow.source_port
        });
        if sends_from_here {
            maps.forget(&other);
        }
    }
    let Some(held) = maps.flow(&reply_key) else { return Claim::Held };
    held.backend = flow.backend;
    held.generation = flow.generation;
    held.service = flow.service;
    held.last_seen_s = flow.last_seen_s;
    held.tick = flow.tick;
    held.state = flow.state;
    held.flags = flow.flags ^ FlowFlags::FORWARD;
    Claim::Taken
}
