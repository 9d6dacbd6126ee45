//! Where events come from. Each source is an ordered log of raw records; what they mean is the codec's matter.

mod compression;
mod file;
mod generate;

pub use compression::Compression;
pub(crate) use compression::Decompressed;
pub use file::{FileReader, FileSource};
pub use generate::{GenerateSource, Traffic};

use ouzel_core::{Framing, Report, Result, Source};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// Makes a framing for each file that is opened.
pub type NewFraming = Box<dyn Fn() -> Box<dyn Framing> + Send>;

/// Where the events of a pipeline come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    File(FileSource),
    Generate(GenerateSource),
}

impl SourceConfig {
    pub fn validate(&self, report: &mut Report) {
        match self {
            SourceConfig::File(file) => file.validate(report),
            SourceConfig::Generate(generate) => generate.validate(report),
        }
    }

    /// Relative paths are relative to `root`, the project directory.
    pub fn open(self, root: &Path, framing: NewFraming) -> Result<Box<dyn Source>> {
        match self {
            SourceConfig::File(file) => file.open(root, framing),
            SourceConfig::Generate(generate) => generate.open(),
        }
    }

    /// Whether it may have nothing to give for long, and then cannot be told to stop.
    pub fn may_be_silent(&self) -> bool {
        match self {
            SourceConfig::File(file) => file.is_standard_input(),
            SourceConfig::Generate(_) => false,
        }
    }

    /// The codec this source's records need, if it knows.
    pub fn default_codec(&self) -> Option<&'static str> {
        match self {
            SourceConfig::File(_) => None,
            SourceConfig::Generate(_) => Some("json"),
        }
    }
}
