//! What `Cargo.lock` must say about the BPF libraries.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Crates whose version is a decision. A cargo older than their `rust-version` silently picks an older release.
const EXPECTED: [(&str, &str); 2] = [("aya", "0.16."), ("aya-ebpf", "0.3.")];

/// Checks the lock file of the workspace with this root.
pub(crate) fn check(root: &Path) -> Result<()> {
    check_text(&fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?)
}

fn check_text(lock: &str) -> Result<()> {
    for (name, series) in EXPECTED {
        let versions = versions(lock, name);
        if versions.len() != 1 || !versions.iter().all(|version| version.starts_with(series)) {
            bail!("Cargo.lock has {name} {versions:?}, but it must be one version, {series}x");
        }
    }
    Ok(())
}

/// All versions of one package; `version` is the line after `name` in every lock file.
fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let wanted = format!("name = \"{name}\"");
    let pairs = lock.lines().zip(lock.lines().skip(1));
    pairs
        .filter(|(line, _)| *line == wanted)
        .filter_map(|(_, next)| next.strip_prefix("version = \"")?.strip_suffix('"'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> String {
        let package =
            |(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
        packages.iter().copied().map(package).collect()
    }

    #[test]
    fn the_expected_series_pass() {
        check_text(&lock(&[("aya", "0.16.0"), ("aya-ebpf", "0.3.7"), ("aya-obj", "0.6.0")]))
            .expect("as expected");
    }

    #[test]
    fn other_missing_and_double_versions_fail() {
        for packages in [
            &[("aya", "0.14.0"), ("aya-ebpf", "0.3.0")][..],
            &[("aya", "0.16.0")],
            &[("aya", "0.16.0"), ("aya", "0.16.1"), ("aya-ebpf", "0.3.0")],
            &[("aya", "0.160.0"), ("aya-ebpf", "0.3.0")],
        ] {
            assert!(check_text(&lock(packages)).is_err(), "{packages:?}");
        }
    }
}
