//! Tests of `weir explain` on manifests, by the command itself.
#![forbid(unsafe_code)]

mod cases;
mod manifests;
mod page;
mod usage;

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The workspace, where `examples` and `docs` are.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}

/// Runs weir in the workspace with these arguments.
fn weir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .current_dir(root())
        .env_remove("NODE_NAME")
        .env_remove("WEIR_PIN_PATH")
        .output()
        .expect("weir runs")
}

/// What it printed.
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What it complained of.
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A directory with one file of manifests.
fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("all.yaml"), text).expect("writable");
    directory
}
