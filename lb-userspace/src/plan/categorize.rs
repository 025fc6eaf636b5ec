//! Which endpoints of a service port serve which traffic (kube-proxy's `CategorizeEndpoints`, KEP-1669, KEP-2086,
//! KEP-2433, KEP-3015).

use std::net::SocketAddr;

use crate::model::Endpoint;

use super::Node;

/// An endpoint of a service port with what the rules ask of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Its address and port.
    pub(super) at: SocketAddr,
    /// The endpoint.
    pub(super) endpoint: &'a Endpoint,
    /// Whether it runs on this node.
    pub(super) local: bool,
}

impl Candidate<'_> {
    /// Still able to finish what it began, and the last resort when nothing is ready.
    const fn serving_terminating(&self) -> bool {
        self.endpoint.serving && self.endpoint.terminating
    }

    /// Whether any scope could use it.
    pub(super) const fn takes_new_flows(&self) -> bool {
        self.endpoint.ready || self.serving_terminating()
    }
}

/// How topology hints narrow the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    Any,
    SameNode,
    SameZone,
}

/// The endpoints for traffic that may go to any node: the ready ones that the hints prefer, else all that are
/// terminating but still serve.
pub(super) fn cluster<'a>(candidates: &[Candidate<'a>], node: &Node) -> Vec<Candidate<'a>> {
    let topology = topology(candidates, node);
    let matches = |candidate: &&Candidate<'a>| {
        let endpoint = candidate.endpoint;
        endpoint.ready
            && match topology {
                Topology::Any => true,
                Topology::SameNode => endpoint.for_nodes.contains(&node.name),
                Topology::SameZone => {
                    node.zone.as_ref().is_some_and(|zone| endpoint.for_zones.contains(zone))
                }
            }
    };
    or_terminating(candidates.iter().filter(matches).copied().collect(), candidates)
}

/// The endpoints for traffic that must stay on this node; hints never apply to them.
pub(super) fn local<'a>(candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let here: Vec<_> = candidates.iter().filter(|candidate| candidate.local).copied().collect();
    or_terminating(here.iter().filter(|candidate| candidate.endpoint.ready).copied().collect(), &here)
}

fn or_terminating<'a>(chosen: Vec<Candidate<'a>>, from: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    if chosen.is_empty() {
        from.iter().filter(|candidate| candidate.serving_terminating()).copied().collect()
    } else {
        chosen
    }
}

/// Hints hold only when every ready endpoint has one and one of them is for here: half a set of hints, as during a
/// roll-out of the controller, would overload the few that have them.
fn topology(candidates: &[Candidate<'_>], node: &Node) -> Topology {
    let ready = || candidates.iter().map(|candidate| candidate.endpoint).filter(|endpoint| endpoint.ready);
    if ready().next().is_none() {
        return Topology::Any;
    }
    if ready().all(|endpoint| !endpoint.for_nodes.is_empty())
        && ready().any(|endpoint| endpoint.for_nodes.contains(&node.name))
    {
        return Topology::SameNode;
    }
    let zone = node.zone.as_ref();
    if ready().all(|endpoint| !endpoint.for_zones.is_empty())
        && ready().any(|endpoint| zone.is_some_and(|zone| endpoint.for_zones.contains(zone)))
    {
        return Topology::SameZone;
    }
    Topology::Any
}
