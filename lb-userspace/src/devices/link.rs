//! One device as rtnetlink describes it.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};

/// What drives a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A driver of its own: hardware, or what a hypervisor shows as such.
    Hardware,
    /// One end of a pair.
    Veth,
    /// A bridge of this machine.
    Bridge,
    /// Nothing ever arrives by it.
    Dummy,
    /// Anything else that the kernel makes out of other devices or of nothing, by the name that `ip -d link` shows.
    Virtual(String),
}

/// A device of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index: what it is known by while it lives.
    pub ifindex: u32,
    /// Its name, which may change.
    pub name: String,
    /// What drives it.
    pub kind: Kind,
    /// Whether its frames begin with an Ethernet header.
    pub ethernet: bool,
    /// Whether it leads back to this machine.
    pub loopback: bool,
    /// Its Ethernet address; zero where it has none.
    pub mac: [u8; 6],
    /// Whether it is switched on.
    pub up: bool,
    /// Longest packet in bytes.
    pub mtu: u32,
    /// The bridge, bond or VRF that it is a part of.
    pub master: Option<u32>,
    /// Id of the XDP program that runs on it; zero for none.
    pub xdp: u32,
    /// Its global unicast addresses, in the kernel's order.
    pub addresses: Vec<IpAddr>,
}

impl Link {
    /// From a message of the kernel; `None` for one that describes no device, such as a bridge port's own.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        let header = &message.header;
        if header.interface_family == AddressFamily::Bridge {
            return None;
        }
        let mut link = Self {
            ifindex: header.index,
            name: String::new(),
            kind: Kind::Hardware,
            ethernet: header.link_layer_type == LinkLayerType::Ether,
            loopback: header.flags.contains(LinkFlags::Loopback),
            mac: [0; 6],
            up: header.flags.contains(LinkFlags::Up),
            mtu: 0,
            master: None,
            xdp: 0,
            addresses: Vec::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(master) => link.master = (*master != 0).then_some(*master),
                LinkAttribute::Address(bytes) if link.ethernet => {
                    link.mac = bytes.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
                LinkAttribute::Xdp(parts) => link.xdp = program_id(parts),
                _ => {}
            }
        }
        (link.ifindex != 0 && !link.name.is_empty()).then_some(link)
    }
}

fn kind(infos: &[LinkInfo]) -> Kind {
    let kind = infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None });
    match kind {
        // A port of something says so without being anything itself.
        None => Kind::Hardware,
        Some(InfoKind::Veth) => Kind::Veth,
        Some(InfoKind::Bridge) => Kind::Bridge,
        Some(InfoKind::Dummy) => Kind::Dummy,
        Some(other) => Kind::Virtual(other.to_string()),
    }
}

/// The one id, or that of the driver where several programs run.
fn program_id(parts: &[LinkXdp]) -> u32 {
    let id = |part: &LinkXdp| match part {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    };
    parts.iter().find_map(id).unwrap_or(0)
}

/// The device and the address of a message, if other machines can reach the node there and will go on doing so.
pub(super) fn node_address(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    let header = &message.header;
    if matches!(header.scope, AddressScope::Link | AddressScope::Host | AddressScope::Nowhere)
        || header.flags.contains(AddressHeaderFlags::Dadfailed)
    {
        return None;
    }
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // On a point-to-point device the other attribute is the far end's address.
    let own = find(|attribute| if let AddressAttribute::Local(ip) = attribute { Some(*ip) } else { None });
    let any =
        || find(|attribute| if let AddressAttribute::Address(ip) = attribute { Some(*ip) } else { None });
    let ip = own.or_else(any)?;
    // For IPv6 the flag of secondary addresses means temporary ones (RFC 8981), which others come after.
    let temporary = ip.is_ipv6() && header.flags.contains(AddressHeaderFlags::Secondary);
    (!temporary && is_global_unicast(ip)).then_some((header.index, ip))
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: AddressScope, flags: AddressHeaderFlags, ip: &str) -> AddressMessage {
        let ip: IpAddr = ip.parse().unwrap();
        let mut message = AddressMessage::default();
        message.header.scope = scope;
        message.header.flags = flags;
        message.header.index = 7;
        message.attributes = vec![AddressAttribute::Address(ip)];
        message
    }

    #[test]
    fn addresses_of_the_node() {
        let none = AddressHeaderFlags::empty();
        let (secondary, failed) = (AddressHeaderFlags::Secondary, AddressHeaderFlags::Dadfailed);
        for (scope, flags, ip, expected) in [
            (AddressScope::Universe, none, "192.0.2.1", true),
            (AddressScope::Universe, secondary, "192.0.2.1", true),
            (AddressScope::Site, none, "10.0.0.1", true),
            (AddressScope::Universe, none, "2001:db8::1", true),
            (AddressScope::Universe, secondary, "2001:db8::1", false),
            (AddressScope::Universe, failed, "2001:db8::1", false),
            (AddressScope::Link, none, "fe80::1", false),
            (AddressScope::Universe, none, "169.254.20.10", false),
            (AddressScope::Host, none, "127.0.0.1", false),
            (AddressScope::Universe, none, "127.0.0.2", false),
        ] {
            let found = node_address(&message(scope, flags, ip));
            assert_eq!(found.is_some(), expected, "{scope:?} {flags:?} {ip}");
        }
    }

    #[test]
    fn the_near_end_of_a_point_to_point_device_is_the_nodes() {
        let mut message = message(AddressScope::Universe, AddressHeaderFlags::empty(), "192.0.2.2");
        message.attributes.push(AddressAttribute::Local("192.0.2.1".parse().unwrap()));
        assert_eq!(node_address(&message), Some((7, "192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn a_link_is_read_from_its_message() {
        let mut message = LinkMessage::default();
        message.header.index = 4;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up;
        assert_eq!(Link::from_message(&message), None);
        message.attributes = vec![
            LinkAttribute::IfName("eth0.100".to_owned()),
            LinkAttribute::Mtu(9000),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan)]),
            LinkAttribute::Xdp(vec![LinkXdp::ProgId(5)]),
        ];
        let link = Link::from_message(&message).unwrap();
        assert_eq!((link.ifindex, link.name.as_str(), link.mtu, link.xdp), (4, "eth0.100", 9000, 5));
        assert_eq!((link.mac, link.up), ([2, 0, 0, 0, 0, 1], true));
        assert_eq!(link.kind, Kind::Virtual("vlan".to_owned()));
    }
}
