//! What `weir explain` says, of manifests and of the live maps, is what becomes of real traffic.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::indexing_slicing, reason = "a field that is not there reads as null")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::agent::{Agent, PATIENCE, XdpMode, run_to_end};
use tests::manifests::Manifests;
use tests::net::{Arms, BackendHost, CLUSTER4, CLUSTER6, Family, NODE_NAME, Network};
use tests::traffic::{Answer, Connection, Datagrams, Protocol, Server};

/// Below the range that the kernel takes ports from by itself; each flow of a test has one of its own.
const FIRST_PORT: u16 = 12_000;
/// Flows to each destination.
const FLOWS: usize = 4;

/// External IPs of the Services beside `default/echo`.
const NOBODY: &str = "198.51.100.30";
const LOCAL: &str = "198.51.100.31";
const BALANCED: &str = "198.51.100.32";
const ELSEWHERE: &str = "198.51.100.33";
const REFUSED: &str = "198.51.100.34";

/// Services of one port: without endpoints, of the policy `Local` with and without an endpoint on the node, with an
/// address of a load balancer, and with one that is not for the client.
fn services(backends: &[BackendHost]) -> String {
    let addresses: Vec<String> = backends
        .iter()
        .map(|backend| {
            let node = if backend.local { NODE_NAME } else { "other" };
            format!("{{addresses: [{}], nodeName: {node}}}", backend.v4)
        })
        .collect();
    let remote = addresses.first().cloned().unwrap_or_default();
    let mut text = String::new();
    for (name, spec, endpoints) in [
        ("nobody", format!("externalIPs: [{NOBODY}]"), String::new()),
        ("local", format!("externalIPs: [{LOCAL}], externalTrafficPolicy: Local"), addresses.join(", ")),
        ("elsewhere", format!("externalIPs: [{ELSEWHERE}], externalTrafficPolicy: Local"), remote),
        ("balanced", "type: LoadBalancer".to_owned(), addresses.join(", ")),
        (
            "refused",
            "type: LoadBalancer, loadBalancerSourceRanges: [203.0.113.0/24]".to_owned(),
            addresses.join(", "),
        ),
    ] {
        let balanced = if name == "refused" { REFUSED } else { BALANCED };
        text.push_str(&format!(
            "apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{{spec}, ipFamilies: [IPv4], ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {balanced}}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints: [{endpoints}]
---
"
        ));
    }
    text
}

/// A flow that stays open.
enum Flow {
    Tcp(Connection),
    Udp(Datagrams),
}

impl Flow {
    fn open(
        network: &Network,
        protocol: Protocol,
        to: SocketAddr,
        port: u16,
    ) -> std::io::Result<(Self, Answer)> {
        let open = || {
            let mut flow = match protocol {
                Protocol::Tcp => Self::Tcp(Connection::open(to, port)?),
                Protocol::Udp => Self::Udp(Datagrams::open(to, port)?),
            };
            let answer = flow.ask()?;
            Ok((flow, answer))
        };
        network.client.within(open).unwrap()
    }

    fn ask(&mut self) -> std::io::Result<Answer> {
        match self {
            Self::Tcp(connection) => connection.ask(),
            Self::Udp(datagrams) => datagrams.ask(),
        }
    }
}

/// Everything that a test asks weir about.
struct World<'net> {
    network: &'net Network,
    manifests: &'net Manifests,
    agent: &'net Agent<'net>,
}

