//! What keeps the agent from starting.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tests::agent::{Agent, XdpMode, program, run_command, run_to_end};
use tests::manifests::Manifests;
use tests::net::{Arms, Network, PassProgram};

use super::refused;

/// Runs an agent that cannot start, with one argument changed.
fn run_with(network: &Network, manifests: &Manifests, option: &str, value: &str) -> tests::agent::Ended {
    let agent = Agent::prepare(network, manifests, XdpMode::Native, &[]);
    let mut arguments = agent.arguments();
    let place = arguments.iter().position(|argument| *argument == option).expect("an option of the agent");
    *arguments.get_mut(place + 1).expect("its value") = value;
    run_to_end(&network.node, &arguments).unwrap()
}

#[test]
fn a_device_that_does_not_exist() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    // The first device is there: what was done to it must be undone.
    let ended = run_with(&network, &manifests, "--device", "eth0,nowhere0");
    refused(&network, &ended, &["nowhere0", "--device"]);
    assert!(!network.node.ip("link show dev eth0").unwrap().contains("xdp"), "eth0 kept a program");
}

#[test]
fn a_directory_that_does_not_exist() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    let ended = run_with(&network, &manifests, "--manifests", "/nonexistent/manifests");
    refused(&network, &ended, &["/nonexistent/manifests"]);
}

#[test]
fn no_bpf_file_system() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let pins = elsewhere.path().join("weir").display().to_string();
    let ended = run_with(&network, &manifests, "--pin-path", &pins);
    refused(&network, &ended, &["mount", "bpf", &pins]);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn an_xdp_program_of_somebody_else() {
    let network = Network::lay(Arms::Two).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    // The second device: what was done to the first must be undone.
    let other = PassProgram::attach(&network.node, "eth1").unwrap();
    let ended = run_with(&network, &manifests, "--xdp-mode", "native");
    refused(&network, &ended, &["eth1", "XDP"]);
    assert!(!network.node.ip("link show dev eth0").unwrap().contains("xdp"), "eth0 kept a program");
    assert!(network.node.ip("link show dev eth1").unwrap().contains("xdp"), "the other program was removed");
    drop(other);
}

#[test]
fn no_privileges() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    // A copy: the build directory may be closed to other users.
    let place = tempfile::Builder::new().prefix(&format!("{}-", tests::net::unique())).tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.path().join("weir");
    fs::copy(program().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = copy.display().to_string();

    let agent = Agent::prepare(&network, &manifests, XdpMode::Native, &[]);
    for how in [
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].as_slice(),
        // Root by name only, as in a container without capabilities.
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all"].as_slice(),
    ] {
        let words = [how, &[copy.as_str()], &agent.arguments()].concat();
        let ended = run_command(&network.node, &words).unwrap();
        refused(&network, &ended, &["CAP_"]);
    }
}

#[test]
fn an_option_without_sense() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    let ended = run_with(&network, &manifests, "--xdp-mode", "fast");
    refused(&network, &ended, &["fast", "--xdp-mode"]);
    let ended = run_with(&network, &manifests, "--node-ip", "10.1.0");
    refused(&network, &ended, &["10.1.0", "--node-ip"]);
    let ended = run_with(&network, &manifests, "--device", "eth0,a/b");
    refused(&network, &ended, &["a/b", "--device"]);
}

#[test]
fn source_ports_that_are_node_ports() {
    let network = Network::lay(Arms::One).unwrap();
    let manifests = Manifests::echo(&[]).unwrap();
    let agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--snat-ports", "20000-30000"]);
    let ended = run_to_end(&network.node, &agent.arguments()).unwrap();
    refused(&network, &ended, &["20000-30000", "30000-32767", "--snat-ports", "--nodeport-range"]);
    assert!(!agent.pin_path().exists(), "something was left behind");
}
