//! Rows on the terminal, for people.

use super::cells::Cells;
use super::{CsvEncoder, NdjsonEncoder, PassRows};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use ouzel_core::error::ResultExt;
use ouzel_core::{Encode, Encoded, Error, Report, Result, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use std::io::Write;

/// Rows on standard output: the first ones as a table, or all as NDJSON or CSV.
///
/// ```yaml
/// stdout: { format: table, limit: 20 }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutSink {
    /// `table`, `ndjson` or `csv`.
    #[serde(default)]
    pub format: StdoutFormat,
    /// Rows the table shows; those after it are counted.
    #[serde(default = "default_limit")]
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StdoutFormat {
    #[default]
    Table,
    Ndjson,
    Csv,
}

impl Default for StdoutSink {
    fn default() -> StdoutSink {
        StdoutSink { format: StdoutFormat::default(), limit: default_limit() }
    }
}

fn default_limit() -> usize {
    20
}

impl StdoutSink {
    pub fn validate(&self, _report: &mut Report) {}

    /// `colour`: whether `out` is a terminal that shows colours.
    pub fn open(self, out: Box<dyn Write + Send>, schema: SchemaRef, colour: bool) -> Result<Box<dyn Sink>> {
        Ok(match self.format {
            StdoutFormat::Ndjson => Box::new(Lines { out, schema, csv: false, begun: false }),
            StdoutFormat::Csv => Box::new(Lines { out, schema, csv: true, begun: false }),
            StdoutFormat::Table => {
                Box::new(Table { out, schema, colour, limit: self.limit, widths: Vec::new(), shown: 0, rows: 0 })
            }
        })
    }
}

struct Lines {
    out: Box<dyn Write + Send>,
    schema: SchemaRef,
    csv: bool,
    /// The header has been written.
    begun: bool,
}

impl Lines {
    fn begin(&mut self) -> Result<()> {
        let header = (self.csv && !std::mem::replace(&mut self.begun, true)).then(|| CsvEncoder::header(&self.schema));
        header.map_or(Ok(()), |header| self.out.write_all(&header)).doing(|| "writing to standard output".into())
    }
}

impl Sink for Lines {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(if self.csv { Box::new(CsvEncoder::new()) } else { Box::new(NdjsonEncoder::new(&self.schema)) })
    }
    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        let Encoded::Bytes { data, .. } = block else { return Err(Error::internal("standard output takes encoded rows")) };
        self.begin()?;
        self.out.write_all(&data).doing(|| "writing to standard output".into())
    }
    fn tick(&mut self) -> Result<()> {
        self.close()
    }
    fn close(&mut self) -> Result<()> {
        self.begin()?;
        self.out.flush().doing(|| "writing to standard output".into())
    }
    fn location(&self) -> String {
        "standard output".into()
    }
}

/// Columns are as wide as the rows of the first batch need, and never wider than this; the last one, which pushes none aside, than that.
const WIDTH_MAX: usize = 36;
const LAST_WIDTH_MAX: usize = 160;

struct Table {
    out: Box<dyn Write + Send>,
    schema: SchemaRef,
    colour: bool,
    limit: usize,
    /// In characters; empty before the first row.
    widths: Vec<usize>,
    shown: usize,
    rows: usize,
}

impl Table {
    fn show(&mut self, batch: &RecordBatch) -> Result<()> {
        let count = batch.num_rows().min(self.limit - self.shown);
        let columns: Vec<Cells> = batch.slice(0, count).columns().iter().map(Cells::new).collect::<Result<_>>()?;
        let cells: Vec<Vec<String>> = columns.iter().map(|column| (0..count).map(|row| text(column, row)).collect()).collect();
        let mut text = String::new();
        if self.widths.is_empty() {
            let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let widest = |(name, cells): (&&str, &Vec<String>)| {
                cells.iter().map(|c| c.chars().count()).max().unwrap_or(0).max(name.chars().count())
            };
            let last = names.len().saturating_sub(1);
            let most = |i: usize| if i == last { LAST_WIDTH_MAX } else { WIDTH_MAX };
            self.widths = names.iter().zip(&cells).map(widest).enumerate().map(|(i, width)| width.min(most(i))).collect();
            let header: Vec<(&str, bool)> = names.iter().zip(&columns).map(|(name, c)| (*name, c.is_number())).collect();
            self.line(&mut text, &header, Some("\x1b[1m"));
        }
        for row in 0..count {
            let line: Vec<(&str, bool)> =
                cells.iter().zip(&columns).map(|(cells, c)| (cells[row].as_str(), c.is_number())).collect();
            self.line(&mut text, &line, None);
        }
        self.shown += count;
        self.out.write_all(text.as_bytes()).doing(|| "writing to standard output".into())
    }

    /// Numbers stand right. `style` is for the whole line; without it decisions have their own.
    fn line(&self, out: &mut String, cells: &[(&str, bool)], style: Option<&str>) {
        let start = out.len();
        for (i, ((cell, right), width)) in cells.iter().zip(&self.widths).enumerate() {
            if i > 0 {
                out.push_str("  ");
            }
            let cell = cut(cell, *width);
            let space = " ".repeat(width - cell.chars().count());
            let decision = self.schema.field(i).name() == "decision";
            let style = style.or(decision.then(|| decision_style(&cell)).flatten()).filter(|_| self.colour);
            let cell = style.map_or(cell.clone(), |style| format!("{style}{cell}\x1b[0m"));
            let (before, after) = if *right { (space.as_str(), "") } else { ("", space.as_str()) };
            out.extend([before, &cell, after]);
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
}

impl Sink for Table {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(PassRows))
    }
    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        let Encoded::Rows(batch) = block else { return Err(Error::internal("the table takes rows")) };
        self.rows += batch.num_rows();
        if self.shown < self.limit && batch.num_rows() > 0 { self.show(&batch) } else { Ok(()) }
    }
    fn close(&mut self) -> Result<()> {
        if self.rows > self.shown {
            let (more, rows) = (self.rows - self.shown, self.rows);
            writeln!(self.out, "... and {more} more ({rows} rows in all)").doing(|| "writing to standard output".into())?;
        }
        self.out.flush().doing(|| "writing to standard output".into())
    }
    fn location(&self) -> String {
        "standard output".into()
    }
}

/// One line of text, without control characters: what an attacker sent must not steer the terminal.
fn text(column: &Cells, row: usize) -> String {
    if column.is_null(row) {
        return "-".into();
    }
    let mut bytes = Vec::new();
    column.bare(row, &mut bytes);
    String::from_utf8_lossy(&bytes).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn cut(cell: &str, width: usize) -> String {
    match cell.chars().count() {
        n if n <= width => cell.to_string(),
        _ => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn decision_style(decision: &str) -> Option<&'static str> {
    match decision {
        "deny" | "block" | "reject" => Some("\x1b[31m"),
        "challenge" | "review" | "quarantine" => Some("\x1b[33m"),
        "allow" | "accept" | "pass" => Some("\x1b[32m"),
        _ => None,
    }
}

#[cfg(test)]
#[path = "stdout_tests.rs"]
mod tests;
