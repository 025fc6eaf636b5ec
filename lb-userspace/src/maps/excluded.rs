//! `EXCLUDED_CGROUPS`: the control groups whose processes are left alone, up to the first element without an id.

use aya::maps::{Array, MapData};
use lb_common::{ExcludedCgroup, SettingsFlags, maps};

use super::kernel::open;
use super::{MapsError, Pins, Tables};

const NAME: &str = "EXCLUDED_CGROUPS";
const LENGTH: usize = maps::EXCLUDED_CGROUPS as usize;
const NONE: ExcludedCgroup = ExcludedCgroup { id: 0, level: 0, pad: 0 };

/// The list.
pub(super) struct Excluded {
    map: Array<MapData, ExcludedCgroup>,
}

impl Excluded {
    pub(super) fn open(pins: &Pins) -> Result<Self, MapsError> {
        Ok(Self { map: open(pins, NAME, Array::try_from)?.0 })
    }

    /// Makes the list this one, element by element; answers how many writes it took.
    pub(super) fn write(&mut self, wanted: &[ExcludedCgroup]) -> Result<usize, MapsError> {
        let held = self.held()?;
        let mut writes = 0;
        for (index, (before, after)) in (0..).zip(held.iter().zip(rewritten(&held, wanted))) {
            if *before != after {
                let failed = |source| MapsError::Write { name: NAME, source };
                self.map.set(index, &after, 0).map_err(failed)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    fn held(&self) -> Result<[ExcludedCgroup; LENGTH], MapsError> {
        let mut held = [NONE; LENGTH];
        for (index, element) in (0..).zip(&mut held) {
            *element = self.map.get(&index, 0).map_err(|source| MapsError::Read { name: NAME, source })?;
        }
        Ok(held)
    }
}

impl Tables {
    /// The control groups whose processes are left alone now.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn excluded(&self) -> Result<Vec<ExcludedCgroup>, MapsError> {
        let failed = |source| MapsError::Read { name: "SETTINGS", source };
        if self.settings.get(&0, 0).map_err(failed)?.flags & SettingsFlags::EXCLUDED_CGROUPS == 0 {
            return Ok(Vec::new());
        }
        Ok(listed(&self.excluded.held()?))
    }
}

/// What a list excludes, each once.
fn listed(held: &[ExcludedCgroup; LENGTH]) -> Vec<ExcludedCgroup> {
    let mut list = Vec::new();
    for element in held.iter().take_while(|element| element.id != 0) {
        if !list.contains(element) {
            list.push(*element);
        }
    }
    list
}

/// The list that excludes what is wanted. What is in both lists stays in its place with no end before it, so that programs
/// see it after each single write, from the first element to the last.
fn rewritten(held: &[ExcludedCgroup; LENGTH], wanted: &[ExcludedCgroup]) -> [ExcludedCgroup; LENGTH] {
    let mut kept: Vec<ExcludedCgroup> = Vec::new();
    let mut at_end = false;
    let mut list = held.map(|element| {
        // What an end hides was not excluded.
        at_end |= element.id == 0;
        if at_end || !wanted.contains(&element) || kept.contains(&element) {
            return NONE;
        }
        kept.push(element);
        element
    });
    let mut missing = wanted.iter().filter(|one| !kept.contains(one)).copied();
    for element in list.iter_mut().filter(|element| element.id == 0) {
        match missing.next() {
            Some(one) => *element = one,
            None => break,
        }
    }
    // A gap would be an end: it holds once more what follows.
    let mut following = NONE;
    for element in list.iter_mut().rev() {
        if element.id == 0 {
            *element = following;
        }
        following = *element;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: u64) -> ExcludedCgroup {
        ExcludedCgroup { id, level: 2, pad: 0 }
    }

    fn list(ids: &[u64]) -> [ExcludedCgroup; LENGTH] {
        let mut list = [NONE; LENGTH];
        for (element, id) in list.iter_mut().zip(ids) {
            *element = if *id == 0 { NONE } else { group(*id) };
        }
        list
    }

    fn seen(list: &[ExcludedCgroup]) -> Vec<u64> {
        list.iter().map(|element| element.id).take_while(|id| *id != 0).collect()
    }

    #[test]
    fn after_each_write_what_both_lists_exclude_is_excluded() {
        let all: Vec<u64> = (1..=16).collect();
        let others: Vec<u64> = (9..=24).collect();
        let lists: [&[u64]; 11] =
            [&[], &[1], &[2], &[1, 2, 3], &[3], &[3, 4, 1, 5], &[2, 2, 3], &[1, 0, 3], &all, &others, &[16]];
        for before in lists {
            for wanted in lists {
                let mut wanted: Vec<u64> = seen(&list(wanted));
                wanted.sort_unstable();
                wanted.dedup();
                let mut held = list(before);
                let groups: Vec<ExcludedCgroup> = wanted.iter().copied().map(group).collect();
                let both: Vec<u64> = seen(&held).into_iter().filter(|id| wanted.contains(id)).collect();
                let after = rewritten(&held, &groups);
                for index in 0..LENGTH {
                    held[index] = after[index];
                    let now = seen(&held);
                    assert!(both.iter().all(|id| now.contains(id)), "{before:?} to {wanted:?}: {now:?}");
                }
                let mut now = seen(&held);
                now.sort_unstable();
                now.dedup();
                assert_eq!(now, wanted, "from {before:?}");
            }
        }
    }

    #[test]
    fn a_list_is_read_up_to_its_end_and_each_group_once() {
        let all: Vec<u64> = (1..=16).collect();
        for (held, expected) in
            [(&[][..], &[][..]), (&[2, 2, 3], &[2, 3]), (&[1, 0, 3], &[1]), (all.as_slice(), all.as_slice())]
        {
            let groups: Vec<ExcludedCgroup> = expected.iter().copied().map(group).collect();
            assert_eq!(listed(&list(held)), groups);
        }
    }

    #[test]
    fn a_list_that_is_there_stays_as_it_is() {
        for ids in [&[][..], &[1], &[1, 2, 3]] {
            let groups: Vec<ExcludedCgroup> = ids.iter().copied().map(group).collect();
            assert_eq!(rewritten(&list(ids), &groups), list(ids));
        }
    }
}
