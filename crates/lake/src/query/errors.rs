//! What is wrong with a query, in words that help.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use ouzel_core::report::did_you_mean;
use ouzel_core::{Error, Kind};

/// Errors of the query's own making are the asker's; others are told as what they are.
pub fn failed(e: DataFusionError) -> Error {
    let root = e.find_root();
    match root {
        DataFusionError::SchemaError(schema, _) => {
            if let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref() {
                let hint = did_you_mean(&field.name, valid_fields.iter().map(|field| field.name.as_str()));
                return Error::config(hinted(format!("there is no column `{}`", field.name), hint));
            }
        }
        DataFusionError::SQL(parser, _) => {
            if let ParserError::ParserError(what) | ParserError::TokenizerError(what) = parser.as_ref() {
                return Error::config(format!("this is no SQL: {what}"));
            }
        }
        _ => {}
    }
    let kind = match root {
        DataFusionError::Plan(_) | DataFusionError::SQL(..) | DataFusionError::SchemaError(..) => Kind::Config,
        DataFusionError::NotImplemented(_) => Kind::Config,
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => Kind::Unavailable,
        DataFusionError::External(e) => match e.downcast_ref::<Error>() {
            Some(own) => own.kind,
            None => Kind::Unavailable,
        },
        _ => Kind::Data,
    };
    Error::new(kind, root.strip_backtrace())
}

/// The error of a table that is not among those there are; `None` if it is another error.
pub fn unknown_table(e: &DataFusionError, tables: &[String]) -> Option<Error> {
    let DataFusionError::Plan(message) = e.find_root() else { return None };
    let named = message.strip_prefix("table '")?.split_once("' not found")?.0;
    let name = named.rsplit('.').next().unwrap_or(named);
    let what = format!("there is no table `{name}`");
    Some(Error::config(match tables {
        [] => format!("{what}: nothing has been written yet, `ouzel run` does"),
        tables => hinted(what, did_you_mean(name, tables.iter().map(String::as_str))),
    }))
}

fn hinted(what: String, hint: Option<String>) -> String {
    hint.map_or(what.clone(), |hint| format!("{what}: {hint}"))
}
