//! Measures the data path: `cargo xtask bench [--quick] [--json] [--only NAME[/FAMILY[/PROTOCOL[/FLOWS]]]]`. Needs root.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use tests::bench::{Case, cases, json, line, measure, title};
use tests::kernel_network::lay;

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
    let (mut quick, mut as_json, mut only) = (false, false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => as_json = true,
            "--only" => {
                only = Some(arguments.next().context("--only needs a name of the table's first column")?);
            }
            other => bail!(
                "unknown argument {other}; there are --quick, --json and --only NAME[/FAMILY[/PROTOCOL[/FLOWS]]]"
            ),
        }
    }
    let wanted = |case: &Case| only.as_deref().is_none_or(|path| case.is_below(path));
    let cases: Vec<_> = cases(quick).into_iter().filter(wanted).collect();
    if !rustix::process::geteuid().is_root() {
        bail!("loading BPF programs needs root: sudo -E env PATH=$PATH cargo xtask bench");
    }
    let namespace = lay()?;
    namespace.within(|| {
        stay_on_one_cpu()?;
        print_all(&cases, as_json)
    })?
}

fn print_all(cases: &[Case], as_json: bool) -> Result<()> {
    let mut results = Vec::new();
    if !as_json {
        println!("{}", title());
    }
    for case in cases {
        let result = measure(case)?;
        if as_json {
            results.push(json(case, &result));
        } else {
            println!("{}", line(case, &result));
        }
    }
    if as_json {
        println!("{:#}", Value::from(results));
    }
    Ok(())
}

/// Caches and per-CPU elements stay the same from round to round.
fn stay_on_one_cpu() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu));
    let mut one = CpuSet::new();
    last.into_iter().for_each(|cpu| one.set(cpu));
    Ok(sched_setaffinity(None, &one)?)
}
