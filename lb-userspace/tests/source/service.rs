//! A Service manifest is reduced as kube-proxy reads a Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_userspace::model::{IpFamily, Object, ObjectKey, Protocol, ServicePort, ServiceType};

use crate::{parse_one, service, service_with, warnings};

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn reads_every_field() {
    let read = service(
        "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {weir.dev/weight-by-zone: '{\"a\": 3, \"b\": 0}'}}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, 'fd00:96::1']
  ipFamilies: [IPv4, IPv6]
  externalIPs: [192.0.2.1, '2001:db8::1']
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  ports:
    - {name: http, protocol: TCP, port: 80, nodePort: 30080, targetPort: web, appProtocol: http}
    - {name: dns, protocol: UDP, port: 53, targetPort: 5353}
    - {name: sig, protocol: SCTP, port: 3868}
status: {loadBalancer: {ingress: [{ip: 203.0.113.1, ipMode: VIP}]}}
",
    );
    assert_eq!(read.key, ObjectKey::new("shop", "web"));
    assert_eq!(read.service_type, ServiceType::LoadBalancer);
    assert_eq!(read.ip_families, BTreeSet::from([IpFamily::V4, IpFamily::V6]));
    assert_eq!(read.cluster_ips, ips(&["10.96.0.1", "fd00:96::1"]));
    assert_eq!(read.external_ips, ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(read.load_balancer_ips, ips(&["203.0.113.1"]));
    assert!(read.external_local && read.internal_local);
    assert_eq!(read.affinity_timeout_s, Some(60));
    assert_eq!(read.weight_by_zone.into_iter().collect::<Vec<_>>(), [("a".into(), 3), ("b".into(), 0)]);
    let port =
        |name: &str, protocol, port, node_port| ServicePort { name: name.into(), protocol, port, node_port };
    assert_eq!(
        read.ports,
        [
            port("http", Protocol::Tcp, 80, Some(30080)),
            port("dns", Protocol::Udp, 53, None),
            port("sig", Protocol::Sctp, 3868, None),
        ]
    );
}

#[test]
fn fills_in_what_the_api_server_fills_in() {
    let read = service("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n");
    assert_eq!(read.key, ObjectKey::new("default", "web"));
    assert_eq!(read.service_type, ServiceType::ClusterIp);
    let port = ServicePort { name: String::new(), protocol: Protocol::Tcp, port: 80, node_port: None };
    assert_eq!(read.ports, [port]);
    assert!(!read.external_local && !read.internal_local);
    assert_eq!(read.affinity_timeout_s, None);
    assert_eq!(service(&service_with("sessionAffinity: ClientIP")).affinity_timeout_s, Some(10_800));
}

#[test]
fn takes_null_for_absent() {
    let read = service(
        "apiVersion: v1
kind: Service
metadata: {name: web, namespace: null, labels: null, annotations: null}
spec:
  type: null
  clusterIP: null
  clusterIPs: null
  ipFamilies: null
  externalIPs: null
  loadBalancerSourceRanges: null
  externalTrafficPolicy: null
  internalTrafficPolicy: null
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: null}}
  ports: [{name: null, protocol: null, port: 80, nodePort: null}]
status: {loadBalancer: {ingress: null}}
",
    );
    let written = service_with("sessionAffinity: ClientIP\n  ports: [{port: 80}]").replace("shop", "default");
    assert_eq!(read, service(&written));
    assert_eq!(service(&format!("{written}status: null\n")), read);
}

#[test]
fn cluster_ips_say_the_families() {
    let both = [IpFamily::V4, IpFamily::V6];
    let cases: [(&str, &[&str], &[IpFamily]); 9] = [
        ("{}", &[], &both),
        ("clusterIP: ''", &[], &both),
        ("clusterIP: 10.0.0.1", &["10.0.0.1"], &[IpFamily::V4]),
        ("clusterIP: 'fd00::1'", &["fd00::1"], &[IpFamily::V6]),
        ("clusterIPs: [10.0.0.1, 'fd00::1']", &["10.0.0.1", "fd00::1"], &both),
        ("{clusterIP: 10.0.0.9, clusterIPs: [10.0.0.1]}", &["10.0.0.1"], &[IpFamily::V4]),
        ("ipFamilies: [IPv6]", &[], &[IpFamily::V6]),
        ("clusterIP: None", &[], &[]),
        ("{clusterIPs: [None], ipFamilies: [IPv4]}", &[], &[]),
    ];
    for (spec, addresses, families) in cases {
        let read = service(&service_with(spec));
        assert_eq!(read.cluster_ips, ips(addresses), "{spec}");
        assert_eq!(read.ip_families, families.iter().copied().collect(), "{spec}");
    }
}

#[test]
fn an_external_name_has_no_addresses_in_the_cluster() {
    let read = service(&service_with("{type: ExternalName, externalName: example.org, clusterIP: 10.0.0.1}"));
    assert_eq!((read.service_type, read.cluster_ips), (ServiceType::ExternalName, Vec::new()));
}

