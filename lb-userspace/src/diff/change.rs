//! One write to one map.

use std::fmt;
use std::net::SocketAddr;

use lb_common::{BackendState, Frontend};

use crate::layout::FrontendId;
use crate::model::{IpFamily, Prefix};
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
    /// Clears the figures of a service id that is given out, in `SERVICE_STATS`.
    ClearStats(u32),
    /// Writes to `SOURCES4` or `SOURCES6`.
    PutSource(SourceEntry),
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
    /// Deletes from `SOURCES4` or `SOURCES6`.
    DropSource(SourceEntry),
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
    /// See [`lb_common::BackendFlags`].
    pub flags: u8,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// Key of `SERVICES`.
    pub service: u32,
}

/// A key of `SOURCES4` or `SOURCES6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceEntry {
    /// Key of `SERVICES`.
    pub service: u32,
    /// Sources that it is for.
    pub prefix: Prefix,
}

impl Change {
    /// When it is written: smaller ones first.
    ///
    /// Names come before what they name, so that a restart in between recognises every entry.
    pub(super) const fn phase(&self) -> u8 {
        match self {
            Self::DropFrontend(_) => 0,
            // Before the names: where these are written, nothing says any more that the figures are another's.
            Self::ClearStats(_) => 1,
            Self::PutService { .. } => 2,
            Self::PutSource(_) => 3,
            Self::PutBackend(_) => 4,
            Self::PutSlots { .. } => 5,
            Self::PutFrontend(..) => 6,
            Self::DropSource(_) => 7,
            Self::DropBackend { .. } => 8,
            Self::DropService(_) => 9,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropFrontend(id) => write!(f, "delete frontend {id}"),
            Self::PutService { id, key, .. } => write!(f, "write service {id} ({key})"),
            Self::ClearStats(id) => write!(f, "clear figures of service {id}"),
            Self::PutSource(entry) => write!(f, "write source {} of service {}", entry.prefix, entry.service),
            Self::PutBackend(entry) => write!(f, "write backend {} ({})", entry.id, entry.at),
            Self::PutSlots { start, ids } => write!(f, "write {} slots from {start}", ids.len()),
            Self::PutFrontend(id, _) => write!(f, "write frontend {id}"),
            Self::DropSource(entry) => {
                write!(f, "delete source {} of service {}", entry.prefix, entry.service)
            }
            Self::DropBackend { family, id, .. } => write!(f, "clear {family} backend {id}"),
            Self::DropService(id) => write!(f, "delete service {id}"),
        }
    }
}
