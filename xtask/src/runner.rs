//! Programs and tests that run on what was built.
//!
//! Each becomes this process at the end: Ctrl-C reaches it alone, its exit code is the command's, and the last
//! lines of the output are its own.

use std::process::Command;

use anyhow::Result;

use crate::step::step;
use crate::workspace::Workspace;
use crate::{agent, machine, process, toolchain};

/// Names the agent to the tests, the demonstration and the benchmarks.
const AGENT_VARIABLE: &str = "WEIR_BIN";

/// Builds everything and runs the demonstration.
pub(crate) fn demo(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    run_program(workspace, "demo", arguments)
}

/// Builds everything and runs the benchmarks.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    run_program(workspace, "bench", arguments)
}

/// Builds everything and runs the tests: all of them, or those that need no root.
pub(crate) fn test(workspace: &Workspace, host: bool, arguments: &[String]) -> Result<()> {
    if !host {
        machine::prepare("test")?;
    }
    let agent = agent::build_debug(workspace)?;
    let mut cargo = toolchain::cargo(workspace);
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    if host {
        cargo.args(["--exclude", "tests"]);
    }
    Err(process::replace(cargo.args(arguments).env(AGENT_VARIABLE, agent).env("PATH", machine::path())))
}

/// Runs a binary of the package `tests`, which carries what only tests and demonstrations need.
fn run_program(workspace: &Workspace, name: &str, arguments: &[String]) -> Result<()> {
    machine::prepare(name)?;
    let agent = agent::build_release(workspace)?;
    step(&format!("compile the {name}"), || {
        let mut cargo = toolchain::cargo(workspace);
        process::run(cargo.args(["build", "--release", "--package", "tests", "--bin", name]))
    })?;
    let mut program = Command::new(workspace.target().join("release").join(name));
    program.args(arguments).current_dir(workspace.root());
    Err(process::replace(program.env(AGENT_VARIABLE, agent).env("PATH", machine::path())))
}
