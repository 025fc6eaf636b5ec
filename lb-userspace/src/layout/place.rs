//! Gives a plan its ids and slots, keeping those that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lb_common::{BackendFlags, Frontend, FrontendFlags, Run};

use crate::model::{IpFamily, Prefix};
use crate::plan::{FrontendKind, PortKey, PortPlan, Scope};

use super::{BackendLayout, FrontendId, PortLayout, RunLayout, State, fill, table_size};

/// A map that is full: the change was refused whole, and what was served goes on being served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{port}: map {map} is full ({size} entries, {wanted} more wanted): the change is refused, what was served goes \
     on; start weir with a larger {option} (the maps must be made anew: run `weir cleanup` first)"
)]
pub struct LayoutError {
    /// The service port whose change was refused.
    pub port: Box<PortKey>,
    /// Name of the map.
    pub map: &'static str,
    /// Its size in entries.
    pub size: u32,
    /// Entries that were wanted and not there.
    pub wanted: u64,
    /// The option that enlarges it.
    pub option: &'static str,
}

/// What the other ports of a Service that is placed have been given, or leave.
#[derive(Debug, Default)]
pub struct Claims {
    frontends: BTreeSet<FrontendId>,
    sources4: usize,
    sources6: usize,
    leaving: BTreeSet<PortKey>,
}

impl Claims {
    /// Nothing is given yet. The frontends of ports that are `leaving` with this change may be taken over at once.
    pub fn new(leaving: impl IntoIterator<Item = PortKey>) -> Self {
        Self { leaving: leaving.into_iter().collect(), ..Self::default() }
    }

    /// Adds a port that was placed.
    pub fn add(&mut self, key: &PortKey, placed: &PortLayout, state: &State) {
        self.frontends.extend(placed.frontends.keys());
        let old = state.ports().get(key);
        let known = |source: &&Prefix| old.is_some_and(|old| old.sources.contains(source));
        let new = placed.sources.iter().filter(|source| !known(source)).count();
        match key.family {
            IpFamily::V4 => self.sources4 += new,
            IpFamily::V6 => self.sources6 += new,
        }
    }
}

/// Places a plan. Frontends that another service port has are left to it and returned.
///
/// # Errors
///
/// When a map is full; nothing is then taken.
pub fn place(
    plan: &PortPlan,
    claims: &Claims,
    state: &mut State,
) -> Result<(PortLayout, Vec<FrontendId>), LayoutError> {
    let old = state.ports().get(&plan.key).cloned();
    let mut placing = Placing { plan, old, state, taken: Taken::default() };
    let placed = placing.place(claims);
    if placed.is_err() {
        placing.give_back();
    }
    placed
}

/// What was taken for a plan, to give back if it cannot be placed whole.
#[derive(Default)]
struct Taken {
    service: Option<u32>,
    backends: Vec<u32>,
    runs: Vec<Run>,
}

/// A plan on its way.
struct Placing<'a> {
    plan: &'a PortPlan,
    old: Option<PortLayout>,
    state: &'a mut State,
    taken: Taken,
}

