//! The rules, each a function from files to findings.

use super::Finding;
use super::files::Source;
use super::mask::is_word;

/// The only files that may have `unsafe`: edges to the kernel and to raw memory.
const EDGES: [&str; 8] = [
    "lb-common/src/pod.rs",
    "lb-common/src/words.rs",
    "lb-ebpf/src/bench.rs",
    "lb-ebpf/src/kernel/",
    "lb-ebpf/src/main.rs",
    "lb-userspace/src/attach/netns.rs",
    "lb-userspace/src/maps/arena.rs",
    "lb-userspace/src/maps/bpf.rs",
];
const LINES_MAX: usize = 400;
/// Code that is not finished, or a test that never runs.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Applies every rule to every file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        whitespace(source, &mut findings);
        if source.is_rust() {
            head(source, &mut findings);
            length(source, &mut findings);
            unfinished(source, &mut findings);
            unsafe_code(source, &mut findings);
            crate_root(source, sources, &mut findings);
            declared(source, sources, &mut findings);
        }
    }
    findings
}

/// Reports a broken rule at a line counted from 0.
fn report(findings: &mut Vec<Finding>, source: &Source, line: usize, rule: impl Into<String>) {
    findings.push(Finding { path: source.path.clone(), line: line + 1, rule: rule.into() });
}

fn whitespace(source: &Source, findings: &mut Vec<Finding>) {
    for (number, line) in source.text.split('\n').enumerate() {
        if line.contains('\t') {
            report(findings, source, number, "a tab: indent by blanks");
        }
        if line.ends_with([' ', '\t', '\r']) {
            report(findings, source, number, "blanks at the end of the line");
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        report(findings, source, source.text.lines().count() - 1, "no line break at the end of the file");
    }
}

fn head(source: &Source, findings: &mut Vec<Finding>) {
    let first = source.text.lines().next().unwrap_or_default();
    if first.strip_prefix("//! ").is_none_or(|sentence| sentence.trim().is_empty()) {
        report(findings, source, 0, "a file begins with `//!` and a sentence that says what it is");
    }
}

fn length(source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        report(
            findings,
            source,
            LINES_MAX,
            format!("{lines} lines, but at most {LINES_MAX}: split the concept"),
        );
    }
}

fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    for (number, line) in source.code.lines().enumerate() {
        for word in UNFINISHED {
            // `a_todo!` is another macro.
            if line
                .match_indices(word)
                .any(|(at, _)| !line.get(..at).is_some_and(|left| left.ends_with(is_word)))
            {
                report(findings, source, number, format!("`{word}`"));
            }
        }
    }
}

fn unsafe_code(source: &Source, findings: &mut Vec<Finding>) {
    for (number, line) in source.code.lines().enumerate() {
        let Some(after) = words(line).find_map(|(word, after)| (word == "unsafe").then_some(after)) else {
            continue;
        };
        if !is_edge(&source.path) {
            report(findings, source, number, "`unsafe` outside the files that may have it");
        } else if needs_reason(after) && !has_reason(&source.text, number) {
            report(findings, source, number, "`unsafe` without `// SAFETY:` above it");
        }
    }
}

/// Whether these follow `unsafe` in a block or an `impl`; a function states its contract in its documentation.
fn needs_reason(after: &str) -> bool {
    matches!(after.trim_start().chars().next(), None | Some('{' | 'i'))
}

fn is_edge(path: &str) -> bool {
    EDGES.iter().any(|edge| if edge.ends_with('/') { path.starts_with(edge) } else { path == *edge })
}

/// Whether `// SAFETY:` begins the comment on this line or right above the statement that it is a part of.
fn has_reason(text: &str, number: usize) -> bool {
    let lines: Vec<&str> = text.lines().take(number + 1).map(str::trim).collect();
    let mut above = lines.iter().rev();
    let own = above.next().is_some_and(|line| line.contains("// SAFETY:"));
    let comment = above
        // The head of the statement, and attributes, may stand between.
        .skip_while(|line| {
            !line.starts_with("//") && !line.is_empty() && !line.ends_with([';', ',', '{', '}'])
        })
        .take_while(|line| line.starts_with("//"));
    own || comment.into_iter().any(|line| line.starts_with("// SAFETY:"))
}

fn crate_root(source: &Source, sources: &[Source], findings: &mut Vec<Finding>) {
    let inside = source.path.split_once('/').map_or("", |(_, inside)| inside);
    let binary = inside.strip_prefix("src/bin/").is_some_and(|rest| !rest.contains('/'));
    if !binary && inside != "src/lib.rs" && inside != "src/main.rs" || is_edge(&source.path) {
        return;
    }
    let has_edges = sources.iter().any(|other| other.package() == source.package() && is_edge(&other.path));
    let forbidden = source.code.contains("#![forbid(unsafe_code)]");
    // `forbid` cannot be lifted in the edge file of the same crate, `deny` can.
    let denied = has_edges && source.code.contains("#![deny(unsafe_code)]");
    if !forbidden && !denied {
        report(findings, source, 0, "a crate root has `#![forbid(unsafe_code)]`");
    }
}

/// A file that no `mod` names is dead.
fn declared(source: &Source, sources: &[Source], findings: &mut Vec<Finding>) {
    let parts: Vec<&str> = source.path.split('/').collect();
    let name = match parts.as_slice() {
        // Cargo finds these by their names, and build scripts, tests and fuzz targets by their places.
        [_, "src", "lib.rs" | "main.rs"] | [_, "src", "bin", _] | [_, "src", "bin", _, "main.rs"] => return,
        [package, inside @ ..] if is_target(package, &inside.join("/"), sources) => return,
        [_, "src", .., parent, "mod.rs"] => parent,
        [_, "src", .., file] => file.strip_suffix(".rs").unwrap_or(file),
        _ => return,
    };
    let attribute = format!("#[path = \"{}\"]", parts.last().copied().unwrap_or_default());
    let declares = |other: &Source| {
        let names: Vec<&str> = words(&other.code).map(|(word, _)| word).collect();
        names.windows(2).any(|pair| pair == ["mod", name]) || other.text.contains(&attribute)
    };
    let mut package =
        sources.iter().filter(|other| other.package() == source.package() && other.path != source.path);
    if !package.any(declares) {
        report(findings, source, 0, format!("no `mod {name}` names this file, so it is not compiled"));
    }
}

/// Whether the package's manifest names this file as a library or a program.
fn is_target(package: &str, inside: &str, sources: &[Source]) -> bool {
    let manifest = sources.iter().find(|source| source.path.strip_prefix(package) == Some("/Cargo.toml"));
    manifest.is_some_and(|manifest| manifest.text.contains(&format!("path = \"{inside}\"")))
}

/// The names in code, each with what follows it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = code;
    std::iter::from_fn(move || {
        let text = rest.trim_start_matches(|letter| !is_word(letter));
        let end = text.find(|letter| !is_word(letter)).unwrap_or(text.len());
        let (word, after) = text.split_at_checked(end)?;
        rest = after;
        (!word.is_empty()).then_some((word, after))
    })
}

#[cfg(test)]
mod tests;
