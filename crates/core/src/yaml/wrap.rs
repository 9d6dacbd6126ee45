//! Wrappers that carry what YAML knows and plain structs lose: places, order, short forms.

use crate::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

pub(super) const SPANNED: &str = "$ouzel::Spanned";
pub(super) const SPANNED_FIELDS: &[&str] = &["file", "line", "column", "len", "value"];
pub(super) const ONE_OR_MANY: &str = "$ouzel::OneOrMany";
pub(super) const TEXT_OR: &str = "$ouzel::TextOr";
const LENIENT: &str = "$ouzel::Lenient";

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// A part whose failure (already told) does not end the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Lenient<T>(pub Option<T>);

/// `x` or `[x, y]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

/// A mapping in file order. A value that failed (already told) is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered<T>(pub Vec<(Spanned<String>, T)>);

/// A text as the short form of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub enum TextOr<T> {
    Text(String),
    Full(T),
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}
impl<T> Spanned<T> {
    /// A value that comes from no file.
    pub fn nowhere(value: T) -> Spanned<T> {
        Spanned { value, span: Span::default() }
    }
}
impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered(Vec::new())
    }
}
impl<T> Default for OneOrMany<T> {
    fn default() -> OneOrMany<T> {
        OneOrMany(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Spanned<T>, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Spanned<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spanned<T>, A::Error> {
                let mut n = [0u32; 4];
                for slot in &mut n {
                    let _: Option<String> = map.next_key()?;
                    *slot = map.next_value()?;
                }
                let _: Option<String> = map.next_key()?;
                let value = map.next_value()?;
                let [file, line, column, len] = n;
                Ok(Spanned { value, span: Span { file, line, column, len } })
            }
        }
        d.deserialize_struct(SPANNED, SPANNED_FIELDS, V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Lenient<T>, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Lenient<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Lenient<T>, D::Error> {
                Ok(Lenient(T::deserialize(d).ok()))
            }
        }
        d.deserialize_newtype_struct(LENIENT, V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<OneOrMany<T>, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value or a list of them")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<OneOrMany<T>, D::Error> {
                Ok(OneOrMany(vec![T::deserialize(d)?]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMany(items))
            }
        }
        d.deserialize_newtype_struct(ONE_OR_MANY, V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<TextOr<T>, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = TextOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("text or a mapping")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_string()))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<TextOr<T>, D::Error> {
                T::deserialize(d).map(TextOr::Full)
            }
        }
        d.deserialize_newtype_struct(TEXT_OR, V(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Ordered<T>, D::Error> {
        struct V<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key()? {
                    if let Lenient(Some(value)) = map.next_value()? {
                        pairs.push((key, value));
                    }
                }
                Ok(Ordered(pairs))
            }
        }
        d.deserialize_map(V(PhantomData))
    }
}

macro_rules! schema_of_inner {
    ($($wrap:ident)*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrap<T> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn json_schema(g: &mut SchemaGenerator) -> Schema {
                g.subschema_for::<T>()
            }
        }
    )*};
}
schema_of_inner! { Spanned Lenient }

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let inner = g.subschema_for::<T>();
        json_schema!({ "anyOf": [inner, { "type": "array", "items": inner }] })
    }
}
impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("TextOr_{}", T::schema_name()).into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let inner = g.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, inner] })
    }
}
impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Ordered_{}", T::schema_name()).into()
    }
    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let inner = g.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": inner })
    }
}
