//! The order of writes, proven on random histories.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lb_common::{BackendFlags, BackendState, Frontend, FrontendFlags};
use proptest::prelude::*;

use super::{BackendEntry, Change, SourceEntry};
use crate::apply::{Programmer, WriteError, Writer};
use crate::layout::{Capacity, FrontendId, State};
use crate::model::{
    Endpoint, EndpointPort, EndpointSlice, Event, IpFamily, Model, Object, ObjectKey, Protocol, Service,
    ServicePort, ServiceType,
};
use crate::plan::{Node, Policy};

/// The maps in memory. It checks after every write that what packets see is whole.
#[derive(Default)]
struct Checked {
    frontends: BTreeMap<FrontendId, Frontend>,
    slots: HashMap<u32, u32>,
    backends: HashMap<(IpFamily, u32), BackendEntry>,
    sources: BTreeSet<SourceEntry>,
    cleared: BTreeSet<u32>,
    services: HashMap<u32, String>,
    writes: usize,
    fail_at: Option<usize>,
    /// Frontends that must never be missing.
    kept: BTreeSet<FrontendId>,
}

impl Checked {
    fn check(&self, after: &Change) {
        for id in &self.kept {
            assert!(self.frontends.contains_key(id), "after {after}: {id} is gone");
        }
        for (id, frontend) in &self.frontends {
            assert!(self.services.contains_key(&frontend.service), "after {after}: {id:?} has no service");
            assert!(
                self.cleared.contains(&frontend.service),
                "after {after}: {id} counts on from another Service"
            );
            let flag = |flag| frontend.flags & flag != 0;
            let address = matches!(id, FrontendId::Address(_));
            assert_eq!(flag(FrontendFlags::ADDRESS), address, "after {after}: {id}");
            assert!(!address || frontend.inside.length + frontend.outside.length == 0);
            for (run, local) in [
                (frontend.inside, flag(FrontendFlags::INSIDE_LOCAL)),
                (frontend.outside, flag(FrontendFlags::OUTSIDE_LOCAL)),
            ] {
                for slot in run.start..run.start + run.length {
                    let backend = self.slots.get(&slot).copied().unwrap_or(0);
                    let backend = self.backends.get(&(id.family(), backend)).unwrap();
                    assert_eq!(backend.service, frontend.service, "after {after}: slot {slot} of {id}");
                    let here = backend.flags & BackendFlags::LOCAL != 0;
                    assert!(here || !local, "after {after}: {id} leaves the node by slot {slot}");
                }
            }
            let ranged = self.sources.iter().any(|source| source.service == frontend.service);
            assert!(ranged || !flag(FrontendFlags::SOURCE_RANGES), "after {after}: {id} lacks its sources");
        }
    }

    /// What the state knows is what is written, and nothing else is.
    fn check_against(&self, state: &State) {
        let live = self.backends.values().filter(|backend| backend.service != 0).count();
        let ports = || state.ports().values();
        assert_eq!(live, ports().map(|port| port.backends.len()).sum::<usize>());
        assert_eq!(self.services.len(), ports().count());
        let sources: BTreeSet<SourceEntry> = ports()
            .flat_map(|port| {
                let service = port.service;
                port.sources.iter().map(move |prefix| SourceEntry { service, prefix: *prefix })
            })
            .collect();
        assert_eq!(self.sources, sources);
        let frontends: BTreeMap<FrontendId, Frontend> =
            ports().flat_map(|port| port.frontends.clone()).collect();
        assert_eq!(self.frontends, frontends);
        for port in ports() {
            for backend in port.backends.values() {
                let used = |flag| {
                    let runs = port.frontends.values().flat_map(|frontend| {
                        [
                            (frontend.inside, FrontendFlags::INSIDE_LOCAL),
                            (frontend.outside, FrontendFlags::OUTSIDE_LOCAL),
                        ]
                        .map(|(run, bit)| (run, frontend.flags & bit != 0))
                    });
                    let scope: Vec<_> =
                        runs.filter(|(_, local)| *local == flag).map(|(run, _)| run).collect();
                    let shown = port.runs.iter().filter(|run| scope.contains(&run.run));
                    shown.flat_map(|run| run.slots.iter()).any(|slot| *slot == backend.id)
                };
                for (local, flag) in [(false, BackendFlags::IN_CLUSTER), (true, BackendFlags::IN_LOCAL)] {
                    assert!(
                        !used(local) || backend.flags & flag != 0,
                        "{backend:?} is in a scope that it denies"
                    );
                }
            }
        }
    }
}

