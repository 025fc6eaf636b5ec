//! Services whose endpoints are narrowed in every way, each at an external IP of its own.

use std::fmt::Write as _;

/// An endpoint: the last byte of its address, its node, and more of its fields.
type Endpoint = (u8, &'static str, &'static str);

const READY: &str = "conditions: {ready: true}";
const ENDING: &str = "conditions: {ready: false, serving: true, terminating: true}";
const UNREADY: &str = "conditions: {ready: false, serving: false}";

/// All of them, in namespace `shop`. `node-1` in zone `a` is the node that is asked about.
pub(super) fn all() -> String {
    let mut text = String::new();
    let mut service = |number: u8, name: &str, spec: &str, metadata: &str, endpoints: &[Endpoint]| {
        text.push_str(&one(number, name, spec, metadata, endpoints));
    };
    let both = [(11, "node-1", READY), (12, "node-2", READY)];
    service(1, "local-policy", "externalTrafficPolicy: Local", "", &both);
    service(
        2,
        "zone-hints",
        "",
        "",
        &[
            (21, "node-1", "hints: {forZones: [{name: a}]}"),
            (22, "node-2", "hints: {forZones: [{name: b}]}"),
            (23, "node-3", "hints: {forZones: [{name: a}, {name: b}]}"),
        ],
    );
    service(
        3,
        "node-hints",
        "",
        "",
        &[
            (31, "node-1", "hints: {forNodes: [{name: node-1}], forZones: [{name: a}]}"),
            (32, "node-2", "hints: {forNodes: [{name: node-2}], forZones: [{name: a}]}"),
        ],
    );
    service(4, "ending", "", "", &[(41, "node-2", ENDING), (42, "node-2", UNREADY)]);
    service(5, "nobody", "", "", &[]);
    service(
        6,
        "drained",
        "",
        "annotations: {weir.dev/weight: \"0\"}",
        &[(61, "node-2", READY), (62, "node-2", READY)],
    );
    service(
        7,
        "draining",
        "",
        "annotations: {weir.dev/endpoint-weights: '{\"10.1.1.71\": 3, \"10.1.1.72\": 0, \"10.1.1.73\": 1}'}",
        &[(71, "node-2", READY), (72, "node-2", READY), (73, "node-2", READY)],
    );
    service(
        8,
        "half-hints",
        "",
        "",
        &[(81, "node-1", "hints: {forZones: [{name: a}]}"), (82, "node-2", READY)],
    );
    service(9, "elsewhere", "externalTrafficPolicy: Local", "", &[(91, "node-2", READY)]);
    service(
        10,
        "internal",
        "clusterIP: 10.96.1.10\n  internalTrafficPolicy: Local",
        "",
        &[(101, "node-1", READY), (102, "node-2", READY)],
    );
    service(
        11,
        "ranges",
        "loadBalancerSourceRanges: [203.0.113.0/24]\nstatus: {loadBalancer: {ingress: [{ip: 198.51.100.111}]}}",
        "",
        &[(111, "node-1", READY)],
    );
    service(12, "sticky", "sessionAffinity: ClientIP", "", &[(121, "node-2", READY), (122, "node-2", READY)]);
    text + SCTP
}

/// SCTP, whose ports cannot change.
const SCTP: &str = "apiVersion: v1
kind: Service
metadata: {name: signalling, namespace: shop}
spec:
  externalIPs: [198.51.100.13]
  ipFamilies: [IPv4]
  ports: [{port: 3868, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: signalling, namespace: shop, labels: {kubernetes.io/service-name: signalling}}
addressType: IPv4
ports: [{port: 3868, protocol: SCTP}]
endpoints: [{addresses: [10.1.1.131], nodeName: node-1}]
";

fn one(number: u8, name: &str, spec: &str, metadata: &str, endpoints: &[Endpoint]) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  type: {service_type}
  externalIPs: [198.51.100.{number}]
  ipFamilies: [IPv4]
  ports: [{{port: 80, nodePort: {node_port}}}]
  {spec}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: shop
  labels: {{kubernetes.io/service-name: {name}}}
  {metadata}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints:
",
        service_type = if spec.contains("loadBalancer") { "LoadBalancer" } else { "NodePort" },
        node_port = 30000 + u16::from(number),
    );
    if endpoints.is_empty() {
        text = text.trim_end().to_owned() + " []\n";
    }
    for (last, node, more) in endpoints {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "  - {{addresses: [10.1.1.{last}], nodeName: {node}, {more}}}");
    }
    text + "---\n"
}