#[test]
fn another_proxys_service_is_left_to_it() {
    let text = service_with("ports: [{port: 80}]")
        .replace("name: web", "name: web, labels: {service.kubernetes.io/service-proxy-name: other}");
    assert_eq!(parse_one(&text).unwrap().object, None);
}

#[test]
fn ingress_addresses_of_a_proxy_are_not_ours() {
    let text = service_with("ports: []")
        + "status:
  loadBalancer:
    ingress:
      - {ip: 192.0.2.1, ipMode: Proxy}
      - {ip: 192.0.2.2, ipMode: VIP}
      - {ip: 192.0.2.3, ipMode: null}
      - {ip: 192.0.2.4}
      - {ip: ''}
      - {hostname: lb.example.org}
";
    assert_eq!(service(&text).load_balancer_ips, ips(&["192.0.2.2", "192.0.2.3", "192.0.2.4"]));
}

#[test]
fn a_bad_address_is_left_out_with_a_warning() {
    let text = service_with("externalIPs:\n  - 192.0.2.1\n  - example.org\n  - 010.0.0.1")
        + "status: {loadBalancer: {ingress: [{ip: 1.2.3}]}}\n";
    let parsed = parse_one(&text).unwrap();
    let expected = [
        "7: Service shop/web: externalIPs: \"example.org\" is not an IP address; skipped",
        "9: Service shop/web: status.loadBalancer.ingress: \"1.2.3\" is not an IP address; skipped",
    ];
    assert_eq!(warnings(&parsed), expected);
    let Some(Object::Service(read)) = parsed.object else { panic!("no Service") };
    assert_eq!(read.external_ips, ips(&["192.0.2.1", "10.0.0.1"]));
    assert!(read.load_balancer_ips.is_empty());
}

#[test]
fn source_ranges_are_trimmed_and_malformed_ones_left_out() {
    let spec =
        "loadBalancerSourceRanges:\n    - ' 10.1.0.0/8 '\n    - ''\n    - 10.0.0.0\n    - '2001:db8::/32'\n";
    let parsed = parse_one(&service_with(spec)).unwrap();
    let Some(Object::Service(read)) = &parsed.object else { panic!("no Service") };
    let ranges: Vec<String> = read.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.0.0.0/8", "2001:db8::/32"]);
    let told = warnings(&parsed).join(" ");
    let expected = "8: Service shop/web: loadBalancerSourceRanges: \"10.0.0.0\" is not a range";
    assert!(told.starts_with(expected) && parsed.warnings.len() == 1, "{told}");
}

#[test]
fn wrong_values_refuse_the_file_with_line_field_and_value() {
    let cases = [
        ("ports: [{port: 0}]", "5: invalid value: integer `0`, expected port to be a number from 1 to 65535"),
        (
            "ports: [{port: 65536}]",
            "5: invalid value: integer `65536`, expected port to be a number from 1 to 65535",
        ),
        (
            "ports: [{port: -1}]",
            "5: invalid value: integer `-1`, expected port to be a number from 1 to 65535",
        ),
        (
            "ports: [{port: http}]",
            "5: invalid type: string \"http\", expected port to be a number from 1 to 65535",
        ),
        (
            "ports:\n  - port: 80\n    nodePort: 70000",
            "7: invalid value: integer `70000`, expected nodePort to be a number from 1 to 65535",
        ),
        ("ports: [{name: http}]", "5: missing field `port`"),
        ("ports: [{port: 80, protocol: tcp}]", "5: unknown variant `tcp`, expected one of TCP, UDP, SCTP"),
        (
            "type: Foo",
            "5: unknown variant `Foo`, expected one of ClusterIP, NodePort, LoadBalancer, ExternalName",
        ),
        ("externalTrafficPolicy: Nearby", "5: unknown variant `Nearby`, expected one of Cluster, Local"),
        ("sessionAffinity: Cookie", "5: unknown variant `Cookie`, expected one of None, ClientIP"),
        (
            "sessionAffinityConfig:\n    clientIP:\n      timeoutSeconds: 86401",
            "7: invalid value: integer `86401`, expected timeoutSeconds to be a number from 1 to 86400",
        ),
        (
            "clusterIPs:\n  - 10.0.0.1\n  - nowhere",
            "7: Service shop/web: clusterIPs: \"nowhere\" is not an IP address",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(parse_one(&service_with(spec)).unwrap_err(), expected, "{spec}");
    }
    let cases = [
        ("apiVersion: v1\nkind: Service\nspec: {}\n", "3: missing field `metadata`"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", "3: missing field `spec`"),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  namespace: shop\nspec: {}\n",
            "4: missing field `name`",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: ''}\nspec: {}\n",
            "1: Service: metadata.name is empty",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_one(text).unwrap_err(), expected, "{text}");
    }
}
