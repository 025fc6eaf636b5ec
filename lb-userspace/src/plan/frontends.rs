//! The addresses and ports at which a Service is reached.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{IpFamily, Protocol, Service, ServicePort, ServiceType};

use super::{FrontendKind, FrontendPlan, Node, Scope};

/// Whether anything outside the cluster can reach the Service, which is when its external policy means something.
pub(super) fn externally_accessible(service: &Service) -> bool {
    match service.service_type {
        ServiceType::LoadBalancer | ServiceType::NodePort => true,
        ServiceType::ClusterIp => !service.external_ips.is_empty(),
        ServiceType::ExternalName => false,
    }
}

/// The virtual IPs of a Service in one family, each with where it comes from.
pub(super) fn virtual_ips(
    service: &Service,
    family: IpFamily,
) -> impl Iterator<Item = (IpAddr, FrontendKind)> + '_ {
    let load_balancer: &[IpAddr] = match service.service_type {
        ServiceType::LoadBalancer => &service.load_balancer_ips,
        ServiceType::ClusterIp | ServiceType::NodePort | ServiceType::ExternalName => &[],
    };
    let with = |kind| move |ip: &IpAddr| (*ip, kind);
    (service.cluster_ips.iter().map(with(FrontendKind::ClusterIp)))
        .chain(load_balancer.iter().map(with(FrontendKind::LoadBalancer)))
        .chain(service.external_ips.iter().map(with(FrontendKind::ExternalIp)))
        .filter(move |(ip, _)| IpFamily::of(*ip) == family)
}

/// The frontends of a port in one family.
pub(super) fn frontends(
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
    node: &Node,
) -> Vec<FrontendPlan> {
    let mut seen = BTreeSet::new();
    virtual_ips(service, family)
        .map(|(ip, kind)| (ip, port.port, kind))
        .chain(node_ports(service, port, family, node))
        .map(|(ip, number, kind)| {
            let (inside, outside) = scopes(service, kind);
            let inside_only = match kind {
                FrontendKind::ClusterIp => !node.policy.external_cluster_ip,
                FrontendKind::NodePort => ip.is_unspecified(),
                FrontendKind::LoadBalancer | FrontendKind::ExternalIp => false,
            };
            FrontendPlan { at: SocketAddr::new(ip, number), kind, inside, outside, inside_only }
        })
        .filter(|frontend| seen.insert(frontend.at))
        .collect()
}

/// The NodePort of a port at each address that serves it, and at the unspecified one wherever it is served at all.
///
/// No packet goes to the unspecified address. It is what programs on sockets look up: a server that is bound to it would
/// take the port at every address, and loopback addresses are served by it. SCTP sockets have no such programs.
fn node_ports(
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
    node: &Node,
) -> impl Iterator<Item = (IpAddr, u16, FrontendKind)> {
    let number = match service.service_type {
        ServiceType::NodePort | ServiceType::LoadBalancer => port.node_port,
        ServiceType::ClusterIp | ServiceType::ExternalName => None,
    };
    let served = &node.policy.node_port_addresses;
    let mut addresses = served.of(&node.addresses);
    addresses.retain(|ip| IpFamily::of(*ip) == family && !ip.is_unspecified());
    if port.protocol != Protocol::Sctp && (!addresses.is_empty() || served.loopback(family)) {
        addresses.push(match family {
            IpFamily::V4 => Ipv4Addr::UNSPECIFIED.into(),
            IpFamily::V6 => Ipv6Addr::UNSPECIFIED.into(),
        });
    }
    let at = move |number| addresses.into_iter().map(move |ip| (ip, number, FrontendKind::NodePort));
    number.map(at).into_iter().flatten()
}

/// The endpoints for traffic from inside and from outside.
///
/// The internal policy is for cluster IPs, whoever uses them. The external one is for all other addresses, and for
/// traffic from outside: pods and the node itself reach every endpoint, since for them the short way through the
/// cluster is as good as the way round through a load balancer (KEP-1669 calls it the short-circuit).
const fn scopes(service: &Service, kind: FrontendKind) -> (Scope, Scope) {
    match kind {
        FrontendKind::ClusterIp => {
            let scope = Scope::of_policy(service.internal_local);
            (scope, scope)
        }
        FrontendKind::LoadBalancer | FrontendKind::ExternalIp | FrontendKind::NodePort => {
            (Scope::Cluster, Scope::of_policy(service.external_local))
        }
    }
}
