//! Expired entries leave the tables, and no entry that is in use does.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use aya::programs::{TestRun as _, TestRunOptions};
use lb_common::{
    Address, Affinity, AffinityKey, Flow, FlowKey, FlowState, SWEEP_RECORDS_MAX, SweepHeader, SweepTable,
    maps::LAYOUT, protocol,
};
use lb_userspace::maps::{Cursor, Entries};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tests::agent::{Agent, XdpMode};
use tests::kernel_object::{KernelObject, Sizes};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, Tally};
use zerocopy::IntoBytes as _;

fn sizes(flows: u32) -> Sizes {
    Sizes { slots: 64, flows, backends: 16 }
}

fn key<A: Address>(number: u32) -> FlowKey<A> {
    let [high, _, a, b] = number.to_be_bytes();
    FlowKey { source_port: [a, b], destination_port: [1, high], protocol: protocol::UDP, ..FlowKey::EMPTY }
}

fn flow<A: Address>(last_seen_s: u32, state: FlowState) -> Flow<A> {
    Flow { last_seen_s, state: state.to_u8(), ..Flow::EMPTY }
}

fn now_s() -> u32 {
    u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).expect("it is small")
}

/// Runs the program on records; gives the number of entries that it says it deleted.
fn sweep(kernel: &mut KernelObject, table: u8, records: &[(Vec<u8>, u32)]) -> u32 {
    let count = u8::try_from(records.len()).expect("it is small");
    let mut packet = SweepHeader { ethernet: [0; 14], table, count }.as_bytes().to_vec();
    for (key, last_s) in records {
        packet.extend(key);
        packet.extend(last_s.to_ne_bytes());
    }
    let options = TestRunOptions { data_in: Some(&packet), ..TestRunOptions::default() };
    kernel.classifier("weir_sweep").expect("it loads").test_run(options).expect("it runs").return_value
}

/// The bytes of a key of flows.
fn flow_bytes<A: Address>(key: &FlowKey<A>) -> Vec<u8> {
    let ports = [key.source_port, key.destination_port].concat();
    [key.source.as_bytes(), key.destination.as_bytes(), &ports, &[key.protocol, 0, 0, 0]].concat()
}

fn flows_that_were_used_stay<A: Address>(table: u8, name: &str)
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    let mut kernel = KernelObject::load(sizes(1024)).expect("it loads");
    let put = |kernel: &mut KernelObject, number: u32, last_s: u32| {
        let mut map = kernel.hash::<FlowKey<A>, Flow<A>>(name).expect("it is there");
        map.insert(&key::<A>(number), &flow::<A>(last_s, FlowState::New), 0).expect("the map takes it");
    };
    for number in 0..100 {
        put(&mut kernel, number, 1000 + number);
    }
    // What the agent read, as many as fit; then a packet uses two of them, and somebody deletes a third.
    let records: Vec<_> =
        (0..SWEEP_RECORDS_MAX).map(|number| (flow_bytes(&key::<A>(number)), 1000 + number)).collect();
    put(&mut kernel, 3, 5000);
    put(&mut kernel, 63, 5000);
    kernel
        .hash::<FlowKey<A>, Flow<A>>(name)
        .expect("it is there")
        .remove(&key::<A>(7))
        .expect("the map takes it");
    assert_eq!(sweep(&mut kernel, table, &records), SWEEP_RECORDS_MAX - 3);
    let left: BTreeSet<_> = kernel
        .hash::<FlowKey<A>, Flow<A>>(name)
        .expect("it is there")
        .keys()
        .map(|key| key.expect("a key").source_port)
        .collect();
    let expected: BTreeSet<_> =
        (SWEEP_RECORDS_MAX..100).chain([3, 63]).map(|n| key::<A>(n).source_port).collect();
    assert_eq!(left, expected);
}

#[test]
fn flows_that_were_used_since_they_were_read_stay() {
    flows_that_were_used_stay::<[u8; 4]>(SweepTable::FLOWS4, "FLOWS4");
    flows_that_were_used_stay::<[u8; 16]>(SweepTable::FLOWS6, "FLOWS6");
}

fn affinities_that_were_used_stay<A: Address>(table: u8, name: &str)
where
    AffinityKey<A>: Pod,
{
    let mut kernel = KernelObject::load(sizes(64)).expect("it loads");
    let mut records = Vec::new();
    for service in 1..=3 {
        let key = AffinityKey { client: A::UNSPECIFIED, service };
        let used = Affinity { backend: 1, generation: 0, last_used_s: 100 };
        kernel
            .hash::<AffinityKey<A>, Affinity>(name)
            .expect("it is there")
            .insert(&key, &used, 0)
            .expect("the map takes it");
        // The second was used since.
        let read = if service == 2 { 99 } else { 100 };
        records.push(([key.client.as_bytes(), &service.to_ne_bytes()].concat(), read));
    }
    assert_eq!(sweep(&mut kernel, table, &records), 2);
    let map = kernel.hash::<AffinityKey<A>, Affinity>(name).expect("it is there");
    let left: Vec<u32> = map.keys().map(|key| key.expect("a key").service).collect();
    assert_eq!(left, [2]);
}

