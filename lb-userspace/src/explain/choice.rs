//! How a plan narrowed the endpoints of a service port, seen from what it chose.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Choice;
use crate::model::{Endpoint, EndpointSlice};
use crate::plan::{Node, PortPlan, Scope};

/// The rule that narrowed the endpoints of `scope`.
pub(super) fn choice(port: &PortPlan, scope: Scope, slices: &[&EndpointSlice], node: &Node) -> Choice {
    let endpoints = endpoints(port, slices);
    let chosen = port.scope(scope);
    let chosen_ready = || chosen.keys().filter_map(|at| endpoints.get(at)).any(|endpoint| endpoint.ready);
    if !chosen.is_empty() && !chosen_ready() {
        return Choice::Terminating;
    }
    // Those of weight 0 are left out by their weight.
    let weighty = |at: &SocketAddr| port.backends.get(at).is_some_and(|backend| backend.weight > 0);
    let mut left_out = endpoints
        .iter()
        .filter(|(at, endpoint)| endpoint.ready && weighty(at) && !chosen.contains_key(at))
        .map(|(_, endpoint)| endpoint);
    match scope {
        Scope::Cluster if left_out.next().is_some() => {
            let for_here = |at| {
                endpoints.get(at).is_some_and(|endpoint: &&Endpoint| endpoint.for_nodes.contains(&node.name))
            };
            let all_hinted = endpoints.values().all(|one| !one.ready || !one.for_nodes.is_empty());
            if all_hinted && chosen.keys().all(for_here) { Choice::SameNode } else { Choice::SameZone }
        }
        // Hints never apply within a node.
        Scope::Cluster | Scope::Local => Choice::All,
    }
}

/// The endpoints of a port; of two copies of one, that which is not terminating.
pub(super) fn endpoints<'a>(
    port: &PortPlan,
    slices: &[&'a EndpointSlice],
) -> BTreeMap<SocketAddr, &'a Endpoint> {
    let mut endpoints: BTreeMap<SocketAddr, &'a Endpoint> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.family == port.key.family) {
        let same = |name: &str, protocol| name == port.key.port_name && protocol == port.key.protocol;
        for number in slice.ports.iter().filter(|number| same(&number.name, number.protocol)) {
            for endpoint in &slice.endpoints {
                let at = SocketAddr::new(endpoint.address, number.port);
                if !endpoints.contains_key(&at) || !endpoint.terminating {
                    endpoints.insert(at, endpoint);
                }
            }
        }
    }
    endpoints
}
