//! `weir explain`: what becomes of a packet, and why.

mod document;
mod text;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, ValueEnum};
use rustix::time::{ClockId, clock_gettime};

use crate::explain::{Answer, Origin, Planned, Question, from_manifests, from_maps};
use crate::maps::Pins;
use crate::model::Protocol;
use crate::source::{Severity, read_once};

use super::output::print_json;
use super::settings::{PortRange, settings};
use super::{Cli, NodeArgs, PinArgs};

/// Options of `weir explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Directory of manifests: answers for a node that serves these and knows no flow. Without it the pinned maps of
    /// this node answer, flows included, which needs root.
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
    /// With --manifests: source ports for flows to backends on other nodes.
    #[arg(long, value_name = "FIRST-LAST", default_value = "1024-29999")]
    snat_ports: PortRange,
    #[command(flatten)]
    pins: PinArgs,
    /// Where the packet starts: outside the cluster, in a pod of this node, or on this node itself.
    #[arg(long, value_enum, default_value_t = From::Outside)]
    from: From,
    /// Its source, such as 192.0.2.1:40000 or [2001:db8::1]:40000.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address_and_port)]
    src: SocketAddr,
    /// Its destination, likewise.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address_and_port)]
    dst: SocketAddr,
    /// Its protocol.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Transport::Tcp)]
    protocol: Transport,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    Outside,
    Pod,
    Host,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn address_and_port(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "not an address with a port; write 192.0.2.1:40000, or [2001:db8::1]:40000 for IPv6".to_owned()
    })
}

/// Prints the answer. Problems of the manifests go to standard error; one that cannot be read makes the command fail
/// after the answer, which is without it.
pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let question = question(args);
    let Some(manifests) = &args.manifests else {
        let answer = live(&question, &args.pins.pins())?;
        return print(&answer, &[], args.output);
    };
    let (planned, unread) = planned(&question, manifests, args)?;
    for problem in &planned.problems {
        eprintln!("weir: {problem}");
    }
    let answer = planned.answer.context("source and destination are not of one family")?;
    print(&answer, &planned.problems, args.output)?;
    anyhow::ensure!(unread == 0, "{unread} of the manifests cannot be read; the answer is without them");
    Ok(())
}

/// The question, or the end of the process for a wrong usage.
fn question(args: &ExplainArgs) -> Question {
    if args.src.is_ipv4() != args.dst.is_ipv4() {
        wrong(&format!(
            "--src {} and --dst {} are not of one family: give both as IPv4 or both as IPv6",
            args.src, args.dst
        ));
    }
    if args.dst.ip().is_unspecified() && !matches!(args.from, From::Host) {
        wrong(&format!(
            "--dst {}: no packet goes to the unspecified address, which stands for the node itself: name an address of the \
             node, or --from host for the node's own sockets",
            args.dst
        ));
    }
    if args.manifests.is_none() && (!args.node.node_ip.is_empty() || args.node.zone.is_some()) {
        wrong("--node-ip and --zone go with --manifests: the pinned maps are those of this node");
    }
    Question {
        origin: match args.from {
            From::Outside => Origin::Outside,
            From::Pod => Origin::Pod,
            From::Host => Origin::Host,
        },
        source: args.src,
        destination: args.dst,
        protocol: match args.protocol {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::Sctp => Protocol::Sctp,
        },
    }
}

fn wrong(message: &str) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, message).exit()
}

/// The answer of the pinned maps.
fn live(question: &Question, pins: &Pins) -> anyhow::Result<Answer> {
    let now_s = u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or(u32::MAX);
    let answer = from_maps(question, pins, now_s).with_context(|| {
        format!(
            "no maps below {}, or no right to read them: name a directory with --manifests; or start `weir run` first, \
             name its --pin-path, or be root",
            pins.root().display()
        )
    })?;
    answer.context("source and destination are not of one family")
}

/// The answer of manifests, and how many of them cannot be read.
fn planned(question: &Question, manifests: &Path, args: &ExplainArgs) -> anyhow::Result<(Planned, usize)> {
    let node = args.node.node();
    let (mut model, problems) = read_once(manifests)?;
    let settings = settings(&node, args.snat_ports, true);
    let mut planned = from_manifests(question, &mut model, &node, settings)?;
    let read: Vec<String> = problems.iter().map(ToString::to_string).collect();
    planned.problems.splice(0..0, read);
    let unread = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    Ok((planned, unread))
}

fn print(answer: &Answer, problems: &[String], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => print_json(&document::document(answer, problems)),
        Format::Text => Ok(io::stdout().lock().write_all(text::text(answer).as_bytes())?),
    }
}
