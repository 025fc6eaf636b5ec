//! Backends: one endpoint of one service port.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::Address;

/// What a backend may still be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendState {
    /// No endpoint has this id.
    Free,
    /// Takes new flows.
    Active,
    /// Keeps its flows, takes no new ones: weight 0, or terminating while still serving.
    Draining,
}

impl BackendState {
    /// The number in the map.
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Free => 0,
            Self::Active => 1,
            Self::Draining => 2,
        }
    }

    /// The state for a number of the map; an unknown one reads as free, which nothing selects.
    #[inline(always)]
    pub const fn from_u8(raw: u8) -> Self {
        match raw {
            1 => Self::Active,
            2 => Self::Draining,
            _ => Self::Free,
        }
    }
}

/// Value of `BACKENDS4` and `BACKENDS6`; the index is the backend id, and id 0 is never used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(4))]
pub struct Backend<A: Address> {
    /// Endpoint address.
    pub address: A,
    /// Endpoint port, network byte order.
    pub port: [u8; 2],
    /// See [`BackendState`].
    pub state: u8,
    /// See [`BackendFlags`].
    pub flags: u8,
    /// Key of `SERVICES`; zero when free.
    pub service: u32,
    /// Raised by one each time the id loses its endpoint: a flow that carries another number is stale.
    pub generation: u32,
}

impl<A: Address> Backend<A> {
    /// What an id holds before any endpoint had it.
    pub const FREE: Self =
        Self { address: A::UNSPECIFIED, port: [0; 2], state: 0, flags: 0, service: 0, generation: 0 };

    /// Whether the endpoint runs on this node.
    #[inline(always)]
    pub const fn is_local(&self) -> bool {
        self.flags & BackendFlags::LOCAL != 0
    }

    /// The state as a type.
    #[inline(always)]
    pub const fn state(&self) -> BackendState {
        BackendState::from_u8(self.state)
    }
}

/// Bits of [`Backend::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendFlags;

impl BackendFlags {
    /// The endpoint runs on this node.
    pub const LOCAL: u8 = 1;
    /// Takes new flows of traffic that may go to any node.
    pub const IN_CLUSTER: u8 = 2;
    /// Takes new flows of traffic that must stay on this node.
    pub const IN_LOCAL: u8 = 4;
}

const _: () = assert!(size_of::<Backend<[u8; 4]>>() == 16);
const _: () = assert!(size_of::<Backend<[u8; 16]>>() == 28);
