//! Progress: one line for each finished step, with the time it took.

use std::time::Instant;

use anyhow::{Context, Result};

/// Runs one step and reports it on standard error; an error names the step.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work();
    let outcome = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!("xtask: {name}: {outcome} ({:.1} s)", start.elapsed().as_secs_f64());
    result.with_context(|| name.to_owned())
}
