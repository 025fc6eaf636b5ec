//! When an entry is over.

use std::collections::BTreeMap;

use lb_common::{
    Address, Affinity, AffinityKey, Flow, FlowKey, FlowState, PodAffinityKey, SocketFlow, SocketFlowKey,
};
use lb_ebpf::lifetime::idle_s_max;
use lb_ebpf::socket::SOCKET_FLOW_IDLE_S;
use zerocopy::FromBytes as _;

/// The second at which a flow was last seen, if its silence is longer than flows of its protocol and state may have.
pub(super) fn flow<A: Address>(key: &[u8], value: &[u8], now_s: u32) -> Option<u32> {
    let key = FlowKey::<A>::read_from_bytes(key).ok()?;
    let flow = Flow::<A>::read_from_bytes(value).ok()?;
    let idle_s = now_s.saturating_sub(flow.last_seen_s);
    (idle_s >= idle_s_max(key.protocol, FlowState::from_u8(flow.state))).then_some(flow.last_seen_s)
}

/// The second at which an affinity was last used, if its Service does not keep it any more.
pub(super) fn affinity<A: Address>(
    key: &[u8],
    value: &[u8],
    now_s: u32,
    timeouts_s: &BTreeMap<u32, u32>,
) -> Option<u32> {
    unused(AffinityKey::<A>::read_from_bytes(key).ok()?.service, value, now_s, timeouts_s)
}

/// The same for a network namespace in the place of a client.
pub(super) fn pod_affinity(
    key: &[u8],
    value: &[u8],
    now_s: u32,
    timeouts_s: &BTreeMap<u32, u32>,
) -> Option<u32> {
    unused(PodAffinityKey::read_from_bytes(key).ok()?.service, value, now_s, timeouts_s)
}

fn unused(service: u32, value: &[u8], now_s: u32, timeouts_s: &BTreeMap<u32, u32>) -> Option<u32> {
    let affinity = Affinity::read_from_bytes(value).ok()?;
    let idle_s = now_s.saturating_sub(affinity.last_used_s);
    let kept = timeouts_s.get(&service).is_some_and(|timeout_s| idle_s <= *timeout_s);
    (!kept).then_some(affinity.last_used_s)
}

/// The second at which a socket last sent to a destination, or heard from it, if that is too long ago. A socket that is
/// closed takes its entries along; these are of sockets that stay open for other destinations.
pub(super) fn socket_flow<A: Address>(key: &[u8], value: &[u8], now_s: u32) -> Option<u32> {
    SocketFlowKey::<A>::read_from_bytes(key).ok()?;
    let flow = SocketFlow::<A>::read_from_bytes(value).ok()?;
    (now_s.saturating_sub(flow.last_used_s) >= SOCKET_FLOW_IDLE_S).then_some(flow.last_used_s)
}
