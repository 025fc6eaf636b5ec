//! Answers counted by backend, and how well they fit the expected shares.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;

use super::{Protocol, ask};

/// So many failures tell enough.
const FAILURES_MAX: usize = 10;

/// How often each backend answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by backend.
    pub answers: BTreeMap<String, u64>,
    /// What went wrong, one text for each question without an answer.
    pub failures: Vec<String>,
}

impl Tally {
    /// Asks `to` once from each of `source_ports`, each time by a connection or socket of its own.
    ///
    /// The choice of a backend follows from the 5-tuple alone: with the same ports each run gives the same result.
    /// After some failures it gives up: each costs the whole wait.
    pub fn ask(protocol: Protocol, to: SocketAddr, source_ports: impl IntoIterator<Item = u16>) -> Self {
        let mut tally = Self::default();
        for port in source_ports {
            tally.add(ask(protocol, to, port).map(|answer| answer.backend));
            if tally.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        tally
    }

    /// Counts one answer.
    pub fn add(&mut self, result: Result<String, impl Display>) {
        match result {
            Ok(backend) => *self.answers.entry(backend).or_default() += 1,
            Err(error) => self.failures.push(error.to_string()),
        }
    }

    /// Answers of one backend.
    pub fn of(&self, backend: &str) -> u64 {
        self.answers.get(backend).copied().unwrap_or(0)
    }

    /// Answers of all.
    pub fn total(&self) -> u64 {
        self.answers.values().sum()
    }
}

/// Pearson's statistic of observed counts against expected shares, which sum to 1. One backend a pair.
pub fn chi_square(pairs: &[(u64, f64)]) -> f64 {
    let total = pairs.iter().map(|(observed, _)| *observed).sum::<u64>() as f64;
    pairs
        .iter()
        .map(|(observed, share)| {
            let expected = share * total;
            (*observed as f64 - expected).powi(2) / expected
        })
        .sum()
}

/// What the statistic exceeds once in a thousand times by chance, for 2 to 5 backends.
///
/// Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.4, upper-tail 0.001.
pub const fn chi_square_bound(backends: usize) -> Option<f64> {
    match backends {
        2 => Some(10.828),
        3 => Some(13.816),
        4 => Some(16.266),
        5 => Some(18.467),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistic_of_known_counts() {
        assert_eq!(chi_square(&[(500, 0.5), (300, 0.3), (200, 0.2)]), 0.0);
        // (60 - 50)^2 / 50 twice.
        assert!((chi_square(&[(60, 0.5), (40, 0.5)]) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn equal_shares_are_told_from_unequal_ones() {
        let equal = [(1000, 0.5), (1000, 0.3), (1000, 0.2)];
        assert!(chi_square(&equal) > chi_square_bound(3).unwrap());
    }

    #[test]
    fn a_tally_counts_answers_and_failures() {
        let mut tally = Tally::default();
        tally.add(Ok::<_, String>("a".to_owned()));
        tally.add(Ok::<_, String>("a".to_owned()));
        tally.add(Err("timed out"));
        assert_eq!((tally.of("a"), tally.of("b"), tally.total()), (2, 0, 2));
        assert_eq!(tally.failures, ["timed out"]);
    }
}
