//! Answers, as text and as JSON, compared with those that are stored in `cases/`.
//!
//! After a change that is meant, `WEIR_BLESS=1 cargo test -p lb-userspace --test explain` stores what is answered
//! now; the difference is then for a person to read.

use std::fs;
use std::path::Path;

use super::manifests::all;
use super::{directory, root, stderr, stdout, weir};

/// Name; origin, source, destination, protocol.
type Case = (&'static str, [&'static str; 4]);

/// Answered from `examples`.
const EXAMPLES: &[Case] = &[
    ("external-ip", ["outside", "203.0.113.7:40001", "198.51.100.10:80", "tcp"]),
    ("external-ip-local-backend", ["outside", "203.0.113.7:40000", "198.51.100.10:80", "tcp"]),
    ("external-ip-v6", ["outside", "[2001:db8:7::7]:40004", "[2001:db8:100::10]:80", "tcp"]),
    ("load-balancer-udp", ["outside", "203.0.113.7:40000", "198.51.100.20:53", "udp"]),
    ("load-balancer-udp-v6", ["outside", "[2001:db8:7::7]:40000", "[2001:db8:100::20]:53", "udp"]),
    ("node-port", ["outside", "203.0.113.7:40000", "192.0.2.10:30080", "tcp"]),
    ("node-port-v6", ["outside", "[2001:db8:7::7]:40000", "[2001:db8::10]:30053", "udp"]),
    ("from-pod-local-backend", ["pod", "10.1.2.99:40007", "198.51.100.10:80", "tcp"]),
    ("from-host-local-backend", ["host", "192.0.2.10:40002", "198.51.100.20:80", "tcp"]),
    ("from-host-loopback-not-served", ["host", "127.0.0.1:40000", "127.0.0.1:30080", "tcp"]),
    ("other-protocol", ["outside", "203.0.113.7:40000", "192.0.2.10:30053", "tcp"]),
    ("other-address", ["outside", "203.0.113.7:40000", "203.0.113.99:80", "tcp"]),
];

/// Answered from `examples` for a node that serves NodePorts at loopback addresses only, as to its own sockets.
const LOOPBACK: &[Case] = &[
    ("from-host-loopback", ["host", "127.0.0.1:40000", "127.0.0.1:30080", "tcp"]),
    ("from-host-unspecified-v6", ["host", "[::1]:40000", "[::]:30053", "udp"]),
    ("from-pod-loopback", ["pod", "127.0.0.1:40000", "127.0.0.1:30080", "tcp"]),
];

/// Answered from [`all`].
const NARROWED: &[Case] = &[
    ("external-policy-local", ["outside", "203.0.113.7:40000", "198.51.100.1:80", "tcp"]),
    ("external-policy-local-node-port", ["outside", "203.0.113.7:40000", "192.0.2.10:30001", "tcp"]),
    ("short-circuit", ["pod", "10.1.2.99:40000", "198.51.100.1:80", "tcp"]),
    ("zone-hints", ["outside", "203.0.113.7:40000", "198.51.100.2:80", "tcp"]),
    ("node-hints", ["outside", "203.0.113.7:40000", "198.51.100.3:80", "tcp"]),
    ("half-hints", ["outside", "203.0.113.7:40000", "198.51.100.8:80", "tcp"]),
    ("serving-terminating", ["outside", "203.0.113.7:40000", "198.51.100.4:80", "tcp"]),
    ("no-endpoints", ["outside", "203.0.113.7:40000", "198.51.100.5:80", "tcp"]),
    ("all-drained", ["outside", "203.0.113.7:40000", "198.51.100.6:80", "tcp"]),
    ("local-policy-elsewhere", ["outside", "203.0.113.7:40000", "198.51.100.9:80", "tcp"]),
    ("local-policy-elsewhere-from-pod", ["pod", "10.1.2.99:40000", "198.51.100.9:80", "tcp"]),
    ("cluster-ip-from-pod", ["pod", "10.1.2.99:40000", "10.96.1.10:80", "tcp"]),
    ("cluster-ip-from-outside", ["outside", "203.0.113.7:40000", "10.96.1.10:80", "tcp"]),
    ("unused-port", ["outside", "203.0.113.7:40000", "198.51.100.1:81", "tcp"]),
    ("source-range-allowed", ["outside", "203.0.113.7:40000", "198.51.100.111:80", "tcp"]),
    ("source-range-refused", ["outside", "203.0.114.7:40000", "198.51.100.111:80", "tcp"]),
    ("affinity", ["outside", "203.0.113.7:40000", "198.51.100.12:80", "tcp"]),
    ("sctp", ["outside", "203.0.113.7:40000", "198.51.100.13:3868", "sctp"]),
    ("weights", ["outside", "203.0.113.7:40000", "198.51.100.7:80", "tcp"]),
];

/// The addresses of the node.
const NODE: [&str; 4] = ["--node-ip", "192.0.2.10", "--node-ip", "2001:db8::10"];

/// What weir answers for a node with these options.
fn answer(manifests: &Path, case: &Case, format: &str, node: &[&str]) -> String {
    let [from, src, dst, protocol] = case.1;
    let manifests = manifests.display().to_string();
    let mut arguments = vec!["explain", "--manifests", &manifests, "--node-name", "node-1", "--zone", "a"];
    arguments.extend(["--from", from, "--src", src, "--dst", dst, "--protocol", protocol, "-o", format]);
    arguments.extend(node);
    let output = weir(&arguments);
    assert!(output.status.success() && stderr(&output).is_empty(), "{}: {}", case.0, stderr(&output));
    stdout(&output)
}

fn check(name: &str, format: &str, answered: &str, wrong: &mut Vec<String>) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/cases").join(format!("{name}.{format}"));
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(&file, answered).expect("writable");
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    if stored != answered {
        wrong.push(format!("{name}.{format} is\n{answered}\nand not\n{stored}"));
    }
}

fn check_all(manifests: &Path, cases: &[Case], node: &[&str]) {
    let mut wrong = Vec::new();
    for case in cases {
        for (format, ending) in [("text", "txt"), ("json", "json")] {
            let answered = answer(manifests, case, format, node);
            check(case.0, ending, &answered, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples() {
    check_all(&root().join("examples"), EXAMPLES, &NODE);
}

#[test]
fn narrowed_endpoints() {
    check_all(directory(&all()).path(), NARROWED, &NODE);
}

#[test]
fn node_ports_at_loopback() {
    let node = [&NODE[..], &["--nodeport-addresses", "localhost"]].concat();
    check_all(&root().join("examples"), LOOPBACK, &node);
}

#[test]
fn a_node_without_an_address_cannot_reach_other_nodes() {
    let case = EXAMPLES.first().expect("a case");
    let mut wrong = Vec::new();
    for (format, ending) in [("text", "txt"), ("json", "json")] {
        let answered = answer(&root().join("examples"), case, format, &[]);
        check("no-node-address", ending, &answered, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every stored answer is one that is compared.
#[test]
fn no_case_is_left_over() {
    let names = EXAMPLES.iter().chain(LOOPBACK).chain(NARROWED).map(|case| case.0).chain(["no-node-address"]);
    let mut expected: Vec<String> =
        names.flat_map(|name| [format!("{name}.json"), format!("{name}.txt")]).collect();
    expected.sort();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/cases");
    if std::env::var_os("WEIR_BLESS").is_some() {
        return;
    }
    let mut stored: Vec<String> = fs::read_dir(folder)
        .expect("stored answers")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    stored.sort();
    assert_eq!(stored, expected);
}
