//! `weir get`: what the pinned maps hold.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use lb_common::{BackendState, Frontend, FrontendFlags, ServiceStats};
use serde::Serialize;

use crate::layout::{FrontendId, PortLayout};
use crate::maps::{BackendView, FlowView, Pins, Snapshot};
use crate::model::Protocol;
use crate::plan::PortKey;

use super::output::{flag_names, flow_state, percent, print_json, print_table, share};
use super::{PinArgs, monotonic_s};

/// What to print.
#[derive(Debug, Subcommand)]
pub(super) enum GetCommand {
    /// Service ports with their frontends.
    Services(GetArgs),
    /// Endpoints with their ids, states and shares.
    Backends(GetArgs),
    /// Flows: what packets become.
    Flows(GetArgs),
}

/// Options of `weir get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    pins: PinArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Wide,
    Json,
}

/// Prints what the maps hold.
pub(super) fn run(command: &GetCommand) -> anyhow::Result<()> {
    let (GetCommand::Services(args) | GetCommand::Backends(args) | GetCommand::Flows(args)) = command;
    let pins = args.pins.pins();
    let snapshot = Snapshot::read(&pins).with_context(|| {
        format!(
            "no maps below {}, or no right to read them: start `weir run` first, name its --pin-path, or be root",
            pins.root().display()
        )
    })?;
    match command {
        GetCommand::Services(_) => services(&snapshot, args.output),
        GetCommand::Backends(_) => backends(&snapshot.backends(), args.output),
        GetCommand::Flows(_) => flows(&read_flows(&snapshot, &pins)?, args.output),
    }
}

fn read_flows(snapshot: &Snapshot, pins: &Pins) -> anyhow::Result<Vec<FlowView>> {
    let mut flows = snapshot.flows(pins, monotonic_s())?;
    flows.sort_by_key(|flow| (flow.from, flow.protocol));
    Ok(flows)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDocument<'a> {
    namespace: &'a str,
    name: &'a str,
    port_name: &'a str,
    protocol: String,
    family: String,
    port: u16,
    id: u32,
    frontends: Vec<FrontendDocument>,
    backends: usize,
    /// Virtual IPs of which it has the entry for the address itself; one port of those that share it has it.
    virtual_ips: Vec<String>,
    source_ranges: Vec<String>,
    packets: u64,
    bytes: u64,
    reply_packets: u64,
    reply_bytes: u64,
    new_flows: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FrontendDocument {
    address: String,
    port: u16,
    affinity_timeout_seconds: u32,
    inside_slots: u32,
    outside_slots: u32,
    flags: Vec<&'static str>,
}

fn frontend_document((id, frontend): (&FrontendId, &Frontend)) -> FrontendDocument {
    FrontendDocument {
        address: id.ip().to_string(),
        port: id.port(),
        affinity_timeout_seconds: frontend.affinity_timeout_s,
        inside_slots: frontend.inside.length,
        outside_slots: frontend.outside.length,
        flags: flag_names(frontend.flags),
    }
}

/// The frontends of a port, without its virtual IPs themselves; first those that packets go to.
fn port_frontends(port: &PortLayout) -> impl Iterator<Item = (&FrontendId, &Frontend)> {
    let ports = || port.frontends.iter().filter(|(id, _)| matches!(id, FrontendId::Port { .. }));
    ports().filter(|(_, one)| !is_node(one)).chain(ports().filter(|(_, one)| is_node(one)))
}

/// Whether it is the NodePort of the node itself, which only sockets look up.
const fn is_node(frontend: &Frontend) -> bool {
    frontend.flags & FrontendFlags::NODE != 0
}

fn service_document<'a>(key: &'a PortKey, port: &PortLayout, stats: &ServiceStats) -> ServiceDocument<'a> {
    let addresses = port.frontends.keys().filter(|id| matches!(id, FrontendId::Address(_)));
    ServiceDocument {
        namespace: &key.service.namespace,
        name: &key.service.name,
        port_name: &key.port_name,
        protocol: key.protocol.to_string(),
        family: key.family.to_string(),
        port: port.port,
        id: port.service,
        frontends: port_frontends(port).map(frontend_document).collect(),
        backends: port.backends.len(),
        virtual_ips: addresses.map(|id| id.ip().to_string()).collect(),
        source_ranges: port.sources.iter().map(ToString::to_string).collect(),
        packets: stats.packets,
        bytes: stats.bytes,
        reply_packets: stats.reply_packets,
        reply_bytes: stats.reply_bytes,
        new_flows: stats.new_flows,
    }
}

