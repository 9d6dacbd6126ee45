//! From a CSV file to a table. A line that makes no sense refuses the whole: a lookup that silently misses
//! ranges gives wrong decisions.

use super::RangesLookup;
use super::address::Address;
use super::csv::Lines;
use super::table::{Range, Table};
use crate::lookups::Files;
use crate::lookups::columns::Values;
use arrow_array::{BooleanArray, Float64Array, Int64Array};
use hashbrown::HashMap;
use ouzel_core::{Error, FieldType, Result};
use std::borrow::Cow;

type Cells<'a> = Vec<Cow<'a, [u8]>>;

pub(super) fn load(config: &RangesLookup, files: Files<'_>, wanted: &[bool]) -> Result<Table> {
    let text = crate::lookups::read_file(files, &config.file)?;
    let mut lines = Lines::new(&text);
    let at = |line: usize, message: String| Error::config(format!("{}:{line}: {message}", config.file.value));
    let mut cells = Cells::new();
    let header: Vec<String> = match &config.columns {
        Some(columns) => columns.iter().map(|column| column.value.clone()).collect(),
        None => {
            lines.read(&mut cells).map_err(|e| at(lines.line, e.into()))?;
            cells.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_string()).collect()
        }
    };
    let key = Key::of(&header);
    let mut taken = Vec::new();
    for (i, (name, kind)) in config.take.0.iter().enumerate() {
        let Some(column) = header.iter().position(|column| *column == name.value) else {
            let hint = if config.columns.is_none() { "; without a header line, name its columns in `columns`" } else { "" };
            return Err(at(1, format!("no column `{}` among `{}`{hint}", name.value, header.join(","))));
        };
        let is_wanted = wanted.get(i).copied().unwrap_or(true);
        taken.push(Taken { column, kind: kind.value.clone(), is_wanted });
    }

    // Many ranges have the same values: each set of values is kept once.
    let mut sets: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut rows = Rows::new(&taken);
    let (mut v4, mut v6, mut set) = (Vec::new(), Vec::new(), Vec::new());
    while lines.read(&mut cells).map_err(|e| at(lines.line, e.into()))? {
        if cells.len() != header.len() {
            return Err(at(lines.line, format!("expected {} cells, found {}", header.len(), cells.len())));
        }
        let (start, end) = key.range(&cells).map_err(|e| at(lines.line, e))?;
        set.clear();
        for taken in &taken {
            let cell = &cells[taken.column];
            set.extend_from_slice(&(cell.len() as u32).to_le_bytes());
            set.extend_from_slice(cell);
        }
        let row = match sets.get(set.as_slice()) {
            Some(row) => *row,
            None => {
                rows.add(&taken, &cells).map_err(|e| at(lines.line, e))?;
                let row = sets.len() as u32;
                sets.insert(set.clone(), row);
                row
            }
        };
        match (start, end) {
            (Address::V4(start), Address::V4(end)) if start <= end => v4.push(Range { start, end, row }),
            (Address::V6(start), Address::V6(end)) if start <= end => v6.push(Range { start, end, row }),
            (Address::V4(_), Address::V6(_)) | (Address::V6(_), Address::V4(_)) => {
                return Err(at(lines.line, "start and end are of different IP versions".into()));
            }
            _ => return Err(at(lines.line, "the range ends before it starts".into())),
        }
    }
    Ok(Table::new(v4, v6, rows.finish(&taken)))
}

struct Taken {
    column: usize,
    kind: FieldType,
    is_wanted: bool,
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

/// The values read so far, one list for each column taken.
struct Rows(Vec<Collected>);

enum Collected {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
}

impl Rows {
    fn new(taken: &[Taken]) -> Rows {
        Rows(
            taken
                .iter()
                .map(|taken| match taken.kind {
                    FieldType::Int => Collected::Int(Vec::new()),
                    FieldType::Float => Collected::Float(Vec::new()),
                    FieldType::Bool => Collected::Bool(Vec::new()),
                    _ => Collected::Text(Vec::new()),
                })
                .collect(),
        )
    }

    fn add(&mut self, taken: &[Taken], cells: &Cells) -> Result<(), String> {
        for (values, taken) in self.0.iter_mut().zip(taken) {
            let cell = String::from_utf8_lossy(&cells[taken.column]);
            let cell = Some(cell.trim()).filter(|cell| !cell.is_empty());
            let bad = || format!("`{}` is no `{}`", cell.unwrap_or_default(), taken.kind);
            match values {
                Collected::Text(values) => values.push(cell.map(String::from)),
                Collected::Int(values) => values.push(cell.map(str::parse).transpose().map_err(|_| bad())?),
                Collected::Float(values) => values.push(cell.map(str::parse).transpose().map_err(|_| bad())?),
                Collected::Bool(values) => values.push(match cell.map(str::to_ascii_lowercase).as_deref() {
                    None => None,
                    Some("true" | "t" | "yes" | "1") => Some(true),
                    Some("false" | "f" | "no" | "0") => Some(false),
                    Some(_) => return Err(bad()),
                }),
            }
        }
        Ok(())
    }

    fn finish(self, taken: &[Taken]) -> Vec<(arrow_schema::DataType, Option<Values>)> {
        let columns = self.0.into_iter().zip(taken).map(|(values, taken)| {
            let values = taken.is_wanted.then(|| match values {
                Collected::Text(values) => Values::texts(values.iter().map(Option::as_deref)),
                Collected::Int(values) => Values::Int(Int64Array::from(values)),
                Collected::Float(values) => Values::Float(Float64Array::from(values)),
                Collected::Bool(values) => Values::Bool(BooleanArray::from(values)),
            });
            (taken.kind.arrow(), values)
        });
        columns.collect()
    }
}
