//! How long a flow may be silent before it is over.
//!
//! The times are those that users know from the kernel's conntrack and from kube-proxy's settings of it.

use lb_common::{Flow, FlowState, protocol};

use crate::Family;

/// Silence after which a flow of this protocol and state is over, in seconds.
#[inline(always)]
pub const fn idle_s_max(protocol: u8, state: FlowState) -> u32 {
    match (protocol, state) {
        (protocol::UDP, FlowState::New) => 30,
        (protocol::UDP, _) => 120,
        (_, FlowState::New) => 60,
        (_, FlowState::Established) => 86_400,
        // One side has said that it sends no more; the other may take its time.
        (_, FlowState::ClientClosed | FlowState::BackendClosed) => 3_600,
        // As long as the side that closed first remembers (TIME-WAIT).
        (_, FlowState::Closed) => 60,
        (_, FlowState::Reset) => 10,
    }
}

/// Silence after which a UDP flow may lose its source port to a new flow that finds no other.
const SPARE_UDP_S: u32 = 5;
/// The same for a connection that its client has not confirmed: a SYN that nobody means must not hold a port for long.
const SPARE_SYN_S: u32 = 3;

/// Whether the flow is over.
#[inline(always)]
pub(crate) fn is_over<F: Family>(flow: &Flow<F::Address>, protocol: u8, now_s: u32) -> bool {
    // Clocks of two CPUs may differ: a flow that was seen in the future was seen just now.
    now_s.saturating_sub(flow.last_seen_s) >= idle_s_max(protocol, FlowState::from_u8(flow.state))
}

/// Whether the flow may give way when source ports are short: its connection is closed, or was never confirmed, or
/// it is of datagrams and nothing followed.
#[inline(always)]
pub(crate) fn is_spare<F: Family>(flow: &Flow<F::Address>, protocol: u8, now_s: u32) -> bool {
    let idle_s = now_s.saturating_sub(flow.last_seen_s);
    match (protocol, FlowState::from_u8(flow.state)) {
        (_, FlowState::Closed) => true,
        (_, FlowState::Reset) => idle_s >= SPARE_SYN_S,
        (protocol::UDP, _) => idle_s >= SPARE_UDP_S,
        (_, FlowState::New) => idle_s >= SPARE_SYN_S,
        (_, FlowState::Established | FlowState::ClientClosed | FlowState::BackendClosed) => false,
    }
}
