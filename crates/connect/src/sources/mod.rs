//! Where events come from. Each source is an ordered log of raw records; what they mean is the codec's matter.

mod compression;
mod file;
mod generate;
mod rows;
mod stream;

pub use compression::Compression;
pub(crate) use compression::Decompressed;
pub use file::{FileReader, FileSource, FollowSource};
pub use generate::{GenerateSource, Traffic};
pub(crate) use rows::FAULT;
pub use stream::StreamReader;

use crate::streams::{StreamRef, Streams};
use ouzel_core::{Framing, Report, Result, Source};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// Whether a record is not one, but stands for a part of a file of rows that is damaged.
pub fn is_damage(record: &[u8]) -> bool {
    record.first() == Some(&FAULT)
}

/// Makes a framing for each file that is opened.
pub type NewFraming = Box<dyn Fn() -> Box<dyn Framing> + Send>;

/// Where the events of a pipeline come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    File(FileSource),
    Follow(FollowSource),
    Generate(GenerateSource),
    Stream(StreamRef),
}

/// What a source needs to know of what is around it.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The project directory: relative paths are relative to it.
    pub root: &'a Path,
    pub streams: &'a Streams,
    /// Where a source would end, wait for more.
    pub follow: bool,
}

impl SourceConfig {
    pub fn validate(&self, report: &mut Report) {
        match self {
            SourceConfig::File(file) => file.validate(report),
            SourceConfig::Follow(follow) => follow.validate(report),
            SourceConfig::Generate(generate) => generate.validate(report),
            SourceConfig::Stream(_) => {}
        }
    }

    pub fn open(self, around: &Surroundings<'_>, framing: NewFraming) -> Result<Box<dyn Source>> {
        match self {
            SourceConfig::File(file) => file.open(around.root, framing),
            SourceConfig::Follow(follow) => follow.open(around.root, framing),
            SourceConfig::Generate(generate) => generate.open(),
            SourceConfig::Stream(stream) => Ok(Box::new(StreamReader::open(&stream, around)?)),
        }
    }

    /// Whether it may have nothing to give for long, and then cannot be told to stop.
    pub fn may_be_silent(&self) -> bool {
        match self {
            SourceConfig::File(file) => file.is_standard_input(),
            SourceConfig::Follow(_) | SourceConfig::Generate(_) | SourceConfig::Stream(_) => false,
        }
    }

    /// Tells why files of rows (Parquet, Avro) cannot be read from here, if they cannot.
    pub fn no_rows(&self) -> Option<&'static str> {
        match self {
            SourceConfig::File(file) if file.is_standard_input() => {
                Some("files of rows are read from their end, or from their middle: standard input has neither")
            }
            SourceConfig::File(file) if file.compression != Compression::Auto => {
                Some("files of rows have compression of their own: leave `compression` out")
            }
            SourceConfig::File(_) => None,
            SourceConfig::Follow(_) => Some("files of rows are not there before they are whole: read them with `file`"),
            SourceConfig::Generate(_) | SourceConfig::Stream(_) => Some("this source has no files of rows"),
        }
    }

    /// The codec this source's records need, if it knows.
    pub fn default_codec(&self) -> Option<&'static str> {
        match self {
            SourceConfig::File(_) | SourceConfig::Follow(_) => None,
            SourceConfig::Generate(_) | SourceConfig::Stream(_) => Some("json"),
        }
    }

    /// Whether it tells when each event was recorded.
    pub fn records_ingestion(&self) -> bool {
        matches!(self, SourceConfig::Stream(_))
    }

    /// What it reads, for people.
    pub fn describe(&self) -> String {
        match self {
            SourceConfig::File(file) => {
                format!("file {}", file.path.0.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join(", "))
            }
            SourceConfig::Follow(follow) => format!("follow {}", follow.path.value),
            SourceConfig::Generate(_) => "generate".into(),
            SourceConfig::Stream(stream) => format!("stream {}", stream.name()),
        }
    }

    /// The stream it reads, if it does.
    pub fn stream(&self) -> Option<&StreamRef> {
        match self {
            SourceConfig::Stream(stream) => Some(stream),
            SourceConfig::File(_) | SourceConfig::Follow(_) | SourceConfig::Generate(_) => None,
        }
    }
}
