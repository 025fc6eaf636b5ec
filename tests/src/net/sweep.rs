//! Names that tell whose they are, and the removal of what processes left that were killed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cgroup;
use super::tool::run;

/// Begins the name of all that these tests and the demo create.
pub const PREFIX: &str = "weir-t-";
/// The BPF file system.
pub const PINS: &str = "/sys/fs/bpf";

/// A name that no other test has: `weir-t-<process>-<number>`.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes namespaces, control groups, pins and temporary directories of processes that are gone. Once for a process is
/// enough.
pub fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // What still runs in one holds a namespace.
        for path in cgroup::root().ok().flatten().iter().flat_map(|root| leftovers(root)) {
            let _removed = cgroup::remove(&path);
        }
        for path in leftovers(Path::new("/run/netns")) {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                // Another process may sweep at the same time; what matters is that it goes.
                let _removed = run(&format!("ip netns del {name}"));
            }
        }
        for folder in [Path::new(PINS), &env::temp_dir()] {
            for path in leftovers(folder) {
                let _removed = fs::remove_dir_all(path);
            }
        }
    });
}

/// Entries of `folder` that belong to a process that is gone.
fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .collect()
}

/// The process that a name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_process() {
        assert_eq!(owner(&unique()), Some(process::id()));
        assert_eq!(owner("weir-t-17-3-client"), Some(17));
        for strange in ["weir", "weir-t-", "weir-t-x-1", "other-17-3", ""] {
            assert_eq!(owner(strange), None, "{strange}");
        }
    }

    #[test]
    fn two_names_differ() {
        assert_ne!(unique(), unique());
    }
}
