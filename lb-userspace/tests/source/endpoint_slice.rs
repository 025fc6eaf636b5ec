//! An EndpointSlice manifest is reduced as kube-proxy reads an EndpointSlice.

use std::collections::BTreeSet;

use lb_userspace::model::{Endpoint, EndpointPort, IpFamily, ObjectKey, Protocol};

use crate::{parse_one, slice, slice_with, warnings};

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.parse().expect("an address"),
        ready: true,
        serving: true,
        terminating: false,
        node_name: None,
        zone: None,
        for_zones: BTreeSet::new(),
        for_nodes: BTreeSet::new(),
        weight: None,
    }
}

#[test]
fn reads_every_field() {
    let text = slice_with(
        "",
        "addressType: IPv6
ports:
  - {name: http, protocol: TCP, port: 8080, appProtocol: http}
  - {name: dns, protocol: UDP, port: 5353}
endpoints:
  - addresses: ['fd00::1', 'fd00::2']
    conditions: {ready: false, serving: false, terminating: true}
    nodeName: node-1
    zone: zone-a
    hints: {forZones: [{name: zone-a}, {name: zone-b}], forNodes: [{name: node-1}]}
    targetRef: {kind: Pod, name: web-0, namespace: shop}
    deprecatedTopology: {a: b}",
    );
    let read = slice(parse_one(&text).unwrap());
    assert_eq!(read.key, ObjectKey::new("shop", "web-1"));
    assert_eq!(read.service, ObjectKey::new("shop", "web"));
    assert_eq!(read.family, IpFamily::V6);
    let port = |name: &str, protocol, port| EndpointPort { name: name.into(), protocol, port };
    assert_eq!(read.ports, [port("http", Protocol::Tcp, 8080), port("dns", Protocol::Udp, 5353)]);
    let expected = Endpoint {
        ready: false,
        serving: false,
        terminating: true,
        node_name: Some("node-1".into()),
        zone: Some("zone-a".into()),
        for_zones: BTreeSet::from(["zone-a".into(), "zone-b".into()]),
        for_nodes: BTreeSet::from(["node-1".into()]),
        ..endpoint("fd00::1")
    };
    assert_eq!(read.endpoints, [expected]);
}

#[test]
fn absent_and_null_conditions_have_defaults() {
    for fields in [
        "endpoints: [{addresses: [10.0.0.1]}]",
        "endpoints: [{addresses: [10.0.0.1], conditions: {}, hints: {}}]",
        "endpoints: [{addresses: [10.0.0.1], conditions: null, nodeName: null, zone: null}]",
        "endpoints: [{addresses: [10.0.0.1], hints: null, targetRef: null}]",
        "endpoints: [{addresses: [10.0.0.1], conditions: {ready: null, serving: null, terminating: null}}]",
        "endpoints: [{addresses: [10.0.0.1], hints: {forZones: null, forNodes: []}}]",
        "endpoints: [{addresses: [10.0.0.1], targetRef: {name: null}}]",
    ] {
        let read = slice(parse_one(&slice_with("", &format!("addressType: IPv4\n{fields}"))).unwrap());
        assert_eq!(read.endpoints, [endpoint("10.0.0.1")], "{fields}");
    }
}

#[test]
fn serving_does_not_follow_ready() {
    let fields = "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}]";
    let read = slice(parse_one(&slice_with("", fields)).unwrap());
    assert_eq!(read.endpoints, [Endpoint { ready: false, ..endpoint("10.0.0.1") }]);
}

#[test]
fn ports_without_a_number_and_endpoints_without_an_address_are_left_out() {
    let fields = "addressType: IPv4
ports:
  - {name: a}
  - {name: b, port: null}
  - {name: c, port: 0}
  - {name: d, port: 1, protocol: null}
  - {port: 2}
  - {name: null, port: 3}
endpoints: [{addresses: []}, {addresses: null}, {}, {addresses: [10.0.0.1]}]";
    let read = slice(parse_one(&slice_with("", fields)).unwrap());
    let port = |name: &str, port| EndpointPort { name: name.into(), protocol: Protocol::Tcp, port };
    assert_eq!(read.ports, [port("d", 1), port("", 2), port("", 3)]);
    assert_eq!(read.endpoints, [endpoint("10.0.0.1")]);
}

#[test]
fn null_lists_are_empty() {
    let read = slice(parse_one(&slice_with("", "addressType: IPv4\nports: null\nendpoints: null")).unwrap());
    assert_eq!((read.ports, read.endpoints), (Vec::new(), Vec::new()));
}

#[test]
fn slices_of_no_service_are_ignored() {
    let label = "kubernetes.io/service-name: web";
    let good = slice_with("", "addressType: IPv4");
    let without = "1: EndpointSlice shop/web-1: ignored: it has no label kubernetes.io/service-name";
    let fqdn = "1: EndpointSlice shop/web-1: ignored: addressType FQDN is not supported";
    let cases = [
        (good.replace(label, "a: b"), Some(without)),
        (good.replace(label, "kubernetes.io/service-name: ''"), Some(without)),
        (good.replace(label, "kubernetes.io/service-name: null"), Some(without)),
        (
            good.replace("IPv4", "FQDN\nendpoints: [{addresses: [example.org]}, {addresses: [a.b]}]"),
            Some(fqdn),
        ),
        (good.replace(label, &format!("{label}, service.kubernetes.io/headless: ''")), None),
    ];
    for (text, warning) in cases {
        let parsed = parse_one(&text).unwrap();
        assert_eq!(parsed.object, None, "{text}");
        assert_eq!(warnings(&parsed), warning.into_iter().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn wrong_values_refuse_the_file_with_line_and_value() {
    let cases = [
        ("endpoints: []", "8: missing field `addressType`"),
        ("addressType: ipv4", "8: unknown variant `ipv4`, expected one of IPv4, IPv6, FQDN"),
        (
            "addressType: IPv4\nendpoints:\n- addresses:\n  - fd00::1",
            "11: EndpointSlice shop/web-1: addresses: \"fd00::1\" is not of the slice's addressType",
        ),
        (
            "addressType: IPv6\nendpoints:\n- addresses:\n  - 10.0.0.1",
            "11: EndpointSlice shop/web-1: addresses: \"10.0.0.1\" is not of the slice's addressType",
        ),
        (
            "addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n- addresses: [web]",
            "11: EndpointSlice shop/web-1: addresses: \"web\" is not an IP address",
        ),
        (
            "addressType: IPv4\nports:\n- port: 1\n- port: 65536",
            "11: invalid value: integer `65536`, expected port to be a number from 1 to 65535",
        ),
        ("addressType: IPv4\nendpoints:\n- conditions: {ready: maybe}", "10: invalid boolean"),
    ];
    for (fields, expected) in cases {
        assert_eq!(parse_one(&slice_with("", fields)).unwrap_err(), expected, "{fields}");
    }
}
