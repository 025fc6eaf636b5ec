//! Weights from annotations: 0 to 65535, where 0 takes no new connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::{Fault, Subject, quoted};
use crate::source::address::parse_ip;
use crate::source::manifest::ObjectMeta;

/// On an EndpointSlice: a JSON object of address or target name to weight.
const ENDPOINT_WEIGHTS: &str = "weir.dev/endpoint-weights";

/// On an EndpointSlice: the weight of each of its endpoints, by our own key and by the one Cilium users know.
const SLICE_WEIGHT: [&str; 2] = ["weir.dev/weight", "service.cilium.io/weight"];

/// On a Service: a JSON object of zone to weight.
const WEIGHT_BY_ZONE: &str = "weir.dev/weight-by-zone";

/// What a malformed weight counts as.
const WEIGHT_DEFAULT: u16 = 1;

/// The weights that the annotations of an EndpointSlice give.
pub(super) struct SliceWeights {
    by_address: BTreeMap<IpAddr, u16>,
    by_target: BTreeMap<String, u16>,
    whole: Option<u16>,
}

impl SliceWeights {
    /// Reads the annotations; each malformed value is one warning.
    pub(super) fn read(subject: &Subject, meta: &ObjectMeta, warnings: &mut Vec<Fault>) -> Self {
        let mut weights = Self { by_address: BTreeMap::new(), by_target: BTreeMap::new(), whole: None };
        weights.whole = SLICE_WEIGHT.iter().find_map(|key| {
            let value = meta.annotation(key)?;
            Some(value.value.trim().parse().unwrap_or_else(|_| {
                warnings.push(malformed(subject, key, value, ""));
                WEIGHT_DEFAULT
            }))
        });
        match weight_object(subject, meta, ENDPOINT_WEIGHTS, warnings) {
            None => {}
            // It was meant to come before the other annotations, so these do not step in for it.
            Some(Err(Malformed)) => weights.whole = Some(WEIGHT_DEFAULT),
            Some(Ok(entries)) => {
                for (name, weight) in entries {
                    match parse_ip(&name) {
                        Some(address) => weights.by_address.insert(address, weight),
                        None => weights.by_target.insert(name, weight),
                    };
                }
            }
        }
        weights
    }

    /// The weight of an endpoint; none leaves the choice to the Service's annotation.
    pub(super) fn of(&self, address: IpAddr, target: Option<&str>) -> Option<u16> {
        let by_address = self.by_address.get(&address);
        by_address.or_else(|| self.by_target.get(target?)).copied().or(self.whole)
    }
}

/// Reads `weir.dev/weight-by-zone` of a Service.
pub(super) fn weight_by_zone(
    subject: &Subject,
    meta: &ObjectMeta,
    warnings: &mut Vec<Fault>,
) -> BTreeMap<String, u16> {
    match weight_object(subject, meta, WEIGHT_BY_ZONE, warnings) {
        Some(Ok(entries)) => entries,
        Some(Err(Malformed)) | None => BTreeMap::new(),
    }
}

/// An annotation that is no JSON object at all, of which a warning has told.
struct Malformed;

fn weight_object(
    subject: &Subject,
    meta: &ObjectMeta,
    key: &str,
    warnings: &mut Vec<Fault>,
) -> Option<Result<BTreeMap<String, u16>, Malformed>> {
    let text = meta.annotation(key)?;
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(&text.value) else {
        warnings.push(malformed(subject, key, text, ""));
        return Some(Err(Malformed));
    };
    let weight = |(name, value): (String, Value)| {
        let weight = value.as_u64().and_then(|weight| u16::try_from(weight).ok()).unwrap_or_else(|| {
            let entry = Spanned::new(value.to_string(), text.referenced, text.defined);
            warnings.push(malformed(subject, key, &entry, &format!(" of {}", quoted(&name))));
            WEIGHT_DEFAULT
        });
        (name, weight)
    };
    Some(Ok(object.into_iter().map(weight).collect()))
}

fn malformed(subject: &Subject, key: &str, value: &Spanned<String>, of: &str) -> Fault {
    let form = if of.is_empty() && !SLICE_WEIGHT.contains(&key) {
        "is not a JSON object of weights; counts as 1"
    } else {
        "is not a weight from 0 to 65535; counts as 1"
    };
    subject.value_fault(&format!("annotation {key}{of}"), value, form)
}
