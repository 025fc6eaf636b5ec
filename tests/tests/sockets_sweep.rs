//! Expired entries of sockets leave the tables, and none that is in use. Needs root.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::{Duration, Instant};

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::{TestRun as _, TestRunOptions};
use lb_common::{
    Address, Affinity, Destination, PodAffinityKey, SocketFlow, SocketFlowKey, SweepHeader, SweepTable,
    maps::LAYOUT,
};
use lb_ebpf::socket::SOCKET_FLOW_IDLE_S;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tests::agent::Agent;
use tests::kernel_object::{KernelObject, Sizes};
use tests::manifests::Manifests;
use tests::net::{Namespace, sweep, unique};
use zerocopy::IntoBytes as _;

fn flow<A: Address>(last_used_s: u32) -> SocketFlow<A> {
    let becomes = Destination::NONE;
    SocketFlow { becomes, previous: Destination::NONE, backend: 1, generation: 1, service: 1, last_used_s }
}

fn flow_key<A: Address>(cookie: u64) -> SocketFlowKey<A> {
    SocketFlowKey::new(cookie, &Destination::new(A::UNSPECIFIED, [0, 80]), true)
}

fn flow_bytes<A: Address>(key: &SocketFlowKey<A>) -> Vec<u8> {
    [key.cookie.as_bytes(), key.address.as_bytes(), &key.port, &[key.reply, 0]].concat()
}

fn pod_key(netns_cookie: u64) -> PodAffinityKey {
    PodAffinityKey { netns_cookie, service: 1, pad: 0 }
}

fn pod_bytes(key: &PodAffinityKey) -> Vec<u8> {
    [&key.netns_cookie.to_ne_bytes()[..], &key.service.to_ne_bytes(), &[0; 4]].concat()
}

/// Puts an entry for each of three numbers, of which the second is used after the agent has read all of them.
fn what_was_used_stays<K: Pod, V: Pod>(
    table: (u8, &str),
    key: impl Fn(u64) -> K,
    bytes: impl Fn(&K) -> Vec<u8>,
    value: impl Fn(u32) -> V,
) {
    const NUMBERS: [u64; 3] = [1, 1 << 40, u64::MAX];
    let mut kernel = KernelObject::load(Sizes { slots: 64, flows: 64, backends: 16 }).unwrap();
    let mut packet = SweepHeader { ethernet: [0; 14], table: table.0, count: 3 }.as_bytes().to_vec();
    for number in NUMBERS {
        let key = key(number);
        let used_s = if number == NUMBERS[1] { 101 } else { 100 };
        kernel.hash::<K, V>(table.1).unwrap().insert(&key, &value(used_s), 0).unwrap();
        packet.extend(bytes(&key));
        packet.extend(100_u32.to_ne_bytes());
    }
    let options = TestRunOptions { data_in: Some(&packet), ..TestRunOptions::default() };
    let program = kernel.classifier("weir_sweep").unwrap();
    assert_eq!(program.test_run(options).unwrap().return_value, 2, "{}", table.1);
    let map = kernel.hash::<K, V>(table.1).unwrap();
    let left: Vec<Vec<u8>> = map.keys().map(|key| bytes(&key.unwrap())).collect();
    assert_eq!(left, [bytes(&key(NUMBERS[1]))], "{}", table.1);
}

#[test]
fn entries_that_were_used_since_they_were_read_stay() {
    let flows4 = (SweepTable::SOCKET_FLOWS4, "SOCKET_FLOWS4");
    what_was_used_stays(flows4, flow_key::<[u8; 4]>, flow_bytes, flow::<[u8; 4]>);
    let flows6 = (SweepTable::SOCKET_FLOWS6, "SOCKET_FLOWS6");
    what_was_used_stays(flows6, flow_key::<[u8; 16]>, flow_bytes, flow::<[u8; 16]>);
    let affinity = |last_used_s| Affinity { backend: 1, generation: 0, last_used_s };
    what_was_used_stays((SweepTable::POD_AFFINITY, "POD_AFFINITY"), pod_key, pod_bytes, affinity);
}

/// A table of an agent.
fn table<K: Pod, V: Pod>(agent: &Agent<'_>, name: &str) -> HashMap<MapData, K, V> {
    let data = MapData::from_pin(agent.pin_path().join(LAYOUT).join(name)).unwrap();
    Map::from_map_data(data).unwrap().try_into().unwrap()
}

#[test]
fn a_running_agent_sweeps_them() {
    sweep();
    let name = unique();
    let node = Namespace::create(name.clone()).unwrap();
    let manifests = Manifests::empty().unwrap();
    let more = ["--device", "lo", "--xdp-mode", "off", "--node-ip", "192.0.2.1"];
    let mut agent = Agent::alone(&node, &name, &manifests, &more);
    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();

    let now_s = || u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap();
    let fresh = now_s();
    let mut flows = table::<SocketFlowKey<[u8; 16]>, SocketFlow<[u8; 16]>>(&agent, "SOCKET_FLOWS6");
    // An hour ago there may have been no machine; then the oldest entry that there can be is not over.
    let is_over = fresh > SOCKET_FLOW_IDLE_S;
    let used_s = match fresh.checked_sub(SOCKET_FLOW_IDLE_S + 1) {
        Some(used_s) => used_s,
        None if fresh < SOCKET_FLOW_IDLE_S - 60 => 0,
        None => fresh,
    };
    flows.insert(&flow_key::<[u8; 16]>(1), &flow(used_s), 0).unwrap();
    flows.insert(&flow_key::<[u8; 16]>(2), &flow(fresh), 0).unwrap();
    // Nobody keeps an affinity to a Service that there is not.
    let mut pods = table::<PodAffinityKey, Affinity>(&agent, "POD_AFFINITY");
    let used = Affinity { backend: 1, generation: 0, last_used_s: fresh };
    pods.insert(&pod_key(7), &used, 0).unwrap();

    agent.launch().unwrap();
    let begin = Instant::now();
    // The last of the tables to be walked.
    while pods.get(&pod_key(7), 0).is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", agent.log().unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(flows.get(&flow_key(2), 0).is_ok(), "a flow in use is gone");
    assert_eq!(flows.get(&flow_key(1), 0).is_err(), is_over, "used {used_s}, now {}", now_s());
}
