//! Bad input: one clear error each, which says what to do, and nothing left behind.
#![forbid(unsafe_code)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

mod manifest;
mod start;

use tests::agent::Ended;
use tests::net::Network;

/// The one line of an error; a second one would be noise, none would leave the user alone.
fn the_error(ended: &Ended) -> String {
    let is_error =
        |line: &&str| line.starts_with("weir: ") || line.starts_with("error: ") || line.contains(" ERROR ");
    let mut errors = ended.stderr.lines().filter(is_error);
    let first = errors.next().unwrap_or_else(|| panic!("no error in: {ended}"));
    assert_eq!(errors.next(), None, "more than one error in: {ended}");
    first.to_owned()
}

/// The start failed, the error contains each of `words`, and no program is attached to the node.
fn refused(network: &Network, ended: &Ended, words: &[&str]) {
    assert!(ended.code.is_some_and(|code| code != 0), "{ended}");
    let error = the_error(ended);
    for word in words {
        assert!(error.contains(word), "the error does not name {word:?}: {error}");
    }
    let attached = network.node.run("bpftool net show").unwrap();
    assert!(!attached.contains("weir"), "{attached}");
    let pins = std::path::Path::new(tests::net::PINS).join(&network.name);
    assert!(!pins.exists(), "{} was left behind", pins.display());
}
