//! `weir trace` asks the programs for records while it runs, and for none when it is gone.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use lb_common::{Trace, TraceFlags, maps::LAYOUT};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use tests::agent::{Agent, PATIENCE, XdpMode, program, run_to_end};
use tests::manifests::Manifests;
use tests::net::{Arms, Network, tool};

/// Starts `weir trace` in the node.
fn start(network: &Network, agent: &Agent<'_>, more: &[&str]) -> Child {
    let (program, pins) = (program().unwrap(), agent.pin_path().display().to_string());
    let spawn = || {
        tool(&program.display().to_string())
            .args(["trace", "--pin-path", &pins])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    network.node.within(spawn).unwrap().unwrap()
}

/// What the programs are asked for.
fn asked(agent: &Agent<'_>) -> Trace {
    let data = MapData::from_pin(agent.pin_path().join(LAYOUT).join("TRACE")).unwrap();
    let map: Array<MapData, Trace> = Array::try_from(Map::from_map_data(data).unwrap()).unwrap();
    map.get(&0, 0).unwrap()
}

fn now_s() -> u32 {
    u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap()
}

/// Waits until the programs are asked as `wanted` says.
fn wait_for(agent: &Agent<'_>, wanted: impl Fn(&Trace) -> bool) -> Trace {
    let begin = Instant::now();
    loop {
        let trace = asked(agent);
        if wanted(&trace) {
            return trace;
        }
        assert!(begin.elapsed() < PATIENCE, "{trace:?}");
        sleep(Duration::from_millis(10));
    }
}

fn end(mut child: Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    child.wait().unwrap();
}

#[test]
fn there_is_one_reader_and_it_leaves_nothing() {
    let network = Network::lay(Arms::Two).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    assert_eq!(asked(&agent), Trace::default());
    for signal in [Signal::TERM, Signal::INT] {
        let reader = start(&network, &agent, &["--drops", "--rate", "7"]);
        let first = wait_for(&agent, |trace| trace.until_s != 0);
        assert_eq!((first.service, first.flags, first.per_second_max), (0, TraceFlags::DROPS, 7));
        let ahead = first.until_s - now_s();
        assert!((2..=3).contains(&ahead), "{ahead} s ahead");
        // It goes on saying that it lives.
        wait_for(&agent, |trace| trace.until_s > first.until_s + 1);

        let pins = agent.pin_path().display().to_string();
        let second = run_to_end(&network.node, &["trace", "--pin-path", &pins]).unwrap();
        assert_eq!(second.code, Some(1), "{second}");
        assert!(second.stderr.contains("another `weir trace` runs"), "{second}");
        assert!(asked(&agent).until_s != 0, "the second reader silenced the first");

        end(reader, signal);
        assert_eq!(asked(&agent), Trace::default(), "{signal:?}");
    }
}

#[test]
fn a_service_port_is_asked_for_by_its_id() {
    let network = Network::lay(Arms::Two).unwrap();
    let backends: Vec<_> = network.backends.iter().map(|backend| (backend, 1)).collect();
    let manifests = Manifests::echo(&backends).unwrap();
    let agent = Agent::start(&network, &manifests, XdpMode::Native).unwrap();
    // A port has an id in each family: the programs report all, and the command picks.
    let reader = start(&network, &agent, &["--service", "default/echo:http"]);
    assert_eq!(wait_for(&agent, |trace| trace.until_s != 0).service, 0);
    end(reader, Signal::TERM);

    manifests
        .write("10-service.yaml", &tests::manifests::service().replace("[IPv4, IPv6]", "[IPv4]"))
        .unwrap();
    let services =
        || -> serde_json::Value { serde_json::from_str(&agent.get("services", "json").unwrap()).unwrap() };
    let begin = Instant::now();
    while services().as_array().unwrap().len() != 2 {
        assert!(begin.elapsed() < PATIENCE, "{}", services());
        sleep(Duration::from_millis(20));
    }
    let listed = services();
    let http = listed.as_array().unwrap().iter().find(|one| one.get("portName") == Some(&"http".into()));
    let id = http.and_then(|one| one.get("id")).and_then(serde_json::Value::as_u64).unwrap();
    let reader = start(&network, &agent, &["--service", "default/echo:80"]);
    assert_eq!(u64::from(wait_for(&agent, |trace| trace.until_s != 0).service), id);
    end(reader, Signal::TERM);

    let pins = agent.pin_path().display().to_string();
    let unknown =
        run_to_end(&network.node, &["trace", "--pin-path", &pins, "--service", "default/ech"]).unwrap();
    assert_eq!(unknown.code, Some(1), "{unknown}");
    assert!(unknown.stderr.contains("weir get services"), "{unknown}");
    assert_eq!(asked(&agent), Trace::default());
}
