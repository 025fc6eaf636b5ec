//! The weights in the manifests, read for the table of expected shares, and edited for the drain.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The annotation that gives each endpoint of a slice its weight.
const ANNOTATION: &str = "weir.dev/endpoint-weights";

/// Weights of the slice in a manifest, by address; none where the manifest has no such slice.
pub(super) fn weights(manifest: &str) -> Result<BTreeMap<IpAddr, u16>> {
    let object: Value = serde_saphyr::from_str(manifest).context("a manifest of the demo is no YAML")?;
    let annotation = object
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get(ANNOTATION))
        .and_then(Value::as_str);
    annotation.map_or_else(
        || Ok(BTreeMap::new()),
        |json| serde_json::from_str(json).with_context(|| format!("{ANNOTATION} of a manifest of the demo")),
    )
}

/// The manifest with another weight for one address, as somebody would edit it.
pub(super) fn with_weight(manifest: &str, address: IpAddr, weight: u16) -> Option<String> {
    let name = format!("\"{address}\"");
    let (before, rest) = manifest.split_once(&format!("{name}:"))?;
    let number = rest.trim_start();
    let behind = number.trim_start_matches(|character: char| character.is_ascii_digit());
    (behind.len() < number.len()).then(|| format!("{before}{name}: {weight}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "# A comment.
kind: EndpointSlice
metadata:
  annotations:
    weir.dev/endpoint-weights: '{\"10.1.1.11\": 50, \"10.1.1.12\":30}'
";

    #[test]
    fn weights_are_read_and_edited() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = BTreeMap::from([(address("10.1.1.11"), 50), (address("10.1.1.12"), 30)]);
        assert_eq!(weights(MANIFEST).unwrap(), expected);
        let edited = with_weight(MANIFEST, address("10.1.1.12"), 0).unwrap();
        assert_eq!(weights(&edited).unwrap().get(&address("10.1.1.12")), Some(&0));
        assert_eq!(with_weight(MANIFEST, address("10.1.1.13"), 0), None);
    }

    #[test]
    fn a_manifest_without_weights_has_none() {
        assert_eq!(weights("kind: Service\nmetadata: {name: echo}\n").unwrap(), BTreeMap::new());
    }
}
