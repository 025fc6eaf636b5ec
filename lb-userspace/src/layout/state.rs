//! What the maps hold, in terms of service ports, and what is free.

use std::collections::BTreeMap;

use lb_common::Run;

use crate::model::{IpFamily, ObjectKey, Prefix};
use crate::plan::PortKey;

use super::{Arena, BackendIds, FrontendId, PortLayout, Ports, ServiceIds};

/// Sizes of the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Entries in each of `FRONTENDS4` and `FRONTENDS6`.
    pub frontends: u32,
    /// Entries in `SERVICES`.
    pub services: u32,
    /// Elements in each of `BACKENDS4` and `BACKENDS6`.
    pub backends: u32,
    /// Elements in `SLOTS`.
    pub slots: u32,
    /// Entries in each of `FLOWS4` and `FLOWS6`.
    pub flows: u32,
    /// Entries in each of `AFFINITY4` and `AFFINITY6`.
    pub affinity: u32,
    /// Entries in each of `SOURCES4` and `SOURCES6`.
    pub sources: u32,
    /// Entries in each of `SOCKET_FLOWS4` and `SOCKET_FLOWS6`.
    pub socket_flows: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        use lb_common::maps;
        Self {
            frontends: maps::FRONTENDS,
            services: maps::SERVICES,
            backends: maps::BACKENDS,
            slots: maps::SLOTS,
            flows: maps::FLOWS,
            affinity: maps::AFFINITY,
            sources: maps::SOURCES,
            socket_flows: maps::SOCKET_FLOWS,
        }
    }
}

/// The entries of every service port, and what is free.
#[derive(Clone, Debug)]
pub struct State {
    ports: Ports,
    owners: BTreeMap<FrontendId, PortKey>,
    frontends: PerFamily,
    sources: PerFamily,
    pub(super) capacity: Capacity,
    pub(super) services: ServiceIds,
    pub(super) backends4: BackendIds,
    pub(super) backends6: BackendIds,
    pub(super) arena: Arena,
}

