//! What the maps remember of a flow and of a client.

use std::net::SocketAddr;

use lb_common::{AffinityKey, Backend, Flow, FlowFlags, FlowKey, FlowState, Frontend, protocol};
use lb_ebpf::memory::MemoryMaps;

use super::KnownFlow;
use super::family::Family;
use super::run::is_over;
use super::world::World;

/// The flow entry of a 5-tuple.
pub(super) fn known_flow<F: Family>(
    key: &FlowKey<F::Address>,
    world: &World,
    maps: &mut MemoryMaps,
) -> Option<KnownFlow> {
    let tables = F::tables(maps);
    let flow = tables.flows.get(key)?;
    let backend = tables.backends.get(flow.backend as usize);
    Some(KnownFlow {
        forward: is_forward(flow),
        local: flow.flags & FlowFlags::LOCAL != 0,
        state: FlowState::from_u8(flow.state),
        idle_s: world.now_s.saturating_sub(flow.last_seen_s),
        over: is_over::<F>(flow, key.protocol, world.now_s),
        stale: !backend.is_some_and(|backend| is_live(flow, backend)),
        backend: endpoint::<F>(flow, key),
        whole: tables.flows.contains_key(&key.opposite_key(flow)),
    })
}

/// Whether a packet that became `flow` went the way that the maps remembered.
pub(super) fn still_holds<F: Family>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    known: Option<&KnownFlow>,
    maps: &mut MemoryMaps,
) -> bool {
    // Datagrams leave an endpoint that is gone at once; connections end in order.
    let leaves =
        |known: &KnownFlow| known.over || (known.forward && known.stale && key.protocol == protocol::UDP);
    let same = |held: &Flow<F::Address>| {
        let way = |flow: &Flow<F::Address>| {
            (flow.source, flow.source_port, flow.destination, flow.destination_port)
        };
        way(held) == way(flow) && (held.backend, held.generation) == (flow.backend, flow.generation)
    };
    known.is_some_and(|known| !leaves(known)) && F::tables(maps).flows.get(key).is_some_and(same)
}

/// Whether the client had the backend of `flow` last time, and still may have it.
pub(super) fn had_backend<F: Family>(
    key: &FlowKey<F::Address>,
    frontend: &Frontend,
    flow: &Flow<F::Address>,
    now_s: u32,
    maps: &mut MemoryMaps,
) -> bool {
    let client = AffinityKey { client: key.source, service: frontend.service };
    F::tables(maps).affinity.get(&client).is_some_and(|had| {
        now_s.saturating_sub(had.last_used_s) <= frontend.affinity_timeout_s
            && (had.backend, had.generation) == (flow.backend, flow.generation)
    })
}

/// Whether the backend is the one that the flow was made with.
pub(super) fn is_live<A: lb_common::Address>(flow: &Flow<A>, backend: &Backend<A>) -> bool {
    backend.generation == flow.generation && backend.service == flow.service
}

/// The endpoint of a flow: of a reply it is where the packet comes from.
pub(super) fn endpoint<F: Family>(flow: &Flow<F::Address>, key: &FlowKey<F::Address>) -> SocketAddr {
    if is_forward(flow) {
        F::socket(flow.destination, flow.destination_port)
    } else {
        F::socket(key.source, key.source_port)
    }
}

fn is_forward<A: lb_common::Address>(flow: &Flow<A>) -> bool {
    flow.flags & FlowFlags::FORWARD != 0
}

impl KnownFlow {
    /// Why the entry did not decide, when a packet that `opens` a connection or not went another way.
    pub(super) const fn why_not(&self, opens: bool) -> &'static str {
        match self {
            Self { over: true, .. } => {
                "a flow entry of these addresses is there, but was silent for too long to count"
            }
            Self { forward: false, local: true, .. } => {
                "a flow entry says that this is the reply of a connection to this node: it is translated where it leaves \
                 the node, and here it passes as it is"
            }
            Self { state: FlowState::Closed | FlowState::Reset, .. } if opens => {
                "a flow entry of these addresses is there; its connection is closed, and this is a new one"
            }
            Self { stale: true, .. } => "a flow entry of these addresses is there, but its endpoint is gone",
            Self { .. } => "a flow entry of these addresses is there, but no longer holds",
        }
    }
}
