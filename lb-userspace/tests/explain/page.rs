//! The pages about `weir explain` and `weir trace` say what the commands do.

use std::fs;

use lb_common::Outcome;
use lb_userspace::explain::Rule;
use lb_userspace::trace::{fate, reason};

use super::{root, stdout, weir};

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the page is there")
}

/// The commands of a page with what it says that they print: blocks of ```` ```console ```` whose first line begins
/// with `$ weir`.
fn commands(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```console\n").skip(1);
    blocks
        .map(|block| block.split_once("```").expect("the block ends").0)
        .map(|block| block.strip_prefix("$ weir ").expect("a command").split_once('\n').expect("its output"))
        .collect()
}

#[test]
fn the_examples_are_what_is_printed() {
    let page = page("explain.md");
    let commands = commands(&page);
    assert!(commands.len() >= 3, "{commands:?}");
    for (command, expected) in commands {
        let arguments: Vec<&str> =
            command.split_whitespace().map(|argument| argument.trim_matches('\'')).collect();
        assert_eq!(stdout(&weir(&arguments)), expected, "{command}");
    }
}

#[test]
fn every_rule_is_explained() {
    let page = page("explain.md");
    for rule in Rule::NAMED {
        assert!(page.contains(&format!("| `{}` |", rule.name())), "{}", rule.name());
    }
}

/// Every name of the JSON that is stored as an example of all that there is.
#[test]
fn every_field_is_explained() {
    let page = page("explain.md");
    let command = ["explain", "--manifests", "examples", "--node-name", "node-1", "--node-ip", "192.0.2.10"];
    let question = ["--src", "203.0.113.7:40000", "--dst", "198.51.100.10:80", "-o", "json"];
    let document = stdout(&weir(&[&command[..], &question].concat()));
    let names = document.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":"));
    let mut count = 0;
    for (name, _) in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
        count += 1;
    }
    assert!(count > 20, "{document}");
}

#[test]
fn every_outcome_is_explained() {
    let page = page("trace.md");
    for outcome in Outcome::ALL {
        let (number, name) = (outcome.index(), outcome.name());
        let line = format!("| {number} | `{name}` | {} | {} |", fate(*outcome).name(), reason(*outcome));
        assert!(page.contains(&line), "{line}");
    }
}
