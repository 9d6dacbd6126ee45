//! Tree to structs, by serde. A problem is recorded where it is first seen; unknown fields are recorded and
//! passed over, and a [`super::Lenient`] part that fails leaves a gap instead of ending the whole.

use super::tree::{Node, Value};
use super::wrap;
use crate::{Problem, Report, Severity, Span};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::fmt;

/// Decodes a tree. `None` if a part that cannot be done without is wrong; problems go to the report either way.
pub fn decode<T: de::DeserializeOwned>(report: &mut Report, node: &Node) -> Option<T> {
    let problems = RefCell::new(Vec::new());
    let value = T::deserialize(De { node, problems: &problems }).ok();
    for problem in problems.into_inner() {
        report.push(problem);
    }
    value
}

#[derive(Debug)]
pub(super) enum DeError {
    /// Not yet told where.
    Message(String),
    Recorded,
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeError::Message(text) => f.write_str(text),
            DeError::Recorded => f.write_str("already told"),
        }
    }
}
impl std::error::Error for DeError {}
impl de::Error for DeError {
    fn custom<T: fmt::Display>(msg: T) -> DeError {
        DeError::Message(msg.to_string())
    }
}

#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> De<'a> {
    fn record(self, span: Span, message: String) -> DeError {
        let mut problems = self.problems.borrow_mut();
        problems.push(Problem { severity: Severity::Error, span, message, hint: None });
        DeError::Recorded
    }
    /// Gives an error from below its place, once.
    fn locate<T>(self, result: Result<T, DeError>) -> Result<T, DeError> {
        result.map_err(|e| match e {
            DeError::Message(message) => self.record(self.node.span, message),
            DeError::Recorded => DeError::Recorded,
        })
    }
    fn at(self, node: &'a Node) -> De<'a> {
        De { node, problems: self.problems }
    }
    fn describe(self) -> &'static str {
        match &self.node.value {
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
    fn scalar(self, expected: &str) -> Result<&'a str, DeError> {
        match &self.node.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(self.record(self.node.span, format!("expected {expected}, found {}", self.describe()))),
        }
    }
    fn is_null(self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }
    fn number<T: std::str::FromStr>(self, expected: &str) -> Result<T, DeError> {
        let text = self.scalar(expected)?;
        text.replace('_', "").parse().map_err(|_| self.record(self.node.span, format!("expected {expected}, found `{text}`")))
    }
    fn map(self) -> Result<&'a [(Node, Node)], DeError> {
        match &self.node.value {
            Value::Map(pairs) => Ok(pairs),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.record(self.node.span, format!("expected a mapping, found {}", self.describe()))),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $expected:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            self.locate(visitor.$visit(self.number($expected)?))
        }
    )*};
}

impl<'de> Deserializer<'de> for De<'_> {
    type Error = DeError;

    numbers! {
        deserialize_i8 visit_i8 "a whole number" deserialize_i16 visit_i16 "a whole number"
        deserialize_i32 visit_i32 "a whole number" deserialize_i64 visit_i64 "a whole number"
        deserialize_u8 visit_u8 "a whole number, 0 or more" deserialize_u16 visit_u16 "a whole number, 0 or more"
        deserialize_u32 visit_u32 "a whole number, 0 or more" deserialize_u64 visit_u64 "a whole number, 0 or more"
        deserialize_f32 visit_f32 "a number" deserialize_f64 visit_f64 "a number"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let result = match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { de: self, items, next: 0 }),
            Value::Map(pairs) => visitor.visit_map(Pairs { de: self, pairs, fields: None, next: 0 }),
            Value::Scalar { text, plain: false } => visitor.visit_str(text),
            Value::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" => visitor.visit_unit(),
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => match (text.parse::<i64>(), text.parse::<f64>()) {
                    (Ok(n), _) => visitor.visit_i64(n),
                    (_, Ok(x)) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => visitor.visit_f64(x),
                    _ => visitor.visit_str(text),
                },
            },
        };
        self.locate(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let value = match self.scalar("true or false")? {
            "true" => true,
            "false" => false,
            text => return Err(self.record(self.node.span, format!("expected true or false, found `{text}`"))),
        };
        self.locate(visitor.visit_bool(value))
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let text = self.scalar("text")?;
        self.locate(visitor.visit_str(text))
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.is_null() { visitor.visit_none() } else { self.locate(visitor.visit_some(self)) }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.locate(visitor.visit_unit())
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::List(items) => self.locate(visitor.visit_seq(Items { de: self, items, next: 0 })),
            _ => Err(self.record(self.node.span, format!("expected a list, found {}", self.describe()))),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let pairs = self.map()?;
        self.locate(visitor.visit_map(Pairs { de: self, pairs, fields: None, next: 0 }))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        if name == wrap::SPANNED {
            return self.locate(visitor.visit_map(SpannedParts { de: self, next: 0 }));
        }
        let pairs = self.map()?;
        self.locate(visitor.visit_map(Pairs { de: self, pairs, fields: Some(fields), next: 0 }))
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::List(items) if name == wrap::ONE_OR_MANY => visitor.visit_seq(Items { de: self, items, next: 0 }),
            Value::Scalar { text, .. } if name == wrap::TEXT_OR => self.locate(visitor.visit_str(text)),
            _ => self.locate(visitor.visit_newtype_struct(self)),
        }
    }
    /// Externally tagged: `kind: {...}`, or the bare word for a kind without settings.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let (key, content) = match &self.node.value {
            Value::Scalar { .. } => (self.node, None),
            Value::Map(pairs) if pairs.len() == 1 => (&pairs[0].0, Some(&pairs[0].1)),
            Value::Map(pairs) if pairs.len() > 1 => {
                return Err(self.record(pairs[1].0.span, format!("expected one kind here, found {}", pairs.len())));
            }
            _ => return Err(self.record(self.node.span, format!("expected one of {}", variants.join(", ")))),
        };
        let name = self.at(key).scalar("a word")?;
        if !variants.contains(&name) {
            let mut problem =
                Problem { severity: Severity::Error, span: key.span, message: format!("unknown kind `{name}`"), hint: None };
            problem.did_you_mean(name, variants.iter().copied());
            self.problems.borrow_mut().push(problem);
            return Err(DeError::Recorded);
        }
        self.locate(visitor.visit_enum(Tagged { de: self, name, content }))
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }
    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit_struct tuple_struct identifier }
}

