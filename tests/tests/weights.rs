//! Observed shares against the weights of the endpoints.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use tests::agent::{Agent, XdpMode};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, Tally, chi_square, chi_square_bound};

const WEIGHTS: [u16; 3] = [50, 30, 20];
/// Flows for each protocol and family.
const FLOWS: u16 = 3000;
/// Below the range that the kernel takes ports from by itself. Fixed ports make each run the same: either the test
/// always passes, or it never does.
const FIRST_PORT: u16 = 10_000;

#[test]
fn new_flows_spread_as_the_weights_say() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().zip(WEIGHTS).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let _agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    let sum = f64::from(WEIGHTS.iter().sum::<u16>());
    for (n, (family, protocol)) in (0_u16..).zip([
        (Family::V4, Protocol::Tcp),
        (Family::V6, Protocol::Tcp),
        (Family::V4, Protocol::Udp),
        (Family::V6, Protocol::Udp),
    ]) {
        let to = SocketAddr::new(family.vip(), protocol.port());
        // Ports of their own for each round: those of the round before are still in TIME_WAIT.
        let first = FIRST_PORT + n * FLOWS;
        let tally = network.client.within(|| Tally::ask(protocol, to, first..first + FLOWS)).unwrap();
        assert_eq!(tally.failures, [""; 0], "{protocol:?} {to}");
        let pairs: Vec<_> = backends
            .iter()
            .map(|(backend, weight)| (tally.of(backend.name), f64::from(*weight) / sum))
            .collect();
        let (statistic, bound) = (chi_square(&pairs), chi_square_bound(pairs.len()).unwrap());
        println!("{protocol:?} {to}: {:?}, chi-square {statistic:.2}", tally.answers);
        assert!(
            statistic < bound,
            "{protocol:?} {to}: {:?}: chi-square {statistic:.2} > {bound}",
            tally.answers
        );
    }
}
