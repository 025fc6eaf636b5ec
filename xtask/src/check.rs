//! Everything that can be said about the sources without running them.

use anyhow::{Result, bail};

use crate::step::step;
use crate::workspace::Workspace;
use crate::{deny, ebpf, lock, process, tidy, toolchain};

type Check = fn(&Workspace) -> Result<()>;

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Runs every check, also after one has failed, so that one run shows all there is to do.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    // The agent has the object inside, so even its lints need it.
    ebpf::build(workspace)?;
    let checks: [(&str, Check); 6] = [
        ("formatting", formatting),
        ("house rules", |workspace| tidy::run(workspace.root())),
        ("locked versions", |workspace| lock::check(workspace.root())),
        ("lints for the host", host_lints),
        ("lints for the BPF target", bpf_lints),
        ("dependencies", deny::check),
    ];
    let mut failures = Vec::new();
    for (name, check) in checks {
        if let Err(error) = step(name, || check(workspace)) {
            failures.push(format!("{error:#}"));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{} of {} checks failed\n\n{}", failures.len(), checks.len(), failures.join("\n\n"))
}

fn formatting(workspace: &Workspace) -> Result<()> {
    process::run(toolchain::cargo(workspace).args(["fmt", "--all", "--check"]))?;
    // The fuzz targets are a workspace of their own.
    let fuzz = workspace.root().join("fuzz/Cargo.toml");
    process::run(toolchain::cargo(workspace).args(["fmt", "--check", "--manifest-path"]).arg(fuzz))
}

fn host_lints(workspace: &Workspace) -> Result<()> {
    let mut clippy = toolchain::cargo(workspace);
    process::run(clippy.args(["clippy", "--workspace", "--all-targets"]).args(DENY_WARNINGS))
}

fn bpf_lints(workspace: &Workspace) -> Result<()> {
    process::run(ebpf::cargo(workspace, "clippy").args(DENY_WARNINGS))
}
