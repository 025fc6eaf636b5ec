//! Shows weir at work on one machine, in network namespaces that it removes again.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use tests::demo::{Interrupt, run};

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "the demo makes network namespaces and loads BPF programs, which needs root:\n  \
             sudo -E env PATH=$PATH cargo xtask demo"
        );
        return ExitCode::FAILURE;
    }
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let interrupt = Interrupt::install()?;
    run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &interrupt)
}
