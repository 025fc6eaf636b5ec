//! Step: one backend is drained by an edit of a manifest while connections come in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::Interrupt;
use super::weights::with_weight;
use crate::manifests::Manifests;
use crate::net::{BackendHost, Family, Network};
use crate::traffic::{Connection, Continuous, Protocol, Record, Tally};

/// Longest time that a change may take to be served.
const SERVED: Duration = Duration::from_secs(1);
/// Traffic before and after the edit.
const WATCH: Duration = Duration::from_millis(1500);

/// Drains `backend` in the manifests, and fails if any connection does.
pub(super) fn show(
    network: &Network,
    manifests: &Manifests,
    backend: &BackendHost,
    interrupt: &Interrupt,
) -> Result<()> {
    let to = SocketAddr::new(Family::V4.vip(), Protocol::Tcp.port());
    let mut held = connection_to(network, to, backend.name)?;
    let traffic = Continuous::start(&network.client, Protocol::Tcp, to);
    interrupt.sleep(WATCH)?;
    let changed = Instant::now();
    let file = edit(manifests, backend)?;
    println!("   {file}: weight of {} is 0 now", backend.v4);
    interrupt.sleep(SERVED + WATCH)?;
    let records = traffic.stop()?;

    let (before, after): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.asked < changed);
    let last = after.iter().rev().find(|record| record.result.as_deref() == Ok(backend.name));
    let delay = last.map_or(Duration::ZERO, |record| record.asked - changed);
    let (before, after) = (count(before), count(after));
    row("before the edit", network, &before);
    row("after the edit", network, &after);
    let failures = before.failures.len() + after.failures.len();
    println!("   connections that failed: {failures}");
    println!("   {} took its last new connection {} ms after the edit", backend.name, delay.as_millis());
    ensure!(failures == 0, "{failures} connections failed while a backend was drained");
    ensure!(before.of(backend.name) > 0, "{} had no traffic before it was drained", backend.name);
    ensure!(delay < SERVED, "{} still gets new connections", backend.name);
    let answer = held.ask().context("the established connection broke")?;
    ensure!(answer.backend == backend.name, "the established connection moved to {}", answer.backend);
    println!("   its established connection goes on");
    Ok(())
}

fn connection_to(network: &Network, to: SocketAddr, backend: &str) -> Result<Connection> {
    for _ in 0..500 {
        let mut connection = network.client.within(|| Connection::open(to, 0))??;
        if connection.ask()?.backend == backend {
            return Ok(connection);
        }
    }
    bail!("no connection reached {backend}");
}

/// Edits the slice that gives the backend's IPv4 address a weight; gives the name of its file.
fn edit(manifests: &Manifests, backend: &BackendHost) -> Result<String> {
    for name in manifests.names()? {
        if let Some(edited) = with_weight(&manifests.read(&name)?, backend.v4.into(), 0) {
            manifests.write(&name, &edited)?;
            return Ok(name);
        }
    }
    bail!("no manifest gives {} a weight", backend.v4)
}

fn count(records: Vec<Record>) -> Tally {
    let mut tally = Tally::default();
    tally.extend(records);
    tally
}

fn row(when: &str, network: &Network, tally: &Tally) {
    let cells =
        network.backends.iter().map(|backend| format!("{} {:>5}", backend.name, tally.of(backend.name)));
    println!("   new connections {when:<16} {}", cells.collect::<Vec<_>>().join("   "));
}
