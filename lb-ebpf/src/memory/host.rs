//! A machine whose routing table is a list.

use std::net::IpAddr;

use crate::memory::InMemory;
use crate::{AnswerKind, Host, Route, RouteQuery};

/// The way to the addresses of a prefix.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Any address of the prefix.
    pub prefix: IpAddr,
    /// Length of the prefix, bits.
    pub bits: u8,
    /// Largest packet from its IP header on, bytes.
    pub mtu: u16,
    /// What a packet that fits is told.
    pub route: Route,
}

/// A machine in memory. `RESOLVES` says which hook it stands for: the device hook, which must know the neighbour,
/// or the tc hook, which leaves every neighbour to the kernel.
#[derive(Clone, Debug)]
pub struct TableHost<const RESOLVES: bool> {
    /// Seconds since boot.
    pub now_s: u32,
    /// Ethernet address of the device that packets come in by, when frames for others are told apart.
    pub mac: Option<[u8; 6]>,
    /// Whether packets come from a workload of this node.
    pub inside: bool,
    /// How many ICMP messages may still be sent in answer.
    pub answers: u32,
    /// Index of the device that packets come in by.
    pub ingress_ifindex: u32,
    /// The routing table, in any order: the longest prefix wins.
    pub ways: Vec<Way>,
}

impl<const RESOLVES: bool> TableHost<RESOLVES> {
    /// A machine in its first second, outside of which packets come in by a device.
    pub const fn new(ingress_ifindex: u32, ways: Vec<Way>) -> Self {
        Self { now_s: 1, mac: None, inside: false, answers: u32::MAX, ingress_ifindex, ways }
    }
}

/// Whether a prefix contains an address.
pub(super) fn contains(prefix: IpAddr, bits: u32, address: IpAddr) -> bool {
    // Left-aligned in 128 bits, so that both families are compared alike.
    let aligned = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    prefix.is_ipv4() == address.is_ipv4() && (aligned(prefix) ^ aligned(address)).leading_zeros() >= bits
}

impl<F: InMemory, const RESOLVES: bool> Host<F> for TableHost<RESOLVES> {
    const RESOLVES: bool = RESOLVES;

    fn inside(&self) -> bool {
        self.inside
    }

    fn may_answer(&mut self, _: AnswerKind) -> bool {
        let may = self.answers > 0;
        self.answers = self.answers.saturating_sub(1);
        may
    }

    fn now_s(&mut self) -> u32 {
        self.now_s
    }

    /// As coarse as the time is here.
    fn tick(&mut self) -> u32 {
        self.now_s
    }

    fn ingress_ifindex(&mut self) -> u32 {
        self.ingress_ifindex
    }

    fn is_addressed(&mut self, destination: [u8; 6]) -> bool {
        let [first, ..] = destination;
        first & 1 == 0 && self.mac.is_none_or(|mac| mac == destination)
    }

    /// The way is always asked for: the routing table may change under a test at any time.
    fn mac(&mut self, _: u32) -> Option<[u8; 6]> {
        None
    }

    fn route(&mut self, query: &RouteQuery<'_, F>) -> Route {
        let destination = F::ip(&query.flow.destination);
        let way = self
            .ways
            .iter()
            .filter(|way| contains(way.prefix, way.bits.into(), destination))
            .max_by_key(|way| way.bits);
        match way {
            None => Route::Unreachable,
            // As the kernel does, the size is looked at before the neighbour, and not where there is no way.
            Some(way) => match way.route {
                Route::Neighbour { .. } | Route::Unresolved { .. } if query.length > way.mtu => {
                    Route::TooBig { mtu: way.mtu }
                }
                Route::Neighbour { ifindex, .. } if RESOLVES => Route::Unresolved { ifindex },
                Route::Neighbour { ifindex, source, destination, .. } => {
                    Route::Neighbour { ifindex, source, destination, mtu: way.mtu }
                }
                route => route,
            },
        }
    }
}
