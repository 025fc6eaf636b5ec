//! Fourth step: give a new flow its source, and remember both directions.

use lb_common::{Address, Flow, FlowFlags, FlowKey, FlowState, Outcome};

use crate::parse::Parsed;
use crate::select::{Selection, hash_wide};
use crate::{Family, Host, Maps};

/// How many source ports are tried before a flow is refused.
const PROBES: u32 = 16;

/// Records `selection` for the flow of `parsed` and fills in what its packets become.
///
/// A local backend sees the client's own address and port. A remote one sees the node's address and a port from
/// the configured range, so that its replies come back here. The reply's 5-tuple decides whether a port is free:
/// the same port serves many backends at once. The first port tried follows from the flow alone, so that a flow
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
    flow.state = if parsed.opens() { FlowState::New } else { FlowState::Established }.to_u8();
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
    for probe in 0..PROBES {
        // A local backend gets the client's port as it is, unless another flow already looks like this one.
        if !local || probe > 0 {
            let step = (offset + probe * stride) % ports;
            flow.source_port = first.wrapping_add(step as u16).to_be_bytes();
        }
        if claim::<F, M>(&parsed.key, flow, maps) {
            return match maps.remember(&parsed.key, flow, false) {
                true => Ok(()),
                false => Err(Outcome::FlowTableFull),
            };
        }
    }
    Err(Outcome::PortsExhausted)
}

/// Takes the reply's 5-tuple for this flow, unless another flow has it. Not inlined, for its stack.
#[inline(never)]
fn claim<F: Family, M: Maps<F>>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, maps: &mut M) -> bool {
    let (reply_key, reply) = (key.opposite_key(flow), key.opposite_flow(flow));
    // The usual case first: nobody has it. Another CPU may take it at the same time, and only one gets it.
    if maps.remember(&reply_key, &reply, true) {
        return true;
    }
    let Some(held) = maps.flow(&reply_key) else { return false };
    let own = held.destination == reply.destination
        && held.destination_port == reply.destination_port
        && held.source == reply.source
        && held.source_port == reply.source_port;
    if own {
        held.backend = reply.backend;
        held.generation = reply.generation;
        held.service = reply.service;
        held.last_seen_s = reply.last_seen_s;
        held.tick = reply.tick;
        held.state = reply.state;
        held.flags = reply.flags;
    }
    own
}