impl Placing<'_> {
    fn place(&mut self, claims: &Claims) -> Result<(PortLayout, Vec<FrontendId>), LayoutError> {
        let service = self.service()?;
        let backends = self.backends()?;
        let cluster = self.run(Scope::Cluster, &backends, None)?;
        let local = self.run(Scope::Local, &backends, Some(&cluster))?;
        let run_of = |scope| match scope {
            Scope::Cluster => cluster.run,
            Scope::Local => local.run,
        };
        let protocol = self.plan.key.protocol;
        let ports = self.plan.frontends.iter().map(|frontend| {
            let value = Frontend {
                service,
                affinity_timeout_s: self.plan.affinity_timeout_s,
                inside: run_of(frontend.inside),
                outside: run_of(frontend.outside),
                flags: self.plan.flags(frontend),
            };
            (FrontendId::Port { at: frontend.at, protocol }, value)
        });
        let addresses = self.plan.virtual_ips.iter().map(|(ip, kind)| {
            let cluster_ip = if *kind == FrontendKind::ClusterIp { FrontendFlags::CLUSTER_IP } else { 0 };
            let flags = FrontendFlags::ADDRESS | cluster_ip;
            (FrontendId::Address(*ip), Frontend { service, flags, ..Frontend::default() })
        });
        let (frontends, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
            ports.chain(addresses).partition(|(id, _)| !self.is_taken(id, claims));
        self.check_frontends(&frontends, claims)?;
        let ranged = |frontend: &Frontend| frontend.flags & FrontendFlags::SOURCE_RANGES != 0;
        let sources =
            if frontends.values().any(ranged) { self.plan.sources.clone() } else { BTreeSet::new() };
        self.check_sources(&sources, claims)?;
        let runs = self.used_runs([cluster, local], &frontends);
        let layout = PortLayout { service, port: self.plan.port, backends, runs, frontends, sources };
        Ok((layout, refused.into_keys().collect()))
    }

    fn is_taken(&self, id: &FrontendId, claims: &Claims) -> bool {
        let stays = |owner: &PortKey| *owner != self.plan.key && !claims.leaving.contains(owner);
        claims.frontends.contains(id) || self.state.owner(id).is_some_and(stays)
    }

    fn service(&mut self) -> Result<u32, LayoutError> {
        if let Some(old) = &self.old {
            return Ok(old.service);
        }
        let Some(id) = self.state.services.allocate() else {
            return Err(self.full("SERVICES", self.state.capacity.services, 1, "--services-max"));
        };
        self.taken.service = Some(id);
        Ok(id)
    }

    fn backends(&mut self) -> Result<BTreeMap<SocketAddr, BackendLayout>, LayoutError> {
        let plan = self.plan;
        let mut backends = BTreeMap::new();
        for (at, backend) in &plan.backends {
            let known = self.old.as_ref().and_then(|old| old.backends.get(at));
            let (id, generation) = match known {
                Some(known) => (known.id, known.generation),
                None => self.backend()?,
            };
            let flags = [
                (backend.local, BackendFlags::LOCAL),
                (plan.cluster.contains_key(at), BackendFlags::IN_CLUSTER),
                (plan.local.contains_key(at), BackendFlags::IN_LOCAL),
            ];
            let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
            backends.insert(*at, BackendLayout { id, generation, flags, state: backend.state });
        }
        Ok(backends)
    }

    fn backend(&mut self) -> Result<(u32, u32), LayoutError> {
        let family = self.plan.key.family;
        let Some((id, generation)) = self.state.backends(family).allocate() else {
            let known = |at| self.old.as_ref().is_some_and(|old| old.backends.contains_key(at));
            let new = self.plan.backends.keys().filter(|at| !known(at)).count();
            let missing = new.saturating_sub(self.taken.backends.len());
            let map = by_family(family, "BACKENDS4", "BACKENDS6");
            return Err(self.full(map, self.state.capacity.backends, missing, "--backends-max"));
        };
        self.taken.backends.push(id);
        Ok((id, generation))
    }

    /// Fills the slots of a scope. A run of the same content, or the scope's own of the same length, is used again:
    /// writing a run in place is safe slot by slot, since each slot goes from one live backend of the port to another.
    /// Another scope's run is not: its frontends would show endpoints that the policy forbids.
    fn run(
        &mut self,
        scope: Scope,
        backends: &BTreeMap<SocketAddr, BackendLayout>,
        placed: Option<&RunLayout>,
    ) -> Result<RunLayout, LayoutError> {
        let slots = self.slots(scope, backends);
        if let Some(same) = placed.filter(|run| run.slots == slots) {
            return Ok(same.clone());
        }
        let length = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let again = self.old.iter().flat_map(|old| &old.runs).find(|run| {
            let free = placed.is_none_or(|placed| placed.run != run.run);
            free && (run.slots == slots || (run.run.length == length && self.had(scope, run.run)))
        });
        let again = again.map(|run| run.run);
        if let Some(run) = again {
            return Ok(RunLayout { run, slots });
        }
        let Some(run) = self.state.arena.allocate(length) else {
            let missing = u64::from(length).saturating_sub(self.state.arena.available()).max(1);
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            return Err(self.full("SLOTS", self.state.arena.size(), missing, "--slots-max"));
        };
        self.taken.runs.push(run);
        Ok(RunLayout { run, slots })
    }

    /// Whether a run was that of a scope, and of no other.
    fn had(&self, scope: Scope, run: Run) -> bool {
        let of = |held: Run, local: bool| (held == run).then_some(Scope::of_policy(local));
        let frontends = self.old.iter().flat_map(|old| old.frontends.values());
        let scopes = frontends.flat_map(|frontend| {
            let flag = |flag| frontend.flags & flag != 0;
            let inside = of(frontend.inside, flag(FrontendFlags::INSIDE_LOCAL));
            [inside, of(frontend.outside, flag(FrontendFlags::OUTSIDE_LOCAL))]
        });
        let mut scopes = scopes.flatten().peekable();
        scopes.peek().is_some() && scopes.all(|had| had == scope)
    }

    /// The backend ids of a scope's slots; none when no frontend asks for the scope.
    fn slots(&self, scope: Scope, backends: &BTreeMap<SocketAddr, BackendLayout>) -> Arc<[u32]> {
        let used =
            |frontend: &crate::plan::FrontendPlan| frontend.inside == scope || frontend.outside == scope;
        if !self.plan.frontends.iter().any(used) {
            return Arc::from([]);
        }
        let chosen = self.plan.scope(scope);
        let endpoints: Vec<(SocketAddr, u16)> = chosen.iter().map(|(at, weight)| (*at, *weight)).collect();
        let id_of = |at| backends.get(at).map_or(0, |backend| backend.id);
        let ids: Vec<u32> = chosen.keys().map(id_of).collect();
        let size = table_size(chosen.values().copied());
        let filled = fill(&endpoints, size).into_iter();
        filled.map(|index| ids.get(index as usize).copied().unwrap_or(0)).collect()
    }

    fn check_frontends(
        &self,
        frontends: &BTreeMap<FrontendId, Frontend>,
        claims: &Claims,
    ) -> Result<(), LayoutError> {
        let family = self.plan.key.family;
        let size = self.state.capacity.frontends;
        let is_new = |id: &&FrontendId| id.family() == family && self.state.owner(id).is_none();
        let new = frontends.keys().chain(&claims.frontends).filter(is_new).count();
        let free = (size as usize).saturating_sub(self.state.frontends(family));
        if new <= free {
            return Ok(());
        }
        let map = by_family(family, "FRONTENDS4", "FRONTENDS6");
        Err(self.full(map, size, new - free, "--frontends-max"))
    }

    fn check_sources(&self, sources: &BTreeSet<Prefix>, claims: &Claims) -> Result<(), LayoutError> {
        let family = self.plan.key.family;
        let size = self.state.capacity.sources;
        let known = |source: &&Prefix| self.old.as_ref().is_some_and(|old| old.sources.contains(source));
        let claimed = match family {
            IpFamily::V4 => claims.sources4,
            IpFamily::V6 => claims.sources6,
        };
        let new = sources.iter().filter(|source| !known(source)).count();
        let free = (size as usize).saturating_sub(self.state.sources(family) + claimed);
        if new <= free {
            return Ok(());
        }
        let map = by_family(family, "SOURCES4", "SOURCES6");
        Err(self.full(map, size, new - free, "--sources-max"))
    }

    /// The runs that a frontend shows; one that was taken for nothing is given back.
    fn used_runs(
        &mut self,
        placed: [RunLayout; 2],
        frontends: &BTreeMap<FrontendId, Frontend>,
    ) -> Vec<RunLayout> {
        let mut runs: Vec<RunLayout> = Vec::new();
        for run in placed {
            if run.run.length == 0 || runs.iter().any(|known| known.run == run.run) {
                continue;
            }
            if frontends.values().any(|frontend| frontend.inside == run.run || frontend.outside == run.run) {
                runs.push(run);
            } else if self.taken.runs.contains(&run.run) {
                self.taken.runs.retain(|taken| *taken != run.run);
                self.state.arena.release(run.run);
            }
        }
        runs
    }

    fn give_back(&mut self) {
        if let Some(service) = self.taken.service {
            self.state.services.release(service);
        }
        for id in std::mem::take(&mut self.taken.backends) {
            self.state.backends(self.plan.key.family).release_unused(id);
        }
        for run in std::mem::take(&mut self.taken.runs) {
            self.state.arena.release(run);
        }
    }

    fn full(&self, map: &'static str, size: u32, wanted: usize, option: &'static str) -> LayoutError {
        LayoutError { port: Box::new(self.plan.key.clone()), map, size, wanted: wanted as u64, option }
    }
}

const fn by_family(family: IpFamily, v4: &'static str, v6: &'static str) -> &'static str {
    match family {
        IpFamily::V4 => v4,
        IpFamily::V6 => v6,
    }
}
