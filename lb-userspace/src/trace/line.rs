//! A record in words and as JSON: `docs/trace.md` is its description, and fields are added, not changed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_common::{Event, Hook, Outcome, Tuple, protocol};
use serde::Serialize;

use super::time::rfc3339;
use super::{Fate, Names, fate, reason};

/// Verdict and action of a call that fails.
const REFUSE: &str = "refuse";

/// One packet, or one call on a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    time: String,
    hook: &'static str,
    device: Option<String>,
    out_device: Option<String>,
    outcome: String,
    verdict: &'static str,
    drop: bool,
    action: &'static str,
    reason: &'static str,
    service: Option<ServiceDocument>,
    protocol: Option<String>,
    tcp_flags: Vec<&'static str>,
    source: Option<String>,
    destination: Option<String>,
    new_source: Option<String>,
    new_destination: Option<String>,
    length: Option<u32>,
    cpu: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDocument {
    namespace: String,
    name: String,
    port_name: String,
    port: u16,
}

impl Line {
    /// What `event` says, with names for its numbers.
    pub fn new(event: &Event, names: &Names) -> Self {
        let outcome = Outcome::ALL.get(usize::from(event.outcome)).copied();
        let service = names.service(event.service).map(|service| ServiceDocument {
            namespace: service.key.service.namespace.clone(),
            name: service.key.service.name.clone(),
            port_name: service.key.port_name.clone(),
            port: service.port,
        });
        let is_call = is_call(event.hook);
        // A socket has no port yet, and mostly no address: a call shows what is known.
        let ends = |tuple: &Tuple| (if is_call { bound(tuple) } else { end(tuple, true) }, end(tuple, false));
        let (source, destination) = ends(&event.before);
        let (new_source, new_destination) =
            if event.after == event.before { (None, None) } else { ends(&event.after) };
        let tuple = &event.before;
        Self {
            time: rfc3339(names.boot_ns + i128::from(event.time_ns)),
            hook: hook(event.hook),
            device: (!is_call).then(|| names.device(event.ifindex)),
            out_device: (event.out_ifindex != 0).then(|| names.device(event.out_ifindex)),
            outcome: outcome.map_or_else(|| event.outcome.to_string(), |outcome| outcome.name().to_owned()),
            verdict: outcome.map_or("unknown", |outcome| verdict(fate(outcome), is_call)),
            drop: outcome.is_some_and(|outcome| fate(outcome).is_drop()),
            action: action(event.action, is_call),
            reason: match outcome {
                // It is on its way out to a Service: nothing came from outside that could be translated back.
                Some(Outcome::NotOurs) if event.hook == Hook::TC_EGRESS && event.service != 0 => {
                    "what the node itself sends is served at its sockets, not on its way"
                }
                Some(outcome) => reason(outcome),
                None => "the programs are newer than this command",
            },
            service,
            protocol: (tuple.ip_version != 0).then(|| protocol_name(tuple.protocol)),
            tcp_flags: if tuple.protocol == protocol::TCP { tcp_flags(tuple.tcp_flags) } else { Vec::new() },
            source,
            destination,
            new_source,
            new_destination,
            length: (!is_call).then_some(event.length),
            cpu: event.cpu,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The date is the same on every line of a screen.
        let time = self.time.split_once('T').map_or(self.time.as_str(), |(_, time)| time);
        write!(f, "{time} {}", self.hook)?;
        if let Some(device) = &self.device {
            write!(f, " {device}")?;
        }
        if let Some(out) = &self.out_device {
            write!(f, ">{out}")?;
        }
        write!(f, " {} {} ", self.outcome, self.action)?;
        match &self.service {
            Some(service) => write!(f, "{}/{}:{}", service.namespace, service.name, service.port)?,
            None => f.write_str("-")?,
        }
        match &self.protocol {
            Some(protocol) => write!(f, " {protocol}")?,
            None => f.write_str(" -")?,
        }
        if !self.tcp_flags.is_empty() {
            write!(f, " {}", self.tcp_flags.join(","))?;
        }
        write_ends(f, self.source.as_deref(), self.destination.as_deref())?;
        if self.new_destination.is_some() {
            f.write_str(" =>")?;
            write_ends(f, self.new_source.as_deref(), self.new_destination.as_deref())?;
        }
        write!(f, " ({})", self.reason)
    }
}

/// What is known of both ends; of a socket often one alone.
fn write_ends(f: &mut fmt::Formatter<'_>, source: Option<&str>, destination: Option<&str>) -> fmt::Result {
    if let Some(source) = source {
        write!(f, " {source} ->")?;
    }
    destination.map_or(Ok(()), |destination| write!(f, " {destination}"))
}

/// The address that a socket is bound to; none before it has one.
fn bound(tuple: &Tuple) -> Option<String> {
    ip(tuple.ip_version, &tuple.source).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string())
}

/// Address and port of one end, or the address alone where the protocol has no ports; none for what is no IP packet.
fn end(tuple: &Tuple, source: bool) -> Option<String> {
    let (address, port) = if source {
        (&tuple.source, tuple.source_port)
    } else {
        (&tuple.destination, tuple.destination_port)
    };
    let ip = ip(tuple.ip_version, address)?;
    Some(match tuple.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            SocketAddr::new(ip, u16::from_be_bytes(port)).to_string()
        }
        _ => ip.to_string(),
    })
}

fn ip(version: u8, address: &[u8; 16]) -> Option<IpAddr> {
    match version {
        4 => address.first_chunk::<4>().map(|address| IpAddr::from(*address)),
        6 => Some(IpAddr::from(*address)),
        _ => None,
    }
}

/// Whether the record is of a call on a socket, and of no packet: it has no device, no length and no source port.
const fn is_call(hook: u8) -> bool {
    matches!(hook, Hook::CONNECT | Hook::SEND | Hook::BIND)
}

const fn hook(number: u8) -> &'static str {
    match number {
        Hook::XDP => "xdp",
        Hook::TC_INGRESS => "tc_ingress",
        Hook::TC_WORKLOAD => "tc_workload",
        Hook::TC_EGRESS => "tc_egress",
        Hook::CONNECT => "connect",
        Hook::SEND => "send",
        Hook::BIND => "bind",
        _ => "unknown",
    }
}

/// What became of it. Nothing is lost with a call that fails: the application is told.
const fn verdict(fate: Fate, is_call: bool) -> &'static str {
    if is_call && fate.is_drop() { REFUSE } else { fate.name() }
}

/// What the hook did, as [`Event::action`] numbers it.
const fn action(number: u8, is_call: bool) -> &'static str {
    match number {
        0 => "pass",
        1 if is_call => REFUSE,
        1 => "drop",
        2 => "transmit",
        3 => "redirect",
        4 => "resolve",
        _ => "unknown",
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        protocol::SCTP => "SCTP".to_owned(),
        protocol::ICMP => "ICMP".to_owned(),
        protocol::ICMPV6 => "ICMPv6".to_owned(),
        other => other.to_string(),
    }
}

/// The flags that are set (RFC 9293 section 3.1).
fn tcp_flags(flags: u8) -> Vec<&'static str> {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    names.into_iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| name).collect()
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
