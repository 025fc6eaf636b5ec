//! SCTP ports: what can be served of them.
//!
//! The checksum of an SCTP packet covers the ports and not the addresses (RFC 9260, section 6.8), and is a CRC of the
//! whole packet: a packet whose ports stay needs no new one, and any other would have to be read to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{Endpoint, Service, ServicePort};

use super::FrontendPlan;

/// Leaves frontends and endpoints of one port number; what is left out is returned, for people.
///
/// That number is the Service's port, unless endpoints are at the NodePort's number only.
pub(super) fn keep_ports(
    service: &Service,
    port: &ServicePort,
    frontends: &mut Vec<FrontendPlan>,
    endpoints: &mut BTreeMap<SocketAddr, &Endpoint>,
) -> Option<String> {
    if frontends.is_empty() {
        return None;
    }
    let used: BTreeSet<u16> = endpoints.keys().map(SocketAddr::port).collect();
    let by_node_port = port.node_port.filter(|number| used.contains(number) && !used.contains(&port.port));
    let kept = by_node_port.unwrap_or(port.port);
    let left_out: BTreeSet<String> = frontends
        .iter()
        .filter(|frontend| frontend.at.port() != kept)
        .map(|frontend| frontend.at.to_string())
        .chain(
            used.iter().filter(|number| **number != kept).map(|number| format!("endpoints at port {number}")),
        )
        .collect();
    frontends.retain(|frontend| frontend.at.port() == kept);
    endpoints.retain(|at, _| at.port() == kept);
    if left_out.is_empty() {
        return None;
    }
    let left_out: Vec<String> = left_out.into_iter().collect();
    Some(format!(
        "Service {}: SCTP port {}: left out: {}; an SCTP packet keeps its port (its checksum, CRC32c, would have to be \
         made anew over the whole packet), so give targetPort, and nodePort if need be, the number of the port",
        service.key,
        port.port,
        left_out.join(", ")
    ))
}
