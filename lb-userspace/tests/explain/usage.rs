//! Questions that cannot be answered: exit code 2 for a wrong usage, 1 for what cannot be read.

use super::manifests::all;
use super::{directory, stderr, stdout, weir};

/// Arguments of a good question about `manifests`, of which a test changes one.
fn arguments<'a>(manifests: &'a str, change: (&str, &'a str)) -> Vec<&'a str> {
    let mut arguments = vec!["explain"];
    for (name, value) in [
        ("--manifests", manifests),
        ("--node-name", "node-1"),
        ("--node-ip", "192.0.2.10"),
        ("--from", "outside"),
        ("--src", "203.0.113.7:40000"),
        ("--dst", "198.51.100.1:80"),
        ("--protocol", "tcp"),
    ] {
        arguments.extend([name, if name == change.0 { change.1 } else { value }]);
    }
    arguments
}

#[test]
fn a_wrong_usage_says_what_where_and_how_it_is_right() {
    let manifests = directory(&all());
    let manifests = manifests.path().display().to_string();
    for (name, value, expected) in [
        ("--src", "203.0.113.7", "'203.0.113.7' for '--src <ADDRESS:PORT>': not an address with a port"),
        ("--src", "203.0.113.7:70000", "not an address with a port; write 192.0.2.1:40000"),
        ("--dst", "2001:db8::1", "or [2001:db8::1]:40000 for IPv6"),
        ("--dst", "[2001:db8::1]:80", "give both as IPv4 or both as IPv6"),
        ("--dst", "0.0.0.0:30001", "--dst 0.0.0.0:30001: no packet goes to the unspecified address"),
        ("--protocol", "icmp", "possible values: tcp, udp, sctp"),
        ("--from", "inside", "possible values: outside, pod, host"),
        ("--node-ip", "node-1", "for '--node-ip <ADDRESS>'"),
    ] {
        let output = weir(&arguments(&manifests, (name, value)));
        assert_eq!(output.status.code(), Some(2), "{name} {value}");
        assert!(stderr(&output).contains(expected), "{name} {value}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{name} {value}");
    }
    let output = weir(&["explain", "--src", "192.0.2.1:1", "--dst", "192.0.2.2:2", "--node-ip", "192.0.2.3"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("go with --manifests"), "{}", stderr(&output));
}

#[test]
fn a_directory_that_is_not_there_fails() {
    let output = weir(&arguments("/nowhere/at/all", ("", "")));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot read the manifest directory /nowhere/at/all"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn maps_that_are_not_there_fail() {
    let output = weir(&["explain", "--pin-path", "/nowhere", "--src", "192.0.2.1:1", "--dst", "192.0.2.2:2"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("no maps below /nowhere") && error.contains("--manifests"), "{error}");
}

#[test]
fn a_manifest_that_cannot_be_read_fails_after_the_answer_of_the_others() {
    let directory = directory(&all());
    std::fs::write(directory.path().join("broken.yaml"), "kind: [\n").expect("writable");
    let manifests = directory.path().display().to_string();
    let output = weir(&arguments(&manifests, ("", "")));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("shop/local-policy:80"), "{}", stdout(&output));
    let error = stderr(&output);
    assert!(error.contains("broken.yaml:") && error.contains("1 of the manifests cannot be read"), "{error}");
}
