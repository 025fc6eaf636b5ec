//! `v1` Service.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::meta::{node_port, null_default, port, timeout_s};
use super::{ObjectMeta, Protocol};
use crate::model;

/// A Service.
#[derive(Debug, Deserialize)]
pub(in crate::source) struct Service {
    pub(in crate::source) metadata: ObjectMeta,
    pub(in crate::source) spec: ServiceSpec,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) status: ServiceStatus,
}

/// `spec`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct ServiceSpec {
    #[serde(rename = "type", default, deserialize_with = "null_default")]
    pub(in crate::source) service_type: ServiceType,
    #[serde(rename = "clusterIP")]
    pub(in crate::source) cluster_ip: Option<Spanned<String>>,
    #[serde(rename = "clusterIPs", default, deserialize_with = "null_default")]
    pub(in crate::source) cluster_ips: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) ip_families: Vec<IpFamily>,
    #[serde(rename = "externalIPs", default, deserialize_with = "null_default")]
    pub(in crate::source) external_ips: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) load_balancer_source_ranges: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) ports: Vec<ServicePort>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) external_traffic_policy: TrafficPolicy,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) internal_traffic_policy: TrafficPolicy,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) session_affinity: SessionAffinity,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) session_affinity_config: SessionAffinityConfig,
}

/// `spec.ipFamilies[]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(in crate::source) enum IpFamily {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl From<IpFamily> for model::IpFamily {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::V4,
            IpFamily::V6 => Self::V6,
        }
    }
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(in crate::source) enum ServiceType {
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

impl From<ServiceType> for model::ServiceType {
    fn from(service_type: ServiceType) -> Self {
        match service_type {
            ServiceType::ClusterIp => Self::ClusterIp,
            ServiceType::NodePort => Self::NodePort,
            ServiceType::LoadBalancer => Self::LoadBalancer,
            ServiceType::ExternalName => Self::ExternalName,
        }
    }
}

/// `spec.externalTrafficPolicy` and `spec.internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source) enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

/// `spec.sessionAffinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::source) enum SessionAffinity {
    #[default]
    None,
    #[serde(rename = "ClientIP")]
    ClientIp,
}

/// `spec.sessionAffinityConfig`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::source) struct SessionAffinityConfig {
    #[serde(rename = "clientIP", default, deserialize_with = "null_default")]
    pub(in crate::source) client_ip: ClientIpConfig,
}

/// `spec.sessionAffinityConfig.clientIP`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::source) struct ClientIpConfig {
    #[serde(deserialize_with = "timeout_s")]
    pub(in crate::source) timeout_seconds: u32,
}

impl Default for ClientIpConfig {
    fn default() -> Self {
        Self { timeout_seconds: super::meta::TIMEOUT_S_DEFAULT }
    }
}

/// `spec.ports[]`; the target port is the endpoint slice controller's business.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct ServicePort {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) name: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) protocol: Protocol,
    #[serde(deserialize_with = "port")]
    pub(in crate::source) port: u16,
    #[serde(default, deserialize_with = "node_port")]
    pub(in crate::source) node_port: Option<u16>,
}

/// `status`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct ServiceStatus {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) load_balancer: LoadBalancerStatus,
}

/// `status.loadBalancer`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::source) struct LoadBalancerStatus {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) ingress: Vec<LoadBalancerIngress>,
}

/// `status.loadBalancer.ingress[]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct LoadBalancerIngress {
    pub(in crate::source) ip: Option<Spanned<String>>,
    pub(in crate::source) ip_mode: Option<String>,
}
