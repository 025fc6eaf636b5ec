//! The table for people and the lines for programs.

use serde_json::{Value, json};

use super::{Case, ROUNDS, Result};

/// What the table shows, and its head.
pub fn title() -> String {
    format!(
        "XDP, nanoseconds per packet: median (fastest..slowest) of {ROUNDS} rounds, less the wrapper; route look-up included\n\
         {:<24}{:<7}{:<6}{:>9}{:>9}  {}",
        "packets", "family", "over", "flows", "ns", "range"
    )
}

/// One line of the table.
pub fn line(case: &Case, result: &Result) -> String {
    let (fastest, slowest) = result.range_ns;
    format!(
        "{:<24}{:<7}{:<6}{:>9}{:>9}  {fastest}..{slowest}",
        case.kind.name(),
        case.family(),
        case.protocol_name(),
        case.flows,
        result.ns
    )
}

/// One case as JSON.
pub fn json(case: &Case, result: &Result) -> Value {
    json!({
        "packets": case.kind.name(),
        "family": case.family(),
        "protocol": case.protocol_name(),
        "flows": case.flows,
        "ns": result.ns,
        "fastest_ns": result.range_ns.0,
        "slowest_ns": result.range_ns.1,
        "wrapper_ns": result.wrapper_ns,
        "rounds": ROUNDS,
    })
}
