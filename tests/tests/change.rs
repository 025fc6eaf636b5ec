//! Manifests that change under traffic.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, BackendHost, Family, Network};
use tests::traffic::{Connection, Continuous, Datagrams, Protocol, Record, Server};

/// A change is served within 100 ms on a machine that has nothing else to do; a busy one gets more.
const SERVED: Duration = Duration::from_secs(1);

fn http(family: Family) -> SocketAddr {
    SocketAddr::new(family.vip(), Protocol::Tcp.port())
}

fn dns(family: Family) -> SocketAddr {
    SocketAddr::new(family.vip(), Protocol::Udp.port())
}

/// All backends, each with the weight that `weight` gives it; none leaves it out.
fn set(network: &Network, weight: impl Fn(&BackendHost) -> Option<u16>) -> Vec<(&BackendHost, u16)> {
    network.backends.iter().filter_map(|backend| Some((backend, weight(backend)?))).collect()
}

/// An established connection to a backend.
fn connection_to(network: &Network, to: SocketAddr, backend: &str) -> Connection {
    for _ in 0..500 {
        let mut connection = network.client.within(|| Connection::open(to, 0)).unwrap().unwrap();
        if connection.ask().unwrap().backend == backend {
            return connection;
        }
    }
    panic!("no connection reached {backend}");
}

/// A UDP flow to a backend.
fn flow_to(network: &Network, to: SocketAddr, backend: &str) -> Datagrams {
    for _ in 0..500 {
        let datagrams = network.client.within(|| Datagrams::open(to, 0)).unwrap().unwrap();
        if datagrams.ask().unwrap().backend == backend {
            return datagrams;
        }
    }
    panic!("no flow reached {backend}");
}

fn assert_none_failed(records: &[Record]) {
    let failed: Vec<_> = records.iter().filter(|record| record.result.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), records.len());
}

fn answered_by<'a>(records: &'a [Record], backend: &str) -> impl Iterator<Item = &'a Record> {
    let backend = backend.to_owned();
    records.iter().filter(move |record| record.result.as_deref() == Ok(backend.as_str()))
}

/// Weight 0 while connections come in: none fails, none goes to the drained backend any more, and what it had
/// goes on.
fn drain(drained: &str, family: Family) {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&set(&network, |_| Some(1))).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let mut connection = connection_to(&network, http(family), drained);
    let flow = flow_to(&network, dns(family), drained);
    let traffic = Continuous::start(&network.client, Protocol::Tcp, http(family));
    sleep(Duration::from_millis(300));

    let changed = Instant::now();
    manifests.endpoints(&set(&network, |backend| Some(u16::from(backend.name != drained)))).unwrap();
    let until = changed + SERVED + Duration::from_millis(500);
    while Instant::now() < until {
        assert_eq!(connection.ask().unwrap().backend, drained);
        assert_eq!(flow.ask().unwrap().backend, drained);
        sleep(Duration::from_millis(20));
    }
    let records = traffic.stop().unwrap();

    assert_none_failed(&records);
    let before = answered_by(&records, drained).filter(|record| record.asked < changed).count();
    assert!(before > 0, "the test shows nothing: {drained} had no traffic before");
    let late: Vec<_> =
        answered_by(&records, drained).filter(|record| record.asked > changed + SERVED).collect();
    assert!(late.is_empty(), "{drained} still gets new connections: {late:?}");
    let others = records.iter().filter(|record| record.asked > changed + SERVED).count();
    assert!(others > 0, "the test shows nothing: no connection was made after the change");
}

#[test]
fn a_remote_backend_is_drained() {
    drain("backend-1", Family::V4);
}

#[test]
fn a_backend_on_the_node_is_drained() {
    drain("backend-3", Family::V6);
}

/// A UDP flow from one and the same port moves with its next datagram; a TCP connection ends in order.
fn endpoint_goes(gone: &str, family: Family) {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&set(&network, |_| Some(1))).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let mut connection = connection_to(&network, http(family), gone);
    let flow = flow_to(&network, dns(family), gone);

    let changed = Instant::now();
    manifests.endpoints(&set(&network, |backend| (backend.name != gone).then_some(1))).unwrap();
    let mut moved = None;
    while changed.elapsed() < SERVED + Duration::from_millis(300) {
        // Every datagram is answered: by the old backend, which still runs here, or by a new one.
        let answer = flow.ask();
        let backend = answer
            .unwrap_or_else(|error| panic!("{:?} after the change: {error}", changed.elapsed()))
            .backend;
        match moved {
            None if backend != gone => moved = Some(changed.elapsed()),
            Some(_) => assert_ne!(backend, gone, "the flow moved back"),
            None => {}
        }
        assert_eq!(connection.ask().unwrap().backend, gone);
    }
    let moved = moved.expect("the flow stayed with the endpoint that is gone");
    println!("{gone} {family:?}: the UDP flow moved after {moved:?}");
    assert!(moved < SERVED, "the flow moved after {moved:?} only");
}

#[test]
fn a_remote_endpoint_goes() {
    endpoint_goes("backend-2", Family::V6);
}

#[test]
fn an_endpoint_on_the_node_goes() {
    endpoint_goes("backend-3", Family::V4);
}

#[test]
fn a_change_is_served_at_once() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let only = |name: &'static str| set(&network, move |backend| (backend.name == name).then_some(1));
    let manifests = Manifests::echo(&only("backend-1")).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let traffic = Continuous::start(&network.client, Protocol::Udp, dns(Family::V4));
    let mut changes = Vec::new();
    for backend in ["backend-2", "backend-3", "backend-1", "backend-2", "backend-1"] {
        sleep(Duration::from_millis(200));
        changes.push((Instant::now(), backend));
        manifests.endpoints(&only(backend)).unwrap();
        sleep(SERVED);
    }
    let records = traffic.stop().unwrap();
    assert_none_failed(&records);
    for (changed, backend) in changes {
        let first = answered_by(&records, backend).find(|record| record.asked > changed);
        let delay = first.expect("no answer by the new backend").asked - changed;
        println!("a change was served after {delay:?}");
        assert!(delay < SERVED, "a change was served after {delay:?} only");
    }
}

#[test]
fn a_service_that_goes_is_served_no_more_and_comes_back() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&set(&network, |_| Some(1))).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let asked = || network.client.within(|| tests::traffic::ask(Protocol::Udp, dns(Family::V4), 0)).unwrap();
    assert!(asked().is_ok());
    let service = manifests.read("10-service.yaml").unwrap();
    manifests.remove("10-service.yaml").unwrap();
    sleep(SERVED);
    let answer = asked();
    assert!(answer.is_err(), "{answer:?}");
    manifests.write("10-service.yaml", &service).unwrap();
    sleep(SERVED);
    asked().unwrap();
}
