//! A small network that is the same in tests, fuzzing, the kernel's parity test and the benchmark.

use lb_common::{Backend, BackendState, FlowKey, Frontend, FrontendKey, Run, Settings};

use crate::memory::{BufferPacket, InMemory, MemoryMaps, TableHost, Way};
use crate::{Route, Scratch, V4, V6, Verdict, egress, ingress};

/// The device that packets come in by.
pub const INGRESS: u32 = 200;
/// The device behind which the remote backends of subnet 2 are.
pub const OTHER: u32 = 300;
/// Ethernet address of both devices: source on the way out.
pub const SOURCE: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// Ethernet destination on the way out.
pub const DESTINATION: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// Subnet of the clients, behind the device of ingress.
pub const CLIENTS: u8 = 1;
/// Subnet of the backends on other nodes, behind the other device.
pub const REMOTE: u8 = 2;
/// Subnet of the backends on this node.
pub const LOCAL: u8 = 3;
/// Subnet of the node's own address.
pub const NODE: u8 = 4;
/// Subnet of the virtual addresses.
pub const VIPS: u8 = 5;

/// The service port of every frontend.
pub const PORT: u16 = 80;

/// Addresses of the network.
pub trait Net: InMemory {
    /// The address of a host in a subnet: `10.SUBNET.HOST` or `fd00:0:0:SUBNET::HOST`.
    fn address(subnet: u8, host: u16) -> Self::Address;

    /// Sets the node's source address.
    fn set_snat(settings: &mut Settings, address: Self::Address);
}

impl Net for V4 {
    fn address(subnet: u8, host: u16) -> [u8; 4] {
        let [high, low] = host.to_be_bytes();
        [10, subnet, high, low]
    }
    fn set_snat(settings: &mut Settings, address: [u8; 4]) {
        settings.snat4 = address;
    }
}

impl Net for V6 {
    fn address(subnet: u8, host: u16) -> [u8; 16] {
        let [high, low] = host.to_be_bytes();
        [0xfd, 0, 0, 0, 0, 0, 0, subnet, 0, 0, 0, 0, 0, 0, high, low]
    }
    fn set_snat(settings: &mut Settings, address: [u8; 16]) {
        settings.snat6 = address;
    }
}

/// A node with maps and routes.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its maps.
    pub maps: MemoryMaps,
    /// Its device hook.
    pub host: TableHost<false>,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// A node without Services, whose clients and remote backends are neighbours.
    pub fn new() -> Self {
        let ways = vec![
            way::<V4>(CLIENTS, INGRESS),
            way::<V4>(REMOTE, OTHER),
            way::<V6>(CLIENTS, INGRESS),
            way::<V6>(REMOTE, OTHER),
        ];
        let mut maps = MemoryMaps::default();
        let mut settings =
            Settings { snat_port_first: 40_000, snat_port_last: 59_999, ..Settings::default() };
        V4::set_snat(&mut settings, V4::address(NODE, 1));
        V6::set_snat(&mut settings, V6::address(NODE, 1));
        maps.settings = Some(settings);
        maps.v4.backends.push(Backend::FREE);
        maps.v6.backends.push(Backend::FREE);
        Self { maps, host: TableHost { now_s: 100, mac: Some(SOURCE), ..TableHost::new(INGRESS, ways) } }
    }

    /// Adds the Service `id` for `protocol` at VIP `id`, with one slot for each of `backends`: (subnet, host).
    #[must_use]
    pub fn with_service<F: Net>(mut self, id: u32, protocol: u8, backends: &[(u8, u16)]) -> Self {
        let start = self.maps.slots.len() as u32;
        for (subnet, host) in backends {
            let tables = F::tables(&mut self.maps);
            let backend_id = tables.backends.len() as u32;
            tables.backends.push(Backend {
                address: F::address(*subnet, *host),
                port: 8080_u16.to_be_bytes(),
                state: BackendState::Active.to_u8(),
                flags: u8::from(*subnet == LOCAL),
                service: id,
                generation: 7,
            });
            self.maps.slots.push(backend_id);
        }
        let outside = Run { start, length: backends.len() as u32 };
        let frontend = Frontend { service: id, outside, ..Frontend::default() };
        let key = FrontendKey::new(F::address(VIPS, id as u16), PORT, protocol);
        F::tables(&mut self.maps).frontends.insert(key, frontend);
        self
    }

    /// Gives `packet` to the ingress hook.
    pub fn ingress(&mut self, packet: &mut BufferPacket) -> Verdict {
        ingress(packet, &mut self.maps, &mut self.host, &mut Scratch::EMPTY.clone())
    }

    /// Gives `packet` to the egress hook.
    pub fn egress(&mut self, packet: &mut BufferPacket) -> Verdict {
        egress(packet, &mut self.maps, &mut self.host, &mut Scratch::EMPTY.clone())
    }
}

fn way<F: Net>(subnet: u8, ifindex: u32) -> Way {
    let prefix = F::ip(&F::address(subnet, 0));
    let bits = if prefix.is_ipv4() { 16 } else { 64 };
    let route = Route::Neighbour { ifindex, source: SOURCE, destination: DESTINATION, mtu: 1500 };
    Way { prefix, bits, mtu: 1500, route }
}

/// The 5-tuple of a packet from `client` to VIP `vip`.
pub fn key<F: Net>(protocol: u8, client: (u16, u16), vip: u16) -> FlowKey<F::Address> {
    FlowKey {
        source: F::address(CLIENTS, client.0),
        destination: F::address(VIPS, vip),
        source_port: client.1.to_be_bytes(),
        destination_port: PORT.to_be_bytes(),
        protocol,
        pad: 0,
        pad_end: 0,
    }
}
