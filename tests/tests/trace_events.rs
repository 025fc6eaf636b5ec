//! `weir trace` shows real packets: what they were, what they became, and why.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::net::SocketAddr;
use std::thread;

use serde_json::Value;
use tests::agent::{Agent, Ended, XdpMode, run_to_end};
use tests::manifests::Manifests;
use tests::net::{Arms, Family, Network};
use tests::traffic::{Protocol, Server, ask};

/// Packets that a reader waits for.
const COUNT: &str = "3";

/// What `weir trace` prints with these options while the client asks `to` until it has seen enough.
fn traced(
    network: &Network,
    agent: &Agent<'_>,
    more: &[&str],
    protocol: Protocol,
    to: SocketAddr,
) -> Vec<Value> {
    let pins = agent.pin_path().display().to_string();
    let arguments = [&["trace", "--pin-path", &pins, "-o", "json", "--count", COUNT], more].concat();
    let ended: Ended = thread::scope(|scope| {
        let reader = scope.spawn(|| run_to_end(&network.node, &arguments).unwrap());
        while !reader.is_finished() {
            // Whether there is an answer is not what is asked here.
            let _answer = network.client.within(|| ask(protocol, to, 0)).unwrap();
        }
        reader.join().unwrap()
    });
    assert_eq!(ended.code, Some(0), "{more:?} {to}: {ended}");
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len().to_string(), COUNT, "{ended}");
    lines
}

#[test]
fn packets_are_shown_with_what_they_become() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    for family in Family::ALL {
        let to = SocketAddr::new(family.vip(), Protocol::Udp.port());
        // What is left to another hook has not become anything yet.
        let lines = traced(&network, &agent, &["--service", "default/echo:dns"], Protocol::Udp, to);
        for line in &lines {
            assert_eq!(
                (&line["service"]["name"], &line["service"]["portName"]),
                (&"echo".into(), &"dns".into())
            );
            assert_eq!((&line["protocol"], &line["drop"]), (&"UDP".into(), &false.into()), "{line}");
            assert_eq!(line["newSource"].is_null(), line["verdict"] == "pass", "{line}");
        }
        let asked = |line: &&Value| line["destination"] == to.to_string();
        let line = lines.iter().find(asked).unwrap_or(&Value::Null);
        assert!(line["device"] == "eth0", "{lines:?}");
        assert!(line["source"].as_str().unwrap().contains(&family.client().to_string()), "{line}");
    }
}

#[test]
fn only_drops_are_shown_where_these_are_asked_for() {
    let network = Network::lay(Arms::Two).unwrap();
    let _servers = Server::start_all(&network.backends).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    for family in Family::ALL {
        let unused = SocketAddr::new(family.vip(), Protocol::Udp.port());
        for line in traced(&network, &agent, &["--drops"], Protocol::Tcp, unused) {
            assert_eq!(
                (&line["outcome"], &line["verdict"]),
                (&"unused_port".into(), &"reject".into()),
                "{line}"
            );
            assert_eq!((&line["drop"], &line["hook"]), (&true.into(), &"xdp".into()), "{line}");
            assert_eq!(line["destination"], unused.to_string());
            assert_eq!(line["tcpFlags"], serde_json::json!(["SYN"]), "{line}");
        }
    }
}
