//! Fourth step: give a new flow its source, and remember both directions.

use lb_common::{Address, Flow, FlowFlags, FlowKey, FlowState, Outcome, protocol};

use crate::flow::becomes;
use crate::lifetime::{is_over, is_spare};
use crate::select::{hash_from, hash_wide};
use crate::work::Work;
use crate::{Family, Host, Maps};

/// How many source ports are tried before a flow is refused.
const PROBES: u32 = 16;

/// Records the selected backend for the flow of the packet and fills in what its packets become.
///
/// A local backend sees the client's own address and port, and so does any backend a client on this node: replies to it
/// pass here. Otherwise a remote one sees the node's address and a port from the configured range, so that its replies
/// come back here; and so does a workload that is its own client, for it would answer itself. The reply's 5-tuple
/// decides whether a port is free: the same port serves many backends at once, and a flow that is over holds none. The
/// first port tried follows from the flow alone, so that a flow whose entries were lost gets its old port back.
#[inline(always)]
pub(crate) fn record<F, M, H>(work: &mut Work<F>, maps: &mut M, host: &mut H) -> Result<(), Outcome>
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let settings = maps.settings().ok_or(Outcome::NoSourceAddress)?;
    let Work { parsed, flow, has_entry, backend_id, backend } = work;
    let keeps = (backend.is_local() || host.inside()) && backend.address != parsed.key.source;
    // Field by field: a whole value would be on the stack twice.
    flow.source = if keeps { parsed.key.source } else { F::snat(&settings) };
    flow.destination = backend.address;
    flow.source_port = parsed.key.source_port;
    flow.destination_port = backend.port;
    flow.backend = *backend_id;
    flow.generation = backend.generation;
    flow.service = backend.service;
    flow.last_seen_s = host.now_s();
    // Also for a segment without a SYN, of a connection whose entry was lost, or of none: the next one confirms it.
    flow.state = FlowState::New.to_u8();
    flow.flags = FlowFlags::FORWARD | if keeps { FlowFlags::LOCAL } else { 0 };
    flow.tick = host.tick();
    flow.ifindex = 0;
    flow.pad = 0;
    if flow.source == <F::Address as Address>::UNSPECIFIED {
        return Err(Outcome::NoSourceAddress);
    }
    let fixed = parsed.key.protocol == protocol::SCTP;
    if fixed && flow.destination_port != parsed.key.destination_port {
        return Err(Outcome::SctpPorts);
    }
    // The client's port as it is, unless another flow already looks like this one.
    if (keeps || fixed) && claim::<F, M>(&parsed.key, flow, maps) {
        return finish::<F, M>(&parsed.key, flow, *has_entry != 0, maps);
    }
    if fixed {
        let seized = seize::<F, M>(&parsed.key, flow, maps) && insert::<F, M>(&parsed.key, flow, maps);
        return if seized {
            finish::<F, M>(&parsed.key, flow, *has_entry != 0, maps)
        } else {
            Err(Outcome::PortsExhausted)
        };
    }
    let first = settings.snat_port_first;
    let ports = u32::from(settings.snat_port_last.saturating_sub(first)) + 1;
    let hash = hash_wide(&parsed.key) as u32;
    let offset = ((u64::from(hash) * u64::from(ports)) >> 32) as u32;
    // A stride of the flow's own, for else flows would queue behind each other. It is long enough to leave a row of ports that
    // are taken, as those of one client are, and short enough not to come round.
    let least = ports / (2 * PROBES);
    let stride = 1 + least + (((hash & 0xffff) * least) >> 16);
    // First, a place of the client's own plus its port: ports of one client then stay apart, as they are at the client, and
    // two of its connections do not meet at one port, where the backend may still remember the first (TIME-WAIT).
    let place = ((u64::from(hash_from(&parsed.key, [0; 2]) as u32) * u64::from(ports)) >> 32) as u32;
    let apart = place + u32::from(u16::from_be_bytes(parsed.key.source_port));
    // Ports are often taken in steps, as of two where clients take odd ones only: no stride may keep to such a step. In a small
    // range each port must be tried.
    let jitter = if ports < 256 { 0 } else { 15 };
    let port = |probe: u32| {
        let offset = if probe == 0 { apart } else { offset + probe * stride + ((hash >> probe) & jitter) };
        first.wrapping_add((offset % ports) as u16).to_be_bytes()
    };
    for probe in 0..PROBES {
        flow.source_port = port(probe);
        if claim::<F, M>(&parsed.key, flow, maps) {
            return finish::<F, M>(&parsed.key, flow, *has_entry != 0, maps);
        }
    }
    // None is free: one whose flow is over, or can do without it.
    for probe in 0..PROBES {
        flow.source_port = port(probe);
        if seize::<F, M>(&parsed.key, flow, maps) && insert::<F, M>(&parsed.key, flow, maps) {
            return finish::<F, M>(&parsed.key, flow, *has_entry != 0, maps);
        }
    }
    Err(Outcome::PortsExhausted)
}

