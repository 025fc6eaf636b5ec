//! Second step: is this packet part of a flow that is still valid?

use lb_common::{Address, BackendState, Flow, FlowFlags, FlowKey, FlowState, protocol};

use crate::lifetime::is_over;
use crate::parse::Parsed;
use crate::select::frontend_key;
use crate::work::Work;
use crate::{Family, Host, Maps};

/// Fills in what packets of this 5-tuple become, and answers whether they are part of a flow whose backend may
/// still be used.
///
/// A reply is always part of its flow. A forward TCP segment is too, whatever became of the endpoint, so that
/// connections end in order; a SYN only while the connection is not yet established and its backend still takes
/// new ones, so that a reused port is a new connection and a retransmitted SYN is not. A forward datagram is part
/// of its flow while the backend has the generation that the flow was made with. A flow that was silent for too long
/// is over. SCTP is as TCP.
#[inline(always)]
pub(crate) fn established<F, M, H>(work: &mut Work<F>, maps: &mut M, host: &mut H) -> bool
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let Work { parsed, flow, has_entry, .. } = work;
    let Some(entry) = maps.flow(&parsed.key) else {
        *has_entry = 0;
        return false;
    };
    *has_entry = 1;
    // From the entry and not from the copy, which for the processor is still under way.
    let (flags, state, seen) = (entry.flags, FlowState::from_u8(entry.state), entry.tick);
    *flow = *entry;
    if flags & FlowFlags::FORWARD != 0 && !continues(parsed, flow, state, maps) {
        return false;
    }
    let before = state.to_u8();
    let state = next_state(state, flags, parsed).to_u8();
    let tick = host.tick();
    if seen == tick && before == state {
        return true;
    }
    let now_s = host.now_s();
    if is_over::<F>(flow, parsed.key.protocol, now_s) {
        return false;
    }
    let new_second = flow.last_seen_s != now_s;
    if new_second && !still_addressed(&parsed.key, flow, maps) {
        return false;
    }
    // The way out is asked for anew in every tick.
    if flow.tick != tick {
        flow.ifindex = 0;
    }
    // A backend that repeats its SYN-ACK does not keep a connection young that no client confirms.
    if unconfirmed(&parsed.key, flow) && flow.state == state {
        return true;
    }
    let changed = flow.state != state || new_second;
    flow.tick = tick;
    flow.state = state;
    flow.last_seen_s = now_s;
    refresh::<F, M>(&parsed.key, flow, maps, changed)
}

/// Whether a datagram's address and port are still those of the Service that the flow belongs to: a VIP may have
/// moved to another. Connections stay where they are.
#[inline(always)]
fn still_addressed<F: Family, M: Maps<F>>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    maps: &mut M,
) -> bool {
    key.protocol != protocol::UDP
        || flow.flags & FlowFlags::FORWARD == 0
        || maps.frontend(&frontend_key(key)).is_some_and(|frontend| frontend.service == flow.service)
}

/// Whether this is the answer to a connection that is not open yet.
#[inline(always)]
fn unconfirmed<A: Address>(key: &FlowKey<A>, flow: &Flow<A>) -> bool {
    key.protocol != protocol::UDP
        && flow.flags & FlowFlags::FORWARD == 0
        && flow.state == FlowState::New.to_u8()
}

/// Whether a packet from the client belongs to the flow that its 5-tuple names.
#[inline(always)]
fn continues<F: Family, M: Maps<F>>(
    parsed: &Parsed<F>,
    flow: &Flow<F::Address>,
    state: FlowState,
    maps: &mut M,
) -> bool {
    if parsed.key.protocol == protocol::UDP {
        live(flow, maps).is_some()
    } else if parsed.opens() {
        state == FlowState::New && live(flow, maps) == Some(BackendState::Active)
    } else {
        true
    }
}

/// The state of the flow's backend while it is the one that the flow selected.
#[inline(always)]
fn live<F: Family, M: Maps<F>>(flow: &Flow<F::Address>, maps: &mut M) -> Option<BackendState> {
    let backend = maps.backend(flow.backend)?;
    (backend.generation == flow.generation && backend.service == flow.service).then(|| backend.state())
}

/// The state after this packet. TCP is open when the client confirms, which is when both sides know of it; UDP is
/// answered when the backend answers.
#[inline(always)]
fn next_state<F: Family>(state: FlowState, flags: u8, parsed: &Parsed<F>) -> FlowState {
    let forward = flags & FlowFlags::FORWARD != 0;
    // Only the first fragment of a segment says what it does.
    if parsed.part.is_later() {
        return state;
    }
    if parsed.resets() {
        return if matches!(state, FlowState::Closed) { state } else { FlowState::Reset };
    }
    match state {
        FlowState::Reset if !parsed.closes() => FlowState::Established,
        FlowState::New | FlowState::Established if parsed.closes() => {
            if forward {
                FlowState::ClientClosed
            } else {
                FlowState::BackendClosed
            }
        }
        FlowState::ClientClosed if parsed.closes() && !forward => FlowState::Closed,
        FlowState::BackendClosed if parsed.closes() && forward => FlowState::Closed,
        FlowState::New => {
            let confirms =
                if parsed.key.protocol == protocol::UDP { !forward } else { forward && !parsed.opens() };
            if confirms { FlowState::Established } else { FlowState::New }
        }
        FlowState::Established
        | FlowState::ClientClosed
        | FlowState::BackendClosed
        | FlowState::Closed
        | FlowState::Reset => state,
    }
}

/// Writes the age and state of a flow; and when its second or its state is another, those of the other direction
/// too: traffic in one direction only must not let the LRU evict the other half, and a half that was evicted comes
/// back. Answers whether the flow is whole: a half that was evicted may be another flow's by now, and two flows must
/// not send from one port.
///
/// Not inlined: most packets have no use for it.
#[inline(never)]
fn refresh<F, M>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M, changed: bool) -> bool
where
    F: Family,
    M: Maps<F>,
{
    if let Some(entry) = maps.flow(key) {
        entry.last_seen_s = flow.last_seen_s;
        entry.tick = flow.tick;
        entry.state = flow.state;
        entry.ifindex = flow.ifindex;
    }
    if !changed {
        return true;
    }
    let opposite = key.opposite_key(flow);
    let Some(entry) = maps.flow(&opposite) else {
        // When there is no room the next second tries again.
        let _written = maps.remember(&opposite, &key.opposite_flow(flow), true);
        return true;
    };
    if becomes(entry, key) {
        entry.last_seen_s = flow.last_seen_s;
        entry.state = flow.state;
        return true;
    }
    // A reply of a flow that began anew elsewhere goes on to its client, and has no say in what became of it.
    flow.flags & FlowFlags::FORWARD == 0
}

/// Whether `entry` leads back to where packets of `key` come from.
#[inline(always)]
pub(crate) fn becomes<A: Address>(entry: &Flow<A>, key: &FlowKey<A>) -> bool {
    entry.destination == key.source
        && entry.destination_port == key.source_port
        && entry.source == key.destination
        && entry.source_port == key.destination_port
}
