//! What is known about a key from a table: customers and their tiers, cards that were stolen.

#[cfg(test)]
mod tests;

use super::Files;
use super::columns::{Columns, NO_ROW, Picks, listed};
use super::keys::{Again, Keys};
use super::records::{self, Format};
use super::take::{self, Rows, Take};
use arrow_array::{ArrayRef, StringViewArray};
use ouzel_core::{FieldType, Lookup, Report, Result, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Columns from a table, by an exact key.
///
/// ```yaml
/// table: { of: customer, file: data/customers.csv, key: id, take: { tier: text, limit: float } }
/// ```
///
/// Adds `customer_tier` and `customer_limit`: those of the record whose `id` is the value of `customer`, letter by letter. Null where
/// there is none.
///
/// ```yaml
/// table: { of: card, file: data/stolen.txt }
/// ```
///
/// Without `take`, adds `card_listed`: true if the key is in the file, false if not, null where `card` is.
///
/// The file, perhaps compressed (gzip, zstd, xz, bzip2), is by its name's ending CSV (`.csv`, `.tsv` with tabs), JSON (`.json`, `.ndjson`,
/// `.jsonl`: objects, or texts that are keys, in an array or one a line), Parquet (`.parquet`); any other is a list of keys, one a line, with
/// comments behind a `#` at the line's start. Text is UTF-8. Blanks around a cell do not count.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableLookup {
    /// The field that holds the key.
    pub of: Spanned<String>,
    /// Prefix of the new columns; by default the field's name.
    #[serde(rename = "as")]
    pub prefix: Option<Spanned<String>>,
    /// The table, relative to the project.
    pub file: Spanned<String>,
    /// The file's column of keys; by default the field's name.
    pub key: Option<Spanned<String>>,
    /// Columns of the file and their types: text, int, float or bool. An empty cell is null.
    #[serde(default)]
    pub take: Take,
    /// The columns of a CSV file, if it has no header line.
    pub columns: Option<Vec<Spanned<String>>>,
    /// What a key is that comes twice with different values; by default an error.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
}

/// What a key is that comes twice with different values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The file is refused, naming both lines.
    #[default]
    Error,
    /// The last one counts.
    Last,
}

impl From<OnDuplicate> for Again {
    fn from(on_duplicate: OnDuplicate) -> Again {
        match on_duplicate {
            OnDuplicate::Error => Again::Refused,
            OnDuplicate::Last => Again::LastCounts,
        }
    }
}

impl TableLookup {
    pub fn validate(&self, report: &mut Report) {
        validate_file(&self.file, self.columns.is_some(), !self.take.0.is_empty(), report);
        if let Some(key) = self.key.as_ref().filter(|_| Format::of(&self.file) == Format::List) {
            report.error(key.span, format!("`{}` is a list of keys: it has no columns", self.file.value)).hint(ENDINGS);
        }
        let key = self.key.as_ref().unwrap_or(&self.of);
        take::validate(&self.take, self.columns.as_deref(), Some(key), report);
    }

    pub fn columns(&self) -> Vec<(String, FieldType)> {
        take::columns(&self.take, self.prefix.as_ref().unwrap_or(&self.of))
    }

    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        let key = self.key.as_ref().unwrap_or(&self.of);
        let file =
            File { name: &self.file, key, take: &self.take, columns: self.columns.as_deref(), again: self.on_duplicate.into() };
        let table = Arc::new(Table::load(&file, files, wanted, &|key| Ok(Cow::Borrowed(key)))?);
        Ok(Box::new(ByKey::new(table)))
    }
}

const ENDINGS: &str = "a file's ending says what it is: csv, tsv, json, ndjson, jsonl, parquet; any other is a list";

/// What can be told of a table's file by its name.
pub(super) fn validate_file(file: &Spanned<String>, has_columns: bool, takes: bool, report: &mut Report) {
    match Format::of(file) {
        _ if file.is_empty() => {
            report.error(file.span, "an empty path");
        }
        Format::MaxMind => {
            report.error(file.span, "a table of addresses").hint("look it up with `ranges`");
        }
        Format::List if has_columns || takes => {
            report.error(file.span, format!("`{}` is a list of keys: it has no columns", file.value)).hint(ENDINGS);
        }
        Format::Json | Format::Parquet if has_columns => {
            report.error(file.span, "`columns` is for CSV files: this one names its own");
        }
        _ => {}
    }
}

/// A table's file, and what of it is wanted.
pub(super) struct File<'a> {
    pub name: &'a str,
    pub key: &'a str,
    pub take: &'a Take,
    pub columns: Option<&'a [Spanned<String>]>,
    pub again: Again,
}

/// How a key of the file is written in the table; or why it is none.
pub(super) type Written<'a> = dyn Fn(&str) -> Result<Cow<'_, str>, String> + 'a;

/// An immutable table.
pub(super) struct Table {
    pub keys: Keys,
    pub columns: Columns,
    /// The row of keys that are not there.
    pub missing: u32,
}

impl Table {
    pub fn load(file: &File<'_>, files: Files<'_>, wanted: &[bool], written: &Written) -> Result<Table> {
        let text = super::read_file(files, file.name)?;
        let is_list = file.take.0.is_empty();
        let names: Vec<&str> = [file.key].into_iter().chain(file.take.0.iter().map(|(name, _)| name.as_str())).collect();
        let (mut keys, mut rows) = (Keys::default(), Rows::new(file.take, wanted));
        records::read(file.name, text, file.columns, &names, &mut |place, cells| {
            let [key, cells @ ..] = cells else { return Err("expected a key".into()) };
            let key = key.as_deref().ok_or_else(|| format!("the key `{}` is empty", file.key))?;
            let row = if is_list { 1 } else { rows.add(cells)? };
            match keys.insert(&written(key)?, row, place.number(), file.again)? {
                None => Ok(()),
                Some(earlier) => Err(format!("key `{key}` has other values in {}", place.word(earlier))),
            }
        })?;
        Ok(match is_list {
            true => Table { keys, columns: listed(wanted), missing: 0 },
            false => Table { keys, columns: rows.finish(), missing: NO_ROW },
        })
    }
}

/// One thread's view of a table.
struct ByKey {
    table: Arc<Table>,
    rows: Vec<u32>,
    picks: Picks,
}

impl ByKey {
    fn new(table: Arc<Table>) -> ByKey {
        ByKey { rows: Vec::new(), picks: Picks::new(&table.columns), table }
    }
}

impl Lookup for ByKey {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        let Table { keys: table, columns, missing } = &*self.table;
        self.rows.clear();
        self.rows.extend(keys.iter().map(|key| key.map_or(NO_ROW, |key| table.find(key).unwrap_or(*missing))));
        Ok(self.picks.of(columns, &self.rows).collect())
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(ByKey::new(self.table.clone()))
    }
}
