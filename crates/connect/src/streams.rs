//! The streams of a project: their names, and where they lie.

use crate::log;
use ouzel_core::{Error, Result, Span, Spanned, TextOr};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A stream of the project, by its name in `ouzel.yaml`: `stream: mails`, or `stream: { name: mails }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StreamRef(Spanned<TextOr<StreamName>>);

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StreamName {
    /// One of `streams:` in `ouzel.yaml`.
    name: Spanned<String>,
}

impl StreamRef {
    pub fn name(&self) -> &str {
        match &self.0.value {
            TextOr::Text(name) => name,
            TextOr::Full(stream) => &stream.name.value,
        }
    }

    pub fn span(&self) -> Span {
        match &self.0.value {
            TextOr::Text(_) => self.0.span,
            TextOr::Full(stream) => stream.name.span,
        }
    }
}

/// Where streams lie, and how each is kept.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    pub folder: PathBuf,
    pub settings: BTreeMap<String, StreamSettings>,
}

#[derive(Debug, Clone, Default)]
pub struct StreamSettings {
    pub log: log::Settings,
    /// The column whose value decides on the partition.
    pub key: Option<String>,
}

impl Streams {
    pub fn folder_of(&self, stream: &str) -> PathBuf {
        self.folder.join(stream)
    }

    pub fn get(&self, stream: &str) -> Result<&StreamSettings> {
        self.settings.get(stream).ok_or_else(|| Error::config(format!("there is no stream `{stream}` in `ouzel.yaml`")))
    }
}
