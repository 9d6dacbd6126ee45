//! Where scored rows go: files and the terminal. (Delta tables are in the crate `ouzel-lake`.)

pub mod file;
pub mod stdout;

pub mod csv;
pub mod ndjson;

mod cells;
mod parquet_file;
pub mod postgres;
mod scalars;
mod stream;
mod text_file;
pub mod webhook;

pub use csv::CsvEncoder;
pub use file::FileSink;
pub use ndjson::{NdjsonEncoder, objects};
pub use parquet_file::ParquetFile;
pub use postgres::PostgresSink;
pub use stdout::StdoutSink;
pub use stream::StreamWriter;
pub use text_file::{TextFile, check_is, replace_by_copy, sync_folder};
pub use webhook::WebhookSink;

use arrow_array::RecordBatch;
use ouzel_core::{Encode, Encoded, Result};

/// The column by which a sink's receiver tells rows apart.
pub const ID: &str = "_id";

/// For sinks that take columns as they are.
struct PassRows;

impl Encode for PassRows {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        Ok(Encoded::Rows(rows.clone()))
    }
}
