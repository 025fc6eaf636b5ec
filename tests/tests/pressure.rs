//! More flows than the table takes, and more than there are source ports: nobody gets another's answer, and what is
//! established goes on.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_common::Outcome;
use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{
    Arms, BackendHost, DNS_PORT, DNS_TARGET_PORT, HTTP_PORT, HTTP_TARGET_PORT, Hop, Line, Network,
    PassProgram, VIP4,
};
use tests::traffic::{Connection, PROMPT, Protocol, Server, ask, refuse};

/// Entries of the flow table: 512 flows.
const FLOWS_MAX: &str = "1024";
/// Connections that are open all the time: well below what the table takes.
const CONNECTIONS: usize = 64;
/// Flows that come and are left, of which every tenth is a TCP connection.
const FLOWS: u16 = 10_000;
/// So many flows pass between two questions over the open connections.
const BETWEEN: u16 = 250;
/// Of these flows so many may lose their first answer.
const REPEATED_MAX: u16 = FLOWS / 1_000;
const FIRST_PORT: u16 = 10_000;
const OTHER_VIP: &str = "198.51.100.20";

/// Four source ports.
const PORTS: &str = "40000-40003";

/// The Service `other`, with one endpoint.
fn other(backend: &BackendHost) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: other}}
spec:
  clusterIP: 10.96.0.20
  clusterIPs: [10.96.0.20]
  ipFamilies: [IPv4]
  externalIPs: [{OTHER_VIP}]
  ports: [{{name: http, protocol: TCP, port: {HTTP_PORT}}}, {{name: dns, protocol: UDP, port: {DNS_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: other-1, labels: {{kubernetes.io/service-name: other}}}}
addressType: IPv4
ports:
  - {{name: http, protocol: TCP, port: {HTTP_TARGET_PORT}}}
  - {{name: dns, protocol: UDP, port: {DNS_TARGET_PORT}}}
endpoints: [{{addresses: [{}]}}]
",
        backend.v4
    )
}

#[test]
fn a_table_that_is_too_small_misleads_nobody() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let [first, second] = ["backend-1", "backend-2"].map(|name| network.backend(name).unwrap());
    let manifests = Manifests::echo(&[(first, 1)]).unwrap();
    manifests.write("30-other.yaml", &other(second)).unwrap();
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--flows-max", FLOWS_MAX]);
    agent.launch().unwrap();
    network.settle().unwrap();
    // Each Service has one endpoint: any other answer is a wrong one.
    let services = [(VIP4.into(), first.name), (OTHER_VIP.parse().unwrap(), second.name)];
    let pressed = network.client.within(|| {
        let (mut connections, mut repeated) = (Vec::new(), 0);
        for number in 0..CONNECTIONS {
            let (vip, name) = services[number % 2];
            connections.push((Connection::open(SocketAddr::new(vip, HTTP_PORT), 0).unwrap(), name));
        }
        for number in 0..FLOWS {
            let protocol = if number % 10 == 0 { Protocol::Tcp } else { Protocol::Udp };
            let (vip, name) = services[usize::from(number / 10 % 2)];
            let to = SocketAddr::new(vip, protocol.port());
            // The kernel evicts in batches, and sometimes what was only just written. Whoever asks again is served.
            let answer = ask(protocol, to, FIRST_PORT + number).or_else(|_| {
                repeated += 1;
                ask(protocol, to, FIRST_PORT + number)
            });
            let answer = answer.unwrap_or_else(|error| panic!("flow {number}, {protocol:?}: {error}"));
            assert_eq!(answer.backend, name, "flow {number}, {protocol:?}");
            if number % BETWEEN == 0 {
                for (index, (connection, name)) in connections.iter_mut().enumerate() {
                    let answer = connection.ask().unwrap_or_else(|error| {
                        panic!("open connection {index} after {number} flows: {error}")
                    });
                    assert_eq!(answer.backend, *name, "open connection {index} after {number} flows");
                }
            }
        }
        repeated
    });
    let repeated = pressed.unwrap();
    assert!(repeated <= REPEATED_MAX, "{repeated} of {FLOWS} flows had to be begun twice");
    assert_eq!(agent.count(Outcome::FlowTableFull).unwrap(), 0);
    let flows = agent.get("flows", "json").unwrap();
    assert!(flows.matches("backend").count() <= 1024, "the table is larger than it was to be");
}

#[test]
fn without_a_free_port_a_connection_is_refused_at_once() {
    let line = Line::lay(Hop::None, 1500, false).unwrap();
    let _server = Server::start(&line.backend).unwrap();
    let manifests = Manifests::echo(&[(&line.backend, 1)]).unwrap();
    let mut agent = Agent::on_line(&line, &manifests, "native", &["--snat-ports", PORTS]);
    agent.launch().unwrap();
    // The refusal goes back by `XDP_TX`, for which a veth device wakes only a device with a program of its own.
    let _receiver = PassProgram::attach(&line.client, "eth0").unwrap();
    let to = SocketAddr::new(VIP4.into(), HTTP_PORT);
    let open = || line.client.within(|| Connection::open(to, 0)).unwrap();
    let mut connections: Vec<_> = (0..4).map(|_| open().unwrap()).collect();
    assert_eq!(agent.count(Outcome::PortsExhausted).unwrap(), 0);
    for _ in 0..3 {
        let begin = Instant::now();
        let refused = line.client.within(|| refuse(to)).unwrap();
        assert!(refused && begin.elapsed() < PROMPT, "{refused} after {:?}", begin.elapsed());
    }
    assert!(agent.count(Outcome::PortsExhausted).unwrap() >= 3);
    // Those that have a port keep it.
    for connection in &mut connections {
        assert_eq!(connection.ask().unwrap().backend, line.backend.name);
    }
    drop(connections);
    // The last FIN is on its way.
    std::thread::sleep(Duration::from_millis(300));
    let again: Vec<_> = (0..4).map(|_| open().unwrap().ask().unwrap().backend).collect();
    assert_eq!(again, [line.backend.name; 4]);
}
