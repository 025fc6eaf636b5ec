//! What a Service asks for beside endpoints: session affinity, source ranges; and datagrams that come in fragments.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_common::Outcome;
use tests::agent::{Agent, XdpMode};
use tests::manifests::{Manifests, service};
use tests::net::{Arms, BackendHost, Family, NODE4, NODE6, Network};
use tests::traffic::{Protocol, Server, TIMEOUT, ask};

fn all(network: &Network) -> Vec<(&BackendHost, u16)> {
    network.backends.iter().map(|backend| (backend, 1)).collect()
}

fn vip(family: Family, protocol: Protocol) -> SocketAddr {
    SocketAddr::new(family.vip(), protocol.port())
}

fn backends(network: &Network, protocol: Protocol, to: SocketAddr, flows: usize) -> BTreeSet<String> {
    let once = || network.client.within(|| ask(protocol, to, 0)).unwrap().unwrap().backend;
    (0..flows).map(|_| once()).collect()
}

#[test]
fn a_client_stays_until_its_time_is_over() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let affine = service().replace(
        "spec:\n",
        "spec:\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}\n",
    );
    manifests.write("10-service.yaml", &affine).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let targets: Vec<_> = Family::ALL
        .into_iter()
        .flat_map(|family| Protocol::ALL.map(|protocol| (protocol, vip(family, protocol))))
        .collect();
    let mut seen = vec![BTreeSet::new(); targets.len()];
    // One of three is chosen so often in a row once in a million times; mostly two rounds are enough.
    for _ in 0..14 {
        for ((protocol, to), seen) in targets.iter().zip(&mut seen) {
            let chosen = backends(&network, *protocol, *to, 10);
            assert_eq!(chosen.len(), 1, "{to} {protocol:?}: {chosen:?}");
            seen.extend(chosen);
        }
        if seen.iter().all(|seen| seen.len() > 1) {
            return;
        }
        // Longer than the time, of which the last second may have been a part.
        sleep(Duration::from_millis(3_100));
    }
    panic!("a client never left its backend: {seen:?}");
}

#[test]
fn only_named_sources_reach_a_load_balancer_ip() {
    let network = Network::lay(Arms::One).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let with = |ranges: &str| {
        let status = "status: {loadBalancer: {ingress: [{ip: 198.51.100.77}, {ip: \"2001:db8:100::77\"}]}}\n";
        let text = service().replace("type: NodePort", "type: LoadBalancer");
        let text = text.replace("spec:\n", &format!("spec:\n  loadBalancerSourceRanges: [{ranges}]\n"));
        manifests.write("10-service.yaml", &format!("{text}{status}")).unwrap();
    };
    with("192.0.2.0/24, \"2001:db8:ffff::/48\"");
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let guarded =
        ["198.51.100.77:80", "[2001:db8:100::77]:80"].map(|text| text.parse::<SocketAddr>().unwrap());
    for to in guarded {
        let before = agent.count(Outcome::SourceRefused).unwrap();
        let error = network.client.within(|| ask(Protocol::Tcp, to, 0)).unwrap().unwrap_err();
        assert_ne!(error.kind(), ErrorKind::ConnectionRefused, "{to}: the sender is told nothing");
        assert!(agent.count(Outcome::SourceRefused).unwrap() > before, "{to}");
    }
    // The ranges are for load balancer IPs only.
    for family in Family::ALL {
        let node_port = SocketAddr::new(family.node(), Protocol::Tcp.node_port());
        for to in [vip(family, Protocol::Tcp), node_port] {
            network.client.within(|| ask(Protocol::Tcp, to, 0)).unwrap().unwrap();
        }
    }
    with("10.1.0.0/30, \"fd00:1::/64\"");
    for to in guarded {
        let deadline = Instant::now() + Duration::from_secs(5);
        while network.client.within(|| ask(Protocol::Tcp, to, 0)).unwrap().is_err() {
            assert!(Instant::now() < deadline, "{to} is not served to a source that is named");
        }
    }
}

/// A datagram of three fragments reaches backends here and elsewhere, by each way of receiving.
fn datagrams_in_fragments(mode: &str) {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let manifests = Manifests::echo(&all(&network)).unwrap();
    let (v4, v6) = (NODE4.to_string(), NODE6.to_string());
    let devices = network.arms.devices();
    let more = ["--device", devices, "--node-ip", &v4, "--node-ip", &v6, "--xdp-mode", mode];
    let mut agent = Agent::alone(&network.node, &network.name, &manifests, &more);
    agent.launch().unwrap();
    network.settle().unwrap();
    for family in Family::ALL {
        let to = vip(family, Protocol::Udp);
        let send = || -> std::io::Result<String> {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.connect(to)?;
            socket.send(&[b'x'; 4_000])?;
            let mut answer = [0; 256];
            let length = socket.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        let answers = (0..40).map(|_| network.client.within(send).unwrap().unwrap());
        let seen: BTreeSet<String> =
            answers.map(|answer| answer.split(' ').next().unwrap_or_default().to_owned()).collect();
        assert_eq!(Vec::from_iter(&seen), ["backend-1", "backend-2", "backend-3"], "{family:?} {mode}");
    }
}

#[test]
fn fragments_by_native_xdp() {
    datagrams_in_fragments("native");
}

#[test]
fn fragments_by_generic_xdp() {
    datagrams_in_fragments("generic");
}

#[test]
fn fragments_by_tc_alone() {
    datagrams_in_fragments("off");
}
