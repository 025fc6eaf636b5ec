//! The steps in their order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::weights::weights;
use super::{Interrupt, drain, maps, shares};
use crate::agent::{Agent, XdpMode, program};
use crate::manifests::Manifests;
use crate::net::{Arms, Network, run as run_tool};
use crate::traffic::Server;

/// Runs the demo with the manifests of a directory; all that it made is gone when this returns.
pub fn run(examples: &Path, interrupt: &Interrupt) -> Result<()> {
    let begin = Instant::now();
    let made = show(examples, interrupt);
    let (name, result) = match made {
        Ok(name) => (Some(name), Ok(())),
        Err(error) => (None, Err(error)),
    };
    println!("-> removed the network, the programs and the maps");
    result?;
    if let Some(name) = name {
        nothing_left(&name)?;
    }
    println!("done in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// All steps; gives the name that everything was called by.
fn show(examples: &Path, interrupt: &Interrupt) -> Result<String> {
    let step = |text: &str| {
        println!("-> {text}");
        interrupt.check()
    };
    program()?;
    step("lay the network: a client, a node, backend-1 and backend-2 behind it, backend-3 on it")?;
    let network = Network::lay(Arms::Two)?;
    let _servers = Server::start_all(&network.backends)?;

    step("apply the manifests of examples/")?;
    let manifests = Manifests::copy_of(examples)?;
    println!("   {}", manifests.names()?.join(", "));

    step("start weir on the node, XDP on eth0 and eth1")?;
    // A small array is shown whole further down.
    let mut agent = Agent::prepare(&network, &manifests, XdpMode::Native, &["--backends-max", "16"]);
    let took = agent.launch()?;
    println!("   ready after {} ms", took.as_millis());

    step("send TCP and UDP over IPv4 and IPv6, each flow from a port of its own")?;
    let mut all = BTreeMap::new();
    for name in manifests.names()? {
        all.extend(weights(&manifests.read(&name)?)?);
    }
    shares::show(&network, &all, interrupt)?;

    step("drain backend-1 while connections come in")?;
    let backend = network.backend("backend-1").context("a network without backend-1")?;
    drain::show(&network, &manifests, backend, interrupt)?;

    step("look at the maps")?;
    maps::show(agent.pin_path())?;
    Ok(network.name.clone())
}

/// Looks for what should be gone.
fn nothing_left(name: &str) -> Result<()> {
    let namespaces = run_tool("ip netns list")?;
    ensure!(!namespaces.contains(name), "a network namespace was left behind: {namespaces}");
    let pins = Path::new(crate::net::PINS).join(name);
    ensure!(!pins.exists(), "{} was left behind", pins.display());
    Ok(())
}
