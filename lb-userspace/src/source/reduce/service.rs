//! A Service, as kube-proxy's `servicechangetracker.go` and `serviceport.go` read it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_saphyr::Spanned;

use super::weight::weight_by_zone;
use super::{Fault, Subject};
use crate::model::{IpFamily, Prefix, Service, ServicePort, ServiceType};
use crate::source::address::{parse_ip, parse_prefix};
use crate::source::manifest::{self, LoadBalancerIngress, ServiceSpec, SessionAffinity, TrafficPolicy};

/// Another proxy serves a Service with this label.
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// Reduces a Service; none for one that no service load balancer serves.
pub(in crate::source) fn service(
    line: u64,
    service: &manifest::Service,
    warnings: &mut Vec<Fault>,
) -> Result<Option<Service>, Fault> {
    let manifest::Service { metadata, spec, status } = service;
    let subject = Subject::new("Service", line, metadata)?;
    if metadata.labels.contains_key(SERVICE_PROXY_NAME) {
        return Ok(None);
    }
    let service_type = spec.service_type.into();
    let cluster_ips = cluster_ips(&subject, spec)?;
    Ok(Some(Service {
        service_type,
        ip_families: ip_families(spec, &cluster_ips),
        cluster_ips: if service_type == ServiceType::ExternalName { Vec::new() } else { cluster_ips },
        external_ips: addresses(&subject, "externalIPs", spec.external_ips.iter(), warnings),
        load_balancer_ips: addresses(
            &subject,
            "status.loadBalancer.ingress",
            status.load_balancer.ingress.iter().filter_map(virtual_ip),
            warnings,
        ),
        source_ranges: source_ranges(&subject, &spec.load_balancer_source_ranges, warnings),
        ports: spec
            .ports
            .iter()
            .map(|port| ServicePort {
                name: port.name.clone(),
                protocol: port.protocol.into(),
                port: port.port,
                node_port: port.node_port,
            })
            .collect(),
        external_local: spec.external_traffic_policy == TrafficPolicy::Local,
        internal_local: spec.internal_traffic_policy == TrafficPolicy::Local,
        affinity_timeout_s: (spec.session_affinity == SessionAffinity::ClientIp)
            .then_some(spec.session_affinity_config.client_ip.timeout_seconds),
        weight_by_zone: weight_by_zone(&subject, metadata, warnings),
        key: subject.key,
    }))
}

/// `clusterIPs`, or `clusterIP` where only that is written, as the API server fills in the one by the other.
fn cluster_ip_texts(spec: &ServiceSpec) -> impl Iterator<Item = &Spanned<String>> {
    let single = if spec.cluster_ips.is_empty() { spec.cluster_ip.as_ref() } else { None };
    spec.cluster_ips.iter().chain(single).filter(|address| !address.value.is_empty())
}

fn is_headless(spec: &ServiceSpec) -> bool {
    cluster_ip_texts(spec).any(|address| address.value == "None")
}

/// The families that the Service is served in, as the API server fills them in; none for a headless Service.
/// Where no API server has chosen, both: each address of the manifest then says its family itself.
fn ip_families(spec: &ServiceSpec, cluster_ips: &[IpAddr]) -> BTreeSet<IpFamily> {
    if is_headless(spec) {
        BTreeSet::new()
    } else if !spec.ip_families.is_empty() {
        spec.ip_families.iter().copied().map(IpFamily::from).collect()
    } else if !cluster_ips.is_empty() {
        cluster_ips.iter().copied().map(IpFamily::of).collect()
    } else {
        BTreeSet::from([IpFamily::V4, IpFamily::V6])
    }
}

fn cluster_ips(subject: &Subject, spec: &ServiceSpec) -> Result<Vec<IpAddr>, Fault> {
    if is_headless(spec) {
        return Ok(Vec::new());
    }
    cluster_ip_texts(spec)
        .map(|address| {
            parse_ip(&address.value)
                .ok_or_else(|| subject.value_fault("clusterIPs", address, "is not an IP address"))
        })
        .collect()
}

/// The address of an ingress that the node answers itself: with `ipMode: Proxy`, traffic to it must go through
/// the load balancer.
fn virtual_ip(ingress: &LoadBalancerIngress) -> Option<&Spanned<String>> {
    let proxied = ingress.ip_mode.as_deref() == Some("Proxy");
    ingress.ip.as_ref().filter(|ip| !proxied && !ip.value.is_empty())
}

fn addresses<'a>(
    subject: &Subject,
    field: &str,
    texts: impl Iterator<Item = &'a Spanned<String>>,
    warnings: &mut Vec<Fault>,
) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for text in texts {
        match parse_ip(&text.value) {
            Some(address) => addresses.push(address),
            None => warnings.push(subject.value_fault(field, text, "is not an IP address; skipped")),
        }
    }
    addresses
}

/// A range that is none is left out, as kube-proxy does. If no other of its family is left, everybody may connect:
/// the warning says so, since the author meant the opposite.
fn source_ranges(subject: &Subject, texts: &[Spanned<String>], warnings: &mut Vec<Fault>) -> Vec<Prefix> {
    let mut ranges = Vec::new();
    for text in texts.iter().filter(|text| !text.value.trim().is_empty()) {
        match parse_prefix(&text.value) {
            Some(range) => ranges.push(range),
            None => warnings.push(subject.value_fault(
                "loadBalancerSourceRanges",
                text,
                "is not a range of addresses (ADDRESS/LENGTH); skipped, and a family without a range is open to all",
            )),
        }
    }
    ranges
}
