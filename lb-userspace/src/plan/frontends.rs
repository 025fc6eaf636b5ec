//! The addresses and ports at which a Service is reached from outside the cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::model::{IpFamily, Service, ServicePort, ServiceType};

use super::{FrontendKind, FrontendPlan, Node, Scope};

/// Whether anything outside the cluster can reach the Service, which is when its external policy means something.
pub(super) fn externally_accessible(service: &Service) -> bool {
    match service.service_type {
        ServiceType::LoadBalancer | ServiceType::NodePort => true,
        ServiceType::ClusterIp => !service.external_ips.is_empty(),
        ServiceType::ExternalName => false,
    }
}

/// The frontends of a port in one family.
///
/// Pods and the node itself reach every endpoint whatever the external policy is: for them the short way through
/// the cluster is as good as the way round through a load balancer (KEP-1669 calls it the short-circuit).
pub(super) fn frontends(
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
    node: &Node,
) -> Vec<FrontendPlan> {
    let outside = if service.external_local { Scope::Local } else { Scope::Cluster };
    let node_port = match service.service_type {
        ServiceType::NodePort | ServiceType::LoadBalancer => port.node_port,
        ServiceType::ClusterIp | ServiceType::ExternalName => None,
    };
    let load_balancer: &[IpAddr] = match service.service_type {
        ServiceType::LoadBalancer => &service.load_balancer_ips,
        ServiceType::ClusterIp | ServiceType::NodePort | ServiceType::ExternalName => &[],
    };
    let all =
        load_balancer
            .iter()
            .map(|ip| (*ip, port.port, FrontendKind::LoadBalancer))
            .chain(service.external_ips.iter().map(|ip| (*ip, port.port, FrontendKind::ExternalIp)))
            .chain(node_port.into_iter().flat_map(|number| {
                node.addresses.iter().map(move |ip| (*ip, number, FrontendKind::NodePort))
            }));
    let mut seen = BTreeSet::new();
    all.filter(|(ip, ..)| IpFamily::of(*ip) == family)
        .map(|(ip, number, kind)| FrontendPlan {
            at: SocketAddr::new(ip, number),
            kind,
            inside: Scope::Cluster,
            outside,
        })
        .filter(|frontend| seen.insert(frontend.at))
        .collect()
}
