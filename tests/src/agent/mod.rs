//! The program under test: weir, run inside the node's namespace.

mod counters;
mod line;
mod log;
mod program;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

pub use log::Log;
pub use program::{Ended, program, run_command, run_to_end};

use crate::manifests::Manifests;
use crate::net::{NODE_NAME, NODE4, NODE6, Namespace, Network, PINS, tool};

/// Longest wait for the agent to start, or to end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How XDP programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl XdpMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// As `--xdp-mode` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// An agent and what it pins. Both end when this goes out of scope.
#[derive(Debug)]
pub struct Agent<'net> {
    node: &'net Namespace,
    pin_path: PathBuf,
    arguments: Vec<String>,
    running: Option<(Child, Log)>,
}

impl<'net> Agent<'net> {
    /// Prepares an agent for the node of `network` without starting it. `more` arguments go behind the usual ones.
    pub fn prepare(network: &'net Network, manifests: &Manifests, mode: XdpMode, more: &[&str]) -> Self {
        let pin_path = Path::new(PINS).join(&network.name);
        let usual = [
            "run",
            "--manifests",
            &manifests.path().display().to_string(),
            "--device",
            network.arms.devices(),
            "--node-name",
            NODE_NAME,
            "--node-ip",
            &NODE4.to_string(),
            "--node-ip",
            &NODE6.to_string(),
            "--pin-path",
            &pin_path.display().to_string(),
            "--xdp-mode",
            mode.name(),
        ]
        .map(str::to_owned);
        let arguments = usual.into_iter().chain(defaults(more)).collect();
        Self { node: &network.node, pin_path, arguments, running: None }
    }

    /// Prepares an agent in any namespace, which finds its devices and addresses unless `more` arguments name them.
    /// Its pins are named `name`.
    pub fn alone(node: &'net Namespace, name: &str, manifests: &Manifests, more: &[&str]) -> Self {
        let pin_path = Path::new(PINS).join(name);
        let usual = [
            "run",
            "--manifests",
            &manifests.path().display().to_string(),
            "--node-name",
            NODE_NAME,
            "--pin-path",
            &pin_path.display().to_string(),
        ]
        .map(str::to_owned);
        let arguments = usual.into_iter().chain(defaults(more)).collect();
        Self { node, pin_path, arguments, running: None }
    }

    /// Starts one and waits until it serves.
    pub fn start(network: &'net Network, manifests: &Manifests, mode: XdpMode) -> Result<Self> {
        let mut agent = Self::prepare(network, manifests, mode, &[]);
        agent.launch()?;
        network.settle()?;
        Ok(agent)
    }

    /// Starts it, for the first time or again, and waits until it serves. Gives how long that took.
    pub fn launch(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let program = program()?;
        let mut child = self
            .node
            .within(|| {
                tool(&program.display().to_string())
                    .args(&self.arguments)
                    .env("NO_COLOR", "1")
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
            })?
            .with_context(|| format!("cannot start {}", program.display()))?;
        let log = Log::of(child.stderr.take().context("the agent has no standard error")?);
        self.running = Some((child, log.clone()));
        log.wait_for("ready", |line| line.trim_end().ends_with(" ready"), PATIENCE)?;
        Ok(begin.elapsed())
    }

    /// What it has logged since its latest start.
    pub fn log(&self) -> Result<&Log> {
        self.running.as_ref().map(|(_, log)| log).context("the agent is not running")
    }

    /// Where it pins.
    pub fn pin_path(&self) -> &Path {
        &self.pin_path
    }

    /// What it was started with, for a command that runs to its end.
    pub fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    /// Ends it by a signal, without removing what it pinned.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        let Some((mut child, log)) = self.running.take() else { return Ok(()) };
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process without a number")?;
        kill_process(pid, signal).context("cannot end the agent")?;
        let begin = Instant::now();
        while child.try_wait()?.is_none() {
            if begin.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("the agent did not end by itself; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Runs `weir cleanup`.
    pub fn clean_up(&self) -> Result<Ended> {
        let path = self.pin_path.display().to_string();
        run_to_end(self.node, &["cleanup", "--pin-path", &path])
    }

    /// Runs `weir get` for these pins and gives its standard output.
    pub fn get(&self, what: &str, format: &str) -> Result<String> {
        let path = self.pin_path.display().to_string();
        let ended = run_to_end(self.node, &["get", what, "--pin-path", &path, "-o", format])?;
        if ended.code != Some(0) {
            bail!("`weir get {what}` failed: {ended}");
        }
        Ok(ended.stdout)
    }

    fn take_down(&mut self) -> Result<()> {
        let ended = self.end(Signal::TERM);
        if self.pin_path.exists() {
            let cleaned = self.clean_up();
            // What the command should have left behind must not outlive the test.
            match fs::remove_dir_all(&self.pin_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            cleaned?;
        }
        ended
    }
}

/// `more` arguments, behind those that tests need unless they say otherwise: weir's own defaults are for a real node, while
/// several tests run at once, and all their processes are in one hierarchy of control groups.
fn defaults(more: &[&str]) -> Vec<String> {
    let usual = [["--flows-max", "65536"], ["--socket-mode", "off"]];
    let usual = usual.iter().filter(|[option, _]| !more.contains(option)).flatten();
    usual.chain(more).map(|argument| (*argument).to_owned()).collect()
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = self.log()
        {
            eprintln!("log of the agent:\n{log}");
        }
        if let Err(error) = self.take_down() {
            eprintln!("cannot take the agent down: {error:#}");
        }
    }
}
