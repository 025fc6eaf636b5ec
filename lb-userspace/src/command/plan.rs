//! `weir plan`: what would be programmed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::layout::{counts, table_size};
use crate::model::{ObjectKey, Protocol};
use crate::plan::{FrontendKind, FrontendPlan, Node, PortPlan, Scope, ServicePlan, WithoutEndpoint, plan};
use crate::source::{Severity, read_once};

use super::NodeArgs;
use super::output::{percent, print_json, print_table, print_yaml, share};

/// Options of `weir plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Directory of manifests: Services and EndpointSlices in YAML or JSON.
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
    Yaml,
}

/// The plan of a node.
#[derive(Debug, Serialize)]
struct Document {
    node: String,
    services: Vec<ServiceDocument>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ServiceDocument {
    namespace: String,
    name: String,
    ports: Vec<PortDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PortDocument {
    name: String,
    protocol: String,
    family: String,
    port: u16,
    affinity_timeout_seconds: u32,
    frontends: Vec<FrontendDocument>,
    inside: Vec<EndpointDocument>,
    outside: Vec<EndpointDocument>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FrontendDocument {
    address: String,
    port: u16,
    kind: &'static str,
    /// `cluster` or `local`: which endpoints traffic from inside may go to.
    inside_policy: &'static str,
    /// The same for traffic from outside, or `refused`.
    outside_policy: &'static str,
    /// `reject` or `drop`: what becomes of packets from inside while there is no such endpoint.
    inside_without_endpoint: &'static str,
    outside_without_endpoint: &'static str,
    /// Empty for all sources.
    source_ranges: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EndpointDocument {
    address: String,
    port: u16,
    local: bool,
    weight: u16,
    slots: u32,
    share: f64,
}

/// Prints the plan. Problems go to standard error too; a manifest that cannot be read makes the command fail after
/// everything else was printed.
pub(super) fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let node = args.node.node();
    let (model, problems) = read_once(&args.manifests)?;
    let keys: Vec<ObjectKey> = model.service_keys().cloned().collect();
    let mut plans: Vec<ServicePlan> = keys
        .iter()
        .filter_map(|key| model.service(key))
        .map(|(service, slices)| plan(service, &slices, &node))
        .collect();
    give_once(&mut plans);
    let planned = plans.iter().flat_map(|plan| plan.problems.iter().cloned());
    let read = problems.iter().map(ToString::to_string);
    let told: Vec<String> = read.chain(planned).collect();
    for problem in &told {
        eprintln!("weir: {problem}");
    }
    match args.output {
        Format::Table => table(&plans)?,
        Format::Json => print_json(&document(&node, &plans, told))?,
        Format::Yaml => print_yaml(&document(&node, &plans, told))?,
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    anyhow::ensure!(errors == 0, "{errors} of the manifests cannot be read; the plan is without them");
    Ok(())
}

/// Leaves an address and port that several Services claim to the first, as an agent that starts with empty maps does.
fn give_once(plans: &mut [ServicePlan]) {
    let mut owners: BTreeMap<(SocketAddr, Protocol), ObjectKey> = BTreeMap::new();
    for plan in plans {
        for port in &mut plan.ports {
            let protocol = port.key.protocol;
            port.frontends.retain(|frontend| {
                let owner = owners.entry((frontend.at, protocol)).or_insert_with(|| plan.key.clone());
                if *owner != plan.key {
                    plan.problems.push(format!(
                        "Service {}: {protocol} {} belongs to Service {owner} and stays with it",
                        plan.key, frontend.at
                    ));
                }
                *owner == plan.key
            });
        }
    }
}

fn document(node: &Node, plans: &[ServicePlan], problems: Vec<String>) -> Document {
    let services = plans
        .iter()
        .map(|plan| ServiceDocument {
            namespace: plan.key.namespace.clone(),
            name: plan.key.name.clone(),
            ports: plan.ports.iter().map(port_document).collect(),
        })
        .collect();
    Document { node: node.name.clone(), services, problems }
}

fn port_document(port: &PortPlan) -> PortDocument {
    PortDocument {
        name: port.key.port_name.clone(),
        protocol: port.key.protocol.to_string(),
        family: port.key.family.to_string(),
        port: port.port,
        affinity_timeout_seconds: port.affinity_timeout_s,
        frontends: port.frontends.iter().map(|frontend| frontend_document(port, frontend)).collect(),
        inside: endpoints(port, inside(port)),
        outside: endpoints(port, outside(port)),
    }
}

fn frontend_document(port: &PortPlan, frontend: &FrontendPlan) -> FrontendDocument {
    let ranged = port.has_source_ranges(frontend);
    let without = |scope| match port.without_endpoint(scope) {
        WithoutEndpoint::Reject => "reject",
        WithoutEndpoint::Drop => "drop",
    };
    FrontendDocument {
        address: frontend.at.ip().to_string(),
        port: frontend.at.port(),
        kind: kind(frontend.kind),
        inside_policy: policy(frontend.inside),
        outside_policy: outside_policy(frontend),
        inside_without_endpoint: without(frontend.inside),
        outside_without_endpoint: without(frontend.outside),
        source_ranges: port.sources.iter().filter(|_| ranged).map(ToString::to_string).collect(),
    }
}

const fn policy(scope: Scope) -> &'static str {
    match scope {
        Scope::Cluster => "cluster",
        Scope::Local => "local",
    }
}

const fn outside_policy(frontend: &FrontendPlan) -> &'static str {
    if frontend.inside_only { "refused" } else { policy(frontend.outside) }
}

const fn kind(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::ClusterIp => "ClusterIP",
        FrontendKind::LoadBalancer => "LoadBalancer",
        FrontendKind::ExternalIp => "ExternalIP",
        FrontendKind::NodePort => "NodePort",
    }
}

/// The scope of traffic from inside; where a policy keeps it on the node, that one.
fn inside(port: &PortPlan) -> Option<Scope> {
    port.frontends.iter().map(|frontend| frontend.inside).max()
}

/// The scope of traffic from outside, likewise; none where no frontend is for it.
fn outside(port: &PortPlan) -> Option<Scope> {
    let open = port.frontends.iter().filter(|frontend| !frontend.inside_only);
    open.map(|frontend| frontend.outside).max()
}

/// The endpoints of a scope with their very slots: the numbers are those that the agent would write.
fn endpoints(port: &PortPlan, scope: Option<Scope>) -> Vec<EndpointDocument> {
    let Some(scope) = scope else { return Vec::new() };
    let chosen = port.scope(scope);
    let weights: Vec<u16> = chosen.values().copied().collect();
    let size = table_size(weights.iter().copied());
    chosen
        .iter()
        .zip(counts(&weights, size))
        .map(|((at, weight), slots)| EndpointDocument {
            address: at.ip().to_string(),
            port: at.port(),
            local: port.backends.get(at).is_some_and(|backend| backend.local),
            weight: *weight,
            slots,
            share: share(slots, size),
        })
        .collect()
}

/// One line for each frontend, then one for each endpoint with its share of either kind of traffic.
fn table(plans: &[ServicePlan]) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for plan in plans.iter().filter(|plan| plan.ports.is_empty()) {
        let mut row = vec![plan.key.to_string(), String::new(), "no address that is served".to_owned()];
        row.resize(7, String::new());
        rows.push(row);
    }
    for port in plans.iter().flat_map(|plan| &plan.ports) {
        let name = format!("{}:{}", port.key.service, port.port);
        let protocol = port.key.protocol.to_string();
        for frontend in &port.frontends {
            let kind = kind(frontend.kind);
            // Of a place where nothing arrives it would mislead that traffic from outside is refused.
            let (kind, outside) = if frontend.is_node() {
                (format!("{kind}, node"), "-")
            } else {
                (kind.to_owned(), outside_policy(frontend))
            };
            rows.push(vec![
                name.clone(),
                protocol.clone(),
                kind,
                frontend.at.to_string(),
                String::new(),
                policy(frontend.inside).to_owned(),
                outside.to_owned(),
            ]);
        }
        for range in &port.sources {
            let mut row = vec![name.clone(), protocol.clone(), "source range".to_owned(), range.to_string()];
            row.resize(7, String::new());
            rows.push(row);
        }
        let (inside, outside) = (endpoints(port, inside(port)), endpoints(port, outside(port)));
        for (at, backend) in &port.backends {
            let of = |endpoints: &[EndpointDocument]| {
                let slots =
                    endpoints.iter().find(|one| one.address == at.ip().to_string() && one.port == at.port());
                percent(slots.map_or(0, |one| one.slots), endpoints.iter().map(|one| one.slots).sum())
            };
            let kind = if backend.local { "endpoint, local" } else { "endpoint" };
            rows.push(vec![
                name.clone(),
                protocol.clone(),
                kind.to_owned(),
                at.to_string(),
                backend.weight.to_string(),
                of(&inside),
                of(&outside),
            ]);
        }
    }
    print_table(&["service", "protocol", "kind", "address", "weight", "inside", "outside"], rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{IpFamily, Protocol};
    use crate::plan::{FrontendPlan, PortKey};

    fn claims(name: &str, at: &str) -> ServicePlan {
        let service = ObjectKey::new("default", name);
        let frontend = FrontendPlan {
            at: at.parse().unwrap(),
            kind: FrontendKind::ExternalIp,
            inside: Scope::Cluster,
            outside: Scope::Cluster,
            inside_only: false,
        };
        let key = PortKey {
            service: service.clone(),
            port_name: String::new(),
            protocol: Protocol::Tcp,
            family: IpFamily::V4,
        };
        let port = PortPlan {
            key,
            port: 80,
            affinity_timeout_s: 0,
            frontends: vec![frontend],
            backends: BTreeMap::new(),
            cluster: BTreeMap::new(),
            local: BTreeMap::new(),
            any: false,
            virtual_ips: BTreeMap::new(),
            sources: BTreeSet::new(),
        };
        ServicePlan { key: service, ports: vec![port], problems: Vec::new() }
    }

    #[test]
    fn an_address_is_given_to_the_first_that_claims_it() {
        let mut plans =
            [claims("a", "198.51.100.1:80"), claims("b", "198.51.100.1:80"), claims("c", "198.51.100.1:81")];
        give_once(&mut plans);
        let frontends: Vec<usize> =
            plans.iter().flat_map(|plan| &plan.ports).map(|port| port.frontends.len()).collect();
        assert_eq!(frontends, [1, 0, 1]);
        assert!(plans[1].problems[0].contains("default/a"), "{:?}", plans[1].problems);
        assert!(plans[0].problems.is_empty() && plans[2].problems.is_empty());
    }
}
