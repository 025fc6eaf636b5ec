//! Two control groups for a process that is measured: one with programs for its sockets, and one without.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::net::unique;

/// Longest wait for processes that have ended to leave their group.
const PATIENCE: Duration = Duration::from_secs(2);

/// The groups, side by side below the root of the cgroup2 hierarchy. Removed when this goes out of scope.
#[derive(Debug)]
pub(super) struct Cgroups {
    parent: PathBuf,
    /// Where programs are to be attached.
    pub(super) with: PathBuf,
    /// Where they are not.
    pub(super) without: PathBuf,
}

impl Cgroups {
    /// Makes them. Needs root.
    pub(super) fn make(root: &Path) -> Result<Self> {
        let parent = root.join(unique());
        let made = Self { with: parent.join("with"), without: parent.join("without"), parent };
        for directory in made.directories() {
            fs::create_dir(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(made)
    }

    /// From the outermost to the innermost.
    fn directories(&self) -> [&Path; 3] {
        [&self.parent, &self.with, &self.without]
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let begin = Instant::now();
        for directory in self.directories().into_iter().rev() {
            while let Err(error) = fs::remove_dir(directory) {
                if !directory.exists() {
                    break;
                }
                if begin.elapsed() > PATIENCE {
                    eprintln!("cannot remove {}: {error}", directory.display());
                    break;
                }
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Where the cgroup2 hierarchy is mounted, also beside those of the first version; none where it is not.
pub(super) fn hierarchy() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    Ok(mounts.lines().find_map(mounted).map(PathBuf::from))
}

/// The mount point of a line of `mountinfo` (proc_pid_mountinfo(5)) that is about cgroup2.
fn mounted(line: &str) -> Option<&str> {
    let (mount, kind) = line.split_once(" - ")?;
    kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4)).flatten()
}

/// Moves the calling process: sockets that it makes from now on are the group's.
pub(super) fn enter(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0").with_context(|| format!("cannot enter {}", cgroup.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_where_it_is_mounted() {
        let hybrid = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        let shared = "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let first = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
        assert_eq!(mounted(hybrid), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mounted(shared), Some("/sys/fs/cgroup"));
        assert_eq!((mounted(first), mounted("")), (None, None));
    }
}