fn services(snapshot: &Snapshot, format: Format) -> anyhow::Result<()> {
    let ports = snapshot.ports();
    if format == Format::Json {
        let document = |(key, port)| {
            let port: &PortLayout = port;
            Ok(service_document(key, port, &snapshot.stats(port.service)?))
        };
        return print_json(&ports.iter().map(document).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let mut rows = Vec::new();
    for (key, port) in ports {
        let stats =
            if format == Format::Wide { snapshot.stats(port.service)? } else { ServiceStats::default() };
        for (id, frontend) in port_frontends(port) {
            // Where no flags are shown: the unspecified address is not every address.
            let for_node = is_node(frontend) && format == Format::Table;
            let mut row = vec![
                key.service.to_string(),
                key.port_name.clone(),
                key.protocol.to_string(),
                format!("{}{}", SocketAddr::new(id.ip(), id.port()), if for_node { " (node)" } else { "" }),
                port.backends.len().to_string(),
            ];
            if format == Format::Wide {
                row.push(port.service.to_string());
                row.push(extent(frontend.inside));
                row.push(extent(frontend.outside));
                row.push(flag_names(frontend.flags).join(","));
                let figures =
                    [stats.packets, stats.bytes, stats.reply_packets, stats.reply_bytes, stats.new_flows];
                row.extend(figures.map(|figure| figure.to_string()));
            }
            rows.push(row);
        }
    }
    let mut header = vec!["service", "port", "protocol", "frontend", "backends"];
    if format == Format::Wide {
        header.extend(["id", "inside", "outside", "flags"]);
        header.extend(["packets", "bytes", "reply packets", "reply bytes", "new flows"]);
    }
    print_table(&header, rows)
}

/// First slot and number of slots.
fn extent(run: lb_common::Run) -> String {
    format!("{}+{}", run.start, run.length)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendDocument<'a> {
    namespace: &'a str,
    name: &'a str,
    port_name: &'a str,
    protocol: String,
    id: u32,
    address: String,
    port: u16,
    local: bool,
    state: &'static str,
    generation: u32,
    inside_share: f64,
    outside_share: f64,
}

fn backends(views: &[BackendView], format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        let documents: Vec<_> = views
            .iter()
            .map(|view| BackendDocument {
                namespace: &view.service.service.namespace,
                name: &view.service.service.name,
                port_name: &view.service.port_name,
                protocol: view.service.protocol.to_string(),
                id: view.id,
                address: view.at.ip().to_string(),
                port: view.at.port(),
                local: view.local,
                state: backend_state(view.state),
                generation: view.generation,
                inside_share: share(view.inside.0, view.inside.1),
                outside_share: share(view.outside.0, view.outside.1),
            })
            .collect();
        return print_json(&documents);
    }
    let wide = format == Format::Wide;
    let rows = views
        .iter()
        .map(|view| {
            let mut row = vec![
                view.service.service.to_string(),
                view.service.port_name.clone(),
                view.service.protocol.to_string(),
                view.at.to_string(),
                if view.local { "yes" } else { "no" }.to_owned(),
                backend_state(view.state).to_owned(),
                percent(view.inside.0, view.inside.1),
                percent(view.outside.0, view.outside.1),
            ];
            if wide {
                row.extend([view.id, view.generation, view.outside.0].map(|number| number.to_string()));
            }
            row
        })
        .collect();
    let mut header = vec!["service", "port", "protocol", "backend", "local", "state", "inside", "outside"];
    if wide {
        header.extend(["id", "generation", "slots"]);
    }
    print_table(&header, rows)
}

const fn backend_state(state: BackendState) -> &'static str {
    match state {
        BackendState::Free => "free",
        BackendState::Active => "active",
        BackendState::Draining => "draining",
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowDocument {
    protocol: String,
    direction: &'static str,
    source: String,
    destination: String,
    new_source: String,
    new_destination: String,
    state: &'static str,
    local: bool,
    stale: bool,
    idle_seconds: u32,
    backend_id: u32,
    service: Option<String>,
}

fn flow_document(flow: &FlowView) -> FlowDocument {
    FlowDocument {
        protocol: Protocol::from_number(flow.protocol)
            .map_or_else(|| flow.protocol.to_string(), |p| p.to_string()),
        direction: if flow.forward { "forward" } else { "reply" },
        source: flow.from.0.to_string(),
        destination: flow.from.1.to_string(),
        new_source: flow.to.0.to_string(),
        new_destination: flow.to.1.to_string(),
        state: flow_state(flow.state),
        local: flow.local,
        stale: flow.stale,
        idle_seconds: flow.idle_s,
        backend_id: flow.backend,
        service: flow.service.as_ref().map(|key| format!("{}:{}", key.service, key.port_name)),
    }
}

/// A table shows the way from clients to backends; `wide` and JSON show replies too.
fn flows(views: &[FlowView], format: Format) -> anyhow::Result<()> {
    let documents = views.iter().map(flow_document);
    if format == Format::Json {
        return print_json(&documents.collect::<Vec<_>>());
    }
    let wide = format == Format::Wide;
    let rows = documents
        .filter(|flow| wide || flow.direction == "forward")
        .map(|flow| {
            let state = if flow.stale { format!("{}, stale", flow.state) } else { flow.state.to_owned() };
            let mut row = vec![flow.protocol, flow.source, flow.destination, flow.new_destination, state];
            row.push(format!("{}s", flow.idle_seconds));
            if wide {
                row.extend([flow.direction.to_owned(), flow.new_source, flow.backend_id.to_string()]);
                row.push(flow.service.unwrap_or_default());
            }
            row
        })
        .collect();
    let mut header = vec!["protocol", "source", "destination", "backend", "state", "idle"];
    if wide {
        header.extend(["direction", "new source", "id", "service"]);
    }
    print_table(&header, rows)
}
