//! Finds the `weir` program, and runs those of its commands that end by themselves.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;
use std::{env, io::Read, thread};

use anyhow::{Context as _, Result};

use super::{Log, PATIENCE};
use crate::net::{Namespace, tool};

/// The program: what `WEIR_BIN` names, else a build of this workspace.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WEIR_BIN") {
        return Ok(PathBuf::from(path));
    }
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    ["debug", "release"]
        .map(|profile| target.join(profile).join("weir"))
        .into_iter()
        .find(|path| path.exists())
        .context("there is no `weir` program: build it by `cargo xtask build`, or name it in WEIR_BIN")
}

/// A program that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

/// Runs weir inside a namespace until it ends; it is killed, with no exit code, when that takes too long.
pub fn run_to_end(namespace: &Namespace, arguments: &[&str]) -> Result<Ended> {
    let program = program()?.display().to_string();
    run_command(namespace, &[&[program.as_str()], arguments].concat())
}

/// As [`run_to_end`], for any command.
pub fn run_command(namespace: &Namespace, words: &[&str]) -> Result<Ended> {
    let (name, arguments) = words.split_first().context("an empty command")?;
    let mut child = namespace
        .within(|| {
            tool(name)
                .args(arguments)
                .env("NO_COLOR", "1")
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })?
        .with_context(|| format!("cannot start {name}"))?;
    let stderr = Log::of(child.stderr.take().context("no standard error")?);
    let mut stdout = child.stdout.take().context("no standard output")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let code = wait(&mut child)?;
    let stdout = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    stderr.wait_for_end();
    Ok(Ended { code, stdout, stderr: format!("{stderr}\n") })
}

fn wait(child: &mut Child) -> Result<Option<i32>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if begin.elapsed() > PATIENCE {
            child.kill()?;
            return Ok(child.wait()?.code());
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
}
