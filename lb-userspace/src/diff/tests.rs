//! The order of writes, proven on random histories.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use lb_common::{BackendState, Frontend};
use proptest::prelude::*;

use super::Change;
use crate::apply::{Programmer, WriteError, Writer};
use crate::layout::{Capacity, FrontendId, State};
use crate::model::{
    Endpoint, EndpointPort, EndpointSlice, Event, IpFamily, Model, Object, ObjectKey, Protocol, Service,
    ServicePort, ServiceType,
};
use crate::plan::Node;

/// The maps in memory. It checks after every write that what packets see is whole.
#[derive(Default)]
struct Checked {
    frontends: BTreeMap<FrontendId, Frontend>,
    slots: HashMap<u32, u32>,
    backends: HashMap<(IpFamily, u32), (u32, u32)>,
    services: HashMap<u32, String>,
    writes: usize,
    fail_at: Option<usize>,
}

impl Checked {
    fn check(&self, after: &Change) {
        for (id, frontend) in &self.frontends {
            assert!(self.services.contains_key(&frontend.service), "after {after}: {id:?} has no service");
            for run in [frontend.inside, frontend.outside] {
                for slot in run.start..run.start + run.length {
                    let backend = self.slots.get(&slot).copied().unwrap_or(0);
                    let family = IpFamily::of(id.at.ip());
                    let owner = self.backends.get(&(family, backend)).map(|(service, _)| *service);
                    assert_eq!(owner, Some(frontend.service), "after {after}: slot {slot} of {id:?}");
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
            Change::PutService { id, key, .. } => drop(self.services.insert(*id, key.to_string())),
            Change::PutBackend(entry) => {
                let family = IpFamily::of(entry.at.ip());
                let before = self.backends.insert((family, entry.id), (entry.service, entry.generation));
                if let Some((_, generation)) = before {
                    assert!(entry.generation >= generation, "generation of {} went back", entry.id);
                }
            }
            Change::PutSlots { start, ids } => self.slots.extend((*start..).zip(ids.iter().copied())),
            Change::PutFrontend(id, frontend) => drop(self.frontends.insert(*id, *frontend)),
            Change::DropBackend { family, id, generation } => {
                let before = self.backends.insert((*family, *id), (0, *generation));
                assert!(before.is_some_and(|(_, old)| *generation == old + 1));
            }
            Change::DropService(id) => drop(self.services.remove(id)),
        }
        self.check(change);
        Ok(())
    }
}

fn node() -> Node {
    Node { name: "here".to_owned(), zone: None, addresses: vec![[192, 0, 2, 1].into()] }
}

fn service(number: u8, vip: u8) -> Service {
    Service {
        key: ObjectKey::new("default", format!("s{number}")),
        service_type: ServiceType::ClusterIp,
        ip_families: [IpFamily::V4].into(),
        cluster_ips: Vec::new(),
        external_ips: vec![[198, 51, 100, vip].into()],
        load_balancer_ips: Vec::new(),
        ports: vec![ServicePort { name: String::new(), protocol: Protocol::Tcp, port: 80, node_port: None }],
        external_local: number.is_multiple_of(2),
        internal_local: false,
        affinity_timeout_s: None,
        weight_by_zone: BTreeMap::new(),
    }
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
        ports: vec![EndpointPort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0_u8..4;
    prop_oneof![
        2 => (number.clone(), 1_u8..4).prop_map(|(n, vip)| Event::Apply(Object::Service(service(n, vip)))),
        4 => (number.clone(), prop::collection::vec((1_u8..8, 0_u16..4), 0..6))
            .prop_map(|(n, endpoints)| Event::Apply(Object::EndpointSlice(slice(n, &endpoints)))),
        1 => number.clone().prop_map(|n| Event::DeleteService(ObjectKey::new("default", format!("s{n}")))),
        1 => number.prop_map(|n| Event::DeleteEndpointSlice(ObjectKey::new("default", format!("s{n}-1")))),
    ]
}

fn capacity() -> Capacity {
    Capacity { frontends: 16, services: 16, backends: 64, slots: 65_536, flows: 64 }
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
        // A VIP that somebody wants is served, and by one of those that want it.
        let wanted: std::collections::BTreeSet<SocketAddr> = model
            .service_keys()
            .filter_map(|key| model.service(key))
            .flat_map(|(service, _)| service.external_ips.iter().map(|ip| SocketAddr::new(*ip, 80)))
            .collect();
        let served: std::collections::BTreeSet<SocketAddr> = maps.frontends.keys().map(|id| id.at).collect();
        prop_assert_eq!(wanted, served);
        // Nothing is left behind: what the maps hold is what the state knows.
        let live = maps.backends.values().filter(|(service, _)| *service != 0).count();
        let known: usize = programmer.state().ports().values().map(|port| port.backends.len()).sum();
        prop_assert_eq!(live, known);
        prop_assert_eq!(maps.services.len(), programmer.state().ports().len());
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
    let small = Capacity { backends: 4, ..capacity() };
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
        ["BACKENDS4", "4 entries", "--backends-max", "s3"].iter().all(|part| message.contains(part)),
        "{message}"
    );
    assert_eq!(maps.frontends, before);

    model.apply(Event::Apply(Object::EndpointSlice(slice(1, &[(1, 1)]))));
    programmer.pass(&mut model, &mut maps).unwrap();
    let pass = programmer.pass(&mut model, &mut maps).unwrap();
    assert_eq!((pass.refused.len(), maps.frontends.len()), (0, 2));
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
    assert_eq!(maps.backends, before);
    assert!(port.runs.iter().all(|run| !run.slots.contains(&drained.id)));
}
