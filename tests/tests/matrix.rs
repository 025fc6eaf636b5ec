//! The traffic matrix: who reaches which endpoints of a Service by which address under which policy, with real sockets.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::SocketAddr;

use lb_common::Outcome;
use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{
    Arms, BackendHost, DNS_TARGET_PORT, Family, HTTP_TARGET_PORT, NODE_NAME, Namespace, Network,
};
use tests::traffic::{Protocol, Server, ask, refuse};

/// So many flows miss one of three backends once in three million.
const FLOWS: usize = 40;

/// A Service by its policies and endpoints. The number is part of its addresses.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u16,
    external_local: bool,
    internal_local: bool,
    /// Whether one of the endpoints runs on the node.
    here: bool,
    /// Whether others run elsewhere.
    elsewhere: bool,
}

const CASES: [Case; 6] = [
    Case { number: 1, external_local: false, internal_local: false, here: true, elsewhere: true },
    Case { number: 2, external_local: true, internal_local: false, here: true, elsewhere: true },
    Case { number: 3, external_local: false, internal_local: true, here: true, elsewhere: true },
    Case { number: 4, external_local: true, internal_local: false, here: false, elsewhere: true },
    Case { number: 5, external_local: false, internal_local: true, here: false, elsewhere: true },
    Case { number: 6, external_local: false, internal_local: false, here: false, elsewhere: false },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalIp,
}

const TARGETS: [Target; 4] = [Target::ClusterIp, Target::NodePort, Target::LoadBalancer, Target::ExternalIp];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Outside,
    Pod,
}

/// What a flow meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    All,
    Here,
    Refusal,
    Silence(Outcome),
}

impl Case {
    /// Section by section: the cluster IP is nobody's business outside; local policies; the short-circuit for pods.
    fn meets(self, from: From, target: Target) -> Meets {
        let local = match (from, target) {
            (From::Outside, Target::ClusterIp) => return Meets::Silence(Outcome::FromOutside),
            (From::Outside, _) => self.external_local,
            (From::Pod, Target::ClusterIp) => self.internal_local,
            (From::Pod, _) => false,
        };
        match (local, self.here, self.elsewhere) {
            (_, false, false) => Meets::Refusal,
            (true, true, _) => Meets::Here,
            (true, false, true) => Meets::Silence(Outcome::NoLocalBackend),
            (false, true, true) => Meets::All,
            (false, _, _) => Meets::All,
        }
    }

    fn address(self, network: Family, target: Target, protocol: Protocol) -> SocketAddr {
        let Self { number, .. } = self;
        let port = match (target, protocol) {
            (Target::NodePort, Protocol::Tcp) => 30_100 + number,
            (Target::NodePort, Protocol::Udp) => 30_200 + number,
            _ => protocol.port(),
        };
        let text = match (network, target) {
            (Family::V4, Target::ClusterIp) => format!("10.96.1.{number}"),
            (Family::V4, Target::LoadBalancer) => format!("198.51.100.{number}"),
            (Family::V4, Target::ExternalIp) => format!("203.0.113.{number}"),
            (Family::V6, Target::ClusterIp) => format!("fd00:96::1:{number}"),
            (Family::V6, Target::LoadBalancer) => format!("2001:db8:100::{number}"),
            (Family::V6, Target::ExternalIp) => format!("2001:db8:200::{number}"),
            (family, Target::NodePort) => family.node().to_string(),
        };
        SocketAddr::new(text.parse().unwrap(), port)
    }

