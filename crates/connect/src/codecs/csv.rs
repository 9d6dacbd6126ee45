//! Delimited text. Framing and decoding share one rule for where a record ends, so they cannot disagree.

mod dialect;
mod options;

pub use options::{Cell, Delimiter, Quote};

use super::lines;
use super::table::{Look, Raw, Table};
use dialect::{Dialect, Found};
use ouzel_core::{Chunk, Decode, Decoded, Error, Framing, Report, Result, Span, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// Comma-separated values (RFC 4180).
///
/// ```yaml
/// csv: { delimiter: ";", null: "NULL" }
/// ```
///
/// The first line names the columns, unless `columns` does. A cell in quotes may hold delimiters, line ends and, doubled,
/// quotes; a quote within an unquoted cell is an ordinary character. A row with more or fewer cells than there are
/// columns is undecodable, and a wanted column that the file lacks is null. A quote that is never closed takes the rest
/// of the file with it, up to the longest record allowed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvCodec {
    /// Whether the file starts with a line of column names (default: true).
    pub header: Option<bool>,
    /// Names of the columns; they replace those of the header, if there is one.
    pub columns: Option<Vec<String>>,
    /// What separates cells: one ASCII character (default: `,`).
    pub delimiter: Option<Delimiter>,
    /// What encloses cells: one ASCII character (default: `"`), or `none`.
    pub quote: Option<Quote>,
    /// The cell that means null, quoted or not (default: the empty one).
    pub null: Cell,
    /// Whether spaces around cells are dropped (default: false).
    pub trim: bool,
}

/// Tab-separated values, without quoting.
///
/// ```yaml
/// tsv: { header: false, columns: [user, command, label] }
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TsvCodec {
    /// Whether the file starts with a line of column names (default: true).
    pub header: Option<bool>,
    /// Names of the columns; they replace those of the header, if there is one.
    pub columns: Option<Vec<String>>,
    /// What encloses cells: one ASCII character, or `none` (default).
    pub quote: Option<Quote>,
    /// The cell that means null, quoted or not (default: the empty one).
    pub null: Cell,
    /// Whether spaces around cells are dropped (default: false).
    pub trim: bool,
}

impl CsvCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        if self.quote.unwrap_or(Quote::DOUBLE).0 == Some(self.delimiter.unwrap_or(Delimiter::COMMA).0) {
            report.error(span, "`quote` and `delimiter` are the same character");
        }
        check_columns(self.header, &self.columns, report, span);
    }
    pub(super) fn framing(&self) -> CsvFraming {
        CsvFraming { dialect: self.dialect(), header: self.header.unwrap_or(true) }
    }
    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> CsvDecoder {
        CsvDecoder::new(self.dialect(), self.columns.clone(), self.null.0.clone(), wanted)
    }
    pub(super) fn names(&self, header: &[u8]) -> Vec<String> {
        names(&self.dialect(), header)
    }
    pub(super) fn is_cut_off(&self, data: &[u8]) -> bool {
        self.dialect().is_open_at_end(data)
    }
    fn dialect(&self) -> Dialect {
        let delimiter = self.delimiter.unwrap_or(Delimiter::COMMA).0;
        Dialect { delimiter, quote: self.quote.unwrap_or(Quote::DOUBLE).0, trim: self.trim }
    }
}

impl TsvCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        check_columns(self.header, &self.columns, report, span);
    }
    pub(super) fn framing(&self) -> CsvFraming {
        CsvFraming { dialect: self.dialect(), header: self.header.unwrap_or(true) }
    }
    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> CsvDecoder {
        CsvDecoder::new(self.dialect(), self.columns.clone(), self.null.0.clone(), wanted)
    }
    pub(super) fn names(&self, header: &[u8]) -> Vec<String> {
        names(&self.dialect(), header)
    }
    pub(super) fn is_cut_off(&self, data: &[u8]) -> bool {
        self.dialect().is_open_at_end(data)
    }
    fn dialect(&self) -> Dialect {
        Dialect { delimiter: b'\t', quote: self.quote.unwrap_or(Quote::NONE).0, trim: self.trim }
    }
}

/// None of an empty header.
fn names(dialect: &Dialect, header: &[u8]) -> Vec<String> {
    if header.is_empty() {
        return Vec::new();
    }
    dialect.texts(header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header).trim_ascii_end())
}

