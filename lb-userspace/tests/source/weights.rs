//! Weights come from annotations in a fixed order, and a malformed one counts as 1.

use crate::{parse_one, service_with, slice, slice_with, warnings};

const ENDPOINTS: &str = "addressType: IPv4
endpoints:
  - {addresses: [10.0.0.1], targetRef: {name: web-0}}
  - {addresses: [10.0.0.2], targetRef: {name: web-1}}
  - {addresses: [10.0.0.3]}";

/// The weights of the three endpoints, and the warnings without their common beginning.
fn weights(annotations: &str) -> (Vec<Option<u16>>, Vec<String>) {
    let text = slice_with(&format!("annotations: {{{annotations}}}"), ENDPOINTS);
    let parsed = parse_one(&text).expect("a well-formed manifest");
    let start = "7: EndpointSlice shop/web-1: annotation ";
    let told =
        warnings(&parsed).iter().map(|text| text.strip_prefix(start).expect(start).to_owned()).collect();
    (slice(parsed).endpoints.iter().map(|endpoint| endpoint.weight).collect(), told)
}

#[test]
fn the_first_annotation_that_matches_wins() {
    let cases = [
        ("", [None, None, None]),
        ("weir.dev/weight: '7'", [Some(7); 3]),
        ("service.cilium.io/weight: '9'", [Some(9); 3]),
        ("weir.dev/weight: '0', service.cilium.io/weight: '9'", [Some(0); 3]),
        ("weir.dev/weight: ' 65535 '", [Some(65535); 3]),
        ("weir.dev/weight: 7", [Some(7); 3]),
        ("weir.dev/weight: null", [None; 3]),
        (r#"weir.dev/endpoint-weights: '{"10.0.0.1": 5, "web-1": 0}'"#, [Some(5), Some(0), None]),
        (r#"weir.dev/endpoint-weights: '{"web-0": 4, "10.0.0.1": 5}'"#, [Some(5), None, None]),
        (r#"weir.dev/endpoint-weights: '{"010.0.0.1": 5}'"#, [Some(5), None, None]),
        (r#"weir.dev/endpoint-weights: '{"10.9.9.9": 5, "gone": 1}'"#, [None; 3]),
        (
            r#"weir.dev/endpoint-weights: '{"web-0": 5}', weir.dev/weight: '2', service.cilium.io/weight: '3'"#,
            [Some(5), Some(2), Some(2)],
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(weights(annotations), (expected.to_vec(), Vec::new()), "{annotations}");
    }
}

#[test]
fn a_malformed_weight_is_one_warning_and_counts_as_1() {
    let weight = "is not a weight from 0 to 65535; counts as 1";
    for value in ["65536", "-1", "1.5", "heavy", ""] {
        for key in ["weir.dev/weight", "service.cilium.io/weight"] {
            let told = vec![format!("{key}: {value:?} {weight}")];
            assert_eq!(weights(&format!("{key}: '{value}'")), (vec![Some(1); 3], told));
        }
    }
    for value in ["65536", "-1", "1.5", "\"5\"", "null", "[1]"] {
        let annotation = format!(r#"weir.dev/endpoint-weights: '{{"web-0": {value}, "web-1": 8}}'"#);
        let told = vec![format!(r#"weir.dev/endpoint-weights of "web-0": {value:?} {weight}"#)];
        assert_eq!(weights(&annotation), (vec![Some(1), Some(8), None], told));
    }
    for value in ["", "{", "[]", "5", "{} {}"] {
        let annotation = format!("weir.dev/endpoint-weights: '{value}', service.cilium.io/weight: '3'");
        let told = vec![format!(
            "weir.dev/endpoint-weights: {value:?} is not a JSON object of weights; counts as 1"
        )];
        assert_eq!(weights(&annotation), (vec![Some(1); 3], told));
    }
}

#[test]
fn a_long_value_is_cut_in_the_warning() {
    let (_, told) = weights(&format!("weir.dev/weight: '{}'", "x".repeat(100)));
    let cut =
        format!("weir.dev/weight: \"{}\"... is not a weight from 0 to 65535; counts as 1", "x".repeat(64));
    assert_eq!(told, [cut]);
}

#[test]
fn malformed_weights_by_zone_count_as_1() {
    let object = "is not a JSON object of weights; counts as 1";
    let weight = "is not a weight from 0 to 65535; counts as 1";
    let cases = [
        ("[1]", vec![], format!("annotation weir.dev/weight-by-zone: \"[1]\" {object}")),
        (
            r#"{"a": 70000, "b": 2}"#,
            vec![("a", 1), ("b", 2)],
            format!("annotation weir.dev/weight-by-zone of \"a\": \"70000\" {weight}"),
        ),
    ];
    for (value, expected, told) in cases {
        let annotation = format!("name: web, annotations: {{weir.dev/weight-by-zone: '{value}'}}");
        let parsed = parse_one(&service_with("ports: []").replace("name: web", &annotation)).unwrap();
        assert_eq!(warnings(&parsed), [format!("3: Service shop/web: {told}")]);
        let Some(lb_userspace::model::Object::Service(read)) = parsed.object else { panic!("no Service") };
        let expected = expected.into_iter().map(|(zone, weight)| (zone.to_owned(), weight)).collect();
        assert_eq!(read.weight_by_zone, expected, "{value}");
    }
}
