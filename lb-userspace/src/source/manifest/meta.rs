//! The parts that the types share: metadata, protocols, and numbers with a range.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::model;

/// `metadata`.
#[derive(Debug, Deserialize)]
pub(in crate::source) struct ObjectMeta {
    pub(in crate::source) name: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) namespace: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) labels: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "null_default")]
    pub(in crate::source) annotations: BTreeMap<String, Option<Spanned<String>>>,
}

impl ObjectMeta {
    /// A label that is there and not empty.
    pub(in crate::source) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)?.as_deref().filter(|value| !value.is_empty())
    }

    /// An annotation.
    pub(in crate::source) fn annotation(&self, key: &str) -> Option<&Spanned<String>> {
        self.annotations.get(key)?.as_ref()
    }
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::source) enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl From<Protocol> for model::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

/// Takes `null` for an absent field.
pub(super) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// `port` of a Service.
pub(super) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    number(deserializer, Number { field: "port", range: 1..=u16::MAX.into(), absent: None })
}

/// `nodePort` of a Service, where 0 is none.
pub(super) fn node_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let port =
        number(deserializer, Number { field: "nodePort", range: 1..=u16::MAX.into(), absent: Some(0) })?;
    Ok((port != 0).then_some(port))
}

/// `port` of an EndpointSlice, where 0 is none.
pub(super) fn endpoint_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let port = number(deserializer, Number { field: "port", range: 1..=u16::MAX.into(), absent: Some(0) })?;
    Ok((port != 0).then_some(port))
}

/// `timeoutSeconds` of the session affinity, at most a day, and 3 hours if absent.
pub(super) fn timeout_s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    number(
        deserializer,
        Number { field: "timeoutSeconds", range: 1..=86_400, absent: Some(TIMEOUT_S_DEFAULT) },
    )
}

/// What the API server fills in for `sessionAffinityConfig.clientIP.timeoutSeconds`.
pub(in crate::source) const TIMEOUT_S_DEFAULT: u32 = 10_800;

fn number<'de, D: Deserializer<'de>, T: TryFrom<u32>>(
    deserializer: D,
    number: Number,
) -> Result<T, D::Error> {
    let field = number.field;
    let value = deserializer.deserialize_any(number)?;
    T::try_from(value).map_err(|_| serde::de::Error::custom(format_args!("{field}: {value} is too large")))
}

/// A number whose name and range an error tells; `absent` stands for `null` and is allowed besides the range.
struct Number {
    field: &'static str,
    range: RangeInclusive<u32>,
    absent: Option<u32>,
}

impl Visitor<'_> for Number {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a number from {} to {}", self.field, self.range.start(), self.range.end())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u32, E> {
        u32::try_from(value)
            .ok()
            .filter(|value| self.range.contains(value) || self.absent == Some(*value))
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u32, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<u32, E> {
        self.absent.ok_or_else(|| E::invalid_type(Unexpected::Unit, &self))
    }
}
