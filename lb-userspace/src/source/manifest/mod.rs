//! API objects as a manifest writes them, with the fields that can change what is programmed.
//!
//! Unknown fields are ignored, and `null` is taken for an absent field, since the API server writes it for
//! empty lists.

mod endpoint_slice;
mod kind;
mod meta;
mod service;
mod shape;

pub(super) use endpoint_slice::{AddressType, Conditions, Endpoint, EndpointPort, EndpointSlice};
pub(super) use kind::{DocumentSeed, Manifest};
pub(super) use meta::{ObjectMeta, Protocol};
pub(super) use service::{LoadBalancerIngress, Service, ServiceSpec, SessionAffinity, TrafficPolicy};
pub(super) use shape::Document as DocumentShape;
