//! Running other programs, with errors that quote the command.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Error, Result, anyhow, bail};

/// Runs a command to its end; its output goes to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command and returns what it printed, without the line break at the end.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if !status.success() {
        let reason = String::from_utf8_lossy(&stderr);
        bail!("`{}` failed ({status}): {}", line(command), reason.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned())
}

/// Becomes another program, so that signals and the exit code are its own. Returns only when that fails.
pub(crate) fn replace(command: &mut Command) -> Error {
    let error = command.exec();
    not_started(command, &error)
}

fn not_started(command: &Command, error: &std::io::Error) -> Error {
    let program = command.get_program().to_string_lossy();
    match (error.kind(), &*program) {
        (ErrorKind::NotFound, "rustup") => {
            anyhow!("`rustup` was not found: install it from https://rustup.rs")
        }
        (ErrorKind::NotFound, _) => anyhow!("`{program}` was not found in PATH"),
        _ => anyhow!("`{}` could not be started: {error}", line(command)),
    }
}

/// The command as one would type it, without its environment.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_what_was_printed() {
        assert_eq!(output(Command::new("echo").arg("two words")).expect("echo runs"), "two words");
    }

    #[test]
    fn a_failure_quotes_the_command_and_its_reason() {
        let error =
            output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).expect_err("exit code 3");
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("broken") && text.contains('3'), "{text}");
        let error = run(Command::new("false").arg("argument")).expect_err("exit code 1");
        assert!(error.to_string().contains("`false argument` failed"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-of-weir")).expect_err("it does not exist");
        assert_eq!(error.to_string(), "`no-such-program-of-weir` was not found in PATH");
    }
}
