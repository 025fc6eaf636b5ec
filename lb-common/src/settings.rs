//! Settings of the data path that the agent may change while programs run.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The one value of `SETTINGS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct Settings {
    /// Source address for IPv4 flows to remote backends; unspecified when the node has none.
    pub snat4: [u8; 4],
    /// Source address for IPv6 flows to remote backends; unspecified when the node has none.
    pub snat6: [u8; 16],
    /// First source port for translated flows, host byte order.
    pub snat_port_first: u16,
    /// Last source port for translated flows, host byte order.
    pub snat_port_last: u16,
    /// See [`SettingsFlags`].
    pub flags: u32,
    /// Sockets with this mark (`SO_MARK`) are left alone; zero for none.
    pub socket_mark: u32,
    /// Cookie of the node's own network namespace (`SO_NETNS_COOKIE`).
    pub netns_cookie: u64,
}

impl Settings {
    /// Whether replies to translated flows may come to this port, host byte order. SCTP keeps the client's.
    #[inline(always)]
    pub const fn is_reply_port(&self, port: u16, protocol: u8) -> bool {
        protocol == crate::protocol::SCTP || (port >= self.snat_port_first && port <= self.snat_port_last)
    }
}

/// Bits of [`Settings::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingsFlags;

impl SettingsFlags {
    /// Echo requests to a virtual IP are answered.
    pub const ECHO: u32 = 1;
    /// `SOURCES4` or `SOURCES6` has prefixes of the cluster's own pods.
    pub const CLUSTER_SOURCES: u32 = 2;
    /// A bind to a NodePort at an address where it is served is refused.
    pub const PROTECT_NODE_PORTS: u32 = 4;
    /// NodePorts are served to the node itself at its IPv4 loopback addresses.
    pub const LOOPBACK4: u32 = 8;
    /// The same for IPv6.
    pub const LOOPBACK6: u32 = 16;
    /// `EXCLUDED_CGROUPS` is not empty.
    pub const EXCLUDED_CGROUPS: u32 = 32;
}

const _: () = assert!(size_of::<Settings>() == 40);
