//! The records of a lookup file, whatever its format: cells by name, each as text.

mod json;
mod parquet;

use super::csv::Lines;
use super::take::Cells;
use ouzel_core::{Error, Result, Spanned};
use std::borrow::Cow;

/// What a file's name says it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Format {
    Csv {
        separator: u8,
    },
    Json,
    Parquet,
    MaxMind,
    /// One key a line.
    List,
}

impl Format {
    pub fn of(name: &str) -> Format {
        let name = name.to_ascii_lowercase();
        let name = [".gz", ".zst", ".zstd", ".xz", ".bz2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, end)| end) {
            Some("csv") => Format::Csv { separator: b',' },
            Some("tsv") => Format::Csv { separator: b'\t' },
            Some("json" | "ndjson" | "jsonl") => Format::Json,
            Some("parquet") => Format::Parquet,
            Some("mmdb") => Format::MaxMind,
            _ => Format::List,
        }
    }
}

/// Where in a file a record is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Line(usize),
    Entry(usize),
    Row(usize),
}

impl Place {
    pub fn number(self) -> usize {
        let (Place::Line(n) | Place::Entry(n) | Place::Row(n)) = self;
        n
    }

    /// Of the record `number` of the same file.
    pub fn word(self, number: u32) -> String {
        match self {
            Place::Line(_) => format!("line {number}"),
            Place::Entry(_) => format!("entry {number}"),
            Place::Row(_) => format!("row {number}"),
        }
    }

    pub fn error(self, file: &str, message: impl std::fmt::Display) -> Error {
        match self {
            Place::Line(n) => Error::config(format!("{file}:{n}: {message}")),
            Place::Entry(n) => Error::config(format!("{file}: entry {n}: {message}")),
            Place::Row(n) => Error::config(format!("{file}: row {n}: {message}")),
        }
    }
}

/// What is done with each record.
pub(super) type Each<'a> = dyn FnMut(Place, &Cells) -> Result<(), String> + 'a;

/// Reads `text`, the bytes of `file`. `header`: the columns of a CSV file without a header line. `names`: of the cells that are wanted; a list
/// has only the first.
pub(super) fn read(file: &str, text: Vec<u8>, header: Option<&[Spanned<String>]>, names: &[&str], each: &mut Each) -> Result<()> {
    match Format::of(file) {
        Format::Csv { separator } => csv(file, utf8(file, &text)?, separator, header, names, each),
        Format::Json => json::read(file, utf8(file, &text)?, names, each),
        Format::Parquet => parquet::read(file, text, names, each),
        Format::MaxMind => Err(Error::config(format!("`{file}` is a table of addresses: expected CSV, JSON, Parquet or a list"))),
        Format::List => list(file, utf8(file, &text)?, &mut |place, key| each(place, &[Some(Cow::Borrowed(key))])),
    }
}

/// One key a line; what begins with `#` is a comment.
pub(super) fn list(file: &str, text: &str, each: &mut dyn FnMut(Place, &str) -> Result<(), String>) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::config(format!("`{file}` is empty: expected one key a line; one line `#` makes a list of none")));
    }
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let place = Place::Line(i + 1);
            each(place, line).map_err(|e| place.error(file, e))?;
        }
    }
    Ok(())
}

fn csv(file: &str, text: &str, separator: u8, header: Option<&[Spanned<String>]>, names: &[&str], each: &mut Each) -> Result<()> {
    let mut lines = Lines::new(text.as_bytes(), separator);
    let mut cells = Vec::new();
    let header: Vec<String> = match header {
        Some(columns) => columns.iter().map(|column| column.value.clone()).collect(),
        None => {
            lines.read(&mut cells).map_err(|e| Place::Line(lines.line).error(file, e))?;
            cells.iter().map(|cell| as_text(cell).trim().to_string()).collect()
        }
    };
    let mut columns = Vec::new();
    for name in names {
        let column = header.iter().position(|column| column == name);
        columns.push(column.ok_or_else(|| Place::Line(1).error(file, no_column(name, &header)))?);
    }
    while lines.read(&mut cells).map_err(|e| Place::Line(lines.line).error(file, e))? {
        let place = Place::Line(lines.line);
        if cells.len() != header.len() {
            return Err(place.error(file, format!("expected {} cells, found {}", header.len(), cells.len())));
        }
        let taken: Vec<_> = columns.iter().map(|column| not_empty(as_text(&cells[*column]))).collect();
        each(place, &taken).map_err(|e| place.error(file, e))?;
    }
    Ok(())
}

pub(super) fn no_column(name: &str, header: &[String]) -> String {
    format!("no column `{name}` among `{}`; if that is no header line, name the columns in `columns`", header.join(","))
}

/// What is no UTF-8 is replaced.
pub(super) fn as_text(cell: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(cell)
}

/// Without blanks around it.
pub(super) fn not_empty(cell: Cow<str>) -> Option<Cow<str>> {
    let trimmed = match cell {
        Cow::Borrowed(cell) => Cow::Borrowed(cell.trim()),
        Cow::Owned(cell) => Cow::Owned(cell.trim().to_string()),
    };
    Some(trimmed).filter(|cell| !cell.is_empty())
}

/// The text of a file, or in which line it is none.
pub(super) fn utf8<'a>(file: &str, text: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(text).map_err(|e| {
        if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
            return Error::config(format!("`{file}` is UTF-16: expected UTF-8"));
        }
        let line = 1 + memchr::memchr_iter(b'\n', &text[..e.valid_up_to()]).count();
        Place::Line(line).error(file, "not UTF-8: save the file as UTF-8")
    })
}
