//! JSON records, one a line, straight into columns: no tree, no allocation per row.
//!
//! The reader is strict (RFC 8259): what is not wanted is checked too, so a record counts as good only if all of it is.
//! The parser walks the bytes once and notes where the wanted values lie; it expects each object to have the keys of
//! the one before in the same order, and looks a key up only when that guess fails.

mod documents;
mod parser;
mod scan;
mod shape;
mod strings;
mod value;

#[cfg(test)]
mod tests;

pub(super) use strings::unescape;
pub(super) use value::{elements, is_value};

use super::lines;
use super::table::Table;
use crate::sources::FAULT;
use documents::{Documents, DocumentsDecoder};
use ouzel_core::{Chunk, Decode, Decoded, Framing, Report, Result, Span, Spanned, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use shape::Shape;
use std::collections::BTreeMap;
use value::Parser;

/// JSON objects, one a line (NDJSON, JSON Lines), or as the elements of an array, or one after another.
///
/// ```yaml
/// json: {}
/// json: { records: array }
/// json: { path: Records }
/// ```
///
/// A field reaches into a record by its path: `screen.width`, `headers['x-request-id']`, `tags[0]`. Of a key that comes
/// twice the last value counts. A record is undecodable if it is no JSON object, has anything behind the object on its line,
/// is nested deeper than 128 or is no UTF-8. A lone surrogate (`"\ud800"`) becomes U+FFFD.
///
/// With `records: array` a file is one array, with `path` an object with such an array within (`{"Records": [...]}`); with
/// `records: concatenated` it is objects with nothing but blanks between them. Objects may then go over many lines, and files
/// be of any length: they are read element by element. An object that is never closed takes the rest of its file with it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonCodec {
    /// How the records lie in a file.
    pub records: Records,
    /// Keys, joined by dots, that lead to the array of records: in CloudTrail's files `Records`.
    pub path: Option<Spanned<String>>,
}

/// How JSON records lie in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Records {
    /// One a line.
    #[default]
    Lines,
    /// The elements of one array.
    Array,
    /// One after another.
    Concatenated,
}

impl JsonCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        let Some(path) = &self.path else { return };
        if self.records == Records::Concatenated {
            report.error(span, "`path` leads to an array, so records are not `concatenated`").hint("leave one of them out");
        }
        if path.split('.').any(str::is_empty) {
            report.error(path.span, "an empty key").hint("for example `path: Records`, or `path: data.events`");
        }
    }

    /// `None` for lines.
    fn documents(&self) -> Option<Documents> {
        match (&self.path, self.records) {
            (Some(path), _) => Some(Documents::array(path.split('.').map(String::from).collect())),
            (None, Records::Array) => Some(Documents::array(Vec::new())),
            (None, Records::Concatenated) => Some(Documents::Concatenated),
            (None, Records::Lines) => None,
        }
    }

    pub(super) fn is_cut_off(&self, last: &Chunk) -> bool {
        self.documents().is_some_and(|documents| !documents.is_closed(last))
    }

    pub(super) fn framing(&self) -> Box<dyn Framing> {
        match self.documents() {
            Some(documents) => Box::new(documents),
            None => Box::new(lines::Lines),
        }
    }

    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> Box<dyn Decode> {
        let (shape, slots, width) = Shape::new(wanted.iter().map(|w| &w.path));
        let table = Table::new(wanted.into_iter().zip(slots).collect(), width);
        match self.documents() {
            Some(documents) => Box::new(DocumentsDecoder { documents, shape, table }),
            None => Box::new(JsonDecoder { shape, table, unpacked: false }),
        }
    }

    /// Reads the lines that rows of other formats were made.
    pub(super) fn rows(wanted: Vec<Wanted>) -> Box<dyn Decode> {
        let (shape, slots, width) = Shape::new(wanted.iter().map(|w| &w.path));
        Box::new(JsonDecoder { shape, table: Table::new(wanted.into_iter().zip(slots).collect(), width), unpacked: true })
    }
}

pub(super) struct JsonDecoder {
    shape: Shape,
    table: Table,
    /// A line may say what could not be unpacked.
    unpacked: bool,
}

impl Decode for JsonDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        if let Some(refused) = self.table.refuse(chunk) {
            return Ok(refused);
        }
        let data = chunk.data.as_slice();
        let valid = lines::is_utf8(data);
        let (mut at, mut is_first) = (0, true);
        loop {
            while data.get(at).is_some_and(is_blank) {
                at += 1;
            }
            if at == data.len() {
                return Ok(self.table.finish(chunk));
            }
            let fault = if valid { None } else { lines::not_utf8(&data[at..lines::end(data, at)]) };
            let fault = if self.unpacked && data[at] == FAULT { said(data, at) } else { fault };
            at = match fault {
                Some(reason) => self.broken(data, at, at, reason),
                None => self.record(data, at, chunk.origin.position == 0 && is_first),
            };
            is_first = false;
        }
    }
}

/// The keys of an object; none if it is none.
pub(super) fn keys(record: &[u8]) -> Vec<String> {
    let object: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(record).ok();
    object.into_iter().flat_map(BTreeMap::into_keys).collect()
}

/// What a line says that could not be unpacked.
#[cold]
fn said(data: &[u8], at: usize) -> Option<String> {
    Some(String::from_utf8_lossy(&data[at + 1..lines::end(data, at)]).into_owned())
}

/// What a file's first record tells of how its records lie, if it is none.
#[cold]
fn advice(data: &[u8]) -> &'static str {
    match data {
        [b'[', ..] => " (a file that is one array is read with `records: array`)",
        [b'{', b'\r' | b'\n', ..] => " (objects of several lines are read with `records: concatenated`)",
        _ => "",
    }
}

/// Whitespace as RFC 8259 has it: no form feed.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl JsonDecoder {
    /// Reads the record that starts at `start` and returns where it ends.
    #[inline]
    fn record(&mut self, data: &[u8], start: usize, is_first: bool) -> usize {
        let mut parser = Parser::new(data, start);
        match parser.record(&mut self.shape, self.table.row()) {
            Ok(end) => {
                self.table.keep_row((start, end));
                parser.at()
            }
            Err(expected) => {
                let advice = if is_first { advice(&data[start..]) } else { "" };
                self.broken(data, start, parser.at(), parser.complaint(start, expected) + advice)
            }
        }
    }

    #[cold]
    fn broken(&mut self, data: &[u8], start: usize, at: usize, reason: String) -> usize {
        let end = lines::end(data, at);
        let text = data[start..end].trim_ascii_end();
        self.table.drop_row((start, start + text.len()), reason);
        end
    }
}