fn check_columns(header: Option<bool>, columns: &Option<Vec<String>>, report: &mut Report, span: Span) {
    match columns {
        None if header == Some(false) => {
            report.error(span, "without a header line the columns have no names").hint("list them: `columns: [time, user, ...]`");
        }
        Some(columns) if columns.is_empty() => {
            report.error(span, "`columns` is empty").hint("leave it out to take the names from the header line");
        }
        Some(columns) => {
            for (i, name) in columns.iter().enumerate() {
                if columns[..i].contains(name) {
                    report.error(span, format!("column `{name}` is there twice"));
                }
            }
        }
        None => {}
    }
}

pub(super) struct CsvFraming {
    dialect: Dialect,
    header: bool,
}

impl Framing for CsvFraming {
    fn split(&mut self, data: &[u8]) -> usize {
        let mut whole = 0;
        while let Some(feed) = self.dialect.record_end(data, whole) {
            whole = feed + 1;
        }
        whole
    }
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        let mark = lines::byte_order_mark(data, at_end)?;
        if !self.header {
            return Some(mark);
        }
        match self.dialect.record_end(data, mark) {
            Some(feed) => Some(feed + 1),
            None => at_end.then_some(data.len()),
        }
    }
}

pub(super) struct CsvDecoder {
    dialect: Dialect,
    /// Names from the configuration.
    columns: Option<Vec<String>>,
    null: Vec<u8>,
    table: Table,
    /// Cells of a row; `None` until the names are known.
    width: Option<usize>,
    /// The header that the names are from.
    header: Option<Arc<[u8]>>,
}

impl CsvDecoder {
    fn new(dialect: Dialect, columns: Option<Vec<String>>, null: String, wanted: Vec<Wanted>) -> CsvDecoder {
        let mut table = Table::named(wanted, []);
        if let Some(columns) = &columns {
            table.rename(columns.iter().map(String::as_str));
        }
        let width = columns.as_ref().map(Vec::len);
        CsvDecoder { dialect, columns, null: null.into_bytes(), table, width, header: None }
    }

    /// Takes the names from a file's header.
    fn prepare(&mut self, chunk: &Chunk) -> Result<()> {
        if self.columns.is_some() || (self.header.is_some() && self.header == chunk.origin.header) {
            return Ok(());
        }
        let Some(header) = &chunk.origin.header else {
            return Err(Error::config(format!("`{}` has no header line: name its `columns`", chunk.origin.name)));
        };
        let names = names(&self.dialect, header);
        self.table.rename(names.iter().map(String::as_str));
        self.width = Some(names.len());
        self.header = Some(header.clone());
        Ok(())
    }

    fn row(&mut self, data: &[u8], start: usize, end: usize, width: usize) -> std::result::Result<(), String> {
        let (table, record) = (&mut self.table, &data[start..end]);
        let mut count = 0;
        table.row();
        self.dialect.cells(record, |cell| {
            if count < width {
                let raw = match cell {
                    Found::Plain(cell) if record[cell.clone()] == self.null[..] => Raw::NULL,
                    Found::Plain(cell) => Raw::new(Look::Text, start + cell.start, start + cell.end),
                    Found::Doubled(text) if text.as_bytes() == self.null => Raw::NULL,
                    Found::Doubled(text) => table.aside(&text),
                };
                table.set(count, raw);
            }
            count += 1;
        })?;
        match count == width {
            true => Ok(()),
            false => Err(format!("expected {width} cells, found {count}")),
        }
    }
}

impl Decode for CsvDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        self.prepare(chunk)?;
        if let Some(refused) = self.table.refuse(chunk) {
            return Ok(refused);
        }
        let data = chunk.data.as_slice();
        let valid = lines::is_utf8(data);
        let width = self.width.unwrap_or(0);
        let mut next = 0;
        while next < data.len() {
            let start = next;
            let feed = self.dialect.record_end(data, start).unwrap_or(data.len());
            next = feed + 1;
            let end = if data[start..feed].ends_with(b"\r") { feed - 1 } else { feed };
            // A blank line is no row, unless a row is one cell, which then is empty.
            if start == end && width != 1 {
                continue;
            }
            let fault = if valid { None } else { lines::not_utf8(&data[start..end]) };
            let verdict = match fault {
                Some(reason) => Err(reason),
                None => self.row(data, start, end, width),
            };
            match verdict {
                Ok(()) => self.table.keep_row((start, end)),
                Err(reason) => self.table.drop_row((start, end), reason),
            }
        }
        Ok(self.table.finish(chunk))
    }
}
