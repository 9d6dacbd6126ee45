//! What a domain is: whose, and whether it gives addresses to anyone.

#[cfg(test)]
mod tests;

use super::columns::{NO_ROW, Picks, Texts, listed};
use super::host;
use super::keys::{Again, Keys};
use super::records::{self, Format};
use super::seen::Seen;
use super::table::{File, OnDuplicate, Table, validate_file};
use super::take::{self, Take};
use super::{Files, read_file};
use arrow_array::{Array, ArrayRef, StringViewArray};
use ouzel_core::{Error, FieldType, Lookup, Report, Result, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Registrable domain, public suffix, and what lists know of a domain.
///
/// ```yaml
/// domain: { of: sender, as: dom, disposable: data/disposable.txt, free: data/free.json }
/// ```
///
/// The value may be a host name, a mail address or a URL. Of `ann@mail.Example.co.uk`, adds `dom_registrable` (`example.co.uk`), `dom_suffix`
/// (`co.uk`, by the public suffix list that is part of the program; a top-level domain that it does not know is a suffix),
/// `dom_is_disposable` and `dom_is_free` (true if the domain, or one that it is part of, is in the list; only where the list is given). In lower
/// case, and in ASCII: `bücher.de` is `xn--bcher-kva.de`. All are null for addresses of IP, names without a dot, and what is no name;
/// `dom_registrable` also for a public suffix itself.
///
/// Lists are one domain a line, with comments behind a `#` at the line's start, or a JSON array of texts; perhaps compressed.
///
/// ```yaml
/// domain: { of: sender, file: data/partners.csv, key: domain, take: { partner: text } }
/// ```
///
/// Adds `sender_partner` besides, as `table` does, from the record of the domain, or else of the closest that it is part of.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainLookup {
    /// The field that holds the domain, mail address or URL.
    pub of: Spanned<String>,
    /// Prefix of the new columns; by default the field's name.
    #[serde(rename = "as")]
    pub prefix: Option<Spanned<String>>,
    /// A list of domains that give addresses for minutes, relative to the project.
    pub disposable: Option<Spanned<String>>,
    /// A list of domains that give addresses to everyone for nothing.
    pub free: Option<Spanned<String>>,
    /// A table by domain.
    pub file: Option<Spanned<String>>,
    /// The table's column of domains; by default the field's name.
    pub key: Option<Spanned<String>>,
    /// Columns of the table and their types: text, int, float or bool. Without, adds whether the domain is listed.
    #[serde(default)]
    pub take: Take,
    /// The columns of a CSV file, if it has no header line.
    pub columns: Option<Vec<Spanned<String>>>,
    /// What a domain is that comes twice with different values; by default an error.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
}

impl DomainLookup {
    pub fn validate(&self, report: &mut Report) {
        for file in [&self.disposable, &self.free].into_iter().flatten() {
            validate_list(file, report);
        }
        let key = self.key.as_ref().unwrap_or(&self.of);
        match &self.file {
            Some(file) => {
                validate_file(file, self.columns.is_some(), !self.take.0.is_empty(), report);
                take::validate(&self.take, self.columns.as_deref(), Some(key), report);
            }
            None => {
                let given = self.take.0.first().map(|(name, _)| name).or(self.key.as_ref());
                if let Some(given) = given.or(self.columns.as_ref().and_then(|columns| columns.first())) {
                    report.error(given.span, "of which table? there is no `file`").hint("for example `file: data/partners.csv`");
                }
            }
        }
    }

    pub fn columns(&self) -> Vec<(String, FieldType)> {
        let prefix = self.prefix.as_ref().unwrap_or(&self.of);
        let named = |name: &str, kind| (format!("{}_{name}", prefix.value), kind);
        let mut columns = vec![named("registrable", FieldType::Text), named("suffix", FieldType::Text)];
        columns.extend(self.disposable.iter().map(|_| named("is_disposable", FieldType::Bool)));
        columns.extend(self.free.iter().map(|_| named("is_free", FieldType::Bool)));
        if self.file.is_some() {
            columns.extend(take::columns(&self.take, prefix));
        }
        columns
    }

    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        let wanted: Vec<bool> = (0..self.columns().len()).map(|i| wanted.get(i).copied().unwrap_or(true)).collect();
        let mut tables = Vec::new();
        let mut at = 2;
        for name in [&self.disposable, &self.free].into_iter().flatten() {
            tables.push(Table { keys: list(files, name)?, columns: listed(&wanted[at..]), missing: 0 });
            at += 1;
        }
        if let Some(name) = &self.file {
            let key = self.key.as_ref().unwrap_or(&self.of);
            let (columns, again) = (self.columns.as_deref(), self.on_duplicate.into());
            let file = File { name, key, take: &self.take, columns, again };
            tables.push(Table::load(&file, files, &wanted[at..], &written)?);
        }
        Ok(Box::new(Domains::new(Arc::new(tables), [wanted[0], wanted[1]])))
    }
}

