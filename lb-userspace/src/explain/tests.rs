//! What is said of flows and clients that the maps remember, and of sources that they name.

use lb_common::{
    Affinity, AffinityKey, CLUSTER_SOURCES, FlowKey, FlowState, Settings, SettingsFlags, SourceKey,
};
use lb_ebpf::V4;

use super::judge::{Narrowed, judge};
use super::run::{key, run};
use super::world::World;
use super::{Answer, Origin, Question};
use crate::apply::Programmer;
use crate::layout::{Capacity, State};
use crate::model::Protocol;
use crate::plan::{Node, Policy};
use crate::source::read_once;

/// A node that serves `examples`, a minute after boot.
fn world() -> World {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let (mut model, _) = read_once(examples).unwrap();
    let node = Node {
        name: "node-1".to_owned(),
        zone: None,
        addresses: Vec::new(),
        own: std::collections::BTreeSet::new(),
        policy: Policy::default(),
    };
    let mut world = World { now_s: 60, ..World::default() };
    let settings = Settings {
        snat4: [192, 0, 2, 10],
        snat_port_first: 1024,
        snat_port_last: 29_999,
        ..Settings::default()
    };
    world.maps.settings = Some(settings);
    let mut programmer = Programmer::new(State::new(Capacity::default()), Vec::new(), node);
    programmer.pass(&mut model, &mut world).unwrap();
    world
}

fn question(protocol: Protocol) -> (Question, FlowKey<[u8; 4]>) {
    let port = if protocol == Protocol::Tcp { 80 } else { 53 };
    let question = Question {
        origin: Origin::Outside,
        source: "203.0.113.7:40001".parse().unwrap(),
        destination: format!("198.51.100.10:{port}").parse().unwrap(),
        protocol,
    };
    (question, key::<V4>(&question).unwrap())
}

fn ask(world: &World, protocol: Protocol) -> Answer {
    let (question, key) = question(protocol);
    judge::<V4>(&question, key, world, |_, _| Narrowed::default())
}

/// The world after the packet.
fn after(mut world: World, protocol: Protocol) -> World {
    let (question, key) = question(protocol);
    world.maps = run::<V4>(key, question.origin, &world).after;
    world.now_s += 7;
    world
}

#[test]
fn a_known_flow_decides_while_it_holds() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let new = world();
        let first = ask(&new, protocol);
        assert_eq!((first.rule.name(), first.opens, first.flow), ("weights", true, None));
        let mut known = after(new, protocol);
        let answer = ask(&known, protocol);
        let flow = answer.flow.unwrap();
        assert_eq!((answer.rule.name(), answer.opens), ("established flow", false), "{protocol}");
        assert_eq!((answer.becomes, answer.chosen), (first.becomes, first.chosen));
        assert_eq!((flow.forward, flow.idle_s, flow.stale, flow.whole), (true, 7, false, true));
        assert_eq!(Some(flow.backend), first.chosen.map(|chosen| chosen.at));
        assert!(answer.remarks.is_empty(), "{:?}", answer.remarks);
        // The endpoint goes: a connection ends in order, a datagram leaves at once.
        known.maps.v4.backends.iter_mut().for_each(|backend| backend.generation += 1);
        let answer = ask(&known, protocol);
        assert!(answer.flow.unwrap().stale);
        let (rule, remarks) =
            if protocol == Protocol::Tcp { ("established flow", 0) } else { ("weights", 1) };
        assert_eq!((answer.rule.name(), answer.remarks.len()), (rule, remarks), "{:?}", answer.remarks);
        // Silence for longer than any flow lasts.
        known.now_s += 100_000;
        let answer = ask(&known, protocol);
        assert_eq!((answer.rule.name(), answer.opens), ("weights", true));
        assert!(answer.flow.unwrap().over && answer.remarks[0].contains("silent for too long"));
    }
}

#[test]
fn a_closed_connection_is_followed_by_a_new_one() {
    let mut known = after(world(), Protocol::Tcp);
    known.maps.v4.flows.values_mut().for_each(|flow| flow.state = FlowState::Closed.to_u8());
    let answer = ask(&known, Protocol::Tcp);
    assert_eq!((answer.rule.name(), answer.opens), ("weights", true));
    assert!(answer.remarks[0].contains("closed"), "{:?}", answer.remarks);
}

#[test]
fn a_reply_of_another_node_is_part_of_its_flow() {
    let known = after(world(), Protocol::Tcp);
    let (source, backend) = ask(&known, Protocol::Tcp).becomes.unwrap();
    let reply = Question { source: backend, destination: source, ..question(Protocol::Tcp).0 };
    let answer = judge::<V4>(&reply, key::<V4>(&reply).unwrap(), &known, |_, _| Narrowed::default());
    let (vip, client) = (question(Protocol::Tcp).0.destination, question(Protocol::Tcp).0.source);
    assert_eq!((answer.rule.name(), answer.becomes), ("established flow", Some((vip, client))));
    assert_eq!(answer.chosen.map(|chosen| chosen.at), Some(backend));
    assert!(!answer.flow.unwrap().forward);
    assert_eq!(answer.service.unwrap().to_string(), "default/echo:80");
}

#[test]
fn a_client_that_is_remembered_keeps_its_endpoint() {
    let mut world = world();
    world.maps.v4.frontends.values_mut().for_each(|frontend| frontend.affinity_timeout_s = 30);
    let first = ask(&world, Protocol::Tcp);
    assert_eq!((first.rule.name(), first.affinity_timeout_s), ("weights", 30));
    let at = first.chosen.unwrap().at;
    let mut backends = (0..).zip(&world.maps.v4.backends);
    let (id, backend) =
        backends.find(|(_, one)| one.address == [10, 1, 1, 11] && one.port == [0x1f, 0x90]).unwrap();
    assert_eq!(at, "10.1.1.11:8080".parse().unwrap());
    let client = AffinityKey { client: [203, 0, 113, 7], service: backend.service };
    let had = Affinity { backend: id, generation: backend.generation, last_used_s: 50 };
    world.maps.v4.affinity.insert(client, had);
    assert_eq!(ask(&world, Protocol::Tcp).rule.name(), "session affinity");
    world.now_s = 81;
    assert_eq!(ask(&world, Protocol::Tcp).rule.name(), "weights");
}

#[test]
fn a_source_of_the_cluster_counts_as_inside() {
    let mut world = world();
    let prefix = SourceKey { service: CLUSTER_SOURCES, address: [203, 0, 112, 0] };
    world.maps.v4.sources.push((prefix, 23));
    assert!(!ask(&world, Protocol::Tcp).inside, "nobody says that there are such prefixes");
    let settings = world.maps.settings.as_mut().unwrap();
    settings.flags |= SettingsFlags::CLUSTER_SOURCES;
    let answer = ask(&world, Protocol::Tcp);
    assert!(answer.inside && answer.remarks[0].contains("counts as from inside"), "{:?}", answer.remarks);
    world.maps.v4.sources[0].1 = 24;
    assert!(!ask(&world, Protocol::Tcp).inside);
}