impl Writer for Checked {
    fn write(&mut self, change: &Change) -> Result<(), WriteError> {
        if self.fail_at == Some(self.writes) {
            self.fail_at = None;
            return Err(WriteError { change: change.to_string(), map: "TEST", source: "injected".into() });
        }
        self.writes += 1;
        match change {
            Change::DropFrontend(id) => drop(self.frontends.remove(id)),
            Change::PutService { id, key, .. } => {
                assert!(self.cleared.contains(id), "service {id} has the figures of another");
                self.services.insert(*id, key.to_string());
            }
            Change::PutBackend(entry) => {
                let family = IpFamily::of(entry.at.ip());
                if let Some(before) = self.backends.insert((family, entry.id), *entry) {
                    assert!(entry.generation >= before.generation, "generation of {} went back", entry.id);
                }
            }
            Change::PutSlots { start, ids } => self.slots.extend((*start..).zip(ids.iter().copied())),
            Change::PutFrontend(id, frontend) => drop(self.frontends.insert(*id, *frontend)),
            Change::DropBackend { family, id, generation } => {
                let backend = self.backends.get_mut(&(*family, *id)).unwrap();
                assert_eq!(*generation, backend.generation + 1);
                (backend.service, backend.generation) = (0, *generation);
            }
            Change::DropService(id) => {
                self.services.remove(id);
                self.cleared.remove(id);
            }
            Change::ClearStats(id) => assert!(self.cleared.insert(*id), "service {id} is cleared in use"),
            Change::PutSource(entry) => assert!(self.sources.insert(*entry), "{entry:?} is there"),
            Change::DropSource(entry) => assert!(self.sources.remove(entry), "{entry:?} is not there"),
        }
        self.check(change);
        Ok(())
    }
}

fn node() -> Node {
    let addresses = vec![[192, 0, 2, 1].into()];
    Node { name: "here".to_owned(), zone: None, addresses, own: BTreeSet::new(), policy: Policy::default() }
}

/// A Service with an external IP, and a second port if its number is odd.
fn service(number: u8, vip: u8) -> Service {
    let port = |name: &str, port| ServicePort {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
        node_port: None,
    };
    let ports =
        if number.is_multiple_of(2) { vec![port("", 80)] } else { vec![port("", 80), port("more", 443)] };
    Service {
        key: ObjectKey::new("default", format!("s{number}")),
        service_type: ServiceType::ClusterIp,
        ip_families: [IpFamily::V4].into(),
        cluster_ips: vec![[10, 96, 0, number].into()],
        external_ips: vec![[198, 51, 100, vip].into()],
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports,
        external_local: number.is_multiple_of(2),
        internal_local: false,
        affinity_timeout_s: None,
        weight_by_zone: BTreeMap::new(),
    }
}

/// As `service`, with policies and source ranges by the bits of `how`, and a port fewer or another name for it.
fn varied(number: u8, vip: u8, how: u8) -> Service {
    let ranges: [&[&str]; 4] =
        [&[], &["203.0.113.0/24"], &["203.0.113.0/24", "10.0.0.0/8"], &["192.0.2.0/24"]];
    let mut service = service(number, vip);
    service.service_type = ServiceType::LoadBalancer;
    service.load_balancer_ips = vec![[203, 0, 113, vip].into()];
    service.external_local = how & 1 != 0;
    service.internal_local = how & 2 != 0;
    let ranges = ranges.get(usize::from(how >> 2 & 3)).copied().unwrap_or_default();
    service.source_ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    if how & 16 != 0 {
        service.ports.reverse();
        service.ports.truncate(1);
    }
    service
}

