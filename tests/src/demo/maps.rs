//! Step: the maps as `bpftool` shows them.

use std::path::Path;

use anyhow::Result;
use lb_common::maps::LAYOUT;

use crate::net::run;

/// What is shown, and how many lines of each.
const SHOWN: [(&str, usize); 4] = [("FRONTENDS4", 19), ("BACKENDS4", 34), ("SERVICES", 18), ("FLOWS4", 32)];

/// Prints the beginning of some maps.
pub(super) fn show(pins: &Path) -> Result<()> {
    for (name, lines) in SHOWN {
        let line = format!("bpftool map dump pinned {}", pins.join(LAYOUT).join(name).display());
        let dump = run(&line)?;
        println!("   $ {line}");
        for line in dump.lines().take(lines) {
            println!("     {line}");
        }
        if dump.lines().count() > lines {
            println!("     ... {} more lines", dump.lines().count() - lines);
        }
    }
    Ok(())
}
