//! Types of fields, as schema files name them.

use crate::Path;
use arrow_schema::{DataType, Field, TimeUnit};
use std::{fmt, str::FromStr, sync::Arc};

/// A type a field's value may have.
///
/// `text`, `int` (64 bits, also `bigint`), `float` (64 bits, also `double`), `bool`, `timestamp` (microseconds, UTC),
/// `ip` (canonical text), `json` (raw JSON text) and `list<T>` of any of these but lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldType {
    Text,
    Int,
    Float,
    Bool,
    Timestamp,
    Ip,
    Json,
    List(Box<FieldType>),
}

/// A value a decoder is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub path: Path,
    /// At least one. The first is the column's type.
    pub types: Vec<FieldType>,
    /// Any value as text, whatever the types say: strings unescaped, numbers and truth values as written, arrays and
    /// objects as their JSON text.
    pub any_text: bool,
}

impl FieldType {
    pub fn arrow(&self) -> DataType {
        match self {
            FieldType::Text | FieldType::Ip | FieldType::Json => DataType::Utf8View,
            FieldType::Int => DataType::Int64,
            FieldType::Float => DataType::Float64,
            FieldType::Bool => DataType::Boolean,
            FieldType::Timestamp => timestamp_type(),
            FieldType::List(of) => DataType::List(Arc::new(Field::new("item", of.arrow(), true))),
        }
    }
}

/// The one timestamp type: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::Text => "text",
            FieldType::Int => "int",
            FieldType::Float => "float",
            FieldType::Bool => "bool",
            FieldType::Timestamp => "timestamp",
            FieldType::Ip => "ip",
            FieldType::Json => "json",
            FieldType::List(of) => return write!(f, "list<{of}>"),
        })
    }
}

impl FromStr for FieldType {
    type Err = String;
    fn from_str(text: &str) -> Result<FieldType, String> {
        let text = text.trim();
        if let Some(of) = text.strip_prefix("list<").and_then(|t| t.strip_suffix('>')) {
            return match of.parse()? {
                FieldType::List(_) => Err("a list of lists is not supported; use `json`".into()),
                of => Ok(FieldType::List(Box::new(of))),
            };
        }
        Ok(match text {
            "text" | "string" => FieldType::Text,
            "int" | "bigint" => FieldType::Int,
            "float" | "double" => FieldType::Float,
            "bool" | "boolean" => FieldType::Bool,
            "timestamp" => FieldType::Timestamp,
            "ip" => FieldType::Ip,
            "json" => FieldType::Json,
            _ => return Err(format!("unknown type `{text}`: expected text, int, float, bool, timestamp, ip, json or list<...>")),
        })
    }
}

impl<'de> serde::Deserialize<'de> for FieldType {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<FieldType, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for FieldType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldType".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(text|string|int|bigint|float|double|bool|boolean|timestamp|ip|json|list<[a-z]+>)$",
            "description": "text, int, float, bool, timestamp, ip, json or list<...>"
        })
    }
}
