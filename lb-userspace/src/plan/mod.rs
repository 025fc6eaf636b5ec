//! Third step of the control path: what a Service means on this node. Pure: the same input gives the same plan.

mod categorize;
mod frontends;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_common::BackendState;

use crate::model::{IpFamily, ObjectKey, Protocol};

pub use service::plan;

/// The node that is planned for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, which endpoints name to say where they run.
    pub name: String,
    /// Its zone, for topology hints.
    pub zone: Option<String>,
    /// Its addresses: NodePorts are served at each.
    pub addresses: Vec<IpAddr>,
}

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
    /// TCP or UDP.
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
}

impl PortPlan {
    /// The endpoints of a scope with their weights, of which none is zero.
    pub const fn scope(&self, scope: Scope) -> &BTreeMap<SocketAddr, u16> {
        match scope {
            Scope::Cluster => &self.cluster,
            Scope::Local => &self.local,
        }
    }
}

/// Which endpoints traffic may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Those that topology and readiness select in the cluster.
    Cluster,
    /// Those of this node only.
    Local,
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
}

/// Where a frontend's address comes from. The order is that of precedence when two of one Service coincide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKind {
    /// `status.loadBalancer.ingress`.
    LoadBalancer,
    /// `spec.externalIPs`.
    ExternalIp,
    /// A node address and `nodePort`.
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
