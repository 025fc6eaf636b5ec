//! The addresses of the test network: those of `examples/`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The client.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
/// The node, on the client's side. Remote backends see connections come from here.
pub const NODE4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The node, on the client's side. Remote backends see connections come from here.
pub const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// External IP of the Service.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// External IP of the Service.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);
/// Cluster IP of the Service.
pub const CLUSTER4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Cluster IP of the Service.
pub const CLUSTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0x10);

/// Name of the node, as EndpointSlices give it.
pub const NODE_NAME: &str = "node-1";

/// TCP port of the Service.
pub const HTTP_PORT: u16 = 80;
/// TCP port of the Service on every node.
pub const HTTP_NODE_PORT: u16 = 30080;
/// TCP port of the endpoints.
pub const HTTP_TARGET_PORT: u16 = 8080;
/// UDP port of the Service.
pub const DNS_PORT: u16 = 53;
/// UDP port of the Service on every node.
pub const DNS_NODE_PORT: u16 = 30053;
/// UDP port of the endpoints.
pub const DNS_TARGET_PORT: u16 = 5353;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The client.
    pub const fn client(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(CLIENT4),
            Self::V6 => IpAddr::V6(CLIENT6),
        }
    }

    /// The node.
    pub const fn node(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(NODE4),
            Self::V6 => IpAddr::V6(NODE6),
        }
    }

    /// External IP of the Service.
    pub const fn vip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(VIP4),
            Self::V6 => IpAddr::V6(VIP6),
        }
    }
}
