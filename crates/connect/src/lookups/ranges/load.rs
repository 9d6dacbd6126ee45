//! From a file to a table. A line that makes no sense refuses the whole: a lookup that silently misses
//! ranges gives wrong decisions.

use super::address::Address;
use super::table::{Range, Table};
use super::{RangesLookup, max_mind};
use crate::lookups::Files;
use crate::lookups::columns::listed;
use crate::lookups::csv::Lines;
use crate::lookups::records::{self, Format, Place, as_text, no_column};
use crate::lookups::take::Rows;
use ouzel_core::{Error, Result};
use std::borrow::Cow;

type Cells<'a> = Vec<Cow<'a, [u8]>>;

pub(super) fn load(config: &RangesLookup, files: Files<'_>, wanted: &[bool]) -> Result<Table> {
    let text = crate::lookups::read_file(files, &config.file)?;
    let mut found = Found::new(config.take.0.is_empty());
    let mut rows = Rows::new(&config.take, wanted);
    match config.format() {
        Format::MaxMind => max_mind::load(config, text, &mut found, &mut rows)?,
        Format::List => records::list(&config.file, records::utf8(&config.file, &text)?, &mut |_, line| {
            // Published lists say behind a prefix whose it is.
            let prefix = line.split(['#', ';']).next().unwrap_or_default().trim();
            found.add(whole(prefix)?, 1)
        })?,
        Format::Csv { separator } => csv(config, &text, separator, &mut found, &mut rows)?,
        Format::Json | Format::Parquet => return Err(Error::internal("a table of ranges of this format is refused before")),
    }
    let columns = if config.take.0.is_empty() { listed(wanted) } else { rows.finish() };
    Ok(Table::new(found.v4, found.v6, columns))
}

/// The ranges of a file.
pub(super) struct Found {
    pub v4: Vec<Range<u32>>,
    pub v6: Vec<Range<u128>>,
}

impl Found {
    /// Of a list, all other addresses are in row 0: in the longest range there is.
    pub fn new(is_list: bool) -> Found {
        let v4 = Range { start: 0, end: u32::MAX, row: 0 };
        let v6 = Range { start: 0, end: u128::MAX, row: 0 };
        if is_list { Found { v4: vec![v4], v6: vec![v6] } } else { Found { v4: Vec::new(), v6: Vec::new() } }
    }

    pub fn add(&mut self, (start, end): (Address, Address), row: u32) -> Result<(), String> {
        match (start, end) {
            (Address::V4(start), Address::V4(end)) if start <= end => self.v4.push(Range { start, end, row }),
            (Address::V6(start), Address::V6(end)) if start <= end => self.v6.push(Range { start, end, row }),
            (Address::V4(_), Address::V6(_)) | (Address::V6(_), Address::V4(_)) => {
                return Err("start and end are of different IP versions".into());
            }
            _ => return Err("the range ends before it starts".into()),
        }
        Ok(())
    }
}

fn csv(config: &RangesLookup, text: &[u8], separator: u8, found: &mut Found, rows: &mut Rows) -> Result<()> {
    let mut lines = Lines::new(text, separator);
    let at = |line: usize, message: String| Place::Line(line).error(&config.file, message);
    let mut cells = Cells::new();
    let header: Vec<String> = match &config.columns {
        Some(columns) => columns.iter().map(|column| column.value.clone()).collect(),
        None => {
            lines.read(&mut cells).map_err(|e| at(lines.line, e.into()))?;
            cells.iter().map(|cell| as_text(cell).trim().to_string()).collect()
        }
    };
    let key = Key::of(&header);
    let mut taken = Vec::new();
    for (name, _) in &config.take.0 {
        let column = header.iter().position(|column| *column == name.value);
        taken.push(column.ok_or_else(|| at(1, no_column(name, &header)))?);
    }
    while lines.read(&mut cells).map_err(|e| at(lines.line, e.into()))? {
        if cells.len() != header.len() {
            return Err(at(lines.line, format!("expected {} cells, found {}", header.len(), cells.len())));
        }
        let range = key.range(&cells).map_err(|e| at(lines.line, e))?;
        let values: Vec<_> = taken.iter().map(|column| Some(as_text(&cells[*column]))).collect();
        let row = if taken.is_empty() { 1 } else { rows.add(&values).map_err(|e| at(lines.line, e))? };
        found.add(range, row).map_err(|e| at(lines.line, e))?;
    }
    Ok(())
}

/// Where a line says which range it is about.
enum Key {
    StartEnd,
    Network(usize),
}

impl Key {
    fn of(header: &[String]) -> Key {
        let network = header.iter().position(|name| matches!(name.to_ascii_lowercase().as_str(), "network" | "cidr"));
        network.map_or(Key::StartEnd, Key::Network)
    }

    fn range(&self, cells: &Cells) -> Result<(Address, Address), String> {
        match self {
            Key::Network(column) => prefix(text(&cells[*column])),
            Key::StartEnd if cells.len() < 2 => Err("expected start and end of a range".into()),
            Key::StartEnd => Ok((address(text(&cells[0]))?, address(text(&cells[1]))?)),
        }
    }
}

fn text(cell: &[u8]) -> &str {
    std::str::from_utf8(cell).unwrap_or("\u{fffd}").trim()
}

/// An address, or its number; numbers beyond 32 bits are IPv6 addresses.
fn address(text: &str) -> Result<Address, String> {
    if let Some(address) = Address::parse(text) {
        return Ok(address);
    }
    let number: u128 = text.parse().map_err(|_| format!("`{text}` is no IP address"))?;
    Ok(match u32::try_from(number) {
        Ok(number) => Address::V4(number),
        Err(_) => Address::from_v6(number.into()),
    })
}

/// A prefix, an address, or `10.0.0.1-10.0.0.9`.
fn whole(text: &str) -> Result<(Address, Address), String> {
    match text.split_once('-') {
        Some((start, end)) => Ok((address(start.trim())?, address(end.trim())?)),
        None => prefix(text),
    }
}

/// First and last address of `10.0.0.0/8`; of a single address, itself.
fn prefix(text: &str) -> Result<(Address, Address), String> {
    let Some((network, length)) = text.split_once('/') else {
        let only = address(text)?;
        return Ok((only, only));
    };
    let bad = || format!("`{text}` is no network");
    let length: u32 = length.parse().map_err(|_| bad())?;
    // A mapped prefix, such as `::ffff:10.0.0.0/104`, counts the bits of the IPv6 address.
    let mapped = network.contains(':');
    match Address::parse(network).ok_or_else(bad)? {
        Address::V4(network) => {
            let length = if mapped { length.checked_sub(96).ok_or_else(bad)? } else { length };
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            if length > 32 { Err(bad()) } else { Ok((Address::V4(network & !host), Address::V4(network | host))) }
        }
        Address::V6(network) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            if length > 128 { Err(bad()) } else { Ok((Address::V6(network & !host), Address::V6(network | host))) }
        }
    }
}
