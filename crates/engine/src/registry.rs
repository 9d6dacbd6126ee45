//! The table of contents of all components: sources, codecs, lookups and sinks by the name they have in a pipeline.
//! To add one, write its file and add its line here (sources, codecs and lookups have their enums beside them).

pub use ouzel_connect::codecs::CodecConfig;
pub use ouzel_connect::lookups::LookupConfig;
pub use ouzel_connect::sources::SourceConfig;

use arrow_schema::SchemaRef;
use ouzel_connect::log;
use ouzel_connect::sinks::{FileSink, ID, PostgresSink, StdoutSink, StreamWriter, WebhookSink, webhook};
use ouzel_connect::streams::{StreamRef, Streams};
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::{Report, Result, Sink};
use ouzel_lake::{Commits, LakeSink, Location, Writer};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Where scored events go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkConfig {
    File(FileSink),
    Lake(LakeSink),
    Postgres(PostgresSink),
    Stdout(StdoutSink),
    Stream(StreamRef),
    Webhook(WebhookSink),
}

/// What a sink needs to know of its surroundings.
pub struct SinkContext {
    /// The project directory.
    pub root: PathBuf,
    /// Where the lake's tables lie.
    pub lake: Location,
    pub streams: Arc<Streams>,
    /// The pipeline's folder of state.
    pub state: PathBuf,
    pub pipeline: String,
    /// How many of the pipeline's sinks before it have the same key.
    pub ordinal: usize,
    pub start: Start,
    /// Another process may still write.
    pub take_over: bool,
    /// The terminal shows colours.
    pub colour: bool,
}

/// How a sink begins.
#[derive(Debug, Clone)]
pub enum Start {
    /// Nobody will go on from here.
    ForOnce,
    /// Runs go on from one another: as the first of them, or from a position of its own.
    Lasting {
        /// Tells these runs from any others, in tables that both write to.
        writer: String,
        /// Fences off the runs before.
        epoch: u64,
        position: Option<String>,
    },
}

impl SinkContext {
    /// Identifies this sink in a table's transaction log.
    fn writer(&self) -> Writer {
        let app_id = match &self.start {
            Start::ForOnce => format!("ouzel.{}.{}", self.pipeline, self.ordinal),
            Start::Lasting { writer, .. } => format!("ouzel.{}.{}.{writer}", self.pipeline, self.ordinal),
        };
        Writer { app_id, pipeline: self.pipeline.clone() }
    }

    /// Identifies this sink in a stream's log.
    fn stream_writer(&self) -> log::Writer {
        let (id, epoch) = match &self.start {
            // Nobody goes on from it: it is one of its own.
            Start::ForOnce => (format!("{} {:x} {}", self.writer().app_id, WallClock.now_us(), std::process::id()), 0),
            Start::Lasting { epoch, .. } => (self.writer().app_id, *epoch),
        };
        log::Writer { id: xxh3_64(id.as_bytes()), epoch }
    }

    fn busy(&self) -> log::Busy {
        if self.take_over { log::Busy::TakeOver } else { log::Busy::Wait }
    }

    fn position(&self) -> Option<&str> {
        match &self.start {
            Start::ForOnce => None,
            Start::Lasting { position, .. } => position.as_deref(),
        }
    }
}

impl SinkConfig {
    /// Which sink it is, across changes of the others.
    pub fn key(&self) -> String {
        match self {
            SinkConfig::File(sink) => format!("file {}", sink.path.value),
            SinkConfig::Lake(sink) => format!("lake {}", sink.table.value),
            SinkConfig::Postgres(sink) => format!("postgres {}", sink.table.value),
            SinkConfig::Stdout(_) => "stdout".into(),
            SinkConfig::Stream(stream) => format!("stream {}", stream.name()),
            SinkConfig::Webhook(sink) => format!("webhook {} {}", sink.receiver(), &sink.hash()[..8]),
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            SinkConfig::File(_) => "file",
            SinkConfig::Lake(_) => "lake",
            SinkConfig::Postgres(_) => "postgres",
            SinkConfig::Stdout(_) => "stdout",
            SinkConfig::Stream(_) => "stream",
            SinkConfig::Webhook(_) => "webhook",
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
            _ => None,
        }
    }

    /// The stream it writes to, if it does.
    pub fn stream(&self) -> Option<&StreamRef> {
        match self {
            SinkConfig::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// A column that it needs whatever is chosen.
    pub fn needs(&self) -> Option<&'static str> {
        matches!(self, SinkConfig::Postgres(_) | SinkConfig::Webhook(_)).then_some(ID)
    }

    /// Rows are seen by others before a commit says that they were written.
    pub fn shows_at_once(&self) -> bool {
        matches!(self, SinkConfig::Postgres(_) | SinkConfig::Stream(_) | SinkConfig::Webhook(_))
    }

    /// True if a run leaves in place what earlier runs wrote.
    pub fn is_added_to(&self) -> bool {
        matches!(self, SinkConfig::Lake(_) | SinkConfig::Postgres(_) | SinkConfig::Stream(_))
    }

    pub fn validate(&self, report: &mut Report) {
        match self {
            SinkConfig::File(sink) => sink.validate(report),
            SinkConfig::Lake(sink) => sink.validate(report),
            SinkConfig::Postgres(sink) => sink.validate(report),
            SinkConfig::Stdout(sink) => sink.validate(report),
            SinkConfig::Stream(_) => {}
            SinkConfig::Webhook(sink) => sink.validate(report),
        }
    }

    pub fn open(self, context: &SinkContext, schema: SchemaRef) -> Result<Box<dyn Sink>> {
        match self {
            SinkConfig::File(sink) => sink.open(&context.root, schema, context.position(), context.take_over),
            SinkConfig::Lake(sink) => {
                let commits = match &context.start {
                    Start::ForOnce => Commits::Own,
                    Start::Lasting { .. } => Commits::Follow(context.position()),
                };
                sink.open(&context.lake, schema, context.writer(), commits)
            }
            SinkConfig::Postgres(sink) => sink.open(schema),
            SinkConfig::Stdout(sink) => sink.open(Box::new(std::io::stdout()), schema, context.colour),
            SinkConfig::Stream(stream) => {
                let writer = context.stream_writer();
                Ok(Box::new(StreamWriter::open(&stream, &context.streams, schema, writer, context.position(), context.busy())?))
            }
            SinkConfig::Webhook(sink) => {
                // Another receiver has an outbox of its own: what waits for the one before stays.
                let folder = context.state.join(format!("outbox-{}-{}", sink.hash(), context.ordinal));
                let (writer, position, busy) = (context.stream_writer(), context.position(), context.busy());
                sink.open(schema, webhook::Outbox { folder, writer, position, busy })
            }
        }
    }
}
