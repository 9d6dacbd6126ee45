//! From a CSV file to a table. A line that makes no sense refuses the whole: a lookup that silently misses
//! ranges gives wrong decisions.

use super::RangesLookup;
use super::address::Address;
use super::table::{Range, Table};
use crate::lookups::Files;
use crate::lookups::csv::Lines;
use crate::lookups::records::{Place, as_text, no_column};
use crate::lookups::take::Rows;
use ouzel_core::Result;
use std::borrow::Cow;

type Cells<'a> = Vec<Cow<'a, [u8]>>;

pub(super) fn load(config: &RangesLookup, files: Files<'_>, wanted: &[bool]) -> Result<Table> {
    let text = crate::lookups::read_file(files, &config.file)?;
    let mut lines = Lines::new(&text, b',');
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

    let mut rows = Rows::new(&config.take, wanted);
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    while lines.read(&mut cells).map_err(|e| at(lines.line, e.into()))? {
        if cells.len() != header.len() {
            return Err(at(lines.line, format!("expected {} cells, found {}", header.len(), cells.len())));
        }
        let (start, end) = key.range(&cells).map_err(|e| at(lines.line, e))?;
        let values: Vec<_> = taken.iter().map(|column| Some(as_text(&cells[*column]))).collect();
        let row = rows.add(&values).map_err(|e| at(lines.line, e))?;
        match (start, end) {
            (Address::V4(start), Address::V4(end)) if start <= end => v4.push(Range { start, end, row }),
            (Address::V6(start), Address::V6(end)) if start <= end => v6.push(Range { start, end, row }),
            (Address::V4(_), Address::V6(_)) | (Address::V6(_), Address::V4(_)) => {
                return Err(at(lines.line, "start and end are of different IP versions".into()));
            }
            _ => return Err(at(lines.line, "the range ends before it starts".into())),
        }
    }
    Ok(Table::new(v4, v6, rows.finish()))
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
