//! One write to one map.

use std::fmt;
use std::net::SocketAddr;

use lb_common::{BackendState, Frontend};

use crate::layout::FrontendId;
use crate::model::IpFamily;
use crate::plan::PortKey;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Deletes from `FRONTENDS4` or `FRONTENDS6`.
    DropFrontend(FrontendId),
    /// Writes to `SERVICES`.
    PutService {
        /// Key.
        id: u32,
        /// Names.
        key: PortKey,
        /// Port of the Service.
        port: u16,
    },
    /// Writes to `BACKENDS4` or `BACKENDS6`.
    PutBackend(BackendEntry),
    /// Writes consecutive elements of `SLOTS`.
    PutSlots {
        /// First slot.
        start: u32,
        /// Backend ids.
        ids: Vec<u32>,
    },
    /// Writes to `FRONTENDS4` or `FRONTENDS6`.
    PutFrontend(FrontendId, Frontend),
    /// Clears an element of `BACKENDS4` or `BACKENDS6` and raises its generation.
    DropBackend {
        /// Which of the two.
        family: IpFamily,
        /// Index.
        id: u32,
        /// The generation that it carries from now on.
        generation: u32,
    },
    /// Deletes from `SERVICES`.
    DropService(u32),
}

/// An element of `BACKENDS4` or `BACKENDS6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendEntry {
    /// Address and port of the endpoint.
    pub at: SocketAddr,
    /// Index.
    pub id: u32,
    /// Generation of the id.
    pub generation: u32,
    /// Whether it runs on this node.
    pub local: bool,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Key of `SERVICES`.
    pub service: u32,
}

impl Change {
    /// When it is written: smaller ones first.
    ///
    /// Names come before what they name, so that a restart in between recognises every entry.
    pub(super) const fn phase(&self) -> u8 {
        match self {
            Self::DropFrontend(_) => 0,
            Self::PutService { .. } => 1,
            Self::PutBackend(_) => 2,
            Self::PutSlots { .. } => 3,
            Self::PutFrontend(..) => 4,
            Self::DropBackend { .. } => 5,
            Self::DropService(_) => 6,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropFrontend(id) => write!(f, "delete frontend {} {}", id.protocol, id.at),
            Self::PutService { id, key, .. } => write!(f, "write service {id} ({key})"),
            Self::PutBackend(entry) => write!(f, "write backend {} ({})", entry.id, entry.at),
            Self::PutSlots { start, ids } => write!(f, "write {} slots from {start}", ids.len()),
            Self::PutFrontend(id, _) => write!(f, "write frontend {} {}", id.protocol, id.at),
            Self::DropBackend { family, id, .. } => write!(f, "clear {family} backend {id}"),
            Self::DropService(id) => write!(f, "delete service {id}"),
        }
    }
}
