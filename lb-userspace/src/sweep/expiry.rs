//! When an entry is over.

use std::collections::BTreeMap;

use lb_common::{Address, Affinity, AffinityKey, Flow, FlowKey, FlowState};
use lb_ebpf::lifetime::idle_s_max;
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
    let key = AffinityKey::<A>::read_from_bytes(key).ok()?;
    let affinity = Affinity::read_from_bytes(value).ok()?;
    let idle_s = now_s.saturating_sub(affinity.last_used_s);
    let kept = timeouts_s.get(&key.service).is_some_and(|timeout_s| idle_s <= *timeout_s);
    (!kept).then_some(affinity.last_used_s)
}
