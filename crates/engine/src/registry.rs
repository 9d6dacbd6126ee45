//! The table of contents of all components: sources, codecs, lookups and sinks by the name they have in a pipeline.
//! To add one, write its file and add its line here (sources, codecs and lookups have their enums beside them).

pub use ouzel_connect::codecs::CodecConfig;
pub use ouzel_connect::lookups::LookupConfig;
pub use ouzel_connect::sources::SourceConfig;

use arrow_schema::SchemaRef;
use ouzel_connect::sinks::{FileSink, StdoutSink};
use ouzel_core::{Report, Result, Sink};
use ouzel_lake::{LakeSink, Writer};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// Where scored events go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkConfig {
    File(FileSink),
    Lake(LakeSink),
    Stdout(StdoutSink),
}

/// What a sink needs to know of its surroundings.
pub struct SinkContext {
    /// The project directory.
    pub root: PathBuf,
    /// Where the lake's tables lie.
    pub lake: PathBuf,
    pub pipeline: String,
    /// Position among the pipeline's sinks.
    pub position: usize,
    /// The terminal shows colours.
    pub colour: bool,
}

impl SinkContext {
    /// Identifies this sink in a table's transaction log.
    fn writer(&self) -> Writer {
        Writer { app_id: format!("ouzel.{}.{}", self.pipeline, self.position), pipeline: self.pipeline.clone() }
    }
}

impl SinkConfig {
    pub fn kind(&self) -> &'static str {
        match self {
            SinkConfig::File(_) => "file",
            SinkConfig::Lake(_) => "lake",
            SinkConfig::Stdout(_) => "stdout",
        }
    }

    /// What this sink alone may write to.
    pub fn target(&self) -> Option<String> {
        match self {
            SinkConfig::File(sink) => {
                let plain: PathBuf = std::path::Path::new(&sink.path.value)
                    .components()
                    .filter(|c| !matches!(c, std::path::Component::CurDir))
                    .collect();
                Some(plain.display().to_string())
            }
            SinkConfig::Lake(_) | SinkConfig::Stdout(_) => None,
        }
    }

    /// True if a run leaves in place what earlier runs wrote.
    pub fn is_added_to(&self) -> bool {
        matches!(self, SinkConfig::Lake(_))
    }

    pub fn validate(&self, report: &mut Report) {
        match self {
            SinkConfig::File(sink) => sink.validate(report),
            SinkConfig::Lake(sink) => sink.validate(report),
            SinkConfig::Stdout(sink) => sink.validate(report),
        }
    }

    pub fn open(self, context: &SinkContext, schema: SchemaRef) -> Result<Box<dyn Sink>> {
        match self {
            SinkConfig::File(sink) => sink.open(&context.root, schema, false),
            SinkConfig::Lake(sink) => sink.open(&context.lake, schema, context.writer()),
            SinkConfig::Stdout(sink) => sink.open(Box::new(std::io::stdout()), schema, context.colour),
        }
    }
}
