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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a value that ends with the second of its last use.
    fn value(size: usize, last_used_s: u32) -> Vec<u8> {
        [vec![0; size - 4], last_used_s.to_ne_bytes().to_vec()].concat()
    }

    #[test]
    fn a_flow_of_a_socket_is_over_after_an_hour_of_silence() {
        let v4 = |used_s, now_s| socket_flow::<[u8; 4]>(&[0; 16], &value(32, used_s), now_s);
        let v6 = |used_s, now_s| socket_flow::<[u8; 16]>(&[0; 28], &value(56, used_s), now_s);
        for (used_s, now_s, over) in
            [(100, 3_699, false), (100, 3_700, true), (100, 99, false), (0, u32::MAX, true)]
        {
            let expected = over.then_some(used_s);
            assert_eq!((v4(used_s, now_s), v6(used_s, now_s)), (expected, expected), "{used_s} {now_s}");
        }
        assert_eq!(socket_flow::<[u8; 4]>(&[0; 15], &value(32, 0), u32::MAX), None);
    }

    #[test]
    fn an_affinity_of_a_pod_lasts_as_its_service_says() {
        let of = |service: u32, used_s, now_s| {
            let key = [&[7; 8], &service.to_ne_bytes()[..], &[0; 4]].concat();
            let size = size_of::<Affinity>();
            pod_affinity(&key, &value(size, used_s), now_s, &BTreeMap::from([(5, 60)]))
        };
        assert_eq!((of(5, 100, 160), of(5, 100, 161), of(6, 100, 100)), (None, Some(100), Some(100)));
    }
}