#[test]
fn affinities_that_were_used_since_they_were_read_stay() {
    affinities_that_were_used_stay::<[u8; 4]>(SweepTable::AFFINITY4, "AFFINITY4");
    affinities_that_were_used_stay::<[u8; 16]>(SweepTable::AFFINITY6, "AFFINITY6");
}

#[test]
fn records_that_are_not_there_delete_nothing() {
    let mut kernel = KernelObject::load(sizes(64)).expect("it loads");
    let mut map = kernel.hash::<FlowKey<[u8; 4]>, Flow<[u8; 4]>>("FLOWS4").unwrap();
    map.insert(&key::<[u8; 4]>(0), &flow::<[u8; 4]>(0, FlowState::New), 0).unwrap();
    // An unknown table, and a count that the packet does not hold.
    let record = (flow_bytes(&key::<[u8; 4]>(0)), 0);
    assert_eq!(sweep(&mut kernel, 9, &[record]), 0);
    let header = SweepHeader { ethernet: [0; 14], table: SweepTable::FLOWS4, count: u8::MAX };
    let options = TestRunOptions { data_in: Some(header.as_bytes()), ..TestRunOptions::default() };
    let program = kernel.classifier("weir_sweep").unwrap();
    assert_eq!(program.test_run(options).unwrap().return_value, 0);
}

#[test]
fn both_ways_of_reading_a_table_give_every_entry_once() {
    const FLOWS: u32 = 10_000;
    let mut kernel = KernelObject::load(sizes(65_536)).unwrap();
    let mut map = kernel.hash::<FlowKey<[u8; 16]>, Flow<[u8; 16]>>("FLOWS6").unwrap();
    for number in 0..FLOWS {
        map.insert(&key::<[u8; 16]>(number), &flow::<[u8; 16]>(number, FlowState::New), 0).unwrap();
    }
    for batches in [true, false] {
        let data = MapData::from_pin(kernel.pin("FLOWS6")).unwrap();
        let mut entries = Entries::new(data, 4096).unwrap();
        let (mut cursor, mut seen, mut steps) = (Cursor::Start, Vec::new(), 0);
        while cursor != Cursor::End {
            let next = if batches { entries.read_batch(cursor) } else { entries.read_singly(cursor) };
            cursor = next.unwrap();
            seen.extend(entries.iter().map(|(key, _)| key.to_vec()));
            steps += 1;
        }
        assert_eq!(seen.len(), FLOWS as usize, "batches: {batches}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), FLOWS as usize, "batches: {batches}");
        assert!((3..=4).contains(&steps), "{steps} steps");
    }
}

/// A flow table of a running agent.
fn flows(pins: &Path) -> HashMap<MapData, FlowKey<[u8; 4]>, Flow<[u8; 4]>> {
    let data = MapData::from_pin(pins.join(LAYOUT).join("FLOWS4")).expect("it is pinned");
    Map::from_map_data(data).expect("the map takes it").try_into().expect("of this kind")
}

#[test]
fn an_agent_empties_a_full_table_of_expired_flows_while_it_serves() {
    const FLOWS: u32 = 16_384;
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let flows_max = FLOWS.to_string();
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--flows-max", &flows_max]);
    agent.launch().unwrap();
    agent.end(Signal::TERM).unwrap();

    // Ten minutes old: over for UDP, and not for an open connection.
    let (long_ago, fresh) = (now_s().saturating_sub(600), FlowKey { protocol: protocol::TCP, ..key(FLOWS) });
    assert!(long_ago > 0, "the machine was started too short a while ago for an old flow");
    let mut map = flows(agent.pin_path());
    for number in 0..FLOWS {
        map.insert(&key::<[u8; 4]>(number), &flow::<[u8; 4]>(long_ago, FlowState::Established), 0).unwrap();
    }
    map.insert(&fresh, &flow::<[u8; 4]>(long_ago, FlowState::Established), 0).unwrap();

    agent.launch().unwrap();
    let to = SocketAddr::new(Family::V4.vip(), Protocol::Tcp.port());
    let expired = || {
        flows(agent.pin_path())
            .keys()
            .filter(|key| key.as_ref().is_ok_and(|key| key.protocol == protocol::UDP))
            .count()
    };
    let begin = Instant::now();
    let mut left = expired();
    while left > 0 && begin.elapsed() < Duration::from_secs(20) {
        let tally = network.client.within(|| Tally::ask(Protocol::Tcp, to, [0; 20])).unwrap();
        assert_eq!(tally.failures, [""; 0], "{left} expired flows");
        left = expired();
    }
    assert_eq!(left, 0, "expired flows are still there");
    assert!(flows(agent.pin_path()).get(&fresh, 0).is_ok(), "an open connection was forgotten");
}
