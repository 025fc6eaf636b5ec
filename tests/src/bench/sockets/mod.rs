//! What the programs at sockets cost a process: calls to a Service and to its backend's own address, in turns.
//!
//! A process of its own makes the calls, since the control group that a process is in decides whether the programs run.

mod calls;
mod job;
mod peer;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, MapData, PerCpuArray};
use lb_common::{Outcome, maps};

use super::Only;
use super::through::median;
use crate::agent::{Agent, run_command};
use crate::manifests::Manifests;
use crate::net::{
    CLUSTER4, CLUSTER6, Cgroup, DNS_PORT, DNS_TARGET_PORT, Family, HTTP_PORT, HTTP_TARGET_PORT, Hop, Line,
    Namespace,
};
use job::{Job, Turn};

pub use calls::Calls;
pub use job::{JOB, run_job};

/// Turns of a round.
const TURNS: u32 = 16;
/// The same with `quick`.
const TURNS_QUICK: u32 = 6;
/// Rounds.
const ROUNDS: u32 = 7;

/// Where the calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the node's namespace, to a pod behind a veth pair.
    Node,
    /// In a pod, to itself.
    Pod,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct SocketCase {
    /// What is called.
    pub calls: Calls,
    /// Of the addresses.
    pub family: Family,
    /// Where.
    pub place: Place,
}

/// What came out: medians.
#[derive(Clone, Copy, Debug)]
pub struct SocketFigure {
    /// Nanoseconds to the backend, by a process that the programs do not concern.
    pub without_ns: f64,
    /// Nanoseconds to the backend.
    pub direct_ns: f64,
    /// Nanoseconds to the Service.
    pub vip_ns: f64,
    /// Of the second to the first: what traffic for no Service pays.
    pub hooks: Ratio,
    /// Of the third to the second.
    pub service: Ratio,
}

/// Ratios of the same turn: their medians in each round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

/// Control groups, of which those inside are removed first.
#[derive(Debug)]
struct Cgroups {
    /// With the programs.
    with: Cgroup,
    /// Without them.
    without: Cgroup,
    _parent: Cgroup,
}

impl Cgroups {
    fn make() -> Result<Self> {
        let parent = Cgroup::create()?;
        Ok(Self { with: parent.child("with")?, without: parent.child("without")?, _parent: parent })
    }
}

impl Place {
    const ALL: [Self; 2] = [Self::Node, Self::Pod];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
        }
    }
}

impl SocketCase {
    /// All that is measured.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for calls in Calls::ALL {
            for family in Family::ALL {
                all.extend(Place::ALL.map(|place| Self { calls, family, place }));
            }
        }
        all
    }

    /// The columns by which `--only` names it.
    pub fn columns(&self) -> [&'static str; 4] {
        ["sockets", self.calls.name(), self.family_name(), self.place.name()]
    }

    /// The name of the family.
    pub const fn family_name(&self) -> &'static str {
        match self.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }
}

/// Measures what is wanted, each line given to `report` when it is there.
///
/// # Errors
///
/// When something cannot be set up, or the calls did not go where they should.
pub fn measure_sockets(
    quick: bool,
    only: &Only,
    mut report: impl FnMut(&SocketCase, &SocketFigure),
) -> Result<()> {
    let wanted: Vec<_> = SocketCase::all().into_iter().filter(|case| only.wants(&case.columns())).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = Line::lay(Hop::None, 1500, true)?;
    let manifests = Manifests::echo(&[(&line.backend, 1)])?;
    let cgroups = Cgroups::make()?;
    let path = cgroups.with.path().display().to_string();
    let mut agent =
        Agent::on_line(&line, &manifests, "off", &["--socket-mode", "on", "--cgroup-path", &path]);
    agent.launch()?;
    for case in wanted {
        let figure = measure(&case, if quick { TURNS_QUICK } else { TURNS }, &line, &cgroups, &agent)
            .with_context(|| case.columns().join("/"))?;
        report(&case, &figure);
    }
    Ok(())
}

