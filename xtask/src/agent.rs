//! The agent `weir`, with the BPF programs inside.

use std::path::PathBuf;

use anyhow::Result;

use crate::step::step;
use crate::workspace::Workspace;
use crate::{ebpf, process, toolchain};

/// Builds the programs and the release agent, and returns its path.
pub(crate) fn build_release(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "release", &["--release"])
}

/// Builds the programs and the agent that tests use, and returns its path.
pub(crate) fn build_debug(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, "debug", &[])
}

fn build(workspace: &Workspace, profile: &str, flags: &[&str]) -> Result<PathBuf> {
    ebpf::build(workspace)?;
    step(&format!("compile the agent ({profile})"), || {
        let mut cargo = toolchain::cargo(workspace);
        process::run(cargo.args(["build", "--package", "lb-userspace", "--bin", "weir"]).args(flags))
    })?;
    Ok(workspace.target().join(profile).join("weir"))
}
