//! Third step of the control path: what a Service means on this node. Pure: the same input gives the same plan.

mod categorize;
mod frontends;
mod node;
mod sctp;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic_matrix;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_common::{BackendState, FrontendFlags};

use crate::model::{IpFamily, ObjectKey, Prefix, Protocol};

pub use node::{Node, NodePortAddresses, Policy};
pub use service::plan;

/// What one Service is to be on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// The Service.
    pub key: ObjectKey,
    /// Its ports, by name, protocol and family.
    pub ports: Vec<PortPlan>,
    /// What could not be honoured, for people.
    pub problems: Vec<String>,
}

/// Identity of a service port in one family: the unit that has a service id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// The Service.
    pub service: ObjectKey,
    /// Name of the port; empty for an unnamed one.
    pub port_name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Address family.
    pub family: IpFamily,
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {} {}", self.service, self.port_name, self.protocol, self.family)
    }
}

/// A service port in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// Identity.
    pub key: PortKey,
    /// Port of the Service.
    pub port: u16,
    /// Session affinity time-out in seconds; zero without affinity.
    pub affinity_timeout_s: u32,
    /// Where it is reached.
    pub frontends: Vec<FrontendPlan>,
    /// Every endpoint that may hold flows, by address.
    pub backends: BTreeMap<SocketAddr, BackendPlan>,
    /// Endpoints for traffic that may go to any node, with their weights.
    pub cluster: BTreeMap<SocketAddr, u16>,
    /// Endpoints for traffic that must stay on this node, with their weights.
    pub local: BTreeMap<SocketAddr, u16>,
    /// Whether any endpoint in the cluster could take new flows, whatever the policies keep away.
    pub any: bool,
    /// Virtual IPs of the Service that are no addresses of the node, with where they come from: nothing else on the node answers
    /// there.
    pub virtual_ips: BTreeMap<IpAddr, FrontendKind>,
    /// The only sources that load balancer addresses are for; empty for all.
    pub sources: BTreeSet<Prefix>,
}

impl PortPlan {
    /// The endpoints of a scope with their weights, of which none is zero.
    pub const fn scope(&self, scope: Scope) -> &BTreeMap<SocketAddr, u16> {
        match scope {
            Scope::Cluster => &self.cluster,
            Scope::Local => &self.local,
        }
    }

    /// The [`FrontendFlags`] of one of its frontends.
    pub fn flags(&self, frontend: &FrontendPlan) -> u32 {
        let local = |scope| scope == Scope::Local;
        let drops = |scope| self.without_endpoint(scope) == WithoutEndpoint::Drop;
        let flags = [
            (local(frontend.inside), FrontendFlags::INSIDE_LOCAL),
            (local(frontend.outside), FrontendFlags::OUTSIDE_LOCAL),
            (drops(frontend.inside), FrontendFlags::INSIDE_DROPS),
            (drops(frontend.outside), FrontendFlags::OUTSIDE_DROPS),
            (frontend.inside_only, FrontendFlags::INSIDE_ONLY),
            (self.has_source_ranges(frontend), FrontendFlags::SOURCE_RANGES),
            (frontend.is_node(), FrontendFlags::NODE),
        ];
        flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag)
    }

    /// Whether a frontend is for the port's sources only.
    pub fn has_source_ranges(&self, frontend: &FrontendPlan) -> bool {
        frontend.kind == FrontendKind::LoadBalancer && !self.sources.is_empty()
    }

    /// What becomes of packets while a scope has no endpoint. A node without one is passed over by a load balancer that
    /// gets no answer from it; where no node has one, the client shall know at once.
    pub fn without_endpoint(&self, scope: Scope) -> WithoutEndpoint {
        if scope == Scope::Local && self.local.is_empty() && self.any {
            WithoutEndpoint::Drop
        } else {
            WithoutEndpoint::Reject
        }
    }
}

/// What becomes of packets that find no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutEndpoint {
    /// An ICMP error tells the client.
    Reject,
    /// Nothing does: other nodes have endpoints.
    Drop,
}

/// Which endpoints traffic may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Those that topology and readiness select in the cluster.
    Cluster,
    /// Those of this node only.
    Local,
}

impl Scope {
    /// The scope that a traffic policy asks for.
    pub const fn of_policy(local: bool) -> Self {
        if local { Self::Local } else { Self::Cluster }
    }
}

/// An address and port at which a service port is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendPlan {
    /// Address and port.
    pub at: SocketAddr,
    /// Where the address comes from.
    pub kind: FrontendKind,
    /// Endpoints for traffic from this cluster.
    pub inside: Scope,
    /// Endpoints for traffic from outside.
    pub outside: Scope,
    /// Not for traffic from outside.
    pub inside_only: bool,
}

impl FrontendPlan {
    /// Whether it is the NodePort of the node itself, whatever its addresses: no packet goes there, but sockets may be
    /// bound to it.
    pub fn is_node(&self) -> bool {
        self.kind == FrontendKind::NodePort && self.at.ip().is_unspecified()
    }
}

/// Where a frontend's address comes from. The order is that of precedence when two of one Service coincide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
    /// `spec.externalIPs`.
    ExternalIp,
    /// A node address, or the unspecified one, and `nodePort`.
    NodePort,
}

/// An endpoint that may hold flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendPlan {
    /// Whether it runs on this node.
    pub local: bool,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Its weight.
    pub weight: u16,
}
