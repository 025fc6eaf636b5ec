//! What explaining needs to know of an address family beyond what the engine's memory does.

use std::net::{IpAddr, SocketAddr};

use lb_ebpf::memory::InMemory;
use lb_ebpf::{V4, V6};

/// A family whose addresses come from the standard library, and whose maps can be read from the kernel.
pub(super) trait Family: InMemory<Address: Into<IpAddr>> {
    /// Names of `FRONTENDS`, `BACKENDS`, `FLOWS`, `AFFINITY` and `SOURCES` of this family.
    const MAPS: MapNames;

    /// The address, if it is of this family.
    fn address(ip: IpAddr) -> Option<Self::Address>;

    /// Address and port, host byte order, as the standard library has them.
    fn socket(address: Self::Address, port: [u8; 2]) -> SocketAddr {
        SocketAddr::new(address.into(), u16::from_be_bytes(port))
    }
}

/// Names of the maps of a family.
pub(super) struct MapNames {
    pub(super) frontends: &'static str,
    pub(super) backends: &'static str,
    pub(super) flows: &'static str,
    pub(super) affinity: &'static str,
    pub(super) sources: &'static str,
}

impl Family for V4 {
    const MAPS: MapNames = MapNames {
        frontends: "FRONTENDS4",
        backends: "BACKENDS4",
        flows: "FLOWS4",
        affinity: "AFFINITY4",
        sources: "SOURCES4",
    };

    fn address(ip: IpAddr) -> Option<[u8; 4]> {
        match ip {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        }
    }
}

impl Family for V6 {
    const MAPS: MapNames = MapNames {
        frontends: "FRONTENDS6",
        backends: "BACKENDS6",
        flows: "FLOWS6",
        affinity: "AFFINITY6",
        sources: "SOURCES6",
    };

    fn address(ip: IpAddr) -> Option<[u8; 16]> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.octets()),
        }
    }
}
