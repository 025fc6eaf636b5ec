//! Where weir attaches: devices that are found, named, added, renamed and removed, and what they can run.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

mod follow;
mod kinds;
mod names;
mod tc;

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use tests::agent::Agent;
use tests::manifests::Manifests;
use tests::net::{Family, Namespace, Pair};
use tests::traffic::{Protocol, Server, ask};

/// How long a change of devices may take to be served.
const FOLLOW_MAX: Duration = Duration::from_secs(5);

/// A Service whose one endpoint is the peer.
fn manifests(pair: &Pair) -> Manifests {
    Manifests::echo(&[(&pair.peer, 1)]).unwrap()
}

fn server(pair: &Pair) -> Server {
    Server::start(&pair.peer).unwrap()
}

/// A started agent that serves NodePorts wherever the node has an address.
fn start<'pair>(pair: &'pair Pair, manifests: &Manifests, more: &[&str]) -> Agent<'pair> {
    let mut more = [&["--nodeport-addresses", "all"], more].concat();
    if !more.contains(&"--xdp-mode") {
        // Left to itself, weir does not run XDP on veth devices.
        more.extend(["--xdp-mode", "prefer"]);
    }
    let mut agent = Agent::alone(&pair.node, &pair.name, manifests, &more);
    agent.launch().unwrap();
    agent
}

/// The Service's external IP.
fn vip(family: Family) -> SocketAddr {
    SocketAddr::new(family.vip(), Protocol::Tcp.port())
}

/// Waits until `is` holds.
fn until(what: &str, agent: &Agent<'_>, is: impl Fn() -> bool) {
    let deadline = Instant::now() + FOLLOW_MAX;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {FOLLOW_MAX:?}\n{}", agent.log().unwrap());
        sleep(Duration::from_millis(20));
    }
}

/// Waits until `to` is answered by a new TCP connection from the peer.
fn served(pair: &Pair, agent: &Agent<'_>, to: SocketAddr) {
    let answered = || pair.peer.namespace.within(|| ask(Protocol::Tcp, to, 0)).unwrap().is_ok();
    until(&format!("an answer from {to}"), agent, answered);
    for n in 0..10 {
        let answer = pair.peer.namespace.within(|| ask(Protocol::Tcp, to, 0)).unwrap();
        let answer = answer.unwrap_or_else(|error| panic!("{to}: connection {n}: {error}"));
        assert_eq!(answer.backend, pair.peer.name);
    }
}

/// Both families of the external IP.
fn vip_served(pair: &Pair, agent: &Agent<'_>) {
    for family in Family::ALL {
        served(pair, agent, vip(family));
    }
}

/// Names of what is pinned for devices, without the index: `xdp-native eth0`.
fn pins(agent: &Agent<'_>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(agent.pin_path().join("links"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| {
            let (slot, device) = name.split_at(name.find(|letter: char| letter.is_ascii_digit()).unwrap());
            format!("{} {}", slot.trim_end_matches('-'), device.split_once('-').unwrap().1)
        })
        .collect();
    names.sort();
    names
}

/// What runs on the devices of a namespace, as the kernel tells: `eth0 tcx-ingress weir_tc_ingress`.
fn attached(namespace: &Namespace) -> Vec<String> {
    let links = namespace.ip("-o link show").unwrap();
    let mut all = Vec::new();
    for line in links.lines() {
        let mut words = line.split([':', '@', ' ']).filter(|word| !word.is_empty());
        let (index, device) = (words.next().unwrap(), words.next().unwrap());
        for word in ["xdp", "xdpgeneric"] {
            all.extend(line.contains(&format!(" {word} ")).then(|| format!("{device} {word}")));
        }
        for (side, hook) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            let query = || SchedClassifier::query_tcx(index.parse::<u32>().unwrap(), hook);
            for program in namespace.within(query).unwrap().unwrap().1 {
                all.push(format!("{device} tcx-{side} {}", program.name_as_str().unwrap_or_default()));
            }
            let filters = namespace.run(&format!("tc filter show dev {device} {side}")).unwrap();
            // One line for each, in which the name comes twice.
            let names = filters
                .lines()
                .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("weir")));
            all.extend(names.map(|name| format!("{device} clsact-{side} {name}")));
        }
    }
    all
}
