//! Programs that `cargo install` puts below `target/tools`, once for each version.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::step::step;
use crate::workspace::Workspace;

/// A program that the build or a check needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool<'a> {
    /// Name of the crate and of its program.
    pub(crate) name: &'a str,
    /// Exact version.
    pub(crate) version: &'a str,
    /// What else decides whether an installed program fits; a part of its directory's name.
    pub(crate) built_with: &'a str,
}

impl Tool<'_> {
    /// Returns the path of the program, after installing it if it is not there.
    ///
    /// `cargo` makes the cargo command that installs it, given an empty directory to prepare things in. The
    /// directory becomes visible under its final name only when the program in it runs, so an interrupted
    /// installation is never taken for a finished one.
    pub(crate) fn ensure(
        self,
        workspace: &Workspace,
        cargo: impl FnOnce(&Path) -> Result<Command>,
    ) -> Result<PathBuf> {
        let tools = workspace.target().join("tools");
        let home = tools.join(format!("{}-{}-{}", self.name, self.version, self.built_with));
        let program = home.join("bin").join(self.name);
        fs::create_dir_all(&tools).with_context(|| format!("{} cannot be created", tools.display()))?;
        // Two commands at once would install into the same directory; the second one waits here.
        let lock = File::create(tools.join(".lock")).context("the lock of target/tools cannot be created")?;
        lock.lock().context("target/tools cannot be locked")?;
        if self.runs(&program) {
            return Ok(program);
        }
        step(&format!("install {} {}", self.name, self.version), || self.install(&tools, &home, cargo))?;
        Ok(program)
    }

    fn install(self, tools: &Path, home: &Path, cargo: impl FnOnce(&Path) -> Result<Command>) -> Result<()> {
        let partial = tools.join(format!("{}.partial", self.name));
        remove(&partial)?;
        let scratch = partial.join("scratch");
        fs::create_dir_all(&scratch)?;
        let mut command = cargo(&scratch)?;
        command.args(["install", self.name, "--version", self.version, "--locked", "--root"]).arg(&partial);
        command.env("CARGO_TARGET_DIR", scratch.join("target"));
        process::run(command.env("PATH", path_with(&partial.join("bin"))))?;
        if !self.runs(&partial.join("bin").join(self.name)) {
            bail!("{} {} was installed but does not run", self.name, self.version);
        }
        remove(&scratch)?;
        remove(home)?;
        fs::rename(&partial, home).with_context(|| format!("{} cannot be created", home.display()))
    }

    fn runs(self, program: &Path) -> bool {
        program.exists() && process::output(Command::new(program).arg("--version")).is_ok()
    }
}

/// `PATH` with one more directory, so that cargo does not advise to add it.
fn path_with(directory: &Path) -> OsString {
    let mut path = directory.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", directory.display()))
        }
        _ => Ok(()),
    }
}
