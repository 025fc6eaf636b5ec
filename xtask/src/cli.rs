//! The command line, and the text that explains it.

/// What `cargo xtask help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask COMMAND [ARGUMENTS]

  build-ebpf        compile the BPF programs to target/bpf/
  build             compile the release agent, with the BPF programs inside, to target/release/weir
  demo [ARGS]       build, then show weir at work between network namespaces (root)
  test [-- ARGS]    build, then run every test; ARGS go to `cargo test --workspace` (root)
  test --host       the same without the tests that need root
  bench [ARGS]      build, then measure the packet path (root)
  check             formatting, lints for the host and the BPF target, house rules, dependencies
  tidy              the house rules alone
  help              this text

The first use installs what is missing: the pinned nightly toolchain by rustup, bpf-linker into target/tools.";

/// One parsed command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print [`HELP`].
    Help,
    /// Compile the BPF programs.
    BuildEbpf,
    /// Compile the release agent.
    Build,
    /// Run the demonstration with these arguments.
    Demo(Vec<String>),
    /// Run the benchmarks with these arguments.
    Bench(Vec<String>),
    /// Run the tests.
    Test {
        /// Leave out the tests that need root.
        host: bool,
        /// Arguments for `cargo test`.
        arguments: Vec<String>,
    },
    /// Run every static check.
    Check,
    /// Run the house rules.
    Tidy,
}

/// Reads the arguments that follow `cargo xtask`. The error is a sentence for the user.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let Some(name) = arguments.next() else { return Err("no command given".to_owned()) };
    let rest: Vec<String> = arguments.collect();
    let command = match name.as_str() {
        "demo" => return Ok(Command::Demo(passed_through(rest))),
        "bench" => return Ok(Command::Bench(passed_through(rest))),
        "test" => return parse_test(rest),
        "help" | "--help" | "-h" => return Ok(Command::Help),
        "build-ebpf" => Command::BuildEbpf,
        "build" => Command::Build,
        "check" => Command::Check,
        "tidy" => Command::Tidy,
        _ => return Err(format!("unknown command `{name}`")),
    };
    match rest.first() {
        Some(extra) => Err(format!("`{name}` takes no argument, but got `{extra}`")),
        None => Ok(command),
    }
}

fn parse_test(rest: Vec<String>) -> Result<Command, String> {
    let mut host = false;
    let mut rest = rest.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--host" => host = true,
            "--" => return Ok(Command::Test { host, arguments: rest.collect() }),
            _ => {
                return Err(format!(
                    "`test` does not know `{argument}`; arguments of `cargo test` follow `--`"
                ));
            }
        }
    }
    Ok(Command::Test { host, arguments: Vec::new() })
}

/// `demo -- --flag` and `demo --flag` mean the same.
fn passed_through(mut arguments: Vec<String>) -> Vec<String> {
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_and_their_arguments() {
        let arguments = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let cases = [
            ("build-ebpf", Command::BuildEbpf),
            ("build", Command::Build),
            ("check", Command::Check),
            ("tidy", Command::Tidy),
            ("--help", Command::Help),
            ("demo", Command::Demo(Vec::new())),
            ("demo -- --keep", Command::Demo(arguments(&["--keep"]))),
            ("bench --json", Command::Bench(arguments(&["--json"]))),
            ("test", Command::Test { host: false, arguments: Vec::new() }),
            ("test --host", Command::Test { host: true, arguments: Vec::new() }),
            ("test -- parity", Command::Test { host: false, arguments: arguments(&["parity"]) }),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn errors_name_the_word_that_is_wrong() {
        let cases = [
            ("", "no command"),
            ("biuld", "`biuld`"),
            ("build --release", "`--release`"),
            ("test --hots", "`--hots`"),
        ];
        for (line, part) in cases {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn help_names_every_command() {
        for name in ["build-ebpf", "build", "demo", "test", "bench", "check", "tidy", "help"] {
            assert!(HELP.contains(&format!("\n  {name}")), "{name}");
        }
    }
}
