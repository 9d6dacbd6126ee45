//! Detection: pure and synchronous. A batch goes in, a batch comes out; time is an argument.

pub mod alerts;
pub mod decision;
pub mod evaluation;
pub mod expressions;
pub mod features;
pub mod partition;
pub mod schema;

use arrow_schema::DataType;

/// A type as the configuration names it.
pub fn describe(of: &DataType) -> String {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Int64 => "int".into(),
        DataType::Float64 => "float".into(),
        DataType::Boolean => "bool".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::List(of) | DataType::LargeList(of) => format!("list<{}>", describe(of.data_type())),
        DataType::Null => "null".into(),
        other => format!("{other}").to_lowercase(),
    }
}
