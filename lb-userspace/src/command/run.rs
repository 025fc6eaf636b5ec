//! `weir run`: the agent.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use lb_common::DeviceFlags;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use crate::apply::Programmer;
use crate::attach::{Attached, Device, XdpMode, attach, check, cleanup, load_programs};
use crate::layout::Capacity;
use crate::maps::{Loaded, Pins, Tables, load};
use crate::model::{Model, Prefix};
use crate::plan::Node;
use crate::source::{Directory, Problem, Severity, Watch};
use crate::sweep::Sweeper;

use super::settings::{PortRange, overlap, settings};
use super::{NodeArgs, PinArgs, lock, monotonic_s};

/// The directory is read again after this time even when nothing was seen to change.
const REREAD: Duration = Duration::from_secs(30);

/// After a write that the kernel refused, the next try is after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Options of `weir run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Directory of manifests: Services and EndpointSlices in YAML or JSON.
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    /// Devices to serve on, separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required = true)]
    device: Vec<String>,
    /// Where XDP runs: in the driver (native), in the stack (generic), or auto: native where possible.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    xdp_mode: XdpMode,
    /// Source ports for flows to backends on other nodes.
    #[arg(long, value_name = "FIRST-LAST", default_value = "1024-29999")]
    snat_ports: PortRange,
    /// Answer echo requests (ping) to virtual IPs.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    answer_echo: bool,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    pins: PinArgs,
    #[command(flatten)]
    sizes: SizeArgs,
}

/// Sizes of the maps.
#[derive(Debug, Args)]
struct SizeArgs {
    /// Frontends (addresses and ports) in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().frontends, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    frontends_max: u32,
    /// Endpoints of all service ports in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().backends, value_parser = clap::value_parser!(u32).range(2..=16_777_216))]
    backends_max: u32,
    /// Slots of all service ports: at least 100 for each endpoint.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().slots, value_parser = clap::value_parser!(u32).range(16..=1_073_741_824))]
    slots_max: u32,
    /// Entries of the flow table in each family; a flow has two.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().flows, value_parser = clap::value_parser!(u32).range(64..=67_108_864))]
    flows_max: u32,
    /// Service ports in both families together.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().services, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    services_max: u32,
    /// Clients of session affinity in each family, one for each service port that a client uses.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().affinity, value_parser = clap::value_parser!(u32).range(64..=67_108_864))]
    affinity_max: u32,
    /// Prefixes of `loadBalancerSourceRanges` of all service ports, and of --cluster-cidr, in each family.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().sources, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    sources_max: u32,
}

impl SizeArgs {
    const fn capacity(&self) -> Capacity {
        Capacity {
            frontends: self.frontends_max,
            services: self.services_max,
            backends: self.backends_max,
            slots: self.slots_max,
            flows: self.flows_max,
            affinity: self.affinity_max,
            sources: self.sources_max,
        }
    }
}

/// Why the loop wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Manifests,
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
    /// The latest pass was refused a write.
    refused: bool,
    /// Every manifest was read well at least once.
    complete: bool,
}

/// Runs until SIGTERM or SIGINT. Programs, links and maps stay: the node goes on serving what it served.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<()> {
    log_to_stderr();
    let pins = args.pins.pins();
    let devices = devices(&args.device)?;
    check(pins.root())?;
    let directory = Directory::open(&args.manifests)?;
    let mut node = args.node.node();
    if node.addresses.is_empty() {
        node.addresses = addresses_of(&devices)?;
    }
    let (sender, wakes) = channel();
    stop_on_signals(sender.clone())?;
    // Before the first reading, so that no change falls between.
    let watch = Watch::new(&args.manifests, sender, Wake::Manifests)?;
    warn_of_ports(args.snat_ports);

    let new = !pins.root().exists();
    std::fs::create_dir_all(pins.root()).with_context(|| format!("cannot make {}", pins.root().display()))?;
    let lock = lock(&pins)?;
    let started = start(args, &pins, &devices, directory, node);
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
    devices: &[Device],
    directory: Directory,
    node: Node,
) -> anyhow::Result<Agent> {
    let began = Instant::now();
    let mut programs = load_programs(pins, &args.sizes.capacity())?;
    let mut tables = Tables::open(pins)?;
    let cluster: BTreeSet<Prefix> = node.policy.cluster_cidrs.iter().copied().collect();
    let settings = settings(&node, args.snat_ports, args.answer_echo);
    let settings_writes = tables.write_settings(&settings, &cluster)?;
    for problem in node.problems() {
        warn!("{problem}");
    }
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
        refused: false,
        complete: false,
    };
    agent.programmer.set_complete(false);
    agent.read();
    if !agent.complete {
        warn!("not every manifest could be read: what the maps serve is left as it is until all can");
    }
    let writes = agent.program() + settings_writes;
    let attached = attach(&mut programs, devices, args.xdp_mode, pins)?;
    // Only a driver that runs XDP itself takes what XDP of another device sends.
    let native =
        |device: &&Device| attached.iter().any(|one| one.device == device.name && one.xdp == "native");
    let sends = lb_common::Device { flags: DeviceFlags::XDP_SENDS, mac: [0; 6] };
    agent
        .tables
        .write_devices(&devices.iter().filter(native).map(|device| (device.ifindex, sends)).collect())?;
    info!(
        writes,
        milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        node = agent.node.name,
        addresses = ?agent.node.addresses,
        devices = %describe(&attached),
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
                Err(RecvTimeoutError::Timeout) => Wake::Manifests,
                Err(RecvTimeoutError::Disconnected) => Wake::Stop,
            };
            // One reading serves all that was reported before it.
            let stop = std::iter::once(wake).chain(wakes.try_iter()).any(|wake| wake == Wake::Stop);
            if stop {
                return;
            }
            self.read();
            let began = Instant::now();
            let writes = self.program();
            if writes > 0 {
                let microseconds = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                info!(writes, microseconds, "programmed");
            }
            read_at = Instant::now() + if self.refused { RETRY } else { REREAD };
        }
    }

    /// Looks for expired entries, when it is time to.
    fn sweep(&mut self) {
        if Instant::now() >= self.sweeper.due() {
            self.sweeper.step(monotonic_s(), self.programmer.state().ports());
        }
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
                0
            }
        }
    }
}

fn devices(names: &[String]) -> anyhow::Result<Vec<Device>> {
    let unique: BTreeSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
    if unique.is_empty() {
        bail!("--device names no device");
    }
    Ok(unique.into_iter().map(|name| Device::find(name)).collect::<Result<_, _>>()?)
}

/// The addresses of the devices, but those that are valid on one link only.
fn addresses_of(devices: &[Device]) -> anyhow::Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs().context("cannot list the addresses of this node")?;
    let addresses: Vec<IpAddr> = all
        .filter(|address| devices.iter().any(|device| device.name == address.interface_name))
        .filter_map(|address| {
            let address = address.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    if addresses.is_empty() {
        bail!("the devices have no address: give one, or say which to use with --node-ip");
    }
    Ok(addresses)
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

fn warn_of_ports(ports: PortRange) {
    let local = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    if let Some(overlap) = overlap(ports, &local) {
        warn!("{overlap}");
    }
}

fn report(problem: &Problem) {
    match problem.severity {
        Severity::Error => error!("{problem}"),
        Severity::Warning => warn!("{problem}"),
    }
}

fn describe(attached: &[Attached]) -> String {
    let each: Vec<String> = attached.iter().map(|one| format!("{} ({} XDP)", one.device, one.xdp)).collect();
    each.join(", ")
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
