//! Keys of frontends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lb_common::FilterBit;

use crate::model::{IpFamily, Protocol};

/// Key of a frontend, for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendId {
    /// A virtual IP itself ([`lb_common::FrontendFlags::ADDRESS`]).
    Address(IpAddr),
    /// A port of an address.
    Port {
        /// Address and port.
        at: SocketAddr,
        /// Protocol.
        protocol: Protocol,
    },
}

impl FrontendId {
    /// Its address.
    pub const fn ip(&self) -> IpAddr {
        match self {
            Self::Address(ip) => *ip,
            Self::Port { at, .. } => at.ip(),
        }
    }

    /// Its family.
    pub const fn family(&self) -> IpFamily {
        IpFamily::of(self.ip())
    }

    /// Port in the map; zero for the address itself.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(_) => 0,
            Self::Port { at, .. } => at.port(),
        }
    }

    /// IP protocol number in the map; zero for the address itself.
    pub const fn protocol_number(&self) -> u8 {
        match self {
            Self::Address(_) => 0,
            Self::Port { protocol, .. } => protocol.number(),
        }
    }

    /// The bit of `FILTER` without which no packet finds it.
    ///
    /// A port has one of its own even at a virtual IP, of which all ports have a common one: so each entry is found
    /// whether or not the other is there, and whatever addresses the node gains or loses.
    pub fn filter_bit(&self) -> FilterBit {
        let (port, protocol) = (self.port().to_be_bytes(), self.protocol_number());
        match (self, self.ip()) {
            (Self::Address(_), IpAddr::V4(ip)) => FilterBit::of_address(&ip.octets()),
            (Self::Address(_), IpAddr::V6(ip)) => FilterBit::of_address(&ip.octets()),
            (Self::Port { .. }, IpAddr::V4(ip)) => FilterBit::of_port(&ip.octets(), port, protocol),
            (Self::Port { .. }, IpAddr::V6(ip)) => FilterBit::of_port(&ip.octets(), port, protocol),
        }
    }
}

impl fmt::Display for FrontendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(f, "{ip}"),
            Self::Port { at, protocol } => write!(f, "{protocol} {at}"),
        }
    }
}
