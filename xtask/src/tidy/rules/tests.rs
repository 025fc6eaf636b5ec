//! Bad examples for every rule, and good ones that look like them.

use super::*;

fn findings(files: &[(&str, &str)]) -> Vec<Finding> {
    let sources: Vec<Source> =
        files.iter().map(|&(path, text)| Source::new(path.to_owned(), text.to_owned())).collect();
    check(&sources)
}

/// Checks one file of a package whose root names it.
fn of_module(body: &str) -> Vec<Finding> {
    let root = "//! Root.\n#![forbid(unsafe_code)]\nmod module;\n";
    findings(&[("a/src/lib.rs", root), ("a/src/module.rs", &format!("//! A module.\n{body}\n"))])
}

#[track_caller]
fn assert_one(findings: &[Finding], line: usize, part: &str) {
    let [finding] = findings else { panic!("one finding is expected: {findings:?}") };
    assert_eq!(finding.line, line, "{finding}");
    assert!(finding.rule.contains(part), "{finding}");
}

#[test]
fn bad_lines_are_found_where_they_are() {
    let cases = [
        ("fn f() { todo!() }", "`todo!`"),
        ("fn f() { unimplemented!() }", "`unimplemented!`"),
        ("fn f() { dbg!(1); }", "`dbg!`"),
        ("#[ignore] fn f() {}", "`#[ignore`"),
        ("#[ignore = \"slow\"] fn f() {}", "`#[ignore`"),
        ("\tfn f() {}", "a tab"),
        ("fn f() {} ", "blanks"),
        ("fn f() {}\r", "blanks"),
        ("unsafe fn f() {}", "outside"),
        ("fn f() { unsafe { g() } }", "outside"),
    ];
    for (body, part) in cases {
        assert_one(&of_module(body), 2, part);
    }
}

#[test]
fn words_in_comments_strings_and_longer_names_are_fine() {
    let cases = [
        "// todo!, dbg! and unsafe",
        "const A: &str = \"todo!() unsafe { dbg!() } #[ignore]\";",
        "fn f() { my_todo!() }",
        "fn unsafe_code() {}",
        "/* unsafe */",
    ];
    for body in cases {
        assert_eq!(of_module(body), [], "{body}");
    }
}

#[test]
fn a_file_begins_with_its_sentence() {
    for text in ["", "use a::b;\n", "// A module.\n", "//!\n", "\n//! A module.\n"] {
        assert_one(&findings(&[("a/build.rs", text)]), 1, "`//!`");
    }
    assert_eq!(findings(&[("a/build.rs", "//! Embeds the object.\n")]), []);
}

#[test]
fn a_file_has_a_limit() {
    assert_eq!(of_module(&"\n".repeat(LINES_MAX - 2)), []);
    assert_one(&of_module(&"\n".repeat(LINES_MAX - 1)), LINES_MAX + 1, "401 lines");
}

#[test]
fn the_last_line_ends() {
    assert_one(&findings(&[("README.md", "# weir\ntext")]), 2, "end of the file");
    assert_one(&findings(&[("a/Cargo.toml", "[package]  \n")]), 1, "blanks");
}

#[test]
fn unsafe_in_an_edge_file_has_a_reason() {
    let edge = |body: &str| {
        let files = [
            ("lb-common/src/lib.rs", "//! Root.\n#![deny(unsafe_code)]\nmod pod;\n".to_owned()),
            ("lb-common/src/pod.rs", format!("//! Edge.\n{body}\n")),
        ];
        findings(&files.each_ref().map(|(path, text)| (*path, text.as_str())))
    };
    let good = [
        "// SAFETY: it is plain data.\nunsafe impl Pod for A {}",
        "// SAFETY: the pointer is checked above,\n// and nobody else has it.\nlet a = unsafe { *p };",
        "// SAFETY: the index is below the length.\nlet a =\n    unsafe { *p };",
        "// SAFETY: the attribute stands between.\n#[inline]\nunsafe impl Pod for A {}",
        "#[unsafe(no_mangle)]\nstatic A: u8 = 0;",
        "unsafe fn f() {}",
    ];
    for body in good {
        assert_eq!(edge(body), [], "{body}");
    }
    let bad = [
        "unsafe impl Pod for A {}",
        "// It is plain data.\nunsafe impl Pod for A {}",
        "// SAFETY: too far away.\n\nunsafe impl Pod for A {}",
        "// SAFETY: of another statement.\nf();\nunsafe { g() }",
        "let a = unsafe\n{ *p };",
    ];
    for body in bad {
        let found = edge(body);
        assert_eq!(found.len(), 1, "{body}: {found:?}");
        assert!(found[0].rule.contains("SAFETY"), "{body}: {found:?}");
    }
}

#[test]
fn a_crate_root_forbids_unsafe_code() {
    for path in ["a/src/lib.rs", "a/src/main.rs", "a/src/bin/tool.rs"] {
        assert_one(&findings(&[(path, "//! Root.\n")]), 1, "forbid");
        assert_one(&findings(&[(path, "//! Root.\n// #![forbid(unsafe_code)]\n")]), 1, "forbid");
        // Only a crate that has an edge file may say less.
        assert_one(&findings(&[(path, "//! Root.\n#![deny(unsafe_code)]\n")]), 1, "forbid");
        assert_eq!(findings(&[(path, "//! Root.\n#![forbid(unsafe_code)]\n")]), []);
    }
    assert_eq!(findings(&[("lb-ebpf/src/main.rs", "//! Programs.\n")]), []);
}

#[test]
fn a_file_that_is_not_compiled_is_dead() {
    let root = "//! Root.\n#![forbid(unsafe_code)]\nmod used;\nmod folder;\n// mod dead;\n\
                #[path = \"elsewhere.rs\"]\nmod tests;\n";
    let file = "//! A file.\n";
    let manifest = "[[bin]]\nname = \"other\"\npath = \"src/other.rs\"\n";
    let found = findings(&[
        ("a/Cargo.toml", manifest),
        ("a/src/dead.rs", file),
        ("a/src/elsewhere.rs", file),
        ("a/src/folder/mod.rs", "//! A folder.\nmod inside;\n"),
        ("a/src/folder/inside.rs", file),
        ("a/src/lib.rs", root),
        ("a/src/other.rs", file),
        ("a/src/used.rs", file),
        ("a/tests/forward.rs", file),
        ("b/src/used.rs", file),
    ]);
    let paths: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["a/src/dead.rs", "b/src/used.rs"], "{found:?}");
}
