//! The process of a test that makes system calls on sockets; see `tests::traffic::Worker`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let join = std::env::args_os().nth(1).map(PathBuf::from);
    match tests::traffic::serve(join.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the worker ends: {error}");
            ExitCode::FAILURE
        }
    }
}
