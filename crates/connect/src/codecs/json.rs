//! JSON records, one a line, straight into columns: no tree, no allocation per row.
//!
//! The reader is strict (RFC 8259): what is not wanted is checked too, so a record counts as good only if all of it is.
//! The parser walks the bytes once and notes where the wanted values lie; it expects each object to have the keys of
//! the one before in the same order, and looks a key up only when that guess fails.

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
use ouzel_core::{Chunk, Decode, Decoded, Result, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;
use shape::Shape;
use value::Parser;

/// JSON objects, one a line (NDJSON, JSON Lines).
///
/// ```yaml
/// json: {}
/// ```
///
/// A field reaches into a record by its path: `screen.width`, `headers['x-request-id']`, `tags[0]`. Of a key that comes
/// twice the last value counts. Blank lines are skipped. A line is undecodable if it is no JSON object, has anything
/// behind the object, is nested deeper than 128 or is no UTF-8. A lone surrogate (`"\ud800"`) becomes U+FFFD.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonCodec {}

impl JsonCodec {
    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> JsonDecoder {
        let (shape, slots, width) = Shape::new(wanted.iter().map(|w| &w.path));
        JsonDecoder { shape, table: Table::new(wanted.into_iter().zip(slots).collect(), width) }
    }
}

pub(super) struct JsonDecoder {
    shape: Shape,
    table: Table,
}

impl Decode for JsonDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        if let Some(refused) = self.table.refuse(chunk) {
            return Ok(refused);
        }
        let data = chunk.data.as_slice();
        let valid = lines::is_utf8(data);
        let mut at = 0;
        loop {
            while data.get(at).is_some_and(is_blank) {
                at += 1;
            }
            if at == data.len() {
                return Ok(self.table.finish(chunk));
            }
            let fault = if valid { None } else { lines::not_utf8(&data[at..lines::end(data, at)]) };
            at = match fault {
                Some(reason) => self.broken(data, at, at, reason),
                None => self.record(data, at),
            };
        }
    }
}

/// Whitespace as RFC 8259 has it: no form feed.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl JsonDecoder {
    /// Reads the record that starts at `start` and returns where it ends.
    #[inline]
    fn record(&mut self, data: &[u8], start: usize) -> usize {
        let mut parser = Parser::new(data, start);
        match parser.record(&mut self.shape, self.table.row()) {
            Ok(end) => {
                self.table.keep_row((start, end));
                parser.at()
            }
            Err(expected) => self.broken(data, start, parser.at(), parser.complaint(start, expected)),
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
