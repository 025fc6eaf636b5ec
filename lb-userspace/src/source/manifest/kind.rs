//! The content of a document as the type that its shape says.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::shape::{Document, Item, Items, Kind, Shape};
use super::{EndpointSlice, Service};

/// An object as its type.
#[derive(Debug)]
pub(in crate::source) enum Manifest {
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    /// Of a type that is not read, with its name.
    Unknown(String),
}

/// Reads the content of a document; a List stands for its items, each with the line on which it begins.
pub(in crate::source) struct DocumentSeed<'a>(pub(in crate::source) &'a Spanned<Document>);

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = Vec<(u64, Manifest)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match &self.0.value {
            shape @ Shape::Object { items, .. } if shape.kind() == Kind::List => {
                deserializer.deserialize_map(ListVisitor { items })
            }
            Shape::Object { .. } | Shape::Null | Shape::Other => {
                ObjectSeed(self.0).deserialize(deserializer).map(Vec::from_iter)
            }
        }
    }
}

/// Reads one object as its type, unless there is none.
struct ObjectSeed<'a, I>(&'a Spanned<Shape<I>>);

impl<'de, I> DeserializeSeed<'de> for ObjectSeed<'_, I> {
    type Value = Option<(u64, Manifest)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let shape = &self.0.value;
        let manifest = match shape.kind() {
            Kind::Service => Some(Manifest::Service(Box::new(Service::deserialize(deserializer)?))),
            Kind::EndpointSlice => {
                Some(Manifest::EndpointSlice(Box::new(EndpointSlice::deserialize(deserializer)?)))
            }
            Kind::List | Kind::Unknown => {
                IgnoredAny::deserialize(deserializer)?;
                shape.type_name().map(Manifest::Unknown)
            }
        };
        Ok(manifest.map(|manifest| (self.0.defined.line(), manifest)))
    }
}

/// Reads a List by the shapes of its items.
struct ListVisitor<'a> {
    items: &'a Items,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = Vec<(u64, Manifest)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut manifests = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match self.items {
                Items::Sequence(items) if key == "items" => {
                    manifests = map.next_value_seed(ItemsSeed(items))?;
                }
                Items::Sequence(_) | Items::Null | Items::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(manifests)
    }
}

struct ItemsSeed<'a>(&'a [Spanned<Item>]);

impl<'de> DeserializeSeed<'de> for ItemsSeed<'_> {
    type Value = Vec<(u64, Manifest)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed<'_> {
    type Value = Vec<(u64, Manifest)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut manifests = Vec::new();
        for item in self.0 {
            manifests.extend(sequence.next_element_seed(ObjectSeed(item))?.flatten());
        }
        Ok(manifests)
    }
}
