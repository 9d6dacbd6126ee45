//! What a file that nobody has described holds: its format, its fields and their types, and which of them tell the time, an event's
//! identity and who acts. Everything is tried with the codec that would read it, so what is found here is what a run finds.

mod access;
mod columns;
mod format;
#[cfg(test)]
mod tests;

pub use columns::{Column, Role};

use crate::codecs::CodecConfig;
use crate::sources::{Compression, Decompressed};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, StringViewArray};
use ouzel_core::error::ResultExt;
use ouzel_core::{Chunk, Error, FieldType, Kind, Origin, Path, Result, Wanted};
use serde_json::Value;
use std::fs::File;
use std::path::Path as FilePath;
use std::sync::Arc;

/// How much of a file is looked at, decompressed.
const SAMPLE_BYTES: usize = 2 << 20;
/// Of these records are no more needed.
const RECORDS_MAX: usize = 20_000;

/// What a file was found to hold.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its codec, as a pipeline has it.
    pub codec: Value,
    /// What the format is called, for people.
    pub what: String,
    pub columns: Vec<Column>,
    /// Records that were looked at, and how many of them could not be read.
    pub records: usize,
    pub broken: usize,
    /// Why the first of those cannot be read.
    pub reason: Option<String>,
    /// What could not be told, and how to say it.
    pub notes: Vec<String>,
}

impl Found {
    pub fn column(&self, role: Role) -> Option<&Column> {
        self.columns.iter().find(|column| column.role == Some(role))
    }

    /// The format has its fields by itself.
    pub fn knows_fields(&self) -> bool {
        serde_json::from_value::<CodecConfig>(self.codec.clone()).is_ok_and(|codec| codec.fields().is_some())
    }
}

/// Looks at a file. [`Kind::Data`]: it holds nothing that can be read as events, and the message says what it seems to hold.
pub fn look(path: &FilePath) -> Result<Found> {
    let doing = || format!("reading `{}`", path.display());
    let about = std::fs::metadata(path).doing(doing)?;
    if about.is_dir() {
        return Err(Error::config(format!("`{}` is a folder: name its files", path.display())));
    }
    let mut file = Decompressed::new(Box::new(File::open(path).doing(doing)?), Compression::Auto);
    let mut sample = Vec::new();
    while sample.len() < SAMPLE_BYTES && file.fill(&mut sample, SAMPLE_BYTES).doing(doing)? > 0 {}
    let at_end = sample.len() < SAMPLE_BYTES;
    if !at_end {
        sample.truncate(memchr::memrchr(b'\n', &sample).map_or(sample.len(), |end| end + 1));
    }
    sniff(&sample).map_err(|e| if e.kind == Kind::Data { Error::new(Kind::Data, format!("`{}` {e}", path.display())) } else { e })
}

/// Looks at the beginning of a file, whole lines of it.
pub fn sniff(sample: &[u8]) -> Result<Found> {
    let sample = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
    format::check(sample)?;
    let mut best: Option<Found> = None;
    for guess in format::guesses(sample) {
        let Some(found) = tried(sample, guess)? else { continue };
        let share = |found: &Found| found.broken as f64 / found.records.max(1) as f64;
        if best.as_ref().is_none_or(|best| share(&found) < share(best)) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|best| share(best) < 0.01) {
            break;
        }
    }
    let mut found = best.filter(|found| found.broken * 2 < found.records).ok_or_else(|| format::unknown(sample))?;
    columns::assign_roles(&mut found);
    if found.broken > 0 {
        found.notes.push(format!(
            "{} of the first {} records are something else ({}): they will be dead-lettered, see `ouzel deadletters`",
            found.broken,
            found.records,
            found.reason.as_deref().unwrap_or("unreadable")
        ));
    }
    Ok(found)
}

/// A format that a file may be in.
pub(crate) struct Guess {
    codec: Value,
    what: String,
    /// Names and paths of the fields, where the codec does not know them.
    fields: Vec<(String, Path)>,
    notes: Vec<String>,
}

/// Reads the sample in a format; `None` if nothing comes of it.
fn tried(sample: &[u8], guess: Guess) -> Result<Option<Found>> {
    let codec: CodecConfig = serde_json::from_value(guess.codec.clone()).map_err(|e| Error::internal(e.to_string()))?;
    let known = codec.fields();
    let fields: Vec<(String, Path, Option<FieldType>)> = match known {
        Some(fields) => fields.into_iter().map(|(name, kind)| (name.clone(), Path::key(name), Some(kind))).collect(),
        None => guess.fields.into_iter().map(|(name, path)| (name, path, None)).collect(),
    };
    if fields.is_empty() {
        return Ok(None);
    }
    let mut framing = codec.framing();
    let Some(header) = framing.header(sample, true) else { return Ok(None) };
    let (header, body) = sample.split_at(header);
    let whole = framing.split(body);
    let body = if whole == 0 { body } else { &body[..whole] };
    let origin = Origin { name: "sample".into(), position: 0, header: (!header.is_empty()).then(|| header.into()) };
    let chunk = Chunk { partition: 0, origin, data: body.to_vec().into(), ingested: Vec::new(), fault: None };
    let wanted = fields.iter().map(|(_, path, _)| Wanted { path: path.clone(), types: vec![FieldType::Text], any_text: true });
    // What the codec knows is asked for as what it is.
    let wanted: Vec<Wanted> = wanted
        .zip(&fields)
        .map(|(wanted, (_, _, kind))| match kind {
            Some(kind) => Wanted { types: vec![kind.clone()], any_text: false, ..wanted },
            None => wanted,
        })
        .collect();
    let decoded = codec.decoder(wanted)?.decode(&chunk)?;
    if decoded.rows == 0 {
        return Ok(None);
    }
    let rows = decoded.rows.min(RECORDS_MAX);
    let mut columns = Vec::new();
    for ((name, path, kind), column) in fields.into_iter().zip(&decoded.columns) {
        let values: ArrayRef = match column.values.as_primitive_opt::<TimestampMicrosecondType>() {
            // Without its zone, which is UTC: not every build can write those with one.
            Some(times) => Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)),
            None => column.values.clone(),
        };
        let values = arrow_cast::cast(&values.slice(0, rows), &arrow_schema::DataType::Utf8View)
            .unwrap_or_else(|_| Arc::new(StringViewArray::new_null(rows)));
        columns.push(Column::new(name, path, kind, values.as_string_view()));
    }
    Ok(Some(Found {
        codec: guess.codec,
        what: guess.what,
        columns,
        records: decoded.rows + decoded.broken.len(),
        broken: decoded.broken.len(),
        reason: decoded.broken.first().map(|broken| broken.reason.to_string()),
        notes: guess.notes,
    }))
}
