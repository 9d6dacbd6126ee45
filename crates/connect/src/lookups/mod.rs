//! What is known about a value from elsewhere: columns looked up by the value of one field.

mod columns;
mod csv;
mod domain;
mod host;
mod keys;
mod lookalike;
#[cfg(test)]
mod measure;
mod ranges;
mod records;
mod seen;
mod table;
mod take;
#[cfg(test)]
mod testing;
mod texts;
mod user_agent;

pub use domain::DomainLookup;
pub use lookalike::LookalikeLookup;
pub use ranges::RangesLookup;
pub use table::{OnDuplicate, TableLookup};
pub use texts::Texts;
pub use user_agent::UserAgentLookup;

use crate::sources::{Compression, Decompressed};
use ouzel_core::{Error, FieldType, Lookup, Report, Result, Spanned, error::ResultExt};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A lookup step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupConfig {
    Table(TableLookup),
    Ranges(RangesLookup),
    UserAgent(UserAgentLookup),
    Domain(DomainLookup),
    Lookalike(LookalikeLookup),
}

impl LookupConfig {
    /// The field whose values are looked up.
    pub fn of(&self) -> &Spanned<String> {
        match self {
            LookupConfig::Table(table) => &table.of,
            LookupConfig::Ranges(ranges) => &ranges.of,
            LookupConfig::UserAgent(user_agent) => &user_agent.of,
            LookupConfig::Domain(domain) => &domain.of,
            LookupConfig::Lookalike(lookalike) => &lookalike.of,
        }
    }

    /// What it adds; known without reading its file.
    pub fn columns(&self) -> Vec<(String, FieldType)> {
        match self {
            LookupConfig::Table(table) => table.columns(),
            LookupConfig::Ranges(ranges) => ranges.columns(),
            LookupConfig::UserAgent(user_agent) => user_agent.columns(),
            LookupConfig::Domain(domain) => domain.columns(),
            LookupConfig::Lookalike(lookalike) => lookalike.columns(),
        }
    }

    pub fn validate(&self, report: &mut Report) {
        match self {
            LookupConfig::Table(table) => table.validate(report),
            LookupConfig::Ranges(ranges) => ranges.validate(report),
            LookupConfig::UserAgent(user_agent) => user_agent.validate(report),
            LookupConfig::Domain(domain) => domain.validate(report),
            LookupConfig::Lookalike(lookalike) => lookalike.validate(report),
        }
    }

    /// Its files, as the pipeline names them.
    pub fn files(&self) -> Vec<&str> {
        match self {
            LookupConfig::Table(table) => vec![&table.file],
            LookupConfig::Ranges(ranges) => vec![&ranges.file],
            LookupConfig::UserAgent(user_agent) => [&user_agent.substrings, &user_agent.patterns, &user_agent.regexes]
                .into_iter()
                .flatten()
                .map(|file| file.as_str())
                .collect(),
            LookupConfig::Domain(domain) => {
                [&domain.disposable, &domain.free, &domain.file].into_iter().flatten().map(|file| file.as_str()).collect()
            }
            LookupConfig::Lookalike(lookalike) => vec![&lookalike.names],
        }
    }

    /// Reads the table. `wanted`, one for each of `columns`: the others are all null.
    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        match self {
            LookupConfig::Table(table) => table.open(files, wanted),
            LookupConfig::Ranges(ranges) => ranges.open(files, wanted),
            LookupConfig::UserAgent(user_agent) => user_agent.open(files, wanted),
            LookupConfig::Domain(domain) => domain.open(files, wanted),
            LookupConfig::Lookalike(lookalike) => lookalike.open(files, wanted),
        }
    }
}

/// Where the file lies that a pipeline names.
pub type Files<'a> = &'a dyn Fn(&str) -> PathBuf;

/// All of a lookup file, decompressed, without its byte order mark.
fn read_file(files: Files<'_>, name: &str) -> Result<Vec<u8>> {
    let path = files(name);
    let doing = || format!("reading lookup file `{}`", path.display());
    let file = std::fs::File::open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::config(format!("lookup file `{}` does not exist", path.display())),
        _ => Error::unavailable(e.to_string()).context(doing()),
    })?;
    let mut file = Decompressed::new(Box::new(file), Compression::Auto);
    let mut text = Vec::new();
    while file.fill(&mut text, 1 << 20).doing(doing)? > 0 {}
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    Ok(text)
}