struct Items<'a> {
    de: De<'a>,
    items: &'a [Node],
    next: usize,
}
impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        let de = self.de.at(item);
        de.locate(seed.deserialize(de)).map(Some)
    }
}

struct Pairs<'a> {
    de: De<'a>,
    pairs: &'a [(Node, Node)],
    fields: Option<&'static [&'static str]>,
    next: usize,
}
impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = DeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        loop {
            let Some((key, _)) = self.pairs.get(self.next) else { return Ok(None) };
            let de = self.de.at(key);
            let Some(fields) = self.fields else { return de.locate(seed.deserialize(de)).map(Some) };
            let name = de.scalar("a word")?;
            if fields.contains(&name) {
                return seed.deserialize(name.into_deserializer()).map(Some);
            }
            let mut problem =
                Problem { severity: Severity::Error, span: key.span, message: format!("unknown field `{name}`"), hint: None };
            problem.did_you_mean(name, fields.iter().copied());
            self.de.problems.borrow_mut().push(problem);
            self.next += 1;
        }
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DeError> {
        let de = self.de.at(&self.pairs[self.next].1);
        self.next += 1;
        de.locate(seed.deserialize(de))
    }
}

/// Feeds a [`super::Spanned`]: four numbers, then the value.
struct SpannedParts<'a> {
    de: De<'a>,
    next: usize,
}
impl<'de> MapAccess<'de> for SpannedParts<'_> {
    type Error = DeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        match wrap::SPANNED_FIELDS.get(self.next) {
            Some(name) => seed.deserialize((*name).into_deserializer()).map(Some),
            None => Ok(None),
        }
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DeError> {
        let Span { file, line, column, len } = self.de.node.span;
        let part = self.next;
        self.next += 1;
        match [file, line, column, len].get(part) {
            Some(n) => seed.deserialize((*n).into_deserializer()),
            None => self.de.locate(seed.deserialize(self.de)),
        }
    }
}

struct Tagged<'a> {
    de: De<'a>,
    name: &'a str,
    content: Option<&'a Node>,
}
impl<'de, 'a> de::EnumAccess<'de> for Tagged<'a> {
    type Error = DeError;
    type Variant = Tagged<'a>;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Tagged<'a>), DeError> {
        let name: de::value::StrDeserializer<'_, DeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}
/// A bare word stands for a kind with all its defaults.
static EMPTY: Node = Node { span: Span { file: 0, line: 0, column: 0, len: 0 }, value: Value::Map(Vec::new()) };

impl<'de> de::VariantAccess<'de> for Tagged<'_> {
    type Error = DeError;
    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeError> {
        let de = self.de.at(self.content.unwrap_or(&EMPTY));
        match self.content {
            Some(_) => de.locate(seed.deserialize(de)),
            None => self.de.locate(seed.deserialize(de)),
        }
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.de.at(self.content.unwrap_or(&EMPTY)).deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        self.de.at(self.content.unwrap_or(&EMPTY)).deserialize_struct("", fields, visitor)
    }
}
