//! The two toolchains: the pinned stable one for the host, and a nightly for the BPF target.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// The nightly that compiles the BPF programs: the target needs `-Z build-std` and unstable inline assembly.
pub(crate) const NIGHTLY: &str = "nightly-2026-10-30";

/// What the cargo around this program says about its own toolchain, which must not reach the nightly.
const OUTER_TOOLCHAIN: [&str; 8] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// The pinned cargo, at the root of the workspace.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root()).env("CARGO_TARGET_DIR", workspace.target());
    command
}

/// The nightly cargo, at the root of the workspace, free of the settings of the cargo around it.
pub(crate) fn nightly_cargo(workspace: &Workspace) -> Command {
    let mut command = nightly("cargo");
    command.current_dir(workspace.root());
    command
}

/// Makes sure that the nightly and its components are there, and returns its sysroot.
pub(crate) fn ensure_nightly() -> Result<PathBuf> {
    if let Ok(sysroot) = sysroot()
        && is_complete(&sysroot)
    {
        return Ok(sysroot);
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", NIGHTLY, "--no-self-update", "--profile", "minimal"]);
    process::run(install.args(["--component", "rust-src,clippy"]))?;
    let sysroot = sysroot()?;
    if !is_complete(&sysroot) {
        bail!(
            "rustup installed {NIGHTLY}, but without rust-src or clippy: remove that toolchain and try again"
        );
    }
    Ok(sysroot)
}

fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", NIGHTLY, program]);
    for name in OUTER_TOOLCHAIN {
        command.env_remove(name);
    }
    command
}

fn sysroot() -> Result<PathBuf> {
    process::output(nightly("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

fn is_complete(sysroot: &Path) -> bool {
    ["lib/rustlib/src/rust/library/core/Cargo.toml", "bin/cargo-clippy"]
        .iter()
        .all(|file| sysroot.join(file).exists())
}
