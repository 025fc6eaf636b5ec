//! The arena of slots: which runs are taken.

use std::collections::BTreeMap;

use lb_common::Run;

/// First-fit allocation of runs in `SLOTS`.
#[derive(Clone, Debug)]
pub struct Arena {
    /// Free runs by start, never adjacent.
    free: BTreeMap<u32, u32>,
    size: u32,
}

impl Arena {
    /// An empty arena of `size` slots.
    pub fn new(size: u32) -> Self {
        Self { free: if size == 0 { BTreeMap::new() } else { BTreeMap::from([(0, size)]) }, size }
    }

    /// Number of slots in all.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Number of slots that are free, perhaps not in one run.
    pub fn available(&self) -> u64 {
        self.free.values().map(|length| u64::from(*length)).sum()
    }

    /// Takes a run of `length` slots; `None` when no free run is long enough. An empty run takes nothing.
    pub fn allocate(&mut self, length: u32) -> Option<Run> {
        if length == 0 {
            return Some(Run::default());
        }
        let (start, free) =
            self.free.iter().find(|(_, free)| **free >= length).map(|(at, free)| (*at, *free))?;
        self.free.remove(&start);
        if free > length {
            self.free.insert(start + length, free - length);
        }
        Some(Run { start, length })
    }

    /// Takes this very run, which the kernel already uses; `false` when part of it is taken or beyond the arena.
    pub fn reserve(&mut self, run: Run) -> bool {
        if run.length == 0 {
            return true;
        }
        let Some(end) = run.start.checked_add(run.length) else { return false };
        let Some((start, length)) = self.free.range(..=run.start).next_back().map(|(at, free)| (*at, *free))
        else {
            return false;
        };
        if end > start + length {
            return false;
        }
        self.free.remove(&start);
        if run.start > start {
            self.free.insert(start, run.start - start);
        }
        if end < start + length {
            self.free.insert(end, start + length - end);
        }
        true
    }

    /// Gives a run back.
    pub fn release(&mut self, run: Run) {
        if run.length == 0 {
            return;
        }
        let (mut start, mut length) = (run.start, run.length);
        if let Some((before, free)) = self.free.range(..start).next_back().map(|(at, free)| (*at, *free))
            && before + free == start
        {
            self.free.remove(&before);
            start = before;
            length += free;
        }
        if let Some(free) = self.free.remove(&(run.start + run.length)) {
            length += free;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reserved_run_is_not_given_out() {
        let mut arena = Arena::new(10);
        assert!(arena.reserve(Run { start: 2, length: 3 }));
        assert!(!arena.reserve(Run { start: 4, length: 2 }));
        assert!(!arena.reserve(Run { start: 9, length: 2 }));
        assert!(!arena.reserve(Run { start: u32::MAX, length: 2 }));
        assert_eq!(arena.allocate(2), Some(Run { start: 0, length: 2 }));
        assert_eq!(arena.allocate(5), Some(Run { start: 5, length: 5 }));
        assert_eq!(arena.allocate(1), None);
    }

    proptest! {
        #[test]
        fn runs_never_overlap_and_all_comes_back(lengths in prop::collection::vec((0_u32..40, any::<bool>()), 0..60)) {
            let mut arena = Arena::new(256);
            let mut held: Vec<Run> = Vec::new();
            for (length, release) in lengths {
                if release && !held.is_empty() {
                    arena.release(held.swap_remove(length as usize % held.len()));
                } else if let Some(run) = arena.allocate(length) {
                    for other in &held {
                        let apart = run.start + run.length <= other.start || other.start + other.length <= run.start;
                        prop_assert!(apart || run.length == 0 || other.length == 0);
                    }
                    held.push(run);
                }
                let used: u32 = held.iter().map(|run| run.length).sum();
                prop_assert_eq!(arena.available(), u64::from(256 - used));
            }
            for run in held {
                arena.release(run);
            }
            prop_assert_eq!(arena.allocate(256), Some(Run { start: 0, length: 256 }));
        }
    }
}
