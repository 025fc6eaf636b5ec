//! What a running agent writes for Services with every policy, and that it writes it once.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData};
use lb_common::{
    CLUSTER_SOURCES, FilterBit, Frontend, FrontendFlags, FrontendKey, ServiceStats, Settings, SettingsFlags,
    SourceKey, maps::LAYOUT, protocol,
};
use rustix::process::Signal;
use serde_json::Value;
use tests::agent::{Agent, PATIENCE, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, NODE_NAME, NODE4, Network};

const CLUSTER_IP: [u8; 4] = [10, 96, 7, 1];
const BALANCED: [u8; 4] = [203, 0, 113, 7];
const ANY: [u8; 4] = [0; 4];
const SHARED: [u8; 4] = [198, 51, 100, 77];

fn manifest(node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec:
  type: LoadBalancer
  clusterIPs: [10.96.7.1]
  ipFamilies: [IPv4]
  externalIPs: [198.51.100.77]
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  sessionAffinity: ClientIP
  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 77}}}}
  loadBalancerSourceRanges: [10.0.0.0/8, '2001:db8::/32']
  ports:
    - {{name: http, port: 80, nodePort: 30080}}
    - {{name: sig, protocol: SCTP, port: 3868, nodePort: 30868}}
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.7}}]}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: twin}}
spec:
  clusterIPs: [10.96.7.2]
  ipFamilies: [IPv4]
  externalIPs: [198.51.100.77]
  ports: [{{port: 81}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: shop-1, labels: {{kubernetes.io/service-name: shop}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}, {{name: sig, protocol: SCTP, port: 3868}}]
endpoints:
  - {{addresses: [10.1.1.11], nodeName: {node}}}
  - {{addresses: [10.1.1.12], nodeName: other}}
"
    )
}

fn open(pins: &Path, name: &str) -> Map {
    Map::from_map_data(MapData::from_pin(pins.join(LAYOUT).join(name)).expect("it is pinned")).expect("a map")
}

fn array<V: Pod>(pins: &Path, name: &str) -> Array<MapData, V> {
    open(pins, name).try_into().expect("of this kind")
}

fn frontend(pins: &Path, address: [u8; 4], port: u16, protocol: u8) -> Option<Frontend> {
    let map: HashMap<MapData, FrontendKey<[u8; 4]>, Frontend> =
        open(pins, "FRONTENDS4").try_into().expect("of this kind");
    map.get(&FrontendKey::new(address, port, protocol), 0).ok()
}

fn is_source(pins: &Path, service: u32, address: [u8; 4]) -> bool {
    let map: LpmTrie<MapData, SourceKey<[u8; 4]>, u32> =
        open(pins, "SOURCES4").try_into().expect("of this kind");
    map.get(&Key::new(64, SourceKey { service, address }), 0).is_ok()
}

fn in_filter(pins: &Path, bit: FilterBit) -> bool {
    bit.is_in(array::<u64>(pins, "FILTER").get(&bit.word, 0).expect("an element"))
}

fn agent<'net>(network: &'net Network, manifests: &Manifests, more: &[&str]) -> Agent<'net> {
    let mut agent = Agent::prepare(network, manifests, XdpMode::Generic, more);
    agent.launch().expect("it starts");
    agent
}

