//! Transfers and connections through a node of its own namespace, beside plain routing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Only;
use crate::agent::Agent;
use crate::manifests::Manifests;
use crate::net::{HTTP_PORT, HTTP_TARGET_PORT, Hop, Line, VIP4};
use crate::traffic::{BulkServer, connection_rate, rate};

/// Connects at once.
const WORKERS: usize = 4;
/// Before each measurement: neighbours are found, and the way is in the caches.
const WARM_UP: Duration = Duration::from_millis(50);

/// How the packets get to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To its own address: the node routes, and weir is not there.
    Plain,
    /// To the Service, by XDP in the driver.
    Native,
    /// To the Service, by XDP in the stack.
    Generic,
    /// To the Service, by tc alone.
    Tc,
}

impl Way {
    /// All: each round goes through them in this order.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Native, Self::Generic, Self::Tc];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }

    /// As `--xdp-mode` takes it.
    const fn mode(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Native => Some("native"),
            Self::Generic => Some("generic"),
            Self::Tc => Some("off"),
        }
    }
}

/// What is measured through namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// One TCP connection that sends as much as it can, over cables of an MTU. Bits a second.
    Transfer {
        /// Bytes.
        mtu: u16,
    },
    /// TCP connections that carry one byte each way. Connections a second.
    Connections,
}

/// How long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds, each of which goes all ways.
    pub rounds: usize,
    /// A measurement.
    pub duration: Duration,
}

/// What one way gave.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The way.
    pub way: Way,
    /// The median of the rounds, and the median of the ratios to plain routing in the same round; none where weir has
    /// no such way.
    pub median: Option<(f64, f64)>,
}

impl Plan {
    /// The usual, or one that takes a few seconds.
    pub const fn new(quick: bool) -> Self {
        if quick {
            Self { rounds: 3, duration: Duration::from_millis(250) }
        } else {
            Self { rounds: 7, duration: Duration::from_millis(1000) }
        }
    }
}

impl Through {
    /// What is measured; `quick` leaves out jumbo frames.
    pub fn all(quick: bool) -> Vec<Self> {
        let mut all = vec![Self::Transfer { mtu: 1500 }];
        all.extend((!quick).then_some(Self::Transfer { mtu: 9000 }));
        all.push(Self::Connections);
        all
    }

    /// The columns by which `--only` names it.
    pub fn columns(self) -> Vec<String> {
        match self {
            Self::Transfer { mtu } => vec!["transfer".to_owned(), mtu.to_string()],
            Self::Connections => vec!["connections".to_owned()],
        }
    }

    /// Whether any way of it is wanted.
    pub fn is_wanted(self, only: &Only) -> bool {
        Way::ALL.iter().any(|way| only.wants(&self.path(*way)))
    }

    fn path(self, way: Way) -> Vec<String> {
        [self.columns(), vec![way.name().to_owned()]].concat()
    }

    /// Measures all ways that are wanted.
    ///
    /// A round goes one way after the other, so that what changes on the machine meanwhile changes all alike.
    pub fn measure(self, plan: Plan, only: &Only) -> Result<Vec<Figure>> {
        let line = Line::lay(Hop::None, if let Self::Transfer { mtu } = self { mtu } else { 1500 }, false)?;
        let _server = BulkServer::start(&line.backend.namespace, HTTP_TARGET_PORT)?;
        let manifests = Manifests::echo(&[(&line.backend, 1)])?;
        let mut ways: Vec<(Way, Vec<f64>)> =
            Way::ALL.into_iter().filter(|way| self.wants(*way, only)).map(|way| (way, Vec::new())).collect();
        for _ in 0..plan.rounds {
            for (way, values) in &mut ways {
                match self.go(*way, &line, &manifests, plan.duration) {
                    Ok(value) => values.push(value),
                    // An agent that has no such mode ends at once.
                    Err(_) if *way == Way::Tc && values.is_empty() => {}
                    Err(error) => return Err(error).context(format!("the way {}", way.name())),
                }
            }
        }
        let plain = ways.first().map(|(_, values)| values.clone()).unwrap_or_default();
        let figure = |(way, values): &(Way, Vec<f64>)| {
            let ratios = values.iter().zip(&plain).map(|(value, plain)| value / plain).collect();
            Figure { way: *way, median: median(values.clone()).zip(median(ratios)) }
        };
        Ok(ways.iter().map(figure).collect())
    }

    /// Plain routing is always measured: the others are given as ratios to it.
    fn wants(self, way: Way, only: &Only) -> bool {
        way == Way::Plain || only.wants(&self.path(way))
    }

    /// One measurement by an agent of its own, or by none.
    fn go(self, way: Way, line: &Line, manifests: &Manifests, duration: Duration) -> Result<f64> {
        let mut agent = way.mode().map(|mode| Agent::on_line(line, manifests, mode, &[]));
        if let Some(agent) = &mut agent {
            agent.launch()?;
        }
        let to = match way {
            Way::Plain => SocketAddr::new(line.backend.v4.into(), HTTP_TARGET_PORT),
            Way::Native | Way::Generic | Way::Tc => SocketAddr::new(VIP4.into(), HTTP_PORT),
        };
        let measured = line.client.within(|| {
            rate(to, WARM_UP)?;
            match self {
                Self::Transfer { .. } => rate(to, duration).map(|bytes| bytes * 8.0),
                Self::Connections => connection_rate(to, duration, WORKERS),
            }
        })?;
        measured.with_context(|| format!("no traffic to {to}"))
    }
}

/// The middle one; the upper one of two.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn one_way_is_named_with_its_reference() {
        let transfer = Through::Transfer { mtu: 9000 };
        let only = Only::path("transfer/9000/native");
        let wanted: Vec<_> = Way::ALL.into_iter().filter(|way| transfer.wants(*way, &only)).collect();
        assert_eq!(wanted, [Way::Plain, Way::Native]);
        assert!(!Through::Connections.wants(Way::Native, &only));
    }
}
