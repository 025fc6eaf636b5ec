//! What the process that is measured is told, and what it tells.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::Calls;
use super::peer::Peer;

/// The argument by which the benchmark runs itself as the process that is measured.
pub const JOB: &str = "sockets-job";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// What is called.
    pub(super) calls: Calls,
    /// The backend.
    pub(super) direct: SocketAddr,
    /// The Service.
    pub(super) vip: SocketAddr,
    /// How often each of [`Self::ways`] is measured.
    pub(super) turns: u32,
    /// Name of the network namespace with the backend's address.
    pub(super) peer: String,
    /// Control group with the programs.
    pub(super) with: PathBuf,
    /// Control group without them.
    pub(super) without: PathBuf,
}

/// Nanoseconds a call in one turn: to the backend without the programs, to the backend with them, and to the Service.
pub(super) type Turn = [f64; 3];

impl Job {
    /// As arguments of the process.
    pub(super) fn arguments(&self) -> Vec<String> {
        let [with, without] = [&self.with, &self.without].map(|path| path.display().to_string());
        let (direct, vip, turns) = (self.direct.to_string(), self.vip.to_string(), self.turns.to_string());
        vec![
            JOB.to_owned(),
            self.calls.name().to_owned(),
            direct,
            vip,
            turns,
            self.peer.clone(),
            with,
            without,
        ]
    }

    /// From the arguments behind [`JOB`].
    fn parse(arguments: &[String]) -> Result<Self> {
        let [calls, direct, vip, turns, peer, with, without] = arguments else {
            anyhow::bail!("`{JOB}` is for the benchmark's own use");
        };
        let calls = Calls::ALL.into_iter().find(|known| known.name() == calls).context("no such calls")?;
        Ok(Self {
            calls,
            direct: direct.parse()?,
            vip: vip.parse()?,
            turns: turns.parse()?,
            peer: peer.clone(),
            with: with.into(),
            without: without.into(),
        })
    }

    /// The control group and the destination of each number of a [`Turn`].
    fn ways(&self) -> [(&PathBuf, SocketAddr); 3] {
        [(&self.without, self.direct), (&self.with, self.direct), (&self.with, self.vip)]
    }

    /// Measures in the calling process, which has one thread and is in the client's network namespace.
    fn run(&self) -> Result<Vec<Turn>> {
        let peer = Peer::start(self.calls, self.direct, &self.peer)?;
        let mut turns = Vec::new();
        for number in 0..=self.turns {
            let mut turn = Turn::default();
            let mut ways: Vec<_> = turn.iter_mut().zip(self.ways()).collect();
            // There and back, so that none always comes first.
            if number % 2 == 1 {
                ways.reverse();
            }
            for (ns, (cgroup, to)) in ways {
                enter(cgroup)?;
                let taken =
                    self.calls.make(to, &peer).with_context(|| format!("{} to {to}", self.calls.name()))?;
                *ns = taken.as_nanos() as f64 / f64::from(self.calls.count());
            }
            // The first fills the caches.
            if number > 0 {
                turns.push(turn);
            }
        }
        Ok(turns)
    }
}

/// Moves the calling process: sockets that it makes from now on are the group's.
fn enter(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0").with_context(|| format!("cannot enter {}", cgroup.display()))
}

/// The process that is measured: does the job that its arguments say, and prints a line of three numbers for each turn.
///
/// # Errors
///
/// When a call fails.
pub fn run_job(arguments: &[String]) -> Result<()> {
    for [without, with, vip] in Job::parse(arguments)?.run()? {
        println!("{without} {with} {vip}");
    }
    Ok(())
}

/// What [`run_job`] has printed.
pub(super) fn parse(printed: &str) -> Result<Vec<Turn>> {
    let turns = printed.lines().map(|line| {
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        Turn::try_from(numbers).ok().context("three numbers are a turn")
    });
    let turns: Vec<Turn> = turns.collect::<Result<_>>()?;
    ensure!(!turns.is_empty(), "nothing was measured");
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_goes_through_arguments() {
        let job = Job {
            calls: Calls::Query,
            direct: "10.1.1.11:5353".parse().unwrap(),
            vip: "[fd00::1]:53".parse().unwrap(),
            turns: 7,
            peer: "peer".to_owned(),
            with: "/a b".into(),
            without: "/c".into(),
        };
        let arguments = job.arguments();
        assert_eq!(Job::parse(arguments.get(1..).unwrap()).unwrap(), job);
        assert!(Job::parse(&[]).is_err());
    }

    #[test]
    fn turns_are_lines_of_three_numbers() {
        assert_eq!(parse("1 2.5 3\n4 5 6\n").unwrap(), [[1.0, 2.5, 3.0], [4.0, 5.0, 6.0]]);
        for wrong in ["", "1 2", "1 2 x", "1 2 3 4"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