/// Measures one line.
fn measure(
    case: &SocketCase,
    turns: u32,
    line: &Line,
    cgroups: &Cgroups,
    agent: &Agent<'_>,
) -> Result<SocketFigure> {
    let backend = &line.backend.namespace;
    let client = match case.place {
        Place::Node => &line.node,
        Place::Pod => backend,
    };
    let (port, target_port) =
        if case.calls.is_tcp() { (HTTP_PORT, HTTP_TARGET_PORT) } else { (DNS_PORT, DNS_TARGET_PORT) };
    let vip: IpAddr = match case.family {
        Family::V4 => CLUSTER4.into(),
        Family::V6 => CLUSTER6.into(),
    };
    let job = Job {
        calls: case.calls,
        direct: SocketAddr::new(line.backend.address(case.family), target_port),
        vip: SocketAddr::new(vip, port),
        turns: ROUNDS * turns,
        peer: backend.name().to_owned(),
        with: cgroups.with.path().to_owned(),
        without: cgroups.without.path().to_owned(),
    };
    let before = translated(agent)?;
    let figure = SocketFigure::of(&run(&job, client)?, turns as usize);
    let (counted, expected) = (translated(agent)? - before, u64::from(job.turns * case.calls.translated()));
    ensure!(counted >= expected, "{counted} calls were translated, and not {expected}");
    Ok(figure)
}

/// Runs a job in a process of its own.
fn run(job: &Job, client: &Namespace) -> Result<Vec<Turn>> {
    let program = std::env::current_exe()?.display().to_string();
    let arguments = job.arguments();
    let words: Vec<&str> = [&program].into_iter().chain(&arguments).map(String::as_str).collect();
    let ended = run_command(client, &words)?;
    ensure!(ended.code == Some(0), "{ended}");
    job::parse(&ended.stdout)
}

/// Calls that were given the address of a backend so far.
fn translated(agent: &Agent<'_>) -> Result<u64> {
    let path = agent.pin_path().join(maps::LAYOUT).join("SOCKET_COUNTERS");
    let pinned = MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let counters = PerCpuArray::<_, u64>::try_from(Map::PerCpuArray(pinned))?;
    Ok(counters.get(&Outcome::SocketTranslated.index(), 0)?.iter().sum())
}

impl SocketFigure {
    /// Of turns, so many of which are a round.
    fn of(turns: &[Turn], round: usize) -> Self {
        let of = |value: fn(&Turn) -> f64| median(turns.iter().map(value).collect()).unwrap_or_default();
        Self {
            without_ns: of(|[without, ..]| *without),
            direct_ns: of(|[_, direct, _]| *direct),
            vip_ns: of(|[.., vip]| *vip),
            hooks: Ratio::of(turns, round, |[without, direct, _]| direct / without),
            service: Ratio::of(turns, round, |[_, direct, vip]| vip / direct),
        }
    }
}

impl Ratio {
    fn of(turns: &[Turn], round: usize, ratio: fn(&Turn) -> f64) -> Self {
        let rounds = turns.chunks(round).filter_map(|turns| median(turns.iter().map(ratio).collect()));
        let rounds: Vec<f64> = rounds.collect();
        Self {
            lowest: rounds.iter().copied().fold(f64::INFINITY, f64::min),
            highest: rounds.iter().copied().fold(0.0, f64::max),
            median: median(rounds).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_turn() {
        let turns = [[100.0, 110.0, 220.0], [200.0, 200.0, 300.0], [100.0, 130.0, 130.0]];
        let figure = SocketFigure::of(&turns, 1);
        assert_eq!((figure.without_ns, figure.direct_ns, figure.vip_ns), (100.0, 130.0, 220.0));
        assert_eq!(figure.hooks, Ratio { median: 1.1, lowest: 1.0, highest: 1.3 });
        assert_eq!(figure.service, Ratio { median: 1.5, lowest: 1.0, highest: 2.0 });
        // In one round all make one ratio.
        assert_eq!(SocketFigure::of(&turns, 3).service, Ratio { median: 1.5, lowest: 1.5, highest: 1.5 });
    }
}
