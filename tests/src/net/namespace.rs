//! A network namespace that is removed when it goes out of scope, also when a test fails.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tool::run;

/// A named network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates it, with its loopback device up and without duplicate address detection, which would keep an IPv6
    /// address unusable for a second.
    pub fn create(name: String) -> Result<Self> {
        run(&format!("ip netns add {name}"))?;
        let namespace = Self { name };
        for (key, value) in [
            ("ipv6/conf/all/accept_dad", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/all/accept_ra", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ] {
            namespace.sysctl(key, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` for this namespace.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Runs any other tool inside.
    pub fn run(&self, line: &str) -> Result<String> {
        self.within(|| run(line))?
    }

    /// Writes a setting below `/proc/sys/net`, which shows the namespace of the thread that looks.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{key}");
        self.within(|| fs::write(&path, value))?
            .with_context(|| format!("cannot set {path} to {value} in {}", self.name))
    }

    /// Calls `inside` on a thread that is in this namespace.
    ///
    /// Only the network namespace changes: `/sys` stays as it is, with its cgroups and BPF file system.
    pub fn within<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                Ok(inside())
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// As [`Self::within`], for a thread that goes on.
    pub fn spawn<T: Send + 'static>(
        &self,
        inside: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<Result<T>> {
        let path = self.path();
        thread::spawn(move || {
            enter(&path)?;
            Ok(inside())
        })
    }

    fn enter(&self) -> Result<()> {
        enter(&self.path())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

/// Moves the calling thread, and no other.
fn enter(path: &std::path::Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", path.display()))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("ip netns del {}", self.name)) {
            eprintln!("cannot remove network namespace {}: {error:#}", self.name);
        }
    }
}
