//! API objects, reduced to the parts that can change what is programmed.
//!
//! Two objects that compare equal program the same, so an update that changes nothing here costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::Prefix;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default of the API.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, of which a packet keeps its ports.
    Sctp,
}

impl Protocol {
    /// IP protocol number (IANA).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => lb_common::protocol::TCP,
            Self::Udp => lb_common::protocol::UDP,
            Self::Sctp => lb_common::protocol::SCTP,
        }
    }

    /// The protocol with this IP protocol number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            lb_common::protocol::TCP => Some(Self::Tcp),
            lb_common::protocol::UDP => Some(Self::Udp),
            lb_common::protocol::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// How a Service is exposed (`spec.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceType {
    /// A virtual IP in the cluster.
    ClusterIp,
    /// That and a port on every node.
    NodePort,
    /// That and the addresses of a load balancer.
    LoadBalancer,
    /// A DNS name; nothing is programmed.
    ExternalName,
}

/// A `v1` Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// The families it is served in: `spec.ipFamilies`, else those of its cluster IPs, else both (a manifest that no
    /// API server has completed). Empty for a headless Service (`clusterIP: None`), of which nothing is programmed.
    pub ip_families: BTreeSet<IpFamily>,
    /// `spec.clusterIPs`, without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` whose `ipMode` is not `Proxy`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: sources that load balancer addresses are for. A family without one is for all.
    pub source_ranges: Vec<Prefix>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.externalTrafficPolicy` is `Local`.
    pub external_local: bool,
    /// `spec.internalTrafficPolicy` is `Local`.
    pub internal_local: bool,
    /// Session affinity by client address, with its time-out in seconds.
    pub affinity_timeout_s: Option<u32>,
    /// Annotation `weir.dev/weight-by-zone`.
    pub weight_by_zone: BTreeMap<String, u16>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty for an unnamed port.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the Service.
    pub port: u16,
    /// Port on every node.
    pub node_port: Option<u16>,
}

/// A `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The Service it belongs to: label `kubernetes.io/service-name` in its own namespace.
    pub service: ObjectKey,
    /// `addressType`.
    pub family: IpFamily,
    /// Ports that have a number; those without are left out, as kube-proxy does.
    pub ports: Vec<EndpointPort>,
    /// Endpoints that have an address.
    pub endpoints: Vec<Endpoint>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Name; matched to the Service's port of that name and protocol.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the endpoints.
    pub port: u16,
}

/// An endpoint of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of its addresses; the others are not used, as kube-proxy does.
    pub address: IpAddr,
    /// `conditions.ready`, `true` when absent.
    pub ready: bool,
    /// `conditions.serving`, `true` when absent.
    pub serving: bool,
    /// `conditions.terminating`, `false` when absent.
    pub terminating: bool,
    /// Node it runs on.
    pub node_name: Option<String>,
    /// Zone it runs in.
    pub zone: Option<String>,
    /// `hints.forZones`.
    pub for_zones: BTreeSet<String>,
    /// `hints.forNodes`.
    pub for_nodes: BTreeSet<String>,
    /// Weight from the annotations of the slice; `None` leaves the choice to the Service's annotation.
    pub weight: Option<u16>,
}
