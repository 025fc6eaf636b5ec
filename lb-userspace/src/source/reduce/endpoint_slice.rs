//! An EndpointSlice, as kube-proxy's `endpointslicecache.go` reads it.

use super::weight::SliceWeights;
use super::{Fault, Subject};
use crate::model::{Endpoint, EndpointPort, EndpointSlice, IpFamily, ObjectKey};
use crate::source::address::parse_ip;
use crate::source::manifest::{self, AddressType, Conditions};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The endpoint slice controller sets this label on the slices of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Reduces an EndpointSlice; none for one that belongs to no Service or has no IP addresses.
pub(in crate::source) fn endpoint_slice(
    line: u64,
    slice: &manifest::EndpointSlice,
    warnings: &mut Vec<Fault>,
) -> Result<Option<EndpointSlice>, Fault> {
    let subject = Subject::new("EndpointSlice", line, &slice.metadata)?;
    if slice.metadata.labels.contains_key(HEADLESS) {
        return Ok(None);
    }
    let Some(service) = slice.metadata.label(SERVICE_NAME) else {
        warnings.push(subject.fault("ignored: it has no label kubernetes.io/service-name"));
        return Ok(None);
    };
    let family = match slice.address_type {
        AddressType::Ipv4 => IpFamily::V4,
        AddressType::Ipv6 => IpFamily::V6,
        AddressType::Fqdn => {
            warnings.push(subject.fault("ignored: addressType FQDN is not supported"));
            return Ok(None);
        }
    };
    let weights = SliceWeights::read(&subject, &slice.metadata, warnings);
    let endpoints: Result<Vec<_>, _> = slice
        .endpoints
        .iter()
        .filter_map(|endpoint| reduce_endpoint(&subject, endpoint, family, &weights).transpose())
        .collect();
    Ok(Some(EndpointSlice {
        service: ObjectKey::new(&subject.key.namespace, service),
        family,
        ports: slice.ports.iter().filter_map(reduce_port).collect(),
        endpoints: endpoints?,
        key: subject.key,
    }))
}

/// A port without a number is none of ours ("all ports" in the API, which no proxy supports).
fn reduce_port(port: &manifest::EndpointPort) -> Option<EndpointPort> {
    Some(EndpointPort { name: port.name.clone(), protocol: port.protocol.into(), port: port.port? })
}

fn reduce_endpoint(
    subject: &Subject,
    endpoint: &manifest::Endpoint,
    family: IpFamily,
    weights: &SliceWeights,
) -> Result<Option<Endpoint>, Fault> {
    let Some(text) = endpoint.addresses.first() else { return Ok(None) };
    let Some(address) = parse_ip(&text.value) else {
        return Err(subject.value_fault("addresses", text, "is not an IP address"));
    };
    if IpFamily::of(address) != family {
        return Err(subject.value_fault("addresses", text, "is not of the slice's addressType"));
    }
    let Conditions { ready, serving, terminating } = endpoint.conditions;
    Ok(Some(Endpoint {
        address,
        ready: ready.unwrap_or(true),
        serving: serving.unwrap_or(true),
        terminating: terminating.unwrap_or(false),
        node_name: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
        for_zones: endpoint.hints.for_zones.iter().map(|zone| zone.name.clone()).collect(),
        for_nodes: endpoint.hints.for_nodes.iter().map(|node| node.name.clone()).collect(),
        weight: weights.of(address, endpoint.target_ref.name.as_deref()),
    }))
}