    fn manifest(self, backends: &[BackendHost]) -> String {
        let Self { number, .. } = self;
        let ip = |family, target| self.address(family, target, Protocol::Tcp).ip();
        let policy = |local| if local { "Local" } else { "Cluster" };
        let mut text = format!(
            "apiVersion: v1
kind: Service
metadata: {{name: case-{number}, namespace: default}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: {external}
  internalTrafficPolicy: {internal}
  clusterIPs: [\"{}\", \"{}\"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [\"{}\", \"{}\"]
  ports:
    - {{name: http, protocol: TCP, port: 80, nodePort: {}}}
    - {{name: dns, protocol: UDP, port: 53, nodePort: {}}}
status: {{loadBalancer: {{ingress: [{{ip: \"{}\"}}, {{ip: \"{}\"}}]}}}}
",
            ip(Family::V4, Target::ClusterIp),
            ip(Family::V6, Target::ClusterIp),
            ip(Family::V4, Target::ExternalIp),
            ip(Family::V6, Target::ExternalIp),
            30_100 + number,
            30_200 + number,
            ip(Family::V4, Target::LoadBalancer),
            ip(Family::V6, Target::LoadBalancer),
            external = policy(self.external_local),
            internal = policy(self.internal_local),
        );
        for (family, kind) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
            let chosen =
                backends.iter().filter(|backend| if backend.local { self.here } else { self.elsewhere });
            let endpoints: Vec<String> = chosen
                .map(|backend| {
                    let node = if backend.local { NODE_NAME } else { "other" };
                    format!("{{addresses: [\"{}\"], nodeName: {node}}}", backend.address(family))
                })
                .collect();
            // Writing to a string cannot fail.
            let _written = write!(
                text,
                "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: case-{number}-{kind}, namespace: default, labels: {{kubernetes.io/service-name: case-{number}}}}}
addressType: {kind}
ports:
  - {{name: http, protocol: TCP, port: {HTTP_TARGET_PORT}}}
  - {{name: dns, protocol: UDP, port: {DNS_TARGET_PORT}}}
endpoints: [{}]
",
                endpoints.join(", ")
            );
        }
        text
    }
}

/// Asks by one address, and compares who answers with who should.
fn check(network: &Network, agent: &Agent<'_>, case: Case, from: From, target: Target, family: Family) {
    let pod = network.backend("backend-3").unwrap();
    let namespace: &Namespace = if from == From::Pod { &pod.namespace } else { &network.client };
    for protocol in Protocol::ALL {
        let to = case.address(family, target, protocol);
        let what = format!("{case:?} {from:?} {target:?} {protocol:?} {to}");
        let once = || namespace.within(|| ask(protocol, to, 0)).unwrap();
        match case.meets(from, target) {
            Meets::Refusal if protocol == Protocol::Tcp => {
                assert!(namespace.within(|| refuse(to)).unwrap(), "{what}");
            }
            Meets::Refusal => {
                let error = once().expect_err(&what);
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{what}: {error}");
            }
            Meets::Silence(outcome) => {
                let before = agent.count(outcome).unwrap();
                let error = once().expect_err(&what);
                assert_ne!(error.kind(), ErrorKind::ConnectionRefused, "{what}: {error}");
                assert!(agent.count(outcome).unwrap() > before, "{what} was not {}", outcome.name());
            }
            Meets::All | Meets::Here => {
                let mut seen = BTreeSet::new();
                for flow in 0..FLOWS {
                    let answer = once().unwrap_or_else(|error| panic!("{what}: flow {flow}: {error}"));
                    let backend = network.backend(&answer.backend).unwrap();
                    check_peer(case, from, backend, answer.peer, answer.local, family, &what);
                    seen.insert(answer.backend);
                }
                let expected: BTreeSet<String> = network
                    .backends
                    .iter()
                    .filter(|backend| match case.meets(from, target) {
                        Meets::Here => backend.local,
                        _ => {
                            if backend.local {
                                case.here
                            } else {
                                case.elsewhere
                            }
                        }
                    })
                    .map(|backend| backend.name.to_owned())
                    .collect();
                assert_eq!(seen, expected, "{what}");
            }
        }
    }
}

/// Who the backend sees: the client itself where one of the two is on the node, and the node where neither is, or where
/// the client would answer itself.
fn check_peer(
    case: Case,
    from: From,
    backend: &BackendHost,
    peer: SocketAddr,
    client: SocketAddr,
    family: Family,
    what: &str,
) {
    let itself = from == From::Pod && backend.local;
    if (backend.local || from == From::Pod) && !itself {
        assert_eq!(peer.ip(), client.ip(), "{what}: {case:?}");
    } else {
        assert_eq!(peer.ip(), family.node(), "{what}: {case:?}");
    }
}

fn every_row(from: From, arms: Arms, mode: XdpMode, more: &[&str]) {
    let network = Network::lay(arms).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::empty().unwrap();
    for case in CASES {
        manifests.write(&format!("{}.yaml", case.number), &case.manifest(&network.backends)).unwrap();
    }
    let mut agent = Agent::prepare(&network, &manifests, mode, more);
    agent.launch().unwrap();
    network.settle().unwrap();
    for family in Family::ALL {
        for target in TARGETS {
            for case in CASES {
                check(&network, &agent, case, from, target, family);
            }
        }
    }
}

#[test]
fn from_outside_by_native_xdp() {
    every_row(From::Outside, Arms::Two, XdpMode::Native, &[]);
}

#[test]
fn from_outside_by_generic_xdp() {
    every_row(From::Outside, Arms::One, XdpMode::Generic, &[]);
}

#[test]
fn from_a_pod_on_a_workload_device() {
    every_row(From::Pod, Arms::Two, XdpMode::Native, &["--workload-device", "pod*"]);
}

#[test]
fn from_a_pod_by_clsact_filters() {
    every_row(From::Pod, Arms::One, XdpMode::Native, &["--workload-device", "pod*", "--tc-mode", "clsact"]);
}

/// With the cluster's prefix, a pod on another node is inside by whichever device it comes; and with the option, cluster
/// IPs are served to all.
#[test]
fn options_change_who_is_inside_and_what_is_served() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::empty().unwrap();
    let [all, external_local, ..] = CASES;
    for case in [all, external_local] {
        manifests.write(&format!("{}.yaml", case.number), &case.manifest(&network.backends)).unwrap();
    }
    let client = "10.1.0.0/24,fd00:1::/64";
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--cluster-cidr", client]);
    agent.launch().unwrap();
    network.settle().unwrap();
    let seen = |target| -> BTreeSet<String> {
        let to = external_local.address(Family::V4, target, Protocol::Tcp);
        let answers =
            (0..FLOWS).map(|_| network.client.within(|| ask(Protocol::Tcp, to, 0)).unwrap().unwrap());
        answers.map(|answer| answer.backend).collect()
    };
    // The short-circuit, and the cluster IP, as for any pod.
    assert_eq!(seen(Target::LoadBalancer).len(), 3);
    assert_eq!(seen(Target::ClusterIp).len(), 3);
    drop(agent);
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--external-cluster-ip"]);
    agent.launch().unwrap();
    network.settle().unwrap();
    for family in Family::ALL {
        let to = all.address(family, Target::ClusterIp, Protocol::Udp);
        network.client.within(|| ask(Protocol::Udp, to, 0)).unwrap().unwrap();
    }
}