impl World<'_> {
    /// What weir says of a packet from the client's `port`: of the manifests, or of the live maps.
    fn explain(&self, live: bool, protocol: Protocol, port: u16, to: SocketAddr) -> Value {
        let client = if to.is_ipv4() { Family::V4 } else { Family::V6 }.client();
        let (src, dst) = (SocketAddr::new(client, port).to_string(), to.to_string());
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let mut arguments =
            vec!["explain", "--src", &src, "--dst", &dst, "--protocol", protocol, "-o", "json"];
        let (pins, manifests) =
            (self.agent.pin_path().display().to_string(), self.manifests.path().display().to_string());
        let nodes = Family::ALL.map(|family| family.node().to_string());
        if live {
            arguments.extend(["--pin-path", &pins]);
        } else {
            arguments.extend(["--manifests", &manifests, "--node-name", NODE_NAME]);
            arguments.extend(nodes.iter().flat_map(|node| ["--node-ip", node]));
        }
        let ended = run_to_end(&self.network.node, &arguments).unwrap();
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// What the client met is what weir said before, of the manifests and of the maps.
    fn check(&self, protocol: Protocol, port: u16, to: SocketAddr, rule: &str) -> (Flow, Answer) {
        let said = [false, true].map(|live| self.explain(live, protocol, port, to));
        let (flow, answer) = Flow::open(self.network, protocol, to, port)
            .unwrap_or_else(|error| panic!("{to}: {error}: {said:?}"));
        for said in &said {
            assert_eq!(said["verdict"], "forward", "{to}: {said}");
            assert_eq!(said["rule"]["name"], rule, "{to}: {said}");
            self.check_way(said, &answer);
            let shares = said["backends"].as_array().unwrap();
            let sum: f64 = shares.iter().map(|one| one["share"].as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{said}");
            assert!(shares.iter().any(|one| one["address"] == said["backend"]["address"]), "{said}");
        }
        assert_eq!(said[0]["backends"], said[1]["backends"]);
        (flow, answer)
    }

    /// The packet goes where `said` has it, and the backend sees the client as `said` has it.
    fn check_way(&self, said: &Value, answer: &Answer) {
        let backend = self.network.backend(&answer.backend).unwrap();
        let family = if answer.peer.is_ipv4() { Family::V4 } else { Family::V6 };
        assert_eq!(said["backend"]["address"], backend.address(family).to_string(), "{answer:?}: {said}");
        assert_eq!(said["backend"]["local"], backend.local, "{answer:?}: {said}");
        assert_eq!(said["newSource"], answer.peer.to_string(), "{answer:?}: {said}");
        assert_eq!(said["sourceTranslated"], answer.peer != answer.local, "{answer:?}: {said}");
    }

    /// A destination that nobody answers at.
    fn check_lost(&self, port: u16, to: SocketAddr, verdict: &str, rule: &str) {
        for live in [false, true] {
            let said = self.explain(live, Protocol::Tcp, port, to);
            assert_eq!((&said["verdict"], &said["rule"]["name"]), (&verdict.into(), &rule.into()), "{said}");
            assert!(said["backend"].is_null() && said["newSource"].is_null(), "{said}");
        }
        assert!(Flow::open(self.network, Protocol::Tcp, to, port).is_err(), "{to}");
    }
}

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

#[test]
fn traffic_goes_where_it_is_said_to_go() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let weighted: Vec<_> = network.backends.iter().zip([1, 2, 3]).collect();
    let manifests = Manifests::echo(&weighted).unwrap();
    manifests.write("30-more.yaml", &services(&network.backends)).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let world = World { network: &network, manifests: &manifests, agent: &agent };
    let mut ports = FIRST_PORT..;
    let mut port = || ports.next().unwrap();
    let mut cases: Vec<(Protocol, SocketAddr, &str)> = Vec::new();
    for family in Family::ALL {
        for protocol in Protocol::ALL {
            cases.push((protocol, at(family.vip(), protocol.port()), "weights"));
            cases.push((protocol, at(family.node(), protocol.node_port()), "weights"));
        }
    }
    cases.push((Protocol::Tcp, at(BALANCED.parse::<IpAddr>().unwrap(), 80), "weights"));
    cases.push((Protocol::Tcp, at(LOCAL.parse::<IpAddr>().unwrap(), 80), "externalTrafficPolicy: Local"));
    for (protocol, to, rule) in cases {
        for _ in 0..FLOWS {
            let port = port();
            let (flow, answer) = world.check(protocol, port, to, rule);
            let said = world.explain(true, protocol, port, to);
            assert_eq!(said["rule"]["name"], "established flow", "{said}");
            assert_eq!(said["packet"]["opens"], false, "{said}");
            assert_eq!(said["flow"]["state"], "established", "{said}");
            assert_eq!(
                (&said["flow"]["stale"], &said["flow"]["bothDirections"]),
                (&false.into(), &true.into())
            );
            assert!(said["flow"]["idleSeconds"].as_u64().unwrap() < 5, "{said}");
            world.check_way(&said, &answer);
            drop(flow);
        }
    }
    world.check_lost(port(), at(NOBODY.parse::<IpAddr>().unwrap(), 80), "reject", "no endpoints");
    for family in Family::ALL {
        world.check_lost(port(), at(family.vip(), 81), "reject", "unused port of a virtual IP");
        let cluster = if family == Family::V4 { IpAddr::V4(CLUSTER4) } else { IpAddr::V6(CLUSTER6) };
        world.check_lost(port(), at(cluster, 80), "drop", "cluster IP from outside");
    }
    world.check_lost(
        port(),
        at(ELSEWHERE.parse::<IpAddr>().unwrap(), 80),
        "drop",
        "externalTrafficPolicy: Local",
    );
    world.check_lost(port(), at(REFUSED.parse::<IpAddr>().unwrap(), 80), "drop", "loadBalancerSourceRanges");
    world.check_lost(port(), at(Family::V4.node(), 81), "pass", "not a Service address");
    world.check_lost(port(), at(Family::V6.node(), 81), "pass", "not a Service address");
}

/// The next datagram of a flow whose endpoint has gone goes where weir says that it will.
#[test]
fn a_stale_flow_is_told_with_where_it_goes_now() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let all: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&all).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let world = World { network: &network, manifests: &manifests, agent: &agent };
    for (family, port) in Family::ALL.into_iter().zip(FIRST_PORT..) {
        let to = at(family.vip(), Protocol::Udp.port());
        let (mut flow, before) = Flow::open(&network, Protocol::Udp, to, port).unwrap();
        let left: Vec<_> =
            all.iter().copied().filter(|(backend, _)| backend.name != before.backend).collect();
        manifests.endpoints(&left).unwrap();
        let begin = Instant::now();
        let said = loop {
            let said = world.explain(true, Protocol::Udp, port, to);
            if said["flow"]["stale"] == true {
                break said;
            }
            assert!(begin.elapsed() < PATIENCE, "{said}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(said["rule"]["name"], "weights", "{said}");
        let remark = said["remarks"][0].as_str().unwrap();
        assert!(remark.contains("its endpoint is gone"), "{remark}");
        let after = flow.ask().unwrap();
        assert_ne!(after.backend, before.backend);
        world.check_way(&said, &after);
        manifests.endpoints(&all).unwrap();
    }
}
