//! Ids of Services and backends: lowest free first, and never one that is in use.

use std::collections::{BTreeMap, BTreeSet};

/// Ids from 1 to a limit.
#[derive(Clone, Debug)]
pub struct ServiceIds {
    /// Ids below `next` that were given back.
    returned: BTreeSet<u32>,
    next: u32,
    /// Number of ids that may be in use at once.
    limit: u32,
    used: u32,
}

impl ServiceIds {
    /// No id in use. `limit` is the number of entries of `SERVICES`.
    pub const fn new(limit: u32) -> Self {
        Self { returned: BTreeSet::new(), next: 1, limit, used: 0 }
    }

    /// Marks an id that the kernel already uses; `false` when it is zero or already in use.
    pub fn reserve(&mut self, id: u32) -> bool {
        if id == 0 || id == u32::MAX {
            return false;
        }
        if id < self.next {
            let free = self.returned.remove(&id);
            self.used += u32::from(free);
            return free;
        }
        self.returned.extend(self.next..id);
        self.next = id + 1;
        self.used += 1;
        true
    }

    /// A free id, or `None` at the limit.
    pub fn allocate(&mut self) -> Option<u32> {
        if self.used >= self.limit {
            return None;
        }
        self.used += 1;
        Some(self.returned.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        }))
    }

    /// Gives an id back.
    pub fn release(&mut self, id: u32) {
        if self.returned.insert(id) {
            self.used = self.used.saturating_sub(1);
        }
    }
}

/// Ids of backends, which are indices of an array: they end at its size, and each has a generation that outlives
/// its use.
#[derive(Clone, Debug)]
pub struct BackendIds {
    ids: ServiceIds,
    /// Generations that are not zero.
    generations: BTreeMap<u32, u32>,
}

impl BackendIds {
    /// No id in use. `size` is the number of elements of the array, of which the first is not used.
    pub const fn new(size: u32) -> Self {
        Self { ids: ServiceIds::new(size.saturating_sub(1)), generations: BTreeMap::new() }
    }

    /// Takes over an element as the kernel has it.
    pub fn load(&mut self, id: u32, generation: u32, used: bool) {
        if generation != 0 {
            self.generations.insert(id, generation);
        }
        if used {
            self.ids.reserve(id);
        }
    }

    /// A free id with its generation, or `None` when the array is full.
    pub fn allocate(&mut self) -> Option<(u32, u32)> {
        let id = self.ids.allocate()?;
        Some((id, self.generation(id)))
    }

    /// Gives back an id that was never written.
    pub fn release_unused(&mut self, id: u32) {
        self.ids.release(id);
    }

    /// Gives back an id whose element was cleared and carries `generation` now.
    pub fn release(&mut self, id: u32, generation: u32) {
        self.generations.insert(id, generation);
        self.ids.release(id);
    }

    fn generation(&self, id: u32) -> u32 {
        self.generations.get(&id).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_id_is_not_given_out() {
        let mut ids = ServiceIds::new(4);
        assert!(ids.reserve(3));
        assert!(!ids.reserve(3));
        assert!(!ids.reserve(0));
        assert_eq!([ids.allocate(), ids.allocate(), ids.allocate()], [Some(1), Some(2), Some(4)]);
        assert_eq!(ids.allocate(), None);
        ids.release(2);
        assert_eq!(ids.allocate(), Some(2));
    }

    #[test]
    fn a_backend_id_keeps_its_generation_between_endpoints() {
        let mut ids = BackendIds::new(3);
        ids.load(2, 7, false);
        assert_eq!(ids.allocate(), Some((1, 0)));
        assert_eq!(ids.allocate(), Some((2, 7)));
        assert_eq!(ids.allocate(), None);
        ids.release(1, 1);
        assert_eq!(ids.allocate(), Some((1, 1)));
    }
}
