//! What a document is, read before its content, because its type may stand behind the fields that it decides.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::source::reduce::Fault;

/// What a document or an item is, without its content. `I` is what it knows of the field `items`: a document
/// knows the shapes of its items, and an item nothing, so that nesting cannot fill the stack.
#[derive(Debug)]
pub(in crate::source) enum Shape<I> {
    /// Nothing, as between two `---`.
    Null,
    /// A scalar or a sequence.
    Other,
    /// An object.
    Object { api_version: Option<String>, kind: Option<String>, items: I },
}

/// The shape of a document.
pub(in crate::source) type Document = Shape<Items>;

/// The shape of an item of a List.
pub(in crate::source) type Item = Shape<IgnoredAny>;

/// A field `items`, which in other types than a List may be anything.
#[derive(Debug, Default)]
pub(in crate::source) enum Items {
    /// Absent or `null`.
    #[default]
    Null,
    /// No sequence.
    Other,
    /// A sequence, with the places of its elements.
    Sequence(Vec<Spanned<Item>>),
}

/// The types that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    EndpointSlice,
    List,
    Unknown,
}

impl<I> Shape<I> {
    /// Refuses what is not an object of the Kubernetes API. `line` is the place of this one.
    fn check_type(&self, line: u64) -> Result<(), Fault> {
        let fault = |reason: &str| Err(Fault { line, reason: reason.to_owned() });
        match self {
            Self::Other => fault("not an object with apiVersion and kind"),
            Self::Object { api_version: None, .. } => fault("missing field `apiVersion`"),
            Self::Object { kind: None, .. } => fault("missing field `kind`"),
            Self::Object { .. } | Self::Null => Ok(()),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        let Self::Object { api_version, kind, .. } = self else { return Kind::Unknown };
        match (api_version.as_deref(), kind.as_deref()) {
            (Some("v1"), Some("Service")) => Kind::Service,
            (Some("discovery.k8s.io/v1"), Some("EndpointSlice")) => Kind::EndpointSlice,
            (Some("v1"), Some("List")) => Kind::List,
            _ => Kind::Unknown,
        }
    }

    /// `apiVersion` and `kind`.
    pub(super) fn type_name(&self) -> Option<String> {
        match self {
            Self::Object { api_version, kind, .. } => {
                Some(format!("{} {}", api_version.as_deref()?, kind.as_deref()?))
            }
            Self::Null | Self::Other => None,
        }
    }
}

impl Document {
    /// Refuses what is not an object of the Kubernetes API, or a List of other than such objects.
    pub(in crate::source) fn check(&self, line: u64) -> Result<(), Fault> {
        self.check_type(line)?;
        match self {
            Self::Object { items, .. } if self.kind() == Kind::List => match items {
                Items::Null => Ok(()),
                Items::Other => Err(Fault { line, reason: "items: not a list of objects".to_owned() }),
                Items::Sequence(items) => items.iter().try_for_each(check_item),
            },
            Self::Null | Self::Other | Self::Object { .. } => Ok(()),
        }
    }
}

fn check_item(item: &Spanned<Item>) -> Result<(), Fault> {
    let line = item.defined.line();
    if item.value.kind() == Kind::List {
        return Err(Fault { line, reason: "a List as an item of a List is not supported".to_owned() });
    }
    item.value.check_type(line)
}

/// A value that may be of any type, of which only some are looked into.
trait Any<'de>: Sized {
    const NULL: Self;
    const OTHER: Self;

    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
    fn sequence<A: SeqAccess<'de>>(sequence: A) -> Result<Self, A::Error>;
}

impl<'de, I: Default + Deserialize<'de>> Any<'de> for Shape<I> {
    const NULL: Self = Self::Null;
    const OTHER: Self = Self::Other;

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let (mut api_version, mut kind, mut items) = (None, None, I::default());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "apiVersion" => api_version = map.next_value()?,
                "kind" => kind = map.next_value()?,
                "items" => items = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Self::Object { api_version, kind, items })
    }

    fn sequence<A: SeqAccess<'de>>(mut sequence: A) -> Result<Self, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::Other)
    }
}

impl<'de> Any<'de> for Items {
    const NULL: Self = Self::Null;
    const OTHER: Self = Self::Other;

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::Other)
    }

    fn sequence<A: SeqAccess<'de>>(mut sequence: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Self::Sequence(items))
    }
}

impl<'de, I: Default + Deserialize<'de>> Deserialize<'de> for Shape<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor(PhantomData))
    }
}

struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Any<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<T, A::Error> {
        T::sequence(sequence)
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::NULL)
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::NULL)
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::OTHER)
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::OTHER)
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::OTHER)
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::OTHER)
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::OTHER)
    }
}
