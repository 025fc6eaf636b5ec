//! The house rules, as a check of every source file.

mod files;
mod mask;
mod rules;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use files::Source;

/// A broken rule, where it is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// Checks the workspace with this root; the error lists every finding.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut sources = Vec::new();
    for path in files::list(root)? {
        let text = fs::read_to_string(root.join(&path)).with_context(|| format!("{path} cannot be read"))?;
        sources.push(Source::new(path, text));
    }
    let findings = rules::check(&sources);
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    bail!("{} findings:\n{}", lines.len(), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the workspace");
        run(root).unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn an_untidy_workspace_is_not() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let source = root.path().join("one/src");
        fs::create_dir_all(&source).expect("writable");
        fs::write(source.join("lib.rs"), "//! One.\n#![forbid(unsafe_code)]\n").expect("writable");
        run(root.path()).expect("tidy");
        fs::write(source.join("lib.rs"), "fn one() {}\n").expect("writable");
        let error = run(root.path()).expect_err("no head").to_string();
        assert!(error.contains("one/src/lib.rs:1: "), "{error}");
    }
}
