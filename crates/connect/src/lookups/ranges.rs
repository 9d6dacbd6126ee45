//! What is known about an IP address from a table of address ranges: network, country, provider.

mod address;
mod load;
mod max_mind;
mod table;
#[cfg(test)]
mod tests;

use super::Files;
use super::columns::{NO_ROW, Picks};
use super::records::Format;
use super::take::{self, Take};
use address::Address;
use arrow_array::{ArrayRef, StringViewArray};
use ouzel_core::{FieldType, Lookup, Report, Result, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use table::Table;

/// Columns from a table of IP address ranges.
///
/// ```yaml
/// ranges: { of: ip, file: data/asn.csv, take: { asn: bigint, name: text } }
/// ```
///
/// Adds `ip_asn` and `ip_name`: the values of the range that holds the address, the shortest if several do, the last in the
/// file if several are alike. Null where no range holds it, and for what is no address.
///
/// ```yaml
/// ranges: { of: ip, as: googlebot, file: data/googlebot.txt }
/// ```
///
/// Without `take`, adds `googlebot_listed`: true if a range of the file holds the address, false if none does, null for what is no address.
///
/// The file is by its name's ending CSV, or a MaxMind database (`.mmdb`), perhaps compressed (gzip, zstd, xz, bzip2). In CSV, ranges are given
/// by the first two columns, start and end, both included, as addresses or as whole numbers; or by a column `network` or `cidr` of prefixes
/// such as `10.0.0.0/8`. A file without `take` whose name ends neither so nor in `.csv` or `.tsv` is a list: one prefix, address or `START-END`
/// a line, comments behind `#` or `;`.
///
/// ```yaml
/// ranges: { of: ip, file: data/city.mmdb, take: { country_iso_code: text, location_latitude: float, subdivisions_0_iso_code: text } }
/// ```
///
/// A MaxMind database is a tree: the way to a value, `country.iso_code`, is its name with `_` between the steps; places in lists count from 0.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangesLookup {
    /// The field that holds the address.
    pub of: Spanned<String>,
    /// Prefix of the new columns; by default the field's name.
    #[serde(rename = "as")]
    pub prefix: Option<Spanned<String>>,
    /// The table, relative to the project.
    pub file: Spanned<String>,
    /// Columns of the file and their types: text, int, float or bool. An empty cell is null.
    #[serde(default)]
    pub take: Take,
    /// The columns of a CSV file, if it has no header line.
    pub columns: Option<Vec<Spanned<String>>>,
}

impl RangesLookup {
    pub fn validate(&self, report: &mut Report) {
        if self.file.is_empty() {
            report.error(self.file.span, "an empty path");
        }
        if self.columns.is_some() && self.format() == Format::MaxMind {
            report.error(self.file.span, "`columns` is for CSV files: this one names its own");
        }
        if matches!(self.format(), Format::Json | Format::Parquet) {
            report.error(self.file.span, "ranges are read from CSV, MaxMind databases (mmdb) and lists");
        }
        take::validate(&self.take, self.columns.as_deref(), None, report);
    }

    /// Columns are those of CSV, whatever the file is called.
    fn format(&self) -> Format {
        match Format::of(&self.file) {
            Format::List | Format::Json | Format::Parquet if self.columns.is_some() || !self.take.0.is_empty() => {
                Format::Csv { separator: b',' }
            }
            format => format,
        }
    }

    pub fn columns(&self) -> Vec<(String, FieldType)> {
        take::columns(&self.take, self.prefix.as_ref().unwrap_or(&self.of))
    }

    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        let table = load::load(self, files, wanted)?;
        Ok(Box::new(Ranges::new(Arc::new(table))))
    }
}

/// One thread's view of a table.
struct Ranges {
    table: Arc<Table>,
    addresses: Vec<u32>,
    rows: Vec<u32>,
    picks: Picks,
}

impl Ranges {
    fn new(table: Arc<Table>) -> Ranges {
        Ranges { picks: Picks::new(&table.columns), table, addresses: Vec::new(), rows: Vec::new() }
    }

    /// First all texts to addresses, then all addresses to rows: the searches of neighbours then wait for memory together.
    /// (A cache of recent addresses in front of the search made it slower.)
    fn find(&mut self, keys: &StringViewArray) {
        let mut others = Vec::new();
        self.addresses.clear();
        for (i, key) in keys.iter().enumerate() {
            let address = key.and_then(Address::parse);
            if let Some(Address::V4(address)) = address {
                self.addresses.push(address);
                continue;
            }
            self.addresses.push(0);
            others.push(match address {
                Some(Address::V6(address)) => (i, self.table.find_v6(address)),
                _ => (i, NO_ROW),
            });
        }
        self.rows.clear();
        self.rows.extend(self.addresses.iter().map(|address| self.table.find_v4(*address)));
        for (i, row) in others {
            self.rows[i] = row;
        }
    }
}

impl Lookup for Ranges {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        self.find(keys);
        Ok(self.picks.of(&self.table.columns, &self.rows).collect())
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(Ranges::new(self.table.clone()))
    }
}
