//! Options of one character.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;

/// One ASCII character between cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(pub u8);

/// One ASCII character around cells, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote(pub Option<u8>);

/// The text of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Cell(pub String);

impl Delimiter {
    pub const COMMA: Delimiter = Delimiter(b',');
}

impl Quote {
    pub const DOUBLE: Quote = Quote(Some(b'"'));
    pub const NONE: Quote = Quote(None);
}

impl<'de> Deserialize<'de> for Delimiter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Delimiter, D::Error> {
        let text = String::deserialize(d)?;
        match text.as_str() {
            "tab" | "\\t" => Ok(Delimiter(b'\t')),
            _ => one_character(&text)
                .map(Delimiter)
                .ok_or_else(|| D::Error::custom(format!("`{text}` is not one ASCII character"))),
        }
    }
}

impl<'de> Deserialize<'de> for Quote {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Quote, D::Error> {
        let text = String::deserialize(d)?;
        match text.as_str() {
            "none" => Ok(Quote::NONE),
            _ => one_character(&text)
                .map(|c| Quote(Some(c)))
                .ok_or_else(|| D::Error::custom(format!("`{text}` is neither one ASCII character nor `none`"))),
        }
    }
}

fn one_character(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [c] if c.is_ascii() && !matches!(c, b'\n' | b'\r') => Some(*c),
        _ => None,
    }
}

impl JsonSchema for Delimiter {
    fn schema_name() -> Cow<'static, str> {
        "Delimiter".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(.|tab|\\\\t)$", "description": "One ASCII character, or tab" })
    }
}

impl JsonSchema for Quote {
    fn schema_name() -> Cow<'static, str> {
        "Quote".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(.|none)$", "description": "One ASCII character, or none" })
    }
}