/// Writes the forward direction; `replaces` says whether the packet had an entry before.
#[inline(always)]
fn finish<F: Family, M: Maps<F>>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    replaces: bool,
    maps: &mut M,
) -> Result<(), Outcome> {
    if replaces {
        retire::<F, M>(key, flow, maps);
    }
    if !maps.remember(key, flow, false) {
        return Err(Outcome::FlowTableFull);
    }
    maps.account_new(flow.service);
    Ok(())
}

/// Forgets the replies of the flow that `key` had before, when they came by another 5-tuple: they would hold a port,
/// and speak for a flow that is not theirs. Answers whether it did. Not inlined, for its stack.
#[inline(never)]
fn retire<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    let Some(before) = maps.flow(key) else { return false };
    let reply_key = key.opposite_key(before);
    if reply_key == key.opposite_key(flow) || !maps.flow(&reply_key).is_some_and(|held| becomes(held, key)) {
        return false;
    }
    maps.forget(&reply_key);
    true
}

/// Takes the reply's 5-tuple for this flow, unless another flow has it.
#[inline(always)]
fn claim<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    // The usual case first: nobody has it. Another CPU may take it at the same time, and only one gets it.
    insert::<F, M>(key, flow, maps) || reclaim::<F, M>(key, flow, maps)
}

/// Writes the reply direction, if nobody has its 5-tuple. A look-up marks the entry as used: a full LRU table evicts first
/// what was written and never looked up, and would give up this half for the other one. Not inlined, for its stack; and short, because the verifier
/// walks it anew for each port that is tried.
#[inline(never)]
fn insert<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    let reply_key = key.opposite_key(flow);
    maps.remember(&reply_key, &key.opposite_flow(flow), true) && maps.flow(&reply_key).is_some()
}

/// Takes the reply's entry over when it is this very flow's, of which the other half was lost. Not inlined, as above.
#[inline(never)]
fn reclaim<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    let Some(held) = maps.flow(&key.opposite_key(flow)) else { return false };
    let own = becomes(held, key);
    if own {
        held.backend = flow.backend;
        held.generation = flow.generation;
        held.service = flow.service;
        held.last_seen_s = flow.last_seen_s;
        held.tick = flow.tick;
        held.state = flow.state;
        held.flags = flow.flags ^ FlowFlags::FORWARD;
    }
    own
}

/// Takes the reply's 5-tuple from another flow that is over, or can do without it. Not inlined, as above.
#[inline(never)]
fn seize<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    let reply_key = key.opposite_key(flow);
    let Some(held) = maps.flow(&reply_key) else { return false };
    if !is_over::<F>(held, key.protocol, flow.last_seen_s)
        && !is_spare::<F>(held, key.protocol, flow.last_seen_s)
    {
        return false;
    }
    // The flow that had it must not send from this port any more: its next packet finds another.
    let other = reply_key.opposite_key(held);
    let sends_from_here = maps.flow(&other).is_some_and(|entry| {
        entry.destination == flow.destination
            && entry.destination_port == flow.destination_port
            && entry.source_port == flow.source_port
    });
    if sends_from_here {
        maps.forget(&other);
    }
    // Deleted and made anew, not changed: of two CPUs that seize it, the second finds it made.
    maps.forget(&reply_key);
    true
}
