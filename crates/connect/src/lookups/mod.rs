//! What is known about a value from elsewhere: columns looked up by the value of one field.

mod columns;
mod ranges;
mod user_agent;

pub use ranges::RangesLookup;
pub use user_agent::UserAgentLookup;

use crate::sources::{Compression, Decompressed};
use ouzel_core::{Error, FieldType, Lookup, Report, Result, Spanned, error::ResultExt};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// A lookup step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupConfig {
    Ranges(RangesLookup),
    UserAgent(UserAgentLookup),
}

impl LookupConfig {
    /// The field whose values are looked up.
    pub fn of(&self) -> &Spanned<String> {
        match self {
            LookupConfig::Ranges(ranges) => &ranges.of,
            LookupConfig::UserAgent(user_agent) => &user_agent.of,
        }
    }

    /// What it adds; known without reading its file.
    pub fn columns(&self) -> Vec<(String, FieldType)> {
        match self {
            LookupConfig::Ranges(ranges) => ranges.columns(),
            LookupConfig::UserAgent(user_agent) => user_agent.columns(),
        }
    }

    pub fn validate(&self, report: &mut Report) {
        match self {
            LookupConfig::Ranges(ranges) => ranges.validate(report),
            LookupConfig::UserAgent(user_agent) => user_agent.validate(report),
        }
    }

    /// Reads the table. `wanted`, one for each of `columns`: the others are all null.
    pub fn open(&self, root: &Path, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        match self {
            LookupConfig::Ranges(ranges) => ranges.open(root, wanted),
            LookupConfig::UserAgent(user_agent) => user_agent.open(root, wanted),
        }
    }
}

/// All of a lookup file, decompressed, without its byte order mark.
fn read_file(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = root.join(name);
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
