//! The seeds of the fuzz target `manifest` are replayed, so that what it found once stays found.

use std::fs;
use std::path::Path;

use lb_userspace::source::fuzz_check;

/// A seed is named `FORMAT-OBJECTS-subject`, such as `yaml-2-service-and-slice`, where it is well-formed in
/// that format and has that many objects, skipped ones too; `FORMAT-bad-subject` where it is refused; and
/// anything else where only the absence of a crash counts.
#[test]
fn seeds_are_read_as_their_names_say() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/manifest");
    let mut checked = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let [yaml, json] = fuzz_check(&fs::read(&path).unwrap());
        let mut parts = name.split('-');
        let read = match parts.next() {
            Some("yaml") => yaml,
            Some("json") => json,
            _ => continue,
        };
        match parts.next() {
            Some("bad") => assert!(read.is_err(), "{name}: {read:?}"),
            count => {
                let count: usize = count.unwrap_or_default().parse().unwrap();
                assert_eq!(read.unwrap().len(), count, "{name}");
            }
        }
        checked += 1;
    }
    assert!(checked >= 12, "only {checked} seeds: the corpus is not where it should be");
}
