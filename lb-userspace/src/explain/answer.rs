//! What is said of a packet.

use std::fmt;
use std::net::SocketAddr;

use lb_common::{FlowState, Outcome};

use super::{Question, Rule};
use crate::plan::PortKey;

/// What becomes of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question.
    pub question: Question,
    /// Whether the packet was taken for the first of its connection.
    pub opens: bool,
    /// Whether it counts as from inside the cluster.
    pub inside: bool,
    /// Why it left the engine.
    pub outcome: Outcome,
    /// The rule that decided.
    pub rule: Rule,
    /// The Service that has its destination, or its flow.
    pub service: Option<ServiceName>,
    /// Session affinity time-out in seconds; zero without affinity.
    pub affinity_timeout_s: u32,
    /// The backends that new flows of its origin may get, by address.
    pub backends: Vec<Share>,
    /// The backend of its flow, if it is forwarded; a socket of the node has none before it is used.
    pub chosen: Option<ChosenBackend>,
    /// Source and destination that it leaves with, likewise.
    pub becomes: Option<(SocketAddr, SocketAddr)>,
    /// The flow entry of its 5-tuple, before this packet.
    pub flow: Option<KnownFlow>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
}

/// A service port by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Names, protocol and family.
    pub key: PortKey,
    /// Port of the Service.
    pub port: u16,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key.service, self.port)
    }
}

/// A backend with its part of a run of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Address and port.
    pub at: SocketAddr,
    /// Whether it runs on this node.
    pub local: bool,
    /// Its slots.
    pub slots: u32,
    /// Slots of the run.
    pub of: u32,
}

/// The backend that a packet goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenBackend {
    /// Address and port.
    pub at: SocketAddr,
    /// Whether it runs on this node.
    pub local: bool,
}

/// A flow entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFlow {
    /// Whether it is for packets to the backend, not for replies.
    pub forward: bool,
    /// Whether the client keeps its own address.
    pub local: bool,
    /// How far the flow has come.
    pub state: FlowState,
    /// Seconds since its latest packet.
    pub idle_s: u32,
    /// Whether it has been silent for too long.
    pub over: bool,
    /// Whether its backend has lost its endpoint since.
    pub stale: bool,
    /// Address and port of the backend that it was made with.
    pub backend: SocketAddr,
    /// Whether the entry of the other direction is there.
    pub whole: bool,
}