/// A list may be JSON, but no table.
pub(super) fn validate_list(file: &Spanned<String>, report: &mut Report) {
    if file.is_empty() {
        report.error(file.span, "an empty path");
    } else if !matches!(Format::of(file), Format::List | Format::Json) {
        report.error(file.span, format!("`{}` is no list", file.value)).hint("one domain a line, or a JSON array of texts");
    }
}

/// The domains of a list.
fn list(files: Files<'_>, name: &str) -> Result<Keys> {
    let mut keys = Keys::default();
    each_domain(files, name, &mut |domain, number| keys.insert(domain, 1, number, Again::LastCounts).map(drop))?;
    Ok(keys)
}

/// Calls `each` with every name of a list, and where in the file it is.
pub(super) fn each_domain(files: Files<'_>, name: &str, each: &mut dyn FnMut(&str, usize) -> Result<(), String>) -> Result<()> {
    let text = read_file(files, name)?;
    records::read(name, text, None, &["domain"], &mut |place, cells| {
        let domain = cells.first().and_then(Option::as_deref).ok_or("expected a domain")?;
        each(&written(domain)?, place.number())
    })
}

/// A domain as it is compared. Lists also write `*.example.com`, `.example.com` and `@example.com`.
fn written(key: &str) -> Result<Cow<'_, str>, String> {
    let name = key.strip_prefix("*.").unwrap_or(key);
    host::name(name.strip_prefix('.').unwrap_or(name)).ok_or_else(|| format!("`{key}` is no domain"))
}

/// Lists and a table have at most one row each for a domain.
const TABLES_MAX: usize = 3;

/// What is known of one text.
struct Known {
    registrable: Option<Box<str>>,
    suffix: Option<Box<str>>,
    rows: [u32; TABLES_MAX],
}

impl Known {
    fn of(text: &str, tables: &[Table]) -> Known {
        let mut rows = [NO_ROW; TABLES_MAX];
        let Some(domain) = host::domain(text) else { return Known { registrable: None, suffix: None, rows } };
        for (row, table) in rows.iter_mut().zip(tables) {
            *row = closest(&table.keys, &domain).unwrap_or(table.missing);
        }
        let (suffix, registrable) = host::split(&domain);
        Known { registrable: registrable.map(Box::from), suffix: Some(suffix.into()), rows }
    }
}

/// The row of the domain, or of the closest that it is part of.
fn closest(keys: &Keys, domain: &str) -> Option<u32> {
    let mut name = domain;
    loop {
        if let Some(row) = keys.find(name) {
            return Some(row);
        }
        name = name.split_once('.')?.1;
    }
}

/// One thread's view of the tables.
struct Domains {
    tables: Arc<Vec<Table>>,
    wanted: [bool; 2],
    seen: Seen<Known>,
    texts: [Texts; 2],
    rows: [Vec<u32>; TABLES_MAX],
    picks: Vec<Picks>,
}

impl Domains {
    fn new(tables: Arc<Vec<Table>>, wanted: [bool; 2]) -> Domains {
        let picks = tables.iter().map(|table| Picks::new(&table.columns)).collect();
        Domains { tables, wanted, seen: Seen::new(), texts: wanted.map(Texts::new), rows: Default::default(), picks }
    }
}

impl Lookup for Domains {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        let Domains { tables, seen, texts: [registrable, suffix], rows, picks, .. } = self;
        if tables.len() > TABLES_MAX {
            return Err(Error::internal("more tables of domains than there can be"));
        }
        rows.iter_mut().for_each(Vec::clear);
        let mut add = |known: &Known| {
            registrable.push(known.registrable.as_deref());
            suffix.push(known.suffix.as_deref());
            rows.iter_mut().zip(known.rows).take(tables.len()).for_each(|(rows, row)| rows.push(row));
        };
        let null = Known { registrable: None, suffix: None, rows: [NO_ROW; TABLES_MAX] };
        for key in keys {
            match key {
                None => add(&null),
                Some(text) => seen.with(text, |text| Known::of(text, tables), &mut add),
            }
        }
        let mut columns = vec![registrable.column(keys.len()), suffix.column(keys.len())];
        for ((table, picks), rows) in tables.iter().zip(picks).zip(rows.iter()) {
            columns.extend(picks.of(&table.columns, rows));
        }
        Ok(columns)
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(Domains::new(self.tables.clone(), self.wanted))
    }
}
