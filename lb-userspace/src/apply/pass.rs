//! One pass: the dirty Services of the model become changes and are written.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{debug, error, warn};

use crate::diff::{Change, diff, order};
use crate::layout::{Claims, FrontendId, LayoutError, PortLayout, Released, State, place};
use crate::model::{Model, ObjectKey};
use crate::plan::{Node, PortKey, plan};

use super::{WriteError, Writer, apply};

/// How often one pass follows frontends from hand to hand; what is left is for the next.
const ROUNDS_MAX: usize = 4;

/// What a pass did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Services that were planned.
    pub services: usize,
    /// Writes to the maps.
    pub writes: usize,
    /// The Services that are not as they should be because a map is full.
    pub refused: Vec<LayoutError>,
}

/// Plans, places, compares and writes; remembers what the maps hold.
#[derive(Debug)]
pub struct Programmer {
    state: State,
    node: Node,
    /// Frontends that a Service wanted and another has, by the Service that goes without.
    waiting: BTreeMap<FrontendId, BTreeSet<ObjectKey>>,
    /// Whether the model knows all: else what the maps hold of a Service may be more than the model does.
    complete: bool,
    /// Services that wait until it does.
    held: BTreeSet<ObjectKey>,
    /// Services for which a map was full, and why.
    refused: BTreeMap<ObjectKey, LayoutError>,
    /// Problems that were told.
    told: BTreeMap<ObjectKey, Vec<String>>,
    /// Entries that belong to nothing and are deleted by the next pass.
    orphans: Vec<Change>,
}

impl Programmer {
    /// Starts from what the maps hold.
    pub const fn new(state: State, orphans: Vec<Change>, node: Node) -> Self {
        Self {
            state,
            node,
            waiting: BTreeMap::new(),
            complete: true,
            held: BTreeSet::new(),
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            orphans,
        }
    }

    /// What the maps hold.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Says whether the model knows all. While it does not, as when a manifest cannot be read at the start, Services
    /// that the maps already serve are left as they are.
    pub const fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    /// Marks every Service that the maps know and the model does not, so that its entries go.
    pub fn mark_unknown(&self, model: &mut Model) {
        let known: BTreeSet<ObjectKey> = model.service_keys().cloned().collect();
        let held: BTreeSet<&ObjectKey> = self.state.ports().keys().map(|key| &key.service).collect();
        for service in held {
            if !known.contains(service) {
                model.mark(service.clone());
            }
        }
    }

    /// Writes what the dirty Services of `model` need.
    ///
    /// A Service for which a map is full is left as it is, reported, and tried again at the next pass.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a write. What the maps hold is then known only to the kernel: read it again.
    pub fn pass(&mut self, model: &mut Model, writer: &mut impl Writer) -> Result<Pass, WriteError> {
        let mut done = Pass::default();
        // By themselves and first: the ids that they free may be given out again right after.
        let orphans = order(std::mem::take(&mut self.orphans));
        apply(&orphans, writer)?;
        done.writes += orphans.len();
        for service in self.refused.keys() {
            model.mark(service.clone());
        }
        if self.complete {
            std::mem::take(&mut self.held).into_iter().for_each(|service| model.mark(service));
        }
        // A Service that gives a frontend up makes those dirty that wait for it.
        for _ in 0..ROUNDS_MAX {
            let dirty = model.take_dirty();
            if dirty.is_empty() {
                break;
            }
            done.services += dirty.len();
            for frontend in self.round(&dirty, model, writer, &mut done)? {
                for service in self.waiting.remove(&frontend).unwrap_or_default() {
                    model.mark(service);
                }
            }
        }
        done.refused = self.refused.values().cloned().collect();
        Ok(done)
    }

    /// Writes one set of Services; returns the frontends that are free now.
    fn round(
        &mut self,
        dirty: &BTreeSet<ObjectKey>,
        model: &Model,
        writer: &mut impl Writer,
        done: &mut Pass,
    ) -> Result<Vec<FrontendId>, WriteError> {
        let mut changes: Vec<Change> = Vec::new();
        let mut released: Vec<Released> = Vec::new();
        for service in dirty {
            if !self.complete && self.state.ports_of(service).next().is_some() {
                self.held.insert(service.clone());
                continue;
            }
            match self.place_service(service, model) {
                Ok(ports) => {
                    self.refused.remove(service);
                    for (key, new) in ports {
                        changes.extend(diff(&key, self.state.ports().get(&key), new.as_ref()));
                        released.push(self.state.adopt(key, new));
                    }
                }
                Err(refusal) => {
                    if self.refused.get(service) != Some(&refusal) {
                        error!("{refusal}");
                    }
                    self.refused.insert(service.clone(), refusal);
                }
            }
        }
        let changes = order(changes);
        for change in &changes {
            debug!("{change}");
        }
        apply(&changes, writer)?;
        done.writes += changes.len();
        for released in released {
            self.state.release(released);
        }
        let freed = changes.iter().filter_map(|change| match change {
            Change::DropFrontend(id) => Some(*id),
            _ => None,
        });
        Ok(freed.collect())
    }

    /// All ports of one Service, or none: its ports are not changed by halves.
    fn place_service(
        &mut self,
        service: &ObjectKey,
        model: &Model,
    ) -> Result<Vec<(PortKey, Option<PortLayout>)>, LayoutError> {
        let planned = model.service(service).map(|(object, slices)| plan(object, &slices, &self.node));
        let (ports, problems) = planned.map(|plan| (plan.ports, plan.problems)).unwrap_or_default();
        self.tell(service, problems);
        let mut placed: Vec<(PortKey, PortLayout)> = Vec::new();
        let gone = self.state.ports_of(service).filter(|key| ports.iter().all(|port| port.key != **key));
        let gone: Vec<PortKey> = gone.cloned().collect();
        let mut claims = Claims::new(gone.iter().cloned());
        for port in &ports {
            match place(port, &claims, &mut self.state) {
                Ok((layout, taken)) => {
                    for frontend in taken {
                        self.wait(frontend, service);
                    }
                    claims.add(&port.key, &layout, &self.state);
                    placed.push((port.key.clone(), layout));
                }
                Err(refusal) => {
                    for (key, layout) in &placed {
                        self.state.abandon(key, layout);
                    }
                    return Err(refusal);
                }
            }
        }
        let placed = placed.into_iter().map(|(key, layout)| (key, Some(layout)));
        Ok(placed.chain(gone.into_iter().map(|key| (key, None))).collect())
    }

    /// Each problem once, for as long as it lasts.
    fn tell(&mut self, service: &ObjectKey, problems: Vec<String>) {
        let told = self.told.remove(service).unwrap_or_default();
        for problem in problems.iter().filter(|problem| !told.contains(problem)) {
            warn!("{problem}");
        }
        if !problems.is_empty() {
            self.told.insert(service.clone(), problems);
        }
    }

    fn wait(&mut self, frontend: FrontendId, service: &ObjectKey) {
        let first = self.waiting.entry(frontend).or_default().insert(service.clone());
        // A virtual IP may be shared: whichever has the entry, packets to it are treated alike.
        if first && !matches!(frontend, FrontendId::Address(_)) {
            let owner = self.state.owner(&frontend).map(|key| key.service.to_string()).unwrap_or_default();
            warn!(
                "Service {service}: {frontend} belongs to Service {owner} and stays with it; give one of the two another \
                 address or port"
            );
        }
    }
}
