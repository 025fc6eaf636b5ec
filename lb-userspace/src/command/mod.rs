//! The command line.

mod cleanup;
mod devices;
mod explain;
mod get;
mod output;
mod plan;
mod ports;
mod run;
mod settings;
mod sizes;
mod sockets;
mod sysctls;
mod trace;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::time::{ClockId, clock_gettime};

use crate::maps::Pins;
use crate::model::Prefix;
use crate::plan::{Node, NodePortAddresses, Policy};

/// Kubernetes service load balancer in eBPF.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Services of a directory of manifests on this node.
    Run(run::RunArgs),
    /// Print what would be programmed, without privileges and without touching the kernel.
    Plan(plan::PlanArgs),
    /// Print what the pinned maps hold; the agent need not run.
    #[command(subcommand)]
    Get(get::GetCommand),
    /// Say what becomes of a packet, and why: the very packet engine, run on manifests or on the pinned maps.
    Explain(explain::ExplainArgs),
    /// Show packets as they leave weir, with the reason.
    Trace(trace::TraceArgs),
    /// Take everything of weir off this machine: programs, links and maps.
    Cleanup(cleanup::CleanupArgs),
}

/// Where the maps and links are pinned.
#[derive(Debug, Clone, Args)]
pub(crate) struct PinArgs {
    /// Directory on a BPF file system for maps and links.
    #[arg(long, value_name = "DIR", default_value = Pins::DEFAULT, env = "WEIR_PIN_PATH")]
    pin_path: PathBuf,
}

impl PinArgs {
    fn pins(&self) -> Pins {
        Pins::new(&self.pin_path)
    }
}

/// The node that is planned for.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArgs {
    /// Name of this node: endpoints name it to say that they run here [default: the host name].
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Address of this node, of either family; the first of a family is the source of translated flows. May be given
    /// several times.
    #[arg(long, value_name = "ADDRESS")]
    node_ip: Vec<IpAddr>,
    /// Zone of this node, for topology hints.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Addresses of this node that serve NodePorts: primary (the first of each family), localhost, all, or prefixes;
    /// separated by commas.
    #[arg(long, value_name = "WHICH", default_value = "primary")]
    nodeport_addresses: NodePortAddresses,
    /// Prefix of this cluster's pods: what comes from there is traffic from inside, wherever it arrives. May be given
    /// several times, or separated by commas.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    cluster_cidr: Vec<Prefix>,
    /// Serve cluster IPs to traffic from outside too.
    #[arg(long)]
    external_cluster_ip: bool,
}

impl NodeArgs {
    fn node(&self) -> Node {
        let host_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Node {
            name: self.node_name.clone().unwrap_or_else(host_name),
            zone: self.zone.clone(),
            addresses: self.node_ip.clone(),
            own: BTreeSet::new(),
            policy: Policy {
                external_cluster_ip: self.external_cluster_ip,
                node_port_addresses: self.nodeport_addresses.clone(),
                cluster_cidrs: self.cluster_cidr.clone(),
            },
        }
    }
}

/// Seconds since boot, by the clock of the programs.
fn monotonic_s() -> u32 {
    u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or(u32::MAX)
}

/// Keeps other agents away from a pin path while it is held.
fn lock(pins: &Pins) -> anyhow::Result<OwnedFd> {
    let directory = open(pins.root(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", pins.root().display()))?;
    if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("a weir runs with {}: end it first, or use another --pin-path", pins.root().display());
    }
    Ok(directory)
}

/// Runs the command line. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Get(command) => get::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Cleanup(args) => cleanup::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads the output has seen enough, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
