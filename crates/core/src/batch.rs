//! What travels between the components: chunks of raw bytes, then columns.

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// Whole records of one partition, in log order, as raw bytes.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub partition: u32,
    pub origin: Origin,
    /// Whole records only; at most `limits::CHUNK_BYTES_MAX` unless a single record is longer.
    pub data: Buffer,
    /// When records were recorded, if the source knows: from which byte of `data` on, and microseconds since 1970.
    pub ingested: Vec<(u32, i64)>,
    /// Set where these bytes cannot be records (too long, corrupt compression): the chunk counts as one
    /// undecodable event and `data` holds its first bytes.
    pub fault: Option<String>,
}

impl Chunk {
    /// Without any record: nothing has come.
    pub fn empty() -> Chunk {
        let origin = Origin { name: "".into(), position: 0, header: None };
        Chunk { partition: 0, origin, data: Buffer::from(&[]), ingested: Vec::new(), fault: None }
    }

    /// Some whole records of it.
    pub fn part(&self, bytes: Range<usize>) -> Chunk {
        let mut ingested: Vec<(u32, i64)> = Vec::new();
        for (from, time) in self.ingested.iter().filter(|(from, _)| (*from as usize) < bytes.end) {
            let from = (*from as usize).saturating_sub(bytes.start) as u32;
            ingested.retain(|(before, _)| *before < from);
            ingested.push((from, *time));
        }
        let origin = Origin { position: self.origin.position + bytes.start as u64, ..self.origin.clone() };
        Chunk { origin, data: self.data.slice_with_length(bytes.start, bytes.len()), ingested, ..self.clone() }
    }

    /// When the record at a byte of it was recorded, if the source knows.
    pub fn ingested_at(&self, byte: u32) -> Option<i64> {
        let behind = self.ingested.partition_point(|(from, _)| *from <= byte);
        Some(self.ingested.get(behind.checked_sub(1)?)?.1)
    }
}

/// Where a chunk comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// File name, topic or the like.
    pub name: Arc<str>,
    /// Byte position of the chunk's first byte in the (decompressed) file.
    pub position: u64,
    /// The file's header line (CSV), without its line end.
    pub header: Option<Arc<[u8]>>,
}

/// A chunk as columns: one per [`crate::Wanted`], in that order, all of length `rows`.
#[derive(Debug, Default)]
pub struct Decoded {
    pub rows: usize,
    /// Byte range of each row in the chunk's data.
    pub raw: Vec<(u32, u32)>,
    pub columns: Vec<Column>,
    /// Records that could not be decoded; in order of `before`.
    pub broken: Vec<Broken>,
}

/// The values of one field.
#[derive(Debug, Clone)]
pub struct Column {
    /// Arrow type: that of the field's first type (`FieldType::arrow`).
    pub values: ArrayRef,
    /// Text of the values that were read as another of the field's types; only where it has several.
    pub other: Option<ArrayRef>,
    /// In order of `row`. The value there is null.
    pub malformed: Vec<Malformed>,
}

/// A value that could not be read as any of its field's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub row: u32,
    /// What was found and what was expected, for people.
    pub reason: String,
}

/// A stretch of bytes that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// It lies before this row.
    pub before: u32,
    /// Byte range in the chunk's data.
    pub range: (u32, u32),
    pub reason: String,
}
