//! The control groups that are left alone, looked for by their names again and again: one that is made anew has another id.

use std::path::{Path, PathBuf};

use lb_common::{ExcludedCgroup, maps};
use tracing::info;

use super::CgroupError;
use super::place::place;

const MOST: usize = maps::EXCLUDED_CGROUPS as usize;

/// The control groups that `--exclude-cgroup` names, as they were found last.
#[derive(Debug, Default)]
pub struct Exclusions(Vec<Exclusion>);

#[derive(Debug)]
struct Exclusion {
    name: PathBuf,
    group: ExcludedCgroup,
    /// The latest look did not find it.
    missing: bool,
}

impl Exclusions {
    /// Looks for the first time.
    ///
    /// # Errors
    ///
    /// When one is not there, or its place below the root of the hierarchy is unknown, or there are too many.
    pub fn find(names: &[PathBuf]) -> Result<Self, CgroupError> {
        let mut all: Vec<Exclusion> = Vec::new();
        for name in names {
            // Other spellings count too: one day they may name something else.
            if !all.iter().any(|one| one.name == *name) {
                all.push(Exclusion { name: name.clone(), group: group(place(name)?), missing: false });
            }
        }
        if all.len() > MOST {
            return Err(CgroupError::TooMany { named: all.len(), most: MOST });
        }
        Ok(Self(all))
    }

    /// What the programs must know of them.
    pub fn list(&self) -> Vec<ExcludedCgroup> {
        let mut list = Vec::new();
        for one in &self.0 {
            if !list.contains(&one.group) {
                list.push(one.group);
            }
        }
        list
    }

    /// Looks again. One that is not found is excluded as it was, and told once until it is there again.
    pub fn look(&mut self) -> Vec<CgroupError> {
        self.look_with(place)
    }

    fn look_with(&mut self, place: impl Fn(&Path) -> Result<(u64, u32), CgroupError>) -> Vec<CgroupError> {
        let mut problems = Vec::new();
        for one in &mut self.0 {
            match place(&one.name) {
                Ok(found) => {
                    if one.group != group(found) {
                        info!(cgroup = %one.name.display(), "excluded control group was made anew");
                    }
                    (one.group, one.missing) = (group(found), false);
                }
                Err(problem) => {
                    if !one.missing {
                        problems.push(problem);
                    }
                    one.missing = true;
                }
            }
        }
        problems
    }
}

const fn group((id, level): (u64, u32)) -> ExcludedCgroup {
    ExcludedCgroup { id, level, pad: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusions(groups: &[(&str, u64)]) -> Exclusions {
        let of = |(name, id): &(&str, u64)| Exclusion {
            name: PathBuf::from(name),
            group: group((*id, 1)),
            missing: false,
        };
        Exclusions(groups.iter().map(of).collect())
    }

    fn ids(exclusions: &Exclusions) -> Vec<u64> {
        exclusions.list().iter().map(|one| one.id).collect()
    }

    #[test]
    fn a_group_made_anew_is_excluded_and_a_missing_one_stays_so() {
        let gone = |name: &Path| CgroupError::Unrooted(name.to_owned());
        let mut all = exclusions(&[("/a", 2), ("/b", 3)]);
        assert!(all.look_with(|name| Ok((if name == Path::new("/a") { 2 } else { 3 }, 1))).is_empty());
        assert_eq!(ids(&all), [2, 3]);
        let only_b = |name: &Path| if name == Path::new("/b") { Ok((4, 1)) } else { Err(gone(name)) };
        assert_eq!(all.look_with(only_b).len(), 1);
        assert_eq!(ids(&all), [2, 4]);
        assert!(all.look_with(only_b).is_empty(), "told twice");
        assert!(all.look_with(|_| Ok((5, 1))).is_empty());
        assert_eq!(ids(&all), [5], "two names of one group");
        assert_eq!(all.look_with(|name| Err(gone(name))).len(), 2, "gone again");
        assert_eq!(ids(&all), [5]);
    }

    #[test]
    fn nothing_is_excluded_without_names() {
        let mut none = Exclusions::find(&[]).unwrap();
        assert!(none.look().is_empty() && none.list().is_empty());
        let directory = tempfile::tempdir().unwrap();
        let error = Exclusions::find(&[directory.path().to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("--exclude-cgroup "), "{error}");
    }
}