#[test]
fn every_policy_is_in_the_maps_and_a_restart_writes_nothing() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::empty().unwrap();
    manifests.write("shop.yaml", &manifest(NODE_NAME)).unwrap();
    let options = ["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/64", "--answer-echo", "false"];
    let mut agent = agent(&network, &manifests, &options);
    let pins = agent.pin_path().to_owned();

    let (tcp, sctp) = (protocol::TCP, protocol::SCTP);
    let cluster = frontend(&pins, CLUSTER_IP, 80, tcp).unwrap();
    let local = FrontendFlags::INSIDE_LOCAL | FrontendFlags::OUTSIDE_LOCAL;
    assert_eq!((cluster.flags, cluster.affinity_timeout_s), (local | FrontendFlags::INSIDE_ONLY, 77));
    let balanced = frontend(&pins, BALANCED, 80, tcp).unwrap();
    assert_eq!(balanced.flags, FrontendFlags::OUTSIDE_LOCAL | FrontendFlags::SOURCE_RANGES);
    assert_ne!(balanced.inside, balanced.outside, "all endpoints, and that of the node");
    assert_eq!(cluster.inside, balanced.outside, "the endpoint of the node");
    assert_eq!(frontend(&pins, NODE4.octets(), 30080, tcp).unwrap().flags, FrontendFlags::OUTSIDE_LOCAL);
    let node = frontend(&pins, ANY, 30080, tcp).unwrap();
    let for_node = FrontendFlags::NODE | FrontendFlags::INSIDE_ONLY;
    assert_eq!((node.flags, node.service), (FrontendFlags::OUTSIDE_LOCAL | for_node, balanced.service));
    assert_eq!((node.inside, node.affinity_timeout_s), (balanced.inside, 77));
    assert!(in_filter(&pins, FilterBit::of_port(&ANY, 30080_u16.to_be_bytes(), tcp)));
    assert!(frontend(&pins, ANY, 0, 0).is_none(), "the unspecified address is no virtual IP");
    assert!(frontend(&pins, ANY, 30868, sctp).is_none());
    assert!(frontend(&pins, CLUSTER_IP, 3868, sctp).is_some());
    assert!(frontend(&pins, NODE4.octets(), 30868, sctp).is_none(), "an SCTP packet keeps its port");
    for address in [CLUSTER_IP, BALANCED, SHARED] {
        let cluster_ip = if address == CLUSTER_IP { FrontendFlags::CLUSTER_IP } else { 0 };
        let flags = frontend(&pins, address, 0, 0).unwrap().flags;
        assert_eq!(flags, FrontendFlags::ADDRESS | cluster_ip, "{address:?}");
        assert!(in_filter(&pins, FilterBit::of_address(&address)), "{address:?}");
    }
    assert!(frontend(&pins, NODE4.octets(), 0, 0).is_none(), "the node's address is not only weir's");
    assert!(in_filter(&pins, FilterBit::of_port(&NODE4.octets(), 30080_u16.to_be_bytes(), tcp)));
    assert!(!in_filter(&pins, FilterBit::of_address(&NODE4.octets())));
    assert!(is_source(&pins, balanced.service, [10, 3, 4, 5]));
    assert!(!is_source(&pins, balanced.service, [11, 0, 0, 1]));
    assert!(is_source(&pins, CLUSTER_SOURCES, [10, 244, 9, 9]));
    let settings = array::<Settings>(&pins, "SETTINGS").get(&0, 0).unwrap();
    assert_eq!(settings.flags, SettingsFlags::CLUSTER_SOURCES | SettingsFlags::PROTECT_NODE_PORTS);
    let told = agent.log().unwrap().lines_with("CRC32c");
    assert!(matches!(told.as_slice(), [one] if one.contains(&format!("{NODE4}:30868"))), "{told:?}");
    assert!(agent.log().unwrap().lines_with("belongs to").is_empty(), "a shared address is no conflict");

    agent.end(Signal::KILL).unwrap();
    agent.launch().unwrap();
    let programmed = agent.log().unwrap().lines_with("programmed");
    assert!(matches!(programmed.as_slice(), [one] if one.contains("writes=0")), "{programmed:?}");
}

