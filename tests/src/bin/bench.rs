//! Measures the data path: `cargo xtask bench [--quick] [--json] [--only PATH]`. Needs root.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tests::bench::{
    JOB, Only, Plan, Report, Through, cases, measure, measure_sockets, memory, run_job, service_cases,
};
use tests::kernel_network::lay;

const USAGE: &str = "there are --quick, --json and --only PATH, with a path of NAME[/FAMILY[/PROTOCOL[/FLOWS]]] (a name of the \
                     first table), services[/NAME[/one|all[/SERVICES]]], transfer[/MTU[/WAY]], connections[/WAY], \
                     sockets[/CALLS[/FAMILY[/node|pod]]] or memory";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (mut quick, mut as_json, mut only) = (false, false, Only::default());
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some(JOB) {
        stay_on_one_cpu()?;
        return run_job(&arguments.skip(1).collect::<Vec<_>>());
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => as_json = true,
            "--only" => {
                only =
                    Only::path(&arguments.next().with_context(|| format!("--only needs a path; {USAGE}"))?);
            }
            other => bail!("unknown argument {other}; {USAGE}"),
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("loading BPF programs needs root: sudo -E env PATH=$PATH cargo xtask bench");
    }
    let mut report = Report::new(as_json);
    packets(quick, &only, &mut report)?;
    for through in Through::all(quick).into_iter().filter(|through| through.is_wanted(&only)) {
        for figure in through.measure(Plan::new(quick), &only)? {
            report.through(through, &figure);
        }
    }
    measure_sockets(quick, &only, |case, figure| report.sockets(case, figure))?;
    if only.wants(&["memory"]) {
        report.memory(&memory()?);
    }
    only.check(!report.is_empty())?;
    report.end();
    Ok(())
}

/// Nanoseconds per packet.
fn packets(quick: bool, only: &Only, report: &mut Report) -> Result<()> {
    let mut wanted = [cases(quick), service_cases(quick)].concat();
    wanted.retain(|case| only.wants(&case.columns()));
    if wanted.is_empty() {
        return Ok(());
    }
    lay()?.within(|| {
        stay_on_one_cpu()?;
        for case in &wanted {
            report.packets(case, &measure(case, quick)?);
        }
        Ok(())
    })?
}

/// Caches and per-CPU elements stay the same from round to round.
fn stay_on_one_cpu() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu));
    let mut one = CpuSet::new();
    last.into_iter().for_each(|cpu| one.set(cpu));
    Ok(sched_setaffinity(None, &one)?)
}
