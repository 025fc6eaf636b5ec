//! A full map: the change is refused whole, and what served goes on serving.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::SocketAddr;

use tests::agent::{Agent, PATIENCE, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, Network};
use tests::traffic::{Protocol, Server, Tally};

/// Room for the Service `echo`: two ports with three endpoints each, for each family.
const BACKENDS_MAX: &str = "16";
/// More than the room that is left.
const TOO_MANY: usize = 20;
const OTHER: &str = "198.51.100.99:80";

/// A Service of its own external IP with so many endpoints, of which the first exists.
fn large(endpoints: usize) -> String {
    let mut text = "apiVersion: v1
kind: Service
metadata: {name: large}
spec:
  clusterIP: 10.96.0.99
  clusterIPs: [10.96.0.99]
  ipFamilies: [IPv4]
  externalIPs: [198.51.100.99]
  ports: [{name: http, protocol: TCP, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: large-1, labels: {kubernetes.io/service-name: large}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints:
  - addresses: [10.1.1.11]
"
    .to_owned();
    for n in 1..endpoints {
        let _written = writeln!(text, "  - addresses: [10.1.1.{}]", 100 + n);
    }
    text
}

#[test]
fn a_service_that_does_not_fit_is_refused_whole() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--backends-max", BACKENDS_MAX]);
    agent.launch().unwrap();
    let ask = |to: SocketAddr, count: usize| {
        network.client.within(|| Tally::ask(Protocol::Tcp, to, vec![0; count])).unwrap()
    };
    let echo = SocketAddr::new(tests::net::VIP4.into(), Protocol::Tcp.port());
    let large_vip: SocketAddr = OTHER.parse().unwrap();
    assert_eq!(ask(echo, 20).failures, [""; 0]);

    manifests.write("90-large.yaml", &large(TOO_MANY)).unwrap();
    let names_all = |line: &str| {
        ["BACKENDS4", BACKENDS_MAX, "--backends-max", "large"].iter().all(|word| line.contains(word))
    };
    agent.log().unwrap().wait_for("map, size, option and Service", names_all, PATIENCE).unwrap();
    assert_eq!(ask(echo, 40).failures, [""; 0], "what served must go on");
    assert_eq!(ask(large_vip, 2).total(), 0, "a part of the refused Service is served");

    // Later changes are not held up by the refused one.
    let [first, ..] = network.backends.as_slice() else { panic!("a network without backends") };
    manifests.endpoints(&[(first, 1)]).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ask(echo, 40).of(first.name), 40);
    // Made to fit, it is served.
    manifests.write("90-large.yaml", &large(1)).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ask(large_vip, 20).of("backend-1"), 20);
}