#[test]
fn a_node_without_endpoint_drops_and_a_shared_address_outlives_its_owner() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::empty().unwrap();
    manifests.write("shop.yaml", &manifest("elsewhere")).unwrap();
    let agent = agent(&network, &manifests, &[]);
    let pins = agent.pin_path().to_owned();
    let balanced = frontend(&pins, BALANCED, 80, protocol::TCP).unwrap();
    assert_eq!((balanced.outside.length, balanced.flags & FrontendFlags::OUTSIDE_DROPS != 0), (0, true));
    assert!(balanced.inside.length > 0, "traffic from inside is not kept on the node");
    let settings = array::<Settings>(&pins, "SETTINGS").get(&0, 0).unwrap();
    assert_eq!(settings.flags, SettingsFlags::ECHO | SettingsFlags::PROTECT_NODE_PORTS);

    let owner = frontend(&pins, SHARED, 0, 0).unwrap().service;
    assert_eq!(owner, frontend(&pins, SHARED, 80, protocol::TCP).unwrap().service);
    let text = manifest("elsewhere");
    let (_, others) = text.split_once("---\n").unwrap();
    manifests.write("shop.yaml", others).unwrap();
    agent.log().unwrap().wait_for("the change", |line| line.contains("microseconds"), PATIENCE).unwrap();
    let heir = frontend(&pins, SHARED, 0, 0).unwrap();
    assert_eq!(heir.service, frontend(&pins, SHARED, 81, protocol::TCP).unwrap().service);
    assert!(frontend(&pins, BALANCED, 0, 0).is_none());
    assert!(!is_source(&pins, balanced.service, [10, 3, 4, 5]), "sources of a Service that is gone");
}

#[test]
fn figures_of_a_service_begin_at_zero_and_are_shown() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::empty().unwrap();
    manifests.write("shop.yaml", &manifest(NODE_NAME)).unwrap();
    let agent = agent(&network, &manifests, &[]);
    let pins = agent.pin_path().to_owned();
    let id = frontend(&pins, BALANCED, 80, protocol::TCP).unwrap().service;
    let mut stats: aya::maps::PerCpuArray<MapData, ServiceStats> =
        open(&pins, "SERVICE_STATS").try_into().expect("of this kind");
    let mut counted = stats.get(&id, 0).unwrap().to_vec();
    counted.fill(ServiceStats { packets: 1, bytes: 60, reply_packets: 2, reply_bytes: 80, new_flows: 3 });
    let cpus = u64::try_from(counted.len()).unwrap();
    stats.set(id, counted.try_into().expect("of this kind"), 0).unwrap();

    let services = || serde_json::from_str::<Value>(&agent.get("services", "json").unwrap()).unwrap();
    let http = |services: &Value| {
        services.as_array().unwrap().iter().find(|one| one["portName"] == "http").cloned().unwrap()
    };
    let shown = http(&services());
    for (field, each) in
        [("packets", 1), ("bytes", 60), ("replyPackets", 2), ("replyBytes", 80), ("newFlows", 3)]
    {
        assert_eq!(shown[field], each * cpus, "{field}");
    }
    // The node is in the range: what it sends to its own load balancer address may have that very source.
    assert_eq!(shown["sourceRanges"], serde_json::json!(["10.0.0.0/8", "203.0.113.7/32"]));
    let cluster_ip = IpAddr::from(Ipv4Addr::from(CLUSTER_IP)).to_string();
    let flags = |address: &str| {
        let mut frontends = shown["frontends"].as_array().unwrap().iter();
        frontends.find(|one| one["address"] == address).map(|one| one["flags"].clone()).unwrap()
    };
    assert_eq!(flags(&cluster_ip), serde_json::json!(["insideLocal", "outsideLocal", "insideOnly"]));
    assert_eq!(flags("0.0.0.0"), serde_json::json!(["outsideLocal", "insideOnly", "node"]));
    let wide = agent.get("services", "wide").unwrap();
    assert!(wide.contains("NEW FLOWS") && wide.contains("insideOnly,node"), "{wide}");
    let table = agent.get("services", "table").unwrap();
    assert!(table.contains(" 0.0.0.0:30080 (node) "), "{table}");

    // Another Service is given the id; its figures are not those of the one before.
    manifests.remove("shop.yaml").unwrap();
    agent.log().unwrap().wait_for("the change", |line| line.contains("microseconds"), PATIENCE).unwrap();
    manifests.write("shop.yaml", &manifest(NODE_NAME)).unwrap();
    let begin = std::time::Instant::now();
    while services().as_array().unwrap().is_empty() && begin.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for one in services().as_array().unwrap() {
        assert_eq!((one["packets"].as_u64(), one["newFlows"].as_u64()), (Some(0), Some(0)), "{one}");
    }
}
