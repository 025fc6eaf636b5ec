//! Runs the tools of the system, and says what they said when they fail.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A command for `program`, in its own process group: Ctrl-C reaches only the program that cleans up.
pub fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).stdin(Stdio::null());
    command
}

/// Runs a command line, split at spaces, and gives what it printed.
pub fn run(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    let output = tool(program)
        .args(words)
        .output()
        .with_context(|| format!("cannot run `{program}`: is it installed?"))?;
    if !output.status.success() {
        bail!("`{line}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
