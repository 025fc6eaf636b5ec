//! Names and default sizes of the maps, and the directory that their layout belongs to.

/// Directory below the pin path that holds maps of this layout. It changes whenever a key or value does.
pub const LAYOUT: &str = "v3";

/// Entries in each of `FRONTENDS4` and `FRONTENDS6` unless told otherwise.
pub const FRONTENDS: u32 = 65_536;
/// Backend ids in each of `BACKENDS4` and `BACKENDS6` unless told otherwise; id 0 is not used.
pub const BACKENDS: u32 = 131_072;
/// Slots in `SLOTS` unless told otherwise; an element holds sixteen of them.
pub const SLOTS: u32 = 16 * 1_048_576;
/// Entries in each of `FLOWS4` and `FLOWS6` unless told otherwise; a flow takes two.
pub const FLOWS: u32 = 524_288;
/// Entries in `SERVICES` unless told otherwise.
pub const SERVICES: u32 = 65_536;
/// Elements of `COUNTERS`: more than there are outcomes, so that a new outcome does not change the layout.
pub const COUNTERS: u32 = 64;
/// Elements of `DEVICES`: packets to a device with a larger index take the way through the stack.
pub const DEVICES: u32 = 4096;
/// Entries in each of `AFFINITY4` and `AFFINITY6` unless told otherwise: one for each client and service port.
pub const AFFINITY: u32 = 65_536;
/// Entries in each of `SOURCES4` and `SOURCES6` unless told otherwise: one for each prefix of a service port.
pub const SOURCES: u32 = 65_536;
/// Entries in each of `FRAGMENTS4` and `FRAGMENTS6`: datagrams of which fragments are on their way.
pub const FRAGMENTS: u32 = 8_192;
/// Entries in each of `SOCKET_FLOWS4` and `SOCKET_FLOWS6` unless told otherwise: two for each destination of a UDP socket
/// that is not connected.
pub const SOCKET_FLOWS: u32 = 262_144;
/// Elements of `EXCLUDED_CGROUPS`.
pub const EXCLUDED_CGROUPS: u32 = 16;
/// Bytes of `EVENTS`.
pub const EVENT_BYTES: u32 = 1 << 18;
