//! From a Service and its EndpointSlices to the plan of its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lb_common::{BackendState, NAME_BYTES};

use crate::model::{Endpoint, EndpointSlice, IpFamily, Prefix, Protocol, Service, ServicePort, ServiceType};

use super::categorize::{Candidate, cluster, local};
use super::frontends::{externally_accessible, frontends, virtual_ips};
use super::sctp::keep_ports;
use super::{BackendPlan, FrontendKind, Node, PortKey, PortPlan, ServicePlan};

/// Weight of an endpoint that nothing gives one.
const DEFAULT_WEIGHT: u16 = 1;

/// Plans a Service for a node.
pub fn plan(service: &Service, slices: &[&EndpointSlice], node: &Node) -> ServicePlan {
    let mut plan = ServicePlan { key: service.key.clone(), ports: Vec::new(), problems: Vec::new() };
    if service.service_type == ServiceType::ExternalName {
        return plan;
    }
    let mut names = [&service.key.namespace, &service.key.name]
        .into_iter()
        .chain(service.ports.iter().map(|port| &port.name));
    if let Some(name) = names.find(|name| name.len() >= NAME_BYTES) {
        plan.problems.push(format!(
            "Service {}: the name `{name}` is longer than the {} bytes of a DNS label (RFC 1123); the Service is left out",
            service.key,
            NAME_BYTES - 1
        ));
        return plan;
    }
    let mut seen = BTreeSet::new();
    for port in &service.ports {
        if !seen.insert((&port.name, port.protocol)) {
            plan.problems.push(format!(
                "Service {}: two ports of protocol {} have the name `{}`; port {} is left out (give each a name of its own)",
                service.key, port.protocol, port.name, port.port
            ));
            continue;
        }
        for family in &service.ip_families {
            let port = plan_port(service, port, *family, slices, node, &mut plan.problems);
            if !port.frontends.is_empty() {
                plan.ports.push(port);
            }
        }
    }
    plan
}

fn plan_port(
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
    slices: &[&EndpointSlice],
    node: &Node,
    problems: &mut Vec<String>,
) -> PortPlan {
    let mut frontends = frontends(service, port, family, node);
    let mut endpoints = endpoints(port, family, slices);
    if port.protocol == Protocol::Sctp {
        problems.extend(keep_ports(service, port, &mut frontends, &mut endpoints));
    }
    let candidates: Vec<Candidate<'_>> = endpoints
        .into_iter()
        .map(|(at, endpoint)| {
            let local = !node.name.is_empty() && endpoint.node_name.as_ref() == Some(&node.name);
            Candidate { at, endpoint, local }
        })
        .collect();
    // A weight of 0 takes no new flows.
    let weighted = |chosen: Vec<Candidate<'_>>| -> BTreeMap<SocketAddr, u16> {
        let weights = chosen.into_iter().map(|candidate| (candidate.at, weight(service, candidate.endpoint)));
        weights.filter(|(_, weight)| *weight > 0).collect()
    };
    let uses_cluster = !service.internal_local || externally_accessible(service);
    let cluster = if uses_cluster { weighted(cluster(&candidates, node)) } else { BTreeMap::new() };
    let local = weighted(local(&candidates));
    let any = candidates.iter().any(|one| one.takes_new_flows() && weight(service, one.endpoint) > 0);
    let backends = candidates
        .iter()
        .filter(|candidate| candidate.endpoint.ready || candidate.endpoint.serving)
        .map(|candidate| {
            let weight = weight(service, candidate.endpoint);
            let takes_new = (candidate.endpoint.ready && weight > 0)
                || cluster.contains_key(&candidate.at)
                || local.contains_key(&candidate.at);
            let state = if takes_new { BackendState::Active } else { BackendState::Draining };
            // For translation, an address of the node is here whatever a manifest says of it or leaves out.
            let local = candidate.local || node.has(&candidate.endpoint.address);
            (candidate.at, BackendPlan { local, state, weight })
        })
        .collect();
    PortPlan {
        key: PortKey {
            service: service.key.clone(),
            port_name: port.name.clone(),
            protocol: port.protocol,
            family,
        },
        port: port.port,
        affinity_timeout_s: service.affinity_timeout_s.unwrap_or(0),
        // The first of two kinds counts: the last is the one that stays in a map.
        virtual_ips: virtual_ips(service, family)
            .filter(|(ip, _)| !node.has(ip))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect(),
        sources: sources(service, family, node),
        frontends,
        backends,
        cluster,
        local,
        any,
    }
}

/// The sources that load balancer addresses of a family are for (kube-proxy's `firewall` chains); none for all.
///
/// A range that names the node lets through what the node sends to its own load balancer address, whose source may be
/// that very address.
fn sources(service: &Service, family: IpFamily, node: &Node) -> BTreeSet<Prefix> {
    let mut sources: BTreeSet<Prefix> =
        service.source_ranges.iter().copied().filter(|range| range.family() == family).collect();
    let mut own =
        virtual_ips(service, family).filter(|(_, kind)| *kind == FrontendKind::LoadBalancer).peekable();
    if own.peek().is_none() || sources.iter().any(|range| range.length() == 0) {
        return BTreeSet::new();
    }
    let names_node = |range: &Prefix| node.addresses.iter().any(|ip| range.contains(*ip));
    if sources.iter().any(names_node) {
        sources.extend(own.map(|(ip, _)| Prefix::of(ip)));
    }
    sources
}

/// The endpoints of a port by address and port. The same one in several slices, as while a controller moves it, is
/// one; the copy that is not terminating counts.
fn endpoints<'a>(
    port: &ServicePort,
    family: IpFamily,
    slices: &[&'a EndpointSlice],
) -> BTreeMap<SocketAddr, &'a Endpoint> {
    let mut endpoints: BTreeMap<SocketAddr, &'a Endpoint> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.family == family) {
        let numbers = slice
            .ports
            .iter()
            .filter(|candidate| candidate.name == port.name && candidate.protocol == port.protocol);
        for number in numbers {
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

/// The weight of an endpoint: its slice's annotations, else the Service's by zone, else one.
fn weight(service: &Service, endpoint: &Endpoint) -> u16 {
    let by_zone = || endpoint.zone.as_ref().and_then(|zone| service.weight_by_zone.get(zone)).copied();
    endpoint.weight.or_else(by_zone).unwrap_or(DEFAULT_WEIGHT)
}