fn slice(number: u8, endpoints: &[(u8, u16)]) -> EndpointSlice {
    let endpoint = |(last, weight): &(u8, u16)| Endpoint {
        address: [10, 0, 0, *last].into(),
        ready: true,
        serving: true,
        terminating: false,
        node_name: Some(if last.is_multiple_of(2) { "here" } else { "there" }.to_owned()),
        zone: None,
        for_zones: Default::default(),
        for_nodes: Default::default(),
        weight: Some(*weight),
    };
    EndpointSlice {
        key: ObjectKey::new("default", format!("s{number}-1")),
        service: ObjectKey::new("default", format!("s{number}")),
        family: IpFamily::V4,
        ports: [("", 8080), ("more", 8443)]
            .map(|(name, port)| EndpointPort { name: name.to_owned(), protocol: Protocol::Tcp, port })
            .into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0_u8..4;
    prop_oneof![
        2 => (number.clone(), 1_u8..4).prop_map(|(n, vip)| Event::Apply(Object::Service(service(n, vip)))),
        3 => (number.clone(), 1_u8..4, any::<u8>())
            .prop_map(|(n, vip, how)| Event::Apply(Object::Service(varied(n, vip, how)))),
        4 => (number.clone(), prop::collection::vec((1_u8..8, 0_u16..4), 0..6))
            .prop_map(|(n, endpoints)| Event::Apply(Object::EndpointSlice(slice(n, &endpoints)))),
        1 => number.clone().prop_map(|n| Event::DeleteService(ObjectKey::new("default", format!("s{n}")))),
        1 => number.prop_map(|n| Event::DeleteEndpointSlice(ObjectKey::new("default", format!("s{n}-1")))),
    ]
}

fn capacity() -> Capacity {
    Capacity {
        frontends: 64,
        services: 16,
        backends: 64,
        slots: 65_536,
        flows: 64,
        affinity: 64,
        sources: 64,
        socket_flows: 64,
    }
}

proptest! {
    #[test]
    fn after_every_single_write_frontends_show_live_backends_only(
        passes in prop::collection::vec(prop::collection::vec(event(), 1..6), 1..12),
    ) {
        let (mut model, mut maps) = (Model::default(), Checked::default());
        let mut programmer = Programmer::new(State::new(capacity()), Vec::new(), node());
        for events in passes {
            events.into_iter().for_each(|event| model.apply(event));
            programmer.pass(&mut model, &mut maps).unwrap();
        }
        // A VIP that somebody wants is served, by one of those that want it, and has its own entry.
        let services = || model.service_keys().filter_map(|key| model.service(key)).map(|(service, _)| service);
        let wanted: BTreeSet<FrontendId> = services()
            .flat_map(|service| {
                let ips = service.external_ips.iter().chain(&service.cluster_ips).chain(&service.load_balancer_ips);
                let protocol = Protocol::Tcp;
                ips.flat_map(move |ip| {
                    let ports = service.ports.iter().map(move |port| (*ip, port.port).into());
                    let ports = ports.map(move |at| FrontendId::Port { at, protocol });
                    ports.chain([FrontendId::Address(*ip)])
                })
            })
            .collect();
        let served: BTreeSet<FrontendId> = maps.frontends.keys().copied().collect();
        prop_assert_eq!(wanted, served);
        maps.check_against(programmer.state());
    }

    #[test]
    fn an_interrupted_change_leaves_live_backends_only(
        events in prop::collection::vec(event(), 1..30), fail_at in 0_usize..40,
    ) {
        let (mut model, mut maps) = (Model::default(), Checked { fail_at: Some(fail_at), ..Checked::default() });
        let mut programmer = Programmer::new(State::new(capacity()), Vec::new(), node());
        for event in events {
            model.apply(event);
            // The check runs inside every write; after a failure the next start reads the maps again.
            if programmer.pass(&mut model, &mut maps).is_err() {
                return Ok(());
            }
        }
    }

    #[test]
    fn planning_again_writes_nothing(events in prop::collection::vec(event(), 1..20)) {
        let (mut model, mut maps) = (Model::default(), Checked::default());
        let mut programmer = Programmer::new(State::new(capacity()), Vec::new(), node());
        events.into_iter().for_each(|event| model.apply(event));
        programmer.pass(&mut model, &mut maps).unwrap();
        for number in 0..4 {
            model.mark(ObjectKey::new("default", format!("s{number}")));
        }
        prop_assert_eq!(programmer.pass(&mut model, &mut maps).unwrap().writes, 0);
    }
}

#[test]
fn a_full_map_refuses_the_service_whole_and_serves_it_when_there_is_room() {
    let small = Capacity { backends: 8, ..capacity() };
    let (mut model, mut maps) = (Model::default(), Checked::default());
    let mut programmer = Programmer::new(State::new(small), Vec::new(), node());
    model.apply(Event::Apply(Object::Service(service(1, 1))));
    model.apply(Event::Apply(Object::EndpointSlice(slice(1, &[(1, 1), (2, 1)]))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let before = maps.frontends.clone();

    model.apply(Event::Apply(Object::Service(service(3, 3))));
    model.apply(Event::Apply(Object::EndpointSlice(slice(3, &[(3, 1), (5, 1)]))));
    let pass = programmer.pass(&mut model, &mut maps).unwrap();
    let message = pass.refused[0].to_string();
    assert!(
        ["BACKENDS4", "8 entries", "--backends-max", "s3"].iter().all(|part| message.contains(part)),
        "{message}"
    );
    assert_eq!(maps.frontends, before);

    model.apply(Event::Apply(Object::EndpointSlice(slice(1, &[(1, 1)]))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let pass = programmer.pass(&mut model, &mut maps).unwrap();
    let external =
        |id: &&FrontendId| matches!(id, FrontendId::Port { at, .. } if at.to_string().starts_with("198.51"));
    assert_eq!((pass.refused.len(), maps.frontends.keys().filter(external).count()), (0, 4));
}

#[test]
fn draining_keeps_the_id_and_its_generation() {
    let (mut model, mut maps) = (Model::default(), Checked::default());
    let mut programmer = Programmer::new(State::new(capacity()), Vec::new(), node());
    model.apply(Event::Apply(Object::Service(service(1, 1))));
    model.apply(Event::Apply(Object::EndpointSlice(slice(1, &[(1, 1), (2, 1)]))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let (before, at) = (maps.backends.clone(), "10.0.0.2:8080".parse().unwrap());
    model.apply(Event::Apply(Object::EndpointSlice(slice(1, &[(1, 1), (2, 0)]))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let port = programmer.state().ports().values().next().unwrap();
    let drained = port.backends.get(&at).copied().unwrap();
    assert_eq!(drained.state, BackendState::Draining);
    let ids = |backends: &HashMap<_, BackendEntry>| -> BTreeSet<_> {
        backends.values().map(|one| (one.id, one.at, one.generation, one.service)).collect()
    };
    assert_eq!(ids(&maps.backends), ids(&before));
    assert!(port.runs.iter().all(|run| !run.slots.contains(&drained.id)));
}

#[test]
fn a_full_map_of_sources_refuses_the_service() {
    let small = Capacity { sources: 3, ..capacity() };
    let (mut model, mut maps) = (Model::default(), Checked::default());
    let mut programmer = Programmer::new(State::new(small), Vec::new(), node());
    // Two ranges for each of two ports, of which the second no longer fits.
    model.apply(Event::Apply(Object::Service(varied(1, 1, 8))));
    let pass = programmer.pass(&mut model, &mut maps).unwrap();
    let message = pass.refused.first().map(ToString::to_string).unwrap_or_default();
    assert!(message.contains("SOURCES4") && message.contains("--sources-max"), "{message}");
    assert!(maps.frontends.is_empty());
    // One range for each does; and while it is exchanged for another, both are there.
    model.apply(Event::Apply(Object::Service(varied(1, 1, 4))));
    assert!(programmer.pass(&mut model, &mut maps).unwrap().refused.is_empty());
    maps.check_against(programmer.state());
    assert_eq!(maps.sources.len(), 2);
    model.apply(Event::Apply(Object::Service(varied(1, 1, 12))));
    assert_eq!(programmer.pass(&mut model, &mut maps).unwrap().refused.len(), 1);
}

#[test]
fn a_port_that_is_renamed_hands_its_frontends_over() {
    let (mut model, mut maps) = (Model::default(), Checked::default());
    let mut programmer = Programmer::new(State::new(capacity()), Vec::new(), node());
    model.apply(Event::Apply(Object::Service(service(2, 1))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let before: Vec<FrontendId> = maps.frontends.keys().copied().collect();
    let mut renamed = service(2, 1);
    renamed.ports[0].name = "more".to_owned();
    model.apply(Event::Apply(Object::Service(renamed)));
    maps.kept = before.iter().copied().collect();
    programmer.pass(&mut model, &mut maps).unwrap();
    assert_eq!(maps.frontends.keys().copied().collect::<Vec<_>>(), before);
    maps.check_against(programmer.state());
}
