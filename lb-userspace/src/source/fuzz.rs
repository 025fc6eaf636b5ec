//! What the fuzz target of manifests asserts, so that its corpus is replayed by the tests too.

use super::error::ParseError;
use super::parse::{Parsed, parse};

/// Reads bytes as a manifest of either format.
///
/// Returns what a `.yaml` file and a `.json` file of that content are. Panics where a rule is broken: reading
/// twice gives the same, and every line that is named is a line of the file.
pub fn check(bytes: &[u8]) -> [Result<Vec<Parsed>, ParseError>; 2] {
    let text = String::from_utf8_lossy(bytes);
    // YAML breaks lines at a lone carriage return too.
    let lines = text.bytes().filter(|byte| b"\n\r".contains(byte)).count() as u64 + 1;
    ["fuzz.yaml", "fuzz.json"].map(|name| {
        let parsed = parse(name, &text);
        assert_eq!(parsed, parse(name, &text), "reading twice differs");
        let is_line = |line: u64| (1..=lines).contains(&line);
        match &parsed {
            Ok(objects) => {
                for object in objects {
                    assert!(is_line(object.line), "{object:?} is outside the file");
                    assert!(object.warnings.iter().all(|warning| is_line(warning.line)), "{object:?}");
                }
            }
            Err(error) => assert!(is_line(error.line), "{error:?} is outside the file"),
        }
        parsed
    })
}
