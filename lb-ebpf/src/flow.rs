//! Second step: is this packet part of a flow that is still valid?

use lb_common::{BackendState, Flow, FlowFlags, FlowKey, FlowState, protocol};

use crate::parse::Parsed;
use crate::{Family, Host, Maps};

/// Fills in what packets of this 5-tuple become, and answers whether they are part of a flow whose backend may
/// still be used.
///
/// A reply is always part of its flow. A forward TCP segment is too, whatever became of the endpoint, so that
/// connections end in order; a SYN only while the connection is not yet established and its backend still takes
/// new ones, so that a reused port is a new connection and a retransmitted SYN is not. A forward datagram is part
/// of its flow while the backend has the generation that the flow was made with.
#[inline(always)]
pub(crate) fn established<F, M, H>(
    parsed: &Parsed<F>,
    maps: &mut M,
    host: &mut H,
    flow: &mut Flow<F::Address>,
) -> bool
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    match maps.flow(&parsed.key) {
        Some(entry) => *flow = *entry,
        None => return false,
    }
    if flow.flags & FlowFlags::FORWARD != 0 && !continues(parsed, flow, maps) {
        return false;
    }
    let state = next_state(FlowState::from_u8(flow.state), parsed).to_u8();
    let tick = host.tick();
    if flow.tick != tick || flow.state != state {
        flow.tick = tick;
        flow.state = state;
        refresh::<F, M, H>(&parsed.key, flow, maps, host);
    }
    true
}

/// Whether a packet from the client belongs to the flow that its 5-tuple names.
#[inline(always)]
fn continues<F: Family, M: Maps<F>>(parsed: &Parsed<F>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    if parsed.key.protocol == protocol::UDP {
        live(flow, maps).is_some()
    } else if parsed.opens() {
        flow.state == FlowState::New.to_u8() && live(flow, maps) == Some(BackendState::Active)
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

#[inline(always)]
fn next_state<F: Family>(state: FlowState, parsed: &Parsed<F>) -> FlowState {
    match state {
        FlowState::Closing => FlowState::Closing,
        FlowState::New | FlowState::Established if parsed.closes() => FlowState::Closing,
        FlowState::Established => FlowState::Established,
        FlowState::New if parsed.opens() => FlowState::New,
        FlowState::New => FlowState::Established,
    }
}

/// Writes the state and the age of a flow, and once a second keeps the other direction as young as this one: traffic
/// in one direction only must not let the LRU evict the other half, and a half that was evicted comes back.
///
/// Not inlined: most packets have no use for it.
#[inline(never)]
fn refresh<F, M, H>(key: &FlowKey<F::Address>, flow: &mut Flow<F::Address>, maps: &mut M, host: &mut H)
where
    F: Family,
    M: Maps<F>,
    H: Host<F>,
{
    let now_s = host.now_s();
    let new_second = flow.last_seen_s != now_s;
    flow.last_seen_s = now_s;
    if let Some(entry) = maps.flow(key) {
        entry.last_seen_s = now_s;
        entry.tick = flow.tick;
        entry.state = flow.state;
    }
    if !new_second {
        return;
    }
    let opposite = key.opposite_key(flow);
    if let Some(entry) = maps.flow(&opposite) {
        entry.last_seen_s = now_s;
    } else {
        // When there is no room the next second tries again.
        let _written = maps.remember(&opposite, &key.opposite_flow(flow), true);
    }
}
