//! Devices that come, change and go while the agent runs.

use std::net::SocketAddr;

use aya::maps::{Array, Map, MapData};
use lb_common::{Device, DeviceFlags, maps::LAYOUT};
use tests::agent::Agent;
use tests::net::{Family, Pair};
use tests::traffic::Protocol;

use super::{attached, manifests, pins, served, server, start, until, vip_served};

const ALL_OF_ETH0: [&str; 3] = ["tcx-egress eth0", "tcx-ingress eth0", "xdp-native eth0"];

fn node_port(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), Protocol::Tcp.node_port())
}

/// What the programs know of the device with an index.
fn known(agent: &Agent<'_>, ifindex: u32) -> Device {
    let data = MapData::from_pin(agent.pin_path().join(LAYOUT).join("DEVICES")).unwrap();
    let devices: Array<MapData, Device> = Map::from_map_data(data).unwrap().try_into().unwrap();
    devices.get(&ifindex, 0).unwrap()
}

fn ifindex(pair: &Pair, device: &str) -> u32 {
    let shown = pair.node.ip(&format!("-o link show dev {device}")).unwrap();
    shown.split(':').next().unwrap().trim().parse().unwrap()
}

#[test]
fn a_device_with_an_address_is_found() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    pair.node.ip("link add other0 type veth peer name other1").unwrap();
    let agent = start(&pair, &manifests, &[]);
    vip_served(&pair, &agent);
    for family in Family::ALL {
        served(&pair, &agent, SocketAddr::new(family.node(), Protocol::Tcp.node_port()));
    }
    assert_eq!(pins(&agent), ALL_OF_ETH0, "neither lo nor a device without an address");
    let told = agent.log().unwrap().lines_with("attached");
    assert!(matches!(told.as_slice(), [one] if one.contains("eth0") && one.contains("native")), "{told:?}");
}

#[test]
fn a_device_is_added_renamed_removed_and_made_anew() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let agent = start(&pair, &manifests, &[]);
    let to = node_port("10.2.0.1");
    let new_cable = |device: &str| {
        let receiver = pair.connect(device, "eth1").unwrap();
        pair.peer.namespace.ip("address add 10.2.0.2/24 dev eth1").unwrap();
        pair.node.ip(&format!("address add 10.2.0.1/24 dev {device}")).unwrap();
        receiver
    };
    let with = |device: &str| {
        let more = ["tcx-egress", "tcx-ingress", "xdp-native"].map(|slot| format!("{slot} {device}"));
        let mut all: Vec<String> = ALL_OF_ETH0.map(str::to_owned).into_iter().chain(more).collect();
        all.sort();
        all
    };

    let receiver = new_cable("eth1.7");
    served(&pair, &agent, to);
    until("all pins of the new device", &agent, || pins(&agent) == with("eth1%2e7"));

    let before = attached(&pair.node);
    for line in ["set eth1.7 down", "set eth1.7 name uplink", "set uplink up"] {
        pair.node.ip(&format!("link {line}")).unwrap();
    }
    until("the pins of the renamed device", &agent, || pins(&agent) == with("uplink"));
    served(&pair, &agent, to);
    let renamed: Vec<String> = before.iter().map(|line| line.replace("eth1.7", "uplink")).collect();
    assert_eq!(attached(&pair.node), renamed, "the same programs by the same links");

    pair.node.ip("link del uplink").unwrap();
    drop(receiver);
    until("the removal", &agent, || pins(&agent) == ALL_OF_ETH0);
    vip_served(&pair, &agent);

    let _receiver = new_cable("uplink");
    served(&pair, &agent, to);
    until("the pins of the new device", &agent, || pins(&agent) == with("uplink"));
    vip_served(&pair, &agent);
}

#[test]
fn a_device_that_was_made_anew_while_no_agent_ran_is_served() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let receiver = pair.connect("eth1", "eth1").unwrap();
    let mut agent = start(&pair, &manifests, &["--device", "eth*"]);
    agent.end(rustix::process::Signal::TERM).unwrap();
    pair.node.ip("link del eth1").unwrap();
    drop(receiver);
    let _receiver = pair.connect("eth1", "eth1").unwrap();
    pair.peer.namespace.ip("address add 10.2.0.2/24 dev eth1").unwrap();
    pair.node.ip("address add 10.2.0.1/24 dev eth1").unwrap();
    agent.launch().unwrap();
    served(&pair, &agent, node_port("10.2.0.1"));
    assert_eq!(pins(&agent).len(), 6, "{:?}", pins(&agent));
}

#[test]
fn addresses_of_the_node_come_and_go() {
    let pair = Pair::lay().unwrap();
    let (_server, manifests) = (server(&pair), manifests(&pair));
    let agent = start(&pair, &manifests, &[]);
    pair.peer.namespace.ip("route add 10.3.0.1 via 10.1.0.1").unwrap();
    pair.node.ip("address add 10.3.0.1/32 dev eth0").unwrap();
    served(&pair, &agent, node_port("10.3.0.1"));
    let frontends = || agent.get("services", "json").unwrap();
    assert!(frontends().contains("10.3.0.1"));
    pair.node.ip("address del 10.3.0.1/32 dev eth0").unwrap();
    until("the address to go", &agent, || !frontends().contains("10.3.0.1"));
    vip_served(&pair, &agent);
}

#[test]
fn the_programs_know_the_devices() {
    let pair = Pair::lay().unwrap();
    let manifests = manifests(&pair);
    pair.node.ip("link add pod0 type veth peer name pod1").unwrap();
    pair.node.ip("link set dev pod0 address 02:00:00:00:00:07").unwrap();
    pair.node.ip("link set dev eth0 address 02:00:00:00:00:01").unwrap();
    let agent = start(&pair, &manifests, &["--workload-device", "pod0"]);
    let (eth0, pod0) = (ifindex(&pair, "eth0"), ifindex(&pair, "pod0"));
    let node = Device { flags: DeviceFlags::XDP_SENDS, mac: [2, 0, 0, 0, 0, 1] };
    assert_eq!(known(&agent, eth0), node);
    assert_eq!(known(&agent, pod0), Device { flags: DeviceFlags::WORKLOAD, mac: [2, 0, 0, 0, 0, 7] });
    assert_eq!(known(&agent, ifindex(&pair, "pod1")), Device::default());

    pair.node.ip("link set dev eth0 address 02:00:00:00:00:09").unwrap();
    let changed = Device { mac: [2, 0, 0, 0, 0, 9], ..node };
    until("the other address", &agent, || known(&agent, eth0) == changed);
    pair.node.ip("link del pod0").unwrap();
    until("the removal", &agent, || known(&agent, pod0) == Device::default());
    until("the pins to go", &agent, || pins(&agent) == ALL_OF_ETH0);
}
