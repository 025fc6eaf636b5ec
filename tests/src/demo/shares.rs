//! Step: real traffic, and the table of expected against observed shares.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};

use super::Interrupt;
use crate::net::{Family, Network};
use crate::traffic::{Protocol, Tally, chi_square, chi_square_bound};

/// Flows for each protocol and family.
const FLOWS: u16 = 1000;
/// Between two looks for an interrupt.
const BATCH: u16 = 250;
/// Below the range that the kernel takes ports from by itself: each run gives the same table.
const FIRST_PORT: u16 = 10_000;

/// Expected share of each backend of `network`, in its order.
pub(super) fn expected(
    network: &Network,
    family: Family,
    weights: &BTreeMap<IpAddr, u16>,
) -> Result<Vec<f64>> {
    let sum: f64 = weights.values().copied().map(f64::from).sum();
    ensure!(sum > 0.0, "the manifests give no {family:?} endpoint a weight");
    let share = |address| weights.get(&address).map_or(0.0, |weight| f64::from(*weight) / sum);
    Ok(network.backends.iter().map(|backend| share(backend.address(family))).collect())
}

/// Sends TCP and UDP of both families, prints the table, and fails where it does not fit the weights.
pub(super) fn show(network: &Network, weights: &BTreeMap<IpAddr, u16>, interrupt: &Interrupt) -> Result<()> {
    let mut wrong = Vec::new();
    println!("   {:<11}{:<5}{:<6}{:>10}{:>10}{:>9}", "backend", "", "", "expected", "observed", "flows");
    for (n, family) in (0_u16..).zip(Family::ALL) {
        // Only the addresses of this family: the weights of the other one are in another slice.
        let weights: BTreeMap<_, _> = weights
            .iter()
            .filter(|(address, _)| address.is_ipv4() == (family == Family::V4))
            .map(|(address, weight)| (*address, *weight))
            .collect();
        let shares = expected(network, family, &weights)?;
        for (m, protocol) in (0_u16..).zip(Protocol::ALL) {
            let first = FIRST_PORT + (2 * n + m) * FLOWS;
            let tally = ask_all(network, protocol, family, first, interrupt)?;
            if let Some(failure) = tally.failures.first() {
                bail!("{} of {FLOWS} flows failed, the first: {failure}", tally.failures.len());
            }
            if !fits(network, &tally, &shares) {
                wrong.push(format!("{protocol:?} over {family:?}"));
            }
            print(network, protocol, family, &tally, &shares);
        }
    }
    ensure!(wrong.is_empty(), "the shares do not fit the weights: {}", wrong.join(", "));
    Ok(())
}

fn ask_all(
    network: &Network,
    protocol: Protocol,
    family: Family,
    first: u16,
    interrupt: &Interrupt,
) -> Result<Tally> {
    let to = SocketAddr::new(family.vip(), protocol.port());
    let mut sum = Tally::default();
    for batch in 0..FLOWS / BATCH {
        interrupt.check()?;
        let from = first + batch * BATCH;
        let part = network.client.within(|| Tally::ask(protocol, to, from..from + BATCH))?;
        for (backend, answers) in part.answers {
            *sum.answers.entry(backend).or_default() += answers;
        }
        sum.failures.extend(part.failures);
    }
    Ok(sum)
}

/// Whether chance explains the difference.
fn fits(network: &Network, tally: &Tally, shares: &[f64]) -> bool {
    let pairs: Vec<_> =
        network.backends.iter().map(|backend| tally.of(backend.name)).zip(shares.iter().copied()).collect();
    chi_square_bound(pairs.len()).is_some_and(|bound| chi_square(&pairs) < bound)
}

fn print(network: &Network, protocol: Protocol, family: Family, tally: &Tally, shares: &[f64]) {
    let protocol = match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    for (backend, share) in network.backends.iter().zip(shares) {
        let flows = tally.of(backend.name);
        let observed = flows as f64 / tally.total() as f64;
        let (name, share, observed) = (backend.name, share * 100.0, observed * 100.0);
        println!("   {name:<11}{protocol:<5}{family:<6}{share:>9.1}%{observed:>9.1}%{flows:>9}");
    }
}
