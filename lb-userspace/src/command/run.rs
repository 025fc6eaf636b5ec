//! `weir run`: the agent.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use crate::apply::Programmer;
use crate::attach::{Attacher, Exclusions, Wants, check, cleanup, load_programs};
use crate::devices::monitor;
use crate::maps::{Loaded, MapsError, Pins, Tables, load};
use crate::model::Model;
use crate::plan::Node;
use crate::source::{Directory, Problem, Severity, Watch};
use crate::sweep::Sweeper;

use super::devices::{DeviceArgs, Devices, View, Watcher, tell_addresses};
use super::ports::PortUse;
use super::settings::{Choices, PortRange};
use super::sizes::SizeArgs;
use super::sockets::{SocketArgs, Sockets};
use super::{NodeArgs, PinArgs, lock, monotonic_s, sysctls};

/// Manifests and devices are looked at again after this time even when nothing was seen to change.
const REREAD: Duration = Duration::from_secs(30);

/// After a write that the kernel refused, the next try is after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Options of `weir run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Directory of manifests: Services and EndpointSlices in YAML or JSON.
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Source ports for flows to backends on other nodes.
    #[arg(long, value_name = "FIRST-LAST", default_value = "1024-29999")]
    snat_ports: PortRange,
    /// Answer echo requests (ping) to virtual IPs.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    answer_echo: bool,
    /// Ports that the cluster takes for NodePorts, as its API server was told.
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    nodeport_range: PortRange,
    #[command(flatten)]
    sockets: SocketArgs,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    sizes: SizeArgs,
}

impl RunArgs {
    fn choices(&self, sockets: &Sockets, tables: &Tables) -> Result<Choices, MapsError> {
        Ok(Choices {
            ports: self.snat_ports,
            echo: self.answer_echo,
            sockets: sockets.settings,
            excluded: sockets.excluded(tables)?,
        })
    }
}

/// Why the loop wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Manifests,
    Devices,
    Timer,
    Stop,
}

/// The running agent's parts.
struct Agent {
    directory: Directory,
    model: Model,
    tables: Tables,
    programmer: Programmer,
    sweeper: Sweeper,
    node: Node,
    watcher: Watcher,
    devices: Devices,
    /// The node's addresses are those of its devices.
    follows_addresses: bool,
    choices: Choices,
    exclusions: Exclusions,
    /// The latest pass was refused a write.
    refused: bool,
    /// Every manifest was read well at least once.
    complete: bool,
}

/// Runs until SIGTERM or SIGINT. Programs, links and maps stay: the node goes on serving what it served.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<()> {
    log_to_stderr();
    let pins = args.pins.pins();
    let (sender, wakes) = channel();
    // Both watches begin before the first look, so that no change falls between.
    monitor(sender.clone(), Wake::Devices).context("cannot follow the devices")?;
    let (watcher, view) = Watcher::new(args.devices.selection())?;
    check(pins.root())?;
    let sockets = args.sockets.find()?;
    let uses = PortUse::read(args.nodeport_range);
    if let Some(refusal) = uses.refusal(args.snat_ports) {
        bail!(refusal);
    }
    let directory = Directory::open(&args.manifests)?;
    let mut node = args.node.node();
    node.own = view.own();
    if node.addresses.is_empty() {
        node.addresses = view.addresses();
        tell_addresses(&node.addresses);
    }
    stop_on_signals(sender.clone())?;
    let watch = Watch::new(&args.manifests, sender, Wake::Manifests)?;
    let complaints = sysctls::complaints(&node.addresses, &view.wanted, sysctls::read);
    for warning in uses.warnings(args.snat_ports).into_iter().chain(complaints) {
        warn!("{warning}");
    }

    let new = !pins.root().exists();
    std::fs::create_dir_all(pins.root()).with_context(|| format!("cannot make {}", pins.root().display()))?;
    let lock = lock(&pins)?;
    let started = start(args, &pins, (watcher, &view), sockets, directory, node);
    if started.is_err() && new {
        // What this run made serves nobody. A failure here is less than the one that is reported.
        let _removed = cleanup(&pins);
    }
    let mut agent = started?;
    info!("ready");
    agent.follow(&wakes);
    drop((watch, lock));
    info!("stopped; programs and maps stay, and the node goes on serving (`weir cleanup` removes them)");
    Ok(())
}

/// Programs the maps, then attaches: a packet never meets programs without their maps.
fn start(
    args: &RunArgs,
    pins: &Pins,
    (watcher, view): (Watcher, &View),
    sockets: Sockets,
    directory: Directory,
    node: Node,
) -> anyhow::Result<Agent> {
    let began = Instant::now();
    let wants = Wants { sockets: sockets.wants(), ..args.devices.wants() };
    let mut programs = load_programs(pins, &args.sizes.capacity(), wants)?;
    sockets.take_off(pins)?;
    let mut tables = Tables::open(pins)?;
    let choices = args.choices(&sockets, &tables)?;
    let settings_writes = choices.write(&node, &mut tables)?;
    let Loaded { state, orphans } = load(&tables)?;
    info!(services = state.ports().len(), orphans = orphans.len(), "read what the maps hold");
    let programmer = Programmer::new(state, orphans, node.clone());
    let mut agent = Agent {
        directory,
        model: Model::default(),
        tables,
        programmer,
        sweeper: Sweeper::open(pins, programs.sweep()?)?,
        node,
        watcher,
        devices: Devices::new(Attacher::new(programs, args.devices.modes(), pins)?),
        follows_addresses: args.node.node().addresses.is_empty(),
        choices,
        exclusions: Exclusions::default(),
        refused: false,
        complete: false,
    };
    agent.programmer.set_complete(false);
    agent.read();
    if !agent.complete {
        warn!("not every manifest could be read: what the maps serve is left as it is until all can");
    }
    let writes = agent.program() + settings_writes;
    // Whatever fails from here on takes off again what is attached.
    agent.exclusions = sockets.attach(agent.devices.attacher(), &agent.node)?;
    agent.devices.start(view, &mut agent.tables)?;
    info!(
        writes,
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        node = agent.node.name,
        addresses = ?agent.node.addresses,
        devices = %agent.devices.describe(),
        "programmed"
    );
    Ok(agent)
}