impl State {
    /// Empty maps of these sizes.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            ports: Ports::new(),
            owners: BTreeMap::new(),
            frontends: PerFamily::default(),
            sources: PerFamily::default(),
            capacity,
            services: ServiceIds::new(capacity.services),
            backends4: BackendIds::new(capacity.backends),
            backends6: BackendIds::new(capacity.backends),
            arena: Arena::new(capacity.slots),
        }
    }

    /// The entries of every service port.
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The service ports of a Service.
    pub fn ports_of<'a>(&'a self, service: &'a ObjectKey) -> impl Iterator<Item = &'a PortKey> {
        let first = PortKey {
            service: service.clone(),
            port_name: String::new(),
            protocol: crate::model::Protocol::Tcp,
            family: IpFamily::V4,
        };
        self.ports.range(first..).map(|(key, _)| key).take_while(move |key| key.service == *service)
    }

    /// The service port that has a frontend.
    pub fn owner(&self, frontend: &FrontendId) -> Option<&PortKey> {
        self.owners.get(frontend)
    }

    /// Number of frontends in a family.
    pub(super) const fn frontends(&self, family: IpFamily) -> usize {
        self.frontends.get(family)
    }

    /// Number of source prefixes in a family, with those that are about to be deleted.
    pub(super) const fn sources(&self, family: IpFamily) -> usize {
        self.sources.get(family)
    }

    pub(super) const fn backends(&mut self, family: IpFamily) -> &mut BackendIds {
        match family {
            IpFamily::V4 => &mut self.backends4,
            IpFamily::V6 => &mut self.backends6,
        }
    }

    /// Takes over a service port as the kernel has it; `false` when its id is taken. Runs that overlap another's are
    /// left out, so that the port is given new ones.
    pub fn load(&mut self, key: PortKey, mut layout: PortLayout) -> bool {
        if self.ports.contains_key(&key) || !self.services.reserve(layout.service) {
            return false;
        }
        layout.runs.retain(|run| self.arena.reserve(run.run));
        self.own(&key, &layout);
        *self.sources.of(key.family) += layout.sources.len();
        self.ports.insert(key, layout);
        true
    }

    /// Takes over an element of `BACKENDS4` or `BACKENDS6` as the kernel has it.
    pub fn load_backend(&mut self, family: IpFamily, id: u32, generation: u32, used: bool) {
        self.backends(family).load(id, generation, used);
    }

    /// Takes over what is about to be written: `new` instead of what the service port had. What only the old one
    /// used stays taken until [`State::release`], so that nothing else is given it before the writes are done.
    pub fn adopt(&mut self, key: PortKey, new: Option<PortLayout>) -> Released {
        let mut released = Released { family: key.family, ..Released::default() };
        let old = self.ports.remove(&key);
        if let Some(new) = &new {
            let known = |source: &&Prefix| old.as_ref().is_some_and(|old| old.sources.contains(source));
            *self.sources.of(key.family) += new.sources.iter().filter(|source| !known(source)).count();
        }
        if let Some(old) = old {
            for frontend in old.frontends.keys() {
                if self.owners.get(frontend) == Some(&key) {
                    self.disown(frontend);
                }
            }
            released.collect(&old, new.as_ref());
        }
        if let Some(new) = new {
            self.own(&key, &new);
            self.ports.insert(key, new);
        }
        released
    }

    /// Frees what an adopted change left behind, after it was written.
    pub fn release(&mut self, released: Released) {
        *self.sources.of(released.family) -= released.sources;
        for run in released.runs {
            self.arena.release(run);
        }
        for (id, generation) in released.backends {
            self.backends(released.family).release(id, generation);
        }
        if let Some(service) = released.service {
            self.services.release(service);
        }
    }

    /// Gives back what was placed and is not adopted.
    pub fn abandon(&mut self, key: &PortKey, placed: &PortLayout) {
        let old = self.ports.get(key).cloned();
        let mut unused = Released { family: key.family, ..Released::default() };
        unused.collect(placed, old.as_ref());
        for run in unused.runs {
            self.arena.release(run);
        }
        for (id, _) in unused.backends {
            self.backends(key.family).release_unused(id);
        }
        if let Some(service) = unused.service {
            self.services.release(service);
        }
    }

    fn own(&mut self, key: &PortKey, layout: &PortLayout) {
        for frontend in layout.frontends.keys() {
            if self.owners.insert(*frontend, key.clone()).is_none() {
                *self.frontends.of(frontend.family()) += 1;
            }
        }
    }

    fn disown(&mut self, frontend: &FrontendId) {
        self.owners.remove(frontend);
        *self.frontends.of(frontend.family()) -= 1;
    }
}

/// Entries of two maps of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct PerFamily {
    v4: usize,
    v6: usize,
}

impl PerFamily {
    const fn get(self, family: IpFamily) -> usize {
        match family {
            IpFamily::V4 => self.v4,
            IpFamily::V6 => self.v6,
        }
    }

    const fn of(&mut self, family: IpFamily) -> &mut usize {
        match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        }
    }
}

/// What a change left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    family: IpFamily,
    runs: Vec<Run>,
    /// Ids with the generation that they carry when they are cleared.
    backends: Vec<(u32, u32)>,
    service: Option<u32>,
    /// Number of source prefixes.
    sources: usize,
}

impl Default for Released {
    fn default() -> Self {
        Self { family: IpFamily::V4, runs: Vec::new(), backends: Vec::new(), service: None, sources: 0 }
    }
}

impl Released {
    /// What `old` has and `new` has not.
    fn collect(&mut self, old: &PortLayout, new: Option<&PortLayout>) {
        let kept = |run: Run| new.is_some_and(|new| new.runs.iter().any(|kept| kept.run == run));
        self.runs.extend(old.runs.iter().map(|run| run.run).filter(|run| !kept(*run)));
        for (at, backend) in &old.backends {
            if new.is_none_or(|new| !new.backends.contains_key(at)) {
                self.backends.push((backend.id, backend.generation.wrapping_add(1)));
            }
        }
        if new.is_none_or(|new| new.service != old.service) {
            self.service = Some(old.service);
        }
        let kept = |source: &&Prefix| new.is_some_and(|new| new.sources.contains(source));
        self.sources = old.sources.iter().filter(|source| !kept(source)).count();
    }
}
