//! Fifth step of the control path: from what the maps hold to what they shall hold, as ordered changes. Pure.
//!
//! The order of writes is computed here and nowhere else. After any prefix of an ordered list every frontend shows
//! only live slots, and every such slot only a live backend of its Service; one that is for some sources only has at
//! least those that it shall have.

mod change;
#[cfg(test)]
mod tests;

pub use change::{BackendEntry, Change, SourceEntry};

use std::collections::BTreeSet;

use crate::layout::{PortLayout, RunLayout};
use crate::plan::PortKey;

/// The changes that make `new` of `old`, in no order.
pub fn diff(key: &PortKey, old: Option<&PortLayout>, new: Option<&PortLayout>) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(old) = old {
        dropped(key, old, new, &mut changes);
    }
    if let Some(new) = new {
        put(key, old, new, &mut changes);
    }
    changes
}

fn dropped(key: &PortKey, old: &PortLayout, new: Option<&PortLayout>, changes: &mut Vec<Change>) {
    for id in old.frontends.keys() {
        if new.is_none_or(|new| !new.frontends.contains_key(id)) {
            changes.push(Change::DropFrontend(*id));
        }
    }
    let kept = |prefix| new.is_some_and(|new| new.service == old.service && new.sources.contains(prefix));
    for prefix in old.sources.iter().filter(|prefix| !kept(prefix)) {
        changes.push(Change::DropSource(SourceEntry { service: old.service, prefix: *prefix }));
    }
    for (at, backend) in &old.backends {
        if new.is_none_or(|new| !new.backends.contains_key(at)) {
            changes.push(Change::DropBackend {
                family: key.family,
                id: backend.id,
                generation: backend.generation.wrapping_add(1),
            });
        }
    }
    if new.is_none_or(|new| new.service != old.service) {
        changes.push(Change::DropService(old.service));
    }
}

fn put(key: &PortKey, old: Option<&PortLayout>, new: &PortLayout, changes: &mut Vec<Change>) {
    if old.is_none_or(|old| (old.service, old.port) != (new.service, new.port)) {
        changes.push(Change::PutService { id: new.service, key: key.clone(), port: new.port });
    }
    let same_id = |old: &&PortLayout| old.service == new.service;
    if old.filter(same_id).is_none() {
        changes.push(Change::ClearStats(new.service));
    }
    for prefix in &new.sources {
        if old.filter(same_id).is_none_or(|old| !old.sources.contains(prefix)) {
            changes.push(Change::PutSource(SourceEntry { service: new.service, prefix: *prefix }));
        }
    }
    for (at, backend) in &new.backends {
        if old.and_then(|old| old.backends.get(at)) != Some(backend) {
            changes.push(Change::PutBackend(BackendEntry {
                at: *at,
                id: backend.id,
                generation: backend.generation,
                flags: backend.flags,
                state: backend.state,
                service: new.service,
            }));
        }
    }
    for run in &new.runs {
        let held = old.and_then(|old| old.runs.iter().find(|held| held.run == run.run));
        put_slots(held, run, changes);
    }
    for (id, frontend) in &new.frontends {
        if old.and_then(|old| old.frontends.get(id)) != Some(frontend) {
            changes.push(Change::PutFrontend(*id, *frontend));
        }
    }
}

/// One change for each stretch of slots that differ.
fn put_slots(old: Option<&RunLayout>, new: &RunLayout, changes: &mut Vec<Change>) {
    let same = |index: usize| old.is_some_and(|old| old.slots.get(index) == new.slots.get(index));
    let mut stretch: Option<(u32, Vec<u32>)> = None;
    for (index, (slot, id)) in (new.run.start..).zip(new.slots.iter()).enumerate() {
        if same(index) {
            changes.extend(stretch.take().map(|(start, ids)| Change::PutSlots { start, ids }));
        } else {
            stretch.get_or_insert((slot, Vec::new())).1.push(*id);
        }
    }
    changes.extend(stretch.map(|(start, ids)| Change::PutSlots { start, ids }));
}

/// Orders the changes of any number of service ports. A frontend that moves from one to another is not dropped in
/// between.
pub fn order(mut changes: Vec<Change>) -> Vec<Change> {
    let put: BTreeSet<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::PutFrontend(id, _) => Some(*id),
            _ => None,
        })
        .collect();
    changes.retain(|change| !matches!(change, Change::DropFrontend(id) if put.contains(id)));
    changes.sort_by_key(Change::phase);
    changes
}
