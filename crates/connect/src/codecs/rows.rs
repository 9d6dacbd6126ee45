//! Parquet and Avro. The source unpacks their rows to lines of JSON (`sources::rows`), which are read as such.

use super::lines::Lines;
use ouzel_core::{Framing, Packing};
use schemars::JsonSchema;
use serde::Deserialize;

/// Parquet files, from a source `file`.
///
/// ```yaml
/// parquet: {}
/// ```
///
/// A row is read as the JSON object that it is: fields reach into records and lists by their path, and an event's raw text,
/// in dead letters for instance, is that object. Timestamps and dates, of whatever unit, read as `timestamp`; decimals as
/// numbers; bytes as base64 text; lists as `list<...>` or `json`. A row group that is damaged is one dead letter, which names
/// its rows; the next is read. Positions are of the JSON.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetCodec {}

/// Avro container files (`.avro`), from a source `file`. The schema is the one that is in them; its root is a record.
///
/// ```yaml
/// avro: {}
/// ```
///
/// A record is read as a JSON object, as with `parquet`. Of a union the value counts; enums are text; the logical types
/// `timestamp-millis`, `timestamp-micros` and `date` read as `timestamp`, `decimal` as a number, `uuid` as text. Blocks may be
/// compressed (deflate, snappy, zstandard, bzip2, xz). A block that is damaged is one dead letter; the next is read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvroCodec {}

/// Lines that have to be unpacked first.
pub(super) struct Unpacked(pub Packing);

impl Framing for Unpacked {
    fn split(&mut self, data: &[u8]) -> usize {
        Lines.split(data)
    }
    fn packing(&self) -> Option<Packing> {
        Some(self.0)
    }
}
