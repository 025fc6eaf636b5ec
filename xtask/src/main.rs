//! `cargo xtask`: every command a developer of weir needs, each doing all of its own set-up.
#![forbid(unsafe_code)]

mod agent;
mod btf;
mod check;
mod cli;
mod deny;
mod ebpf;
mod linker;
mod lock;
mod machine;
mod process;
mod runner;
mod step;
mod tidy;
mod tool;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use cli::{Command, HELP};
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let command = match cli::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match execute(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<()> {
    if *command == Command::Help {
        println!("{HELP}");
        return Ok(());
    }
    let workspace = Workspace::find()?;
    match command {
        Command::Help => Ok(()),
        Command::BuildEbpf => ebpf::build(&workspace),
        Command::Build => agent::build_release(&workspace).map(|agent| println!("{}", agent.display())),
        Command::Demo(arguments) => runner::demo(&workspace, arguments),
        Command::Bench(arguments) => runner::bench(&workspace, arguments),
        Command::Test { host, arguments } => runner::test(&workspace, *host, arguments),
        Command::Check => check::run(&workspace),
        Command::Tidy => step::step("house rules", || tidy::run(workspace.root())),
    }
}
