//! Says what becomes of a packet, and why: the packet engine itself, run on the host over maps in memory.
//!
//! ```text
//! manifests ─▶ model ─▶ plan ─▶ layout ─▶ diff ─▶ apply ─┐
//!                                                        ├─▶ maps in memory ─▶ engine ─▶ answer
//! pinned maps ─▶ the few entries that the packet meets ──┘
//! ```

mod answer;
mod choice;
mod family;
mod judge;
mod known;
mod live;
mod packet;
mod planned;
mod rule;
mod run;
#[cfg(test)]
mod tests;
mod world;

use std::net::SocketAddr;

pub use answer::{Answer, ChosenBackend, KnownFlow, ServiceName, Share};
pub use live::from_maps;
pub use planned::{Planned, from_manifests};
pub use rule::{Choice, Circumstances, Rule};

use crate::model::Protocol;

/// Where a packet starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Outside the cluster.
    Outside,
    /// A pod of this node.
    Pod,
    /// The node itself.
    Host,
}

/// A packet to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it starts.
    pub origin: Origin,
    /// Its source.
    pub source: SocketAddr,
    /// Its destination, of the same family.
    pub destination: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
}
