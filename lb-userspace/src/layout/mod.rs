//! Fourth step of the control path: from a plan to the very entries of the maps, with ids and slots.

mod arena;
mod frontend;
mod ids;
mod maglev;
mod place;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lb_common::{BackendFlags, BackendState, Frontend, Run};

pub use arena::Arena;
pub use frontend::FrontendId;
pub use ids::{BackendIds, ServiceIds};
pub use maglev::{counts, fill, table_size};
pub use place::{Claims, LayoutError, place};
pub use state::{Capacity, Released, State};

use crate::model::Prefix;
use crate::plan::PortKey;

/// The map entries of one service port in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLayout {
    /// Key of `SERVICES`.
    pub service: u32,
    /// Port of the Service, for people.
    pub port: u16,
    /// Endpoints by address, with their ids.
    pub backends: BTreeMap<SocketAddr, BackendLayout>,
    /// The runs of slots that the frontends use, each with its backend ids.
    pub runs: Vec<RunLayout>,
    /// Frontends.
    pub frontends: BTreeMap<FrontendId, Frontend>,
    /// Sources that frontends with `SOURCE_RANGES` are for.
    pub sources: BTreeSet<Prefix>,
}

/// An endpoint with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendLayout {
    /// Index in `BACKENDS4` or `BACKENDS6`.
    pub id: u32,
    /// Generation of the id.
    pub generation: u32,
    /// See [`BackendFlags`].
    pub flags: u8,
    /// Whether it takes new flows.
    pub state: BackendState,
}

impl BackendLayout {
    /// Whether it runs on this node.
    pub const fn is_local(&self) -> bool {
        self.flags & BackendFlags::LOCAL != 0
    }
}

/// A run of slots and what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLayout {
    /// Where it lies.
    pub run: Run,
    /// Backend ids.
    pub slots: Arc<[u32]>,
}

/// All service ports that have entries.
pub type Ports = BTreeMap<PortKey, PortLayout>;
