//! The files that the house rules are about.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::mask::mask;

/// Directories whose files are made by programs, or wrong on purpose.
const SKIPPED: [&str; 3] = ["fuzz/artifacts", "fuzz/corpus", "fuzz/coverage"];
const EXTENSIONS: [&str; 3] = [".rs", ".toml", ".md"];

/// One file, by its path from the root, with `/` between the parts.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text of a Rust file with blanks for comments and the content of literals; empty for other files.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { mask(&text) } else { String::new() };
        Self { path, text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The directory of its package: the first part of the path.
    pub(crate) fn package(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// The paths of all files to check, in order.
pub(crate) fn list(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(root.join(&directory));
        for entry in entries.with_context(|| format!("{directory} cannot be read"))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_file() && EXTENSIONS.iter().any(|extension| name.ends_with(extension)) {
                found.push(path);
            } else if kind.is_dir() && is_searched(&path, &name) {
                directories.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_searched(path: &str, name: &str) -> bool {
    // `target` is one of cargo's directories wherever it is; the others are single places.
    !name.starts_with('.') && name != "target" && !SKIPPED.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_found_and_results_are_not() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for path in [
            "a/src/lib.rs",
            "README.md",
            "a/Cargo.toml",
            "target/debug/build/out.rs",
            "fuzz/target/out.rs",
            "fuzz/corpus/manifest/bad.md",
            ".git/x.md",
            "a/data.bin",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            fs::write(path, "").expect("writable");
        }
        assert_eq!(list(root.path()).expect("readable"), ["README.md", "a/Cargo.toml", "a/src/lib.rs"]);
    }
}