impl Agent {
    /// Follows changes until told to stop.
    fn follow(&mut self, wakes: &Receiver<Wake>) {
        let mut read_at = Instant::now() + if self.refused { RETRY } else { REREAD };
        loop {
            self.sweep();
            let next = read_at.min(self.sweeper.due());
            let wake = match wakes.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(wake) => wake,
                Err(RecvTimeoutError::Timeout) if Instant::now() < read_at => continue,
                Err(RecvTimeoutError::Timeout) => Wake::Timer,
                Err(RecvTimeoutError::Disconnected) => Wake::Stop,
            };
            // One look serves all that was reported before it.
            let wakes: BTreeSet<Wake> = std::iter::once(wake).chain(wakes.try_iter()).collect();
            if wakes.contains(&Wake::Stop) {
                return;
            }
            let timer = wakes.contains(&Wake::Timer);
            if timer {
                self.look_for_excluded();
            }
            if timer || wakes.contains(&Wake::Manifests) {
                self.read();
            }
            let view = (timer || wakes.contains(&Wake::Devices)).then(|| self.look()).flatten();
            let began = Instant::now();
            let writes = self.program();
            if writes > 0 {
                let microseconds = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                info!(writes, microseconds, "programmed");
            }
            // As at the start: what a packet needs is written before programs run on a device.
            if let Some(view) = view
                && let Err(error) = self.devices.serve(&view, &mut self.tables, timer)
            {
                error!("{error}");
            }
            // Other wakes do not put off what the clock is for.
            if timer || self.refused {
                read_at = Instant::now() + if self.refused { RETRY } else { REREAD };
            }
        }
    }

    /// Looks for expired entries, when it is time to.
    fn sweep(&mut self) {
        if Instant::now() >= self.sweeper.due() {
            self.sweeper.step(monotonic_s(), self.programmer.state().ports());
        }
    }

    /// A control group that was made anew has another id, which the programs must know.
    fn look_for_excluded(&mut self) {
        for problem in self.exclusions.look() {
            warn!("{problem}; until it is there again, the control group that was found last is excluded");
        }
        let excluded = self.exclusions.list();
        // Without names what is excluded is none of this process's.
        if excluded.is_empty() || excluded == self.choices.excluded {
            return;
        }
        let choices = Choices { excluded, ..self.choices.clone() };
        match choices.write(&self.node, &mut self.tables) {
            Ok(_) => self.choices = choices,
            Err(error) => error!("{error}"),
        }
    }

    /// Looks at the devices; the node's addresses follow.
    fn look(&mut self) -> Option<View> {
        match self.watcher.look() {
            Ok(view) => {
                let mut node = Node { own: view.own(), ..self.node.clone() };
                if self.follows_addresses {
                    node.addresses = view.addresses();
                }
                self.node_changed(node);
                Some(view)
            }
            Err(error) => {
                error!("{error}; devices are served as they were");
                None
            }
        }
    }

    /// Every Service is planned anew when the node is another than it was.
    fn node_changed(&mut self, node: Node) {
        if node == self.node {
            return;
        }
        if node.addresses != self.node.addresses {
            tell_addresses(&node.addresses);
        }
        self.node = node;
        if let Err(error) = self.choices.write(&self.node, &mut self.tables) {
            error!("{error}");
        }
        self.replan();
    }

    /// Reads the manifests into the model.
    fn read(&mut self) {
        let reading = self.directory.read();
        for event in reading.events {
            self.model.apply(event);
        }
        for problem in &reading.problems {
            report(problem);
        }
        if !self.complete && self.directory.is_complete() {
            self.complete = true;
            self.programmer.set_complete(true);
            self.programmer.mark_unknown(&mut self.model);
        }
    }

    /// Writes what the model asks for; answers how many writes that took.
    ///
    /// After a refused write only the kernel knows what the maps hold: they are read again, and every Service is
    /// planned anew at the next wake.
    fn program(&mut self) -> usize {
        match self.programmer.pass(&mut self.model, &mut self.tables) {
            Ok(pass) => {
                self.refused = false;
                pass.writes
            }
            Err(refused) => {
                error!("{refused}; what was served goes on, and the change is tried again");
                self.refused = true;
                self.replan();
                0
            }
        }
    }

    /// Begins again with what the maps hold: the next pass plans every Service.
    fn replan(&mut self) {
        match load(&self.tables) {
            Ok(Loaded { state, orphans }) => {
                self.programmer = Programmer::new(state, orphans, self.node.clone());
                let keys: Vec<_> = self.model.service_keys().cloned().collect();
                keys.into_iter().for_each(|key| self.model.mark(key));
                self.programmer.set_complete(self.complete);
                if self.complete {
                    self.programmer.mark_unknown(&mut self.model);
                }
            }
            Err(unreadable) => error!("{unreadable}"),
        }
    }
}

fn stop_on_signals(sender: Sender<Wake>) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot watch for signals")?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(Wake::Stop).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn report(problem: &Problem) {
    match problem.severity {
        Severity::Error => error!("{problem}"),
        Severity::Warning => warn!("{problem}"),
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .init();
}
