//! Maps in memory from manifests, filled as an agent on an empty node would fill the kernel's.

use std::net::SocketAddr;

use lb_common::{CLUSTER_SOURCES, Settings};
use lb_ebpf::{V4, V6};

use super::choice::{choice, endpoints};
use super::family::Family;
use super::judge::{Narrowed, judge};
use super::run::{key, looked_up};
use super::world::{World, put_source};
use super::{Answer, Question, ServiceName};
use crate::apply::{Programmer, WriteError};
use crate::diff::SourceEntry;
use crate::layout::{Capacity, State};
use crate::model::{EndpointSlice, IpFamily, Model, Service};
use crate::plan::{Node, PortPlan, Scope, plan};

/// An answer, and what the manifests ask for that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The answer; none when source and destination are not of one family.
    pub answer: Option<Answer>,
    /// For people.
    pub problems: Vec<String>,
}

/// Answers from what `model` would have an agent write on an empty node.
///
/// # Errors
///
/// None: memory refuses no write. The type is that of the agent's own pass.
pub fn from_manifests(
    question: &Question,
    model: &mut Model,
    node: &Node,
    settings: Settings,
) -> Result<Planned, WriteError> {
    let mut world = World { now_s: 1, ..World::default() };
    world.maps.settings = Some(settings);
    for prefix in &node.policy.cluster_cidrs {
        let entry = SourceEntry { service: CLUSTER_SOURCES, prefix: *prefix };
        put_source::<V4>(&entry, &mut world.maps);
        put_source::<V6>(&entry, &mut world.maps);
    }
    let keys: Vec<_> = model.service_keys().cloned().collect();
    keys.iter().cloned().for_each(|key| model.mark(key));
    let mut programmer = Programmer::new(State::new(Capacity::default()), Vec::new(), node.clone());
    let pass = programmer.pass(model, &mut world)?;
    let services = keys.iter().filter_map(|key| model.service(key));
    let mut problems: Vec<String> =
        services.flat_map(|(service, slices)| plan(service, &slices, node).problems).collect();
    problems.extend(pass.refused.iter().map(ToString::to_string));
    let answer = answer_of::<V4>(question, &world, model, node);
    let answer = answer.or_else(|| answer_of::<V6>(question, &world, model, node));
    Ok(Planned { answer, problems })
}

fn answer_of<F: Family>(question: &Question, world: &World, model: &Model, node: &Node) -> Option<Answer> {
    let loopback = node.policy.node_port_addresses.loopback(IpFamily::of(question.destination.ip()));
    let looked_up = looked_up(question, loopback);
    let narrowed = |name: &ServiceName, inside| narrowed(name, looked_up.destination, inside, model, node);
    Some(judge::<F>(question, key::<F>(&looked_up)?, world, narrowed))
}

/// How the plan narrowed the endpoints of the Service port at an address and port.
fn narrowed(name: &ServiceName, at: SocketAddr, inside: bool, model: &Model, node: &Node) -> Narrowed {
    let found = model.service(&name.key.service).and_then(|(service, slices)| {
        let port = plan(service, &slices, node).ports.into_iter().find(|port| port.key == name.key)?;
        Some((service, slices, port))
    });
    let Some((service, slices, port)) = found else { return Narrowed::default() };
    let Some(frontend) = port.frontends.iter().find(|frontend| frontend.at == at) else {
        return Narrowed::default();
    };
    let scope = if inside { frontend.inside } else { frontend.outside };
    Narrowed {
        local: scope == Scope::Local,
        outside_local: frontend.outside == Scope::Local,
        choice: choice(&port, scope, &slices, node),
        remark: nobody(service, &port, scope, &slices),
    }
}

/// Why there is nobody to choose.
fn nobody(service: &Service, port: &PortPlan, scope: Scope, slices: &[&EndpointSlice]) -> Option<String> {
    if !port.scope(scope).is_empty() {
        return None;
    }
    let all = endpoints(port, slices);
    let here = all.keys().filter(|at| port.backends.get(at).is_some_and(|backend| backend.local)).count();
    let (family, key) = (port.key.family, &service.key);
    Some(match (scope, all.len()) {
        (_, 0) => format!("no EndpointSlice of Service {key} has an {family} endpoint for this port"),
        (Scope::Cluster, number) => {
            format!("of the {number} {family} endpoints of Service {key} each is unready, or has weight 0")
        }
        (Scope::Local, number) if here == 0 => {
            format!("of the {number} {family} endpoints of Service {key} none is on this node")
        }
        (Scope::Local, _) => {
            format!("the {family} endpoints of Service {key} on this node are unready, or have weight 0")
        }
    })
}
