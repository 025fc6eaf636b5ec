//! `discovery.k8s.io/v1` EndpointSlice.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::meta::{endpoint_port, null_default};
use super::{ObjectMeta, Protocol};

/// An EndpointSlice.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct EndpointSlice {
    pub(in crate::source) metadata: ObjectMeta,
    pub(in crate::source) address_type: AddressType,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) ports: Vec<EndpointPort>,
}

/// `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::source) enum AddressType {
    #[serde(rename = "IPv4")]
    Ipv4,
    #[serde(rename = "IPv6")]
    Ipv6,
    #[serde(rename = "FQDN")]
    Fqdn,
}

/// `endpoints[]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct Endpoint {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) addresses: Vec<Spanned<String>>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) conditions: Conditions,
    pub(in crate::source) node_name: Option<String>,
    pub(in crate::source) zone: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) hints: Hints,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) target_ref: TargetRef,
}

/// `endpoints[].conditions`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::source) struct Conditions {
    pub(in crate::source) ready: Option<bool>,
    pub(in crate::source) serving: Option<bool>,
    pub(in crate::source) terminating: Option<bool>,
}

/// `endpoints[].hints`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source) struct Hints {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) for_zones: Vec<Named>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) for_nodes: Vec<Named>,
}

/// A zone or a node of a hint.
#[derive(Debug, Deserialize)]
pub(in crate::source) struct Named {
    pub(in crate::source) name: String,
}

/// `endpoints[].targetRef`.
#[derive(Debug, Default, Deserialize)]
pub(in crate::source) struct TargetRef {
    pub(in crate::source) name: Option<String>,
}

/// `ports[]`. The API server fills in an absent name as the empty one (`SetDefaults_EndpointPort`), so a port
/// without a name is that of a Service whose only port has none.
#[derive(Debug, Deserialize)]
pub(in crate::source) struct EndpointPort {
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) name: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) protocol: Protocol,
    #[serde(default, deserialize_with = "endpoint_port")]
    pub(in crate::source) port: Option<u16>,
}
