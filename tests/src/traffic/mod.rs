//! Servers that say who they are, clients that ask them, and what the answers add up to.

mod bulk;
mod client;
mod continuous;
mod server;
mod stream;
mod tally;
mod worker;

pub use bulk::{BulkServer, Direction, STALL_MAX, connection_rate, rate, transfer};
pub use client::{Answer, Connection, Datagrams, PROMPT, TIMEOUT, ask, refuse};
pub use continuous::{Continuous, Record};
pub use server::Server;
pub use tally::{Tally, chi_square, chi_square_bound};
pub use worker::{Called, Failure, Kind, Received, Socket, Waited, Way, Worker, serve};

use crate::net::{DNS_NODE_PORT, DNS_PORT, HTTP_NODE_PORT, HTTP_PORT};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The port `http` of the Service.
    Tcp,
    /// The port `dns` of the Service.
    Udp,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// Its port of the Service.
    pub const fn port(self) -> u16 {
        match self {
            Self::Tcp => HTTP_PORT,
            Self::Udp => DNS_PORT,
        }
    }

    /// Its port on every node.
    pub const fn node_port(self) -> u16 {
        match self {
            Self::Tcp => HTTP_NODE_PORT,
            Self::Udp => DNS_NODE_PORT,
        }
    }
}
