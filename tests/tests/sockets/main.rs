//! Services as processes of the node and of its pods reach them: by what connect(2) and sendto(2) are given.
//!
//! "The host" is a process in the network namespace of the node, "the pod" one in that of the endpoint on the node, and
//! "the neighbour" one in a namespace of its own. They are in a control group that only this test has, so that tests do
//! not see each other's sockets.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod bind;
mod connect;
mod datagrams;
mod endpoints;
mod excluded;
mod many;
mod packets;
mod policies;
mod refused;
mod restart;
mod sources;
mod spread;

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_common::Outcome;
use rustix::io::Errno;
use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, BackendHost, CLUSTER4, CLUSTER6, Cgroup, Family, Network};
use tests::traffic::{Called, Failure, Protocol, Server, Worker};

/// How long a change of the manifests may take to be served.
const FOLLOW_MAX: Duration = Duration::from_secs(10);

/// The test network, its servers, and the control group of those that are served.
struct World {
    _servers: Vec<Server>,
    cgroup: Cgroup,
    manifests: Manifests,
    network: Network,
}

impl World {
    /// With these endpoints and weights.
    fn lay(backends: &[(&str, u16)]) -> Self {
        let network = Network::lay(Arms::One).unwrap();
        let servers = Server::start_all(&network.backends).unwrap();
        let manifests = Manifests::empty().unwrap();
        manifests.write("10-service.yaml", &tests::manifests::service()).unwrap();
        let world = Self { _servers: servers, cgroup: Cgroup::create().unwrap(), manifests, network };
        world.endpoints(backends);
        world
    }

    /// With all endpoints, of equal weight.
    fn with_all() -> Self {
        Self::lay(&ALL)
    }

    /// Writes the endpoints of both families.
    fn endpoints(&self, backends: &[(&str, u16)]) {
        let backends: Vec<_> = backends.iter().map(|(name, weight)| (self.backend(name), *weight)).collect();
        self.manifests.endpoints(&backends).unwrap();
    }

    fn backend(&self, name: &str) -> &BackendHost {
        self.network.backend(name).unwrap()
    }

    /// A started agent that serves the sockets of the control group.
    fn agent(&self, more: &[&str]) -> Agent<'_> {
        let mut agent = self.agent_to_be(more);
        agent.launch().unwrap();
        self.network.settle().unwrap();
        agent
    }

    /// The same, not started.
    fn agent_to_be(&self, more: &[&str]) -> Agent<'_> {
        let cgroup = self.cgroup.path().display().to_string();
        let more = [&["--socket-mode", "on", "--cgroup-path", &cgroup], more].concat();
        Agent::prepare(&self.network, &self.manifests, XdpMode::Native, &more)
    }

    fn host(&self) -> Worker {
        Worker::start(&self.network.node, &self.cgroup).unwrap()
    }

    fn pod(&self) -> Worker {
        Worker::start(&self.backend("backend-3").namespace, &self.cgroup).unwrap()
    }

    fn neighbour(&self) -> Worker {
        Worker::start(&self.network.client, &self.cgroup).unwrap()
    }

    /// The host and the pod.
    fn places(&self) -> [(&'static str, Worker); 2] {
        [("host", self.host()), ("pod", self.pod())]
    }
}

const ALL: [(&str, u16); 3] = [("backend-1", 1), ("backend-2", 1), ("backend-3", 1)];

/// Each protocol of each family.
fn kinds() -> impl Iterator<Item = (Family, Protocol)> {
    Family::ALL.into_iter().flat_map(|family| Protocol::ALL.map(|protocol| (family, protocol)))
}

/// The Service's cluster IP and its external IP, with the port of a protocol.
fn services(family: Family, protocol: Protocol) -> [SocketAddr; 2] {
    [cluster(family, protocol), vip(family, protocol)]
}

fn cluster(family: Family, protocol: Protocol) -> SocketAddr {
    let address = match family {
        Family::V4 => IpAddr::V4(CLUSTER4),
        Family::V6 => IpAddr::V6(CLUSTER6),
    };
    SocketAddr::new(address, protocol.port())
}

fn vip(family: Family, protocol: Protocol) -> SocketAddr {
    SocketAddr::new(family.vip(), protocol.port())
}

/// The Service's port at the node.
fn node_port(family: Family, protocol: Protocol) -> SocketAddr {
    SocketAddr::new(family.node(), protocol.node_port())
}

/// The address as a socket of IPv6 writes it (RFC 4291 section 2.5.5.2).
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => panic!("{address} is none of IPv4"),
    }
}

/// The error of a call that must fail.
fn errno<T: Debug>(called: Called<T>) -> Errno {
    match called {
        Err(Failure::Errno(errno)) => errno,
        other => panic!("it should have failed by an error of the system call: {other:?}"),
    }
}

/// What the host gets for a virtual IP as it is: it has no default route.
fn untouched<T: Debug>(called: Called<T>, what: &str) {
    assert_eq!(errno(called), Errno::NETUNREACH, "{what}");
}

/// How many calls ended by an outcome while `calls` were made.
fn counted(agent: &Agent<'_>, outcome: Outcome, calls: impl FnOnce()) -> u64 {
    let before = agent.count_calls(outcome).unwrap();
    calls();
    agent.count_calls(outcome).unwrap() - before
}

/// Waits until `is` holds, and shows what the agent did meanwhile if it does not.
fn until(what: &str, agent: &Agent<'_>, is: impl Fn() -> bool) {
    assert!(comes(is), "{what}: not within {FOLLOW_MAX:?}\n{}", agent.log().unwrap());
}

/// Waits until `is` holds.
fn until_true(what: &str, is: impl Fn() -> bool) {
    assert!(comes(is), "{what}: not within {FOLLOW_MAX:?}");
}

fn comes(is: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + FOLLOW_MAX;
    while !is() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
    true
}
