//! NodePorts, as the node itself has them.

use lb_common::protocol::{TCP, UDP};
use lb_common::{Address, Destination, Frontend, FrontendFlags, FrontendKey, Outcome, SettingsFlags};
use lb_ebpf::memory::network::{NODE, Net, PORT, REMOTE, VIPS};
use lb_ebpf::memory::{MemoryMaps, MemorySocket};
use lb_ebpf::socket::{Decision, bind, peer_name};
use lb_ebpf::{V4, V6};

use crate::{HOST, POD, maps, try_connect};

#[test]
fn servers_are_kept_off() {
    node_ports_are_kept_from_servers::<V4>();
    node_ports_are_kept_from_servers::<V6>();
}

#[test]
fn loopback_is_the_node() {
    loopback_is_the_node_only_where_it_is_asked_for::<V4>();
    loopback_is_the_node_only_where_it_is_asked_for::<V6>();
}

/// Service 1 as a NodePort: port 30080 of the node's address, and the entry for the node itself.
fn node_port<F: Net>(protocol: u8) -> MemoryMaps {
    let mut maps = maps::<F>(protocol, &[(REMOTE, 1)]);
    let key = FrontendKey::new(F::address(VIPS, 1), PORT, protocol);
    let frontend = *F::tables(&mut maps).frontends.get(&key).unwrap();
    let node = Frontend { flags: FrontendFlags::NODE | FrontendFlags::INSIDE_ONLY, ..frontend };
    let frontends = &mut F::tables(&mut maps).frontends;
    frontends.insert(FrontendKey::new(F::address(NODE, 1), 30080, protocol), frontend);
    frontends.insert(FrontendKey::new(<F::Address as Address>::UNSPECIFIED, 30080, protocol), node);
    maps
}

fn loopback<F: Net>() -> F::Address {
    // The last of 127.0.0.1 is that of ::1 too.
    let mut bytes = vec![0; size_of::<F::Address>()];
    *bytes.last_mut().unwrap() = 1;
    if bytes.len() == 4 {
        bytes[0] = 127;
    }
    zerocopy::FromBytes::read_from_bytes(&bytes).unwrap()
}

fn node_ports_are_kept_from_servers<F: Net>() {
    for protocol in [TCP, UDP] {
        let mut maps = node_port::<F>(protocol);
        let any = <F::Address as Address>::UNSPECIFIED;
        let try_bind = |maps: &mut MemoryMaps, netns, address, port: u16, protocol| {
            let at = Destination::new(address, port.to_be_bytes());
            bind::<F, _, _>(&at, protocol, maps, &mut MemorySocket::new(1, netns))
        };
        let free = Decision { outcome: Outcome::NotOurs, errno: 0 };
        assert_eq!(try_bind(&mut maps, HOST, any, 30080, protocol), free, "the option is off");
        maps.settings.as_mut().unwrap().flags |= SettingsFlags::PROTECT_NODE_PORTS;
        let taken = Decision { outcome: Outcome::NodePortTaken, errno: Decision::EADDRINUSE };
        let (node, other) = (F::address(NODE, 1), F::address(NODE, 2));
        let rows = [
            (HOST, any, 30080, protocol, taken),
            (HOST, node, 30080, protocol, taken),
            (HOST, other, 30080, protocol, free),
            (HOST, loopback::<F>(), 30080, protocol, free),
            (POD, any, 30080, protocol, free),
            (HOST, any, 30081, protocol, free),
            (HOST, any, 0, protocol, free),
            (HOST, any, 30080, TCP + UDP - protocol, free),
        ];
        for (netns, address, port, protocol, expected) in rows {
            assert_eq!(
                try_bind(&mut maps, netns, address, port, protocol),
                expected,
                "{netns} {address:?} {port}"
            );
        }
        maps.settings.as_mut().unwrap().flags |= SettingsFlags::LOOPBACK4 | SettingsFlags::LOOPBACK6;
        assert_eq!(try_bind(&mut maps, HOST, loopback::<F>(), 30080, protocol), taken);
    }
}

fn loopback_is_the_node_only_where_it_is_asked_for<F: Net>() {
    let mut maps = node_port::<F>(TCP);
    let any = <F::Address as Address>::UNSPECIFIED;
    let mut outcome = |flags, netns, address| {
        maps.settings.as_mut().unwrap().flags = flags;
        let to = Destination::new(address, 30080_u16.to_be_bytes());
        let mut socket = MemorySocket::new(1, netns);
        let (mut peer, decision) = try_connect::<F>(&mut maps, &mut socket, to, TCP);
        assert_eq!(decision.errno, 0);
        peer_name::<F, _>(&mut peer, &mut socket);
        assert_eq!(peer, to, "the application sees what it asked for");
        decision.outcome
    };
    let both = SettingsFlags::LOOPBACK4 | SettingsFlags::LOOPBACK6;
    for address in [any, loopback::<F>()] {
        assert_eq!(outcome(0, HOST, address), Outcome::NotOurs);
        assert_eq!(outcome(both, POD, address), Outcome::NotOurs);
        assert_eq!(outcome(both, HOST, address), Outcome::SocketTranslated);
    }
    for netns in [HOST, POD] {
        assert_eq!(outcome(0, netns, F::address(NODE, 1)), Outcome::SocketTranslated);
    }
}
