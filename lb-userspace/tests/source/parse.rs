//! Documents, formats and kinds, and the line of every error.

use std::fmt::Write as _;

use lb_userspace::model::Object;
use lb_userspace::source::{Parsed, parse};
use proptest::prelude::*;

use crate::warnings;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: \
                     {kubernetes.io/service-name: web}}\naddressType: IPv4\n";

/// Line and name of each object; a skipped one has its warning instead.
fn outline(name: &str, text: &str) -> Result<Vec<String>, String> {
    let line = |parsed: Parsed| match &parsed.object {
        Some(Object::Service(service)) => format!("{}: {}", parsed.line, service.key.name),
        Some(Object::EndpointSlice(slice)) => format!("{}: {}", parsed.line, slice.key.name),
        None => warnings(&parsed).join("; "),
    };
    Ok(parse(name, text).map_err(|error| error.to_string())?.into_iter().map(line).collect())
}

#[test]
fn yaml_is_cut_into_documents() {
    let cases = [
        (String::new(), vec![]),
        ("# nothing\n\n---\n# at all\n---\n".to_owned(), vec![]),
        ("--- null\n---\n~\n".to_owned(), vec![]),
        (SERVICE.to_owned(), vec!["1: web"]),
        (format!("\u{feff}{SERVICE}"), vec!["1: web"]),
        (format!("# a comment\n\n---\n{SERVICE}---\n---\n{SLICE}..."), vec!["4: web", "10: web-1"]),
        (format!("%YAML 1.2\n---\n{SERVICE}...\n# end\n{SLICE}"), vec!["3: web", "9: web-1"]),
        (
            format!("--- # first\n{SERVICE}\n--- {{apiVersion: a, kind: B}}\n"),
            vec!["2: web", "7: skipped: a B is not a kind that is served"],
        ),
        (SERVICE.replace('\n', "\r\n") + "---\r\n" + SLICE, vec!["1: web", "6: web-1"]),
        (
            "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    ---\n    kind: Service\n---\n".to_owned()
                + SLICE,
            vec!["1: skipped: v1 ConfigMap is not a kind that is served", "8: web-1"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(outline("a.yaml", &text).unwrap(), expected, "{text}");
        assert_eq!(outline("a.yml", &text).unwrap(), expected, "{text}");
    }
}

#[test]
fn the_kind_may_come_last() {
    let text = "spec: {ports: [{port: 80}]}\nmetadata: {name: web}\nkind: Service\napiVersion: v1\n";
    assert_eq!(outline("a.yaml", text).unwrap(), ["1: web"]);
}

#[test]
fn json_may_hold_several_documents() {
    let service =
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"ports":[{"port":80}]}}"#;
    let secret = "{\n \"apiVersion\": \"v1\",\n \"kind\": \"Secret\", \"data\": {\"a\": [1, {}]}\n}";
    let skipped = "skipped: v1 Secret is not a kind that is served";
    let cases = [
        (String::new(), vec![]),
        (" \n null\n".to_owned(), vec![]),
        (service.to_owned(), vec!["1: web".to_owned()]),
        (format!("\u{feff}{service}"), vec!["1: web".to_owned()]),
        (
            format!("\n\n{service}\n\n{secret}\n{service}"),
            vec!["3: web".to_owned(), format!("5: {skipped}"), "9: web".to_owned()],
        ),
        (
            format!("{service}{secret}{service}"),
            vec!["1: web".to_owned(), format!("1: {skipped}"), "4: web".to_owned()],
        ),
        (
            format!(r#"{{"apiVersion":"v1","kind":"List","items":[{service},{secret}]}}"#),
            vec!["1: web".to_owned(), format!("1: {skipped}")],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(outline("a.json", &text).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_list_stands_for_its_items() {
    let text = "apiVersion: v1
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec: {ports: [{port: 80}]}
- {apiVersion: apps/v1, kind: Deployment, items: 5, spec: {ports: x}, metadata: 1}
- null
-
  apiVersion: v1
  kind: Service
  metadata: {name: b}
  spec: {ports: [{port: 80}]}
kind: List
metadata: {resourceVersion: ''}
";
    let expected = ["3: a", "7: skipped: apps/v1 Deployment is not a kind that is served", "10: b"];
    assert_eq!(outline("a.yaml", text).unwrap(), expected);
    for items in ["", "items: null", "items: []"] {
        assert_eq!(
            outline("a.yaml", &format!("apiVersion: v1\nkind: List\n{items}")).unwrap(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn unknown_versions_are_unknown_kinds() {
    for (version, kind) in
        [("v2", "Service"), ("discovery.k8s.io/v1beta1", "EndpointSlice"), ("apps/v1", "List")]
    {
        let text = format!("apiVersion: {version}\nkind: {kind}\nitems: {{a: 1}}\nspec: 5\n");
        let expected = format!("1: skipped: {version} {kind} is not a kind that is served");
        assert_eq!(outline("a.yaml", &text).unwrap(), [expected]);
    }
}

#[test]
fn an_error_names_its_line_in_the_file() {
    let list = "apiVersion: v1\nkind: List\nitems:\n";
    let cases = [
        (format!("{SERVICE}---\n{SERVICE}---\nkind: [\n"), "11: expected string scalar"),
        (
            format!("{SERVICE}---\n{}", SERVICE.replace("80", "0")),
            "9: invalid value: integer `0`, expected port to be a number from 1 to 65535",
        ),
        (format!("{SERVICE}---\n\n# x\nkind: Service\n"), "8: missing field `apiVersion`"),
        (format!("{SERVICE}---\napiVersion: v1\n"), "6: missing field `kind`"),
        (format!("{SERVICE}---\n- 1\n"), "6: not an object with apiVersion and kind"),
        (format!("{SERVICE}---\nhello\n"), "6: not an object with apiVersion and kind"),
        (
            format!("{list}- apiVersion: v1\n  kind: Service\n- 5\n"),
            "6: not an object with apiVersion and kind",
        ),
        (format!("{list}- kind: Service\n"), "4: missing field `apiVersion`"),
        ("apiVersion: v1\nkind: List\nitems: 5\n".to_owned(), "1: items: not a list of objects"),
        (
            format!(
                "{list}- {{apiVersion: v1, kind: Service, metadata: {{name: a}},\n  spec: {{ports: [{{port: x}}]}}}}\n"
            ),
            "5: invalid type: string \"x\", expected port to be a number from 1 to 65535",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(outline("a.yaml", &text).unwrap_err(), expected, "{text}");
    }
    let cases = [
        ("{\n\"apiVersion\": \"v1\"", "2: EOF while parsing an object"),
        ("null\n{\"apiVersion\":\"v1\",\n\"kind\":}", "3: expected value"),
        ("null\n\n{\"apiVersion\":\"v1\"}", "3: missing field `kind`"),
        ("null\n\n[1]", "3: not an object with apiVersion and kind"),
        ("# no comments", "1: expected value"),
        (
            "null\n{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"},\n\"spec\": {\"ports\": [\n{\"port\": 65536}]}}",
            "4: invalid value: integer `65536`, expected port to be a number from 1 to 65535",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(outline("a.json", text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn nesting_never_fills_the_stack() {
    let list = r#"{"apiVersion":"v1","kind":"List","items":["#;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (list, "]}")] {
        for depth in [20, 60, 100, 1_000, 10_000] {
            let nested = format!("{}null{}", open.repeat(depth), close.repeat(depth));
            for name in ["a.json", "a.yaml"] {
                parse(name, &nested).unwrap_err();
                parse(name, &nested.replacen('{', r#"{"apiVersion":"a","kind":"B","#, 1)).ok();
            }
        }
    }
    let mut indented = String::new();
    for depth in 0..1_000 {
        writeln!(indented, "{}a:", " ".repeat(depth)).unwrap();
    }
    parse("a.yaml", &indented).unwrap_err();
}

#[test]
fn aliases_cannot_multiply() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        writeln!(text, "a{level}: &a{level} [{}]", [alias.as_str(); 10].join(", ")).unwrap();
    }
    parse("a.yaml", &text).unwrap_err();
}

#[test]
fn a_large_object_is_within_the_limits_of_the_parser() {
    let text = format!("{SLICE}other: [{}]\n", "0, ".repeat(300_000));
    assert_eq!(outline("a.yaml", &text).unwrap(), ["1: web-1"]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        drop(lb_userspace::source::fuzz_check(text.as_bytes()));
    }

    #[test]
    fn any_damage_to_a_manifest_is_read_or_refused(
        at in 0_usize..400,
        length in 0_usize..40,
        insert in "[-\\[\\]{}:\"'&*|>#%\\n\\t a0]{0,6}",
    ) {
        let text = format!("{SERVICE}---\n{SLICE}endpoints: [{{addresses: [10.0.0.1]}}]\n");
        let mut bytes = text.into_bytes();
        let begin = at.min(bytes.len());
        let end = (begin + length).min(bytes.len());
        bytes.splice(begin..end, insert.into_bytes());
        drop(lb_userspace::source::fuzz_check(&bytes));
    }

    /// YAML and JSON of one object are one object, wherever in a file it stands.
    #[test]
    fn formats_agree(port in 1_u16.., node_port in 0_u16.., name in "[a-z]{1,8}", before in 0_usize..5) {
        let json = format!(
            r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}},
                "spec": {{"ports": [{{"port": {port}, "nodePort": {node_port}}}]}}}}"#
        );
        let blank = "\n".repeat(before);
        let from_json = parse("a.json", &format!("{blank}{json}")).unwrap();
        let from_yaml = parse("a.yaml", &format!("{blank}---\n{json}")).unwrap();
        prop_assert_eq!(&from_json[0].object, &from_yaml[0].object);
        prop_assert_eq!(from_json[0].line, before as u64 + 1);
        prop_assert_eq!(from_yaml[0].line, before as u64 + 2);
        let Some(Object::Service(service)) = &from_json[0].object else { panic!("no Service") };
        prop_assert_eq!(service.ports[0].port, port);
        prop_assert_eq!(service.ports[0].node_port, (node_port != 0).then_some(node_port));
    }
}
