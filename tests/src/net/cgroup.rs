//! A control group that is removed when it goes out of scope, also when a test fails, with the processes in it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::sweep::{sweep, unique};

/// How long processes may take to leave after they were killed.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// A control group of the cgroup2 hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Creates one right below the root, with a name that no other test has. Needs root.
    pub fn create() -> Result<Self> {
        sweep();
        let path = root()?.context("this machine has no cgroup2 hierarchy")?.join(unique());
        Self::make(path)
    }

    /// Creates one in this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.path.join(name))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("cannot make the control group {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("cannot remove the control group {}: {error}", self.path.display());
        }
    }
}

/// The directory of the root of the cgroup2 hierarchy, if it is mounted: alone, or beside others.
pub(super) fn root() -> io::Result<Option<PathBuf>> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?.lines().find_map(cgroup2))
}

/// Where a line of `/proc/self/mountinfo` mounts a cgroup2 hierarchy (`proc_pid_mountinfo(5)`).
fn cgroup2(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let path = mount.split(' ').nth(4)?;
    // Blanks and the like are written as octal numbers; of them only a blank is at all likely.
    Some(PathBuf::from(path.replace("\\040", " ")))
}

/// Removes a control group, those in it first. What is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let deadline = Instant::now() + LEAVE_MAX;
    loop {
        end_processes(path)?;
        match fs::remove_dir(path) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// Kills what is in a control group, and nothing below it.
fn end_processes(path: &Path) -> io::Result<()> {
    let listed = match fs::read_to_string(path.join("cgroup.procs")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    // 0 stands for a process that cannot be named from here.
    for pid in listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        match kill_process(pid, Signal::KILL) {
            Err(error) if error != rustix::io::Errno::SRCH => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cgroup2_hierarchy_is_one() {
        for (line, expected) in [
            ("35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw", Some("/sys/fs/cgroup")),
            ("38 31 0:29 / /a\\040b rw,relatime - cgroup2 none rw", Some("/a b")),
            ("32 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu", None),
            ("31 23 0:28 / /cgroup2 rw,relatime - tmpfs cgroup2 rw,mode=755", None),
            ("", None),
        ] {
            assert_eq!(cgroup2(line), expected.map(PathBuf::from), "{line}");
        }
    }
}
