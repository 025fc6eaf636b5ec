//! cargo-deny: licences, sources, duplicate and vulnerable dependencies, as `deny.toml` says.

use anyhow::Result;

use crate::tool::Tool;
use crate::workspace::Workspace;
use crate::{process, toolchain};

const CARGO_DENY: Tool<'_> = Tool { name: "cargo-deny", version: "0.20.2", built_with: "stable" };

/// Checks the dependencies. Without a way to the advisory database, everything but the advisories is checked.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let program = CARGO_DENY.ensure(workspace, |_| {
        let mut cargo = toolchain::cargo(workspace);
        // It runs for a second; optimising it would take minutes.
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
        Ok(cargo)
    })?;
    let deny = || {
        let mut command = std::process::Command::new(&program);
        command.current_dir(workspace.root());
        command
    };
    let mut check = deny();
    match process::output(deny().args(["fetch", "db"])) {
        Ok(_) => check.args(["check", "--disable-fetch", "advisories"]),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            eprintln!("xtask: advisories are not checked, their database cannot be fetched: {reason}");
            check.arg("check")
        }
    };
    process::run(check.args(["bans", "licenses", "sources"]))
}
