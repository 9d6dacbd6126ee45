//! MaxMind databases: all networks are read at once, since a walk down the tree takes ten times as long as a search among ranges.

use super::RangesLookup;
use super::address::Address;
use super::load::Found;
use crate::lookups::take::Rows;
use hashbrown::HashMap;
use maxminddb::{Reader, WithinOptions};
use ouzel_core::{Error, Result};
use serde_json::Value;
use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The largest databases have about ten million. (A little file can pretend to have any number.)
const NETWORKS_MAX: usize = 50_000_000;

pub(super) fn load(config: &RangesLookup, data: Vec<u8>, found: &mut Found, rows: &mut Rows) -> Result<()> {
    // A damaged file may make the reader panic.
    let read = catch_unwind(AssertUnwindSafe(|| read(config, data, found, rows)));
    read.unwrap_or_else(|_| Err("the file is damaged".into()))
        .map_err(|e| Error::config(format!("{}: expected a MaxMind database: {e}", config.file.value)))
}

fn read(config: &RangesLookup, data: Vec<u8>, found: &mut Found, rows: &mut Rows) -> Result<(), String> {
    let reader = Reader::from_source(data).map_err(|e| e.to_string())?;
    let names: Vec<&str> = config.take.0.iter().map(|(name, _)| name.as_str()).collect();
    let mut is_found = vec![false; names.len()];
    // Many networks share a record.
    let mut seen: HashMap<usize, u32> = HashMap::new();
    let mut example = Value::Null;
    for (i, network) in reader.networks(WithinOptions::default()).map_err(|e| e.to_string())?.enumerate() {
        if i >= NETWORKS_MAX {
            return Err(format!("more than {NETWORKS_MAX} networks"));
        }
        let result = network.map_err(|e| e.to_string())?;
        let network = result.network().map_err(|e| e.to_string())?;
        let row = match result.offset().filter(|_| !names.is_empty()).map(|offset| (offset, seen.get(&offset))) {
            None => 1,
            Some((_, Some(row))) => *row,
            Some((offset, None)) => {
                let at = |e: String| format!("network {network}: {e}");
                let record: Value = result.decode().map_err(|e| at(e.to_string()))?.unwrap_or_default();
                let cells: Vec<_> = names.iter().map(|name| cell(&record, name)).collect();
                cells.iter().zip(&mut is_found).for_each(|(cell, found)| *found |= cell.is_some());
                let row = rows.add(&cells).map_err(at)?;
                seen.insert(offset, row);
                if example.is_null() {
                    example = record;
                }
                row
            }
        };
        found.add(ends(network.ip(), network.prefix().into()), row)?;
    }
    match is_found.iter().position(|found| !found) {
        Some(i) if !seen.is_empty() => {
            let mut known = Vec::new();
            paths(&example, "", &mut known);
            Err(format!("no record has `{}`; the first has {}", names[i], known.join(", ")))
        }
        _ => Ok(()),
    }
}

fn ends(address: IpAddr, length: u32) -> (Address, Address) {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            (Address::V4(address.to_bits() & !host), Address::V4(address.to_bits() | host))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            let (start, end) = (address.to_bits() & !host, address.to_bits() | host);
            // IPv4 addresses written as IPv6 ones are IPv4 addresses.
            match (Address::from_v6(start.into()), Address::from_v6(end.into())) {
                (Address::V4(start), Address::V4(end)) => (Address::V4(start), Address::V4(end)),
                _ => (Address::V6(start), Address::V6(end)),
            }
        }
    }
}

/// The value at the end of a way such as `country_iso_code`. The names of steps may have `_`, too.
fn cell<'a>(value: &'a Value, way: &str) -> Option<Cow<'a, str>> {
    let next = |step: &str, value: &'a Value| match way.strip_prefix(step) {
        Some("") => match value {
            Value::Null | Value::Object(_) | Value::Array(_) => None,
            Value::String(text) => Some(Cow::Borrowed(text.as_str())),
            other => Some(Cow::Owned(other.to_string())),
        },
        Some(rest) => cell(value, rest.strip_prefix('_')?),
        None => None,
    };
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| next(name, value)),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, value)| next(&i.to_string(), value)),
        _ => None,
    }
}

/// The names by which the values of a record can be taken, for those who took another.
fn paths(value: &Value, way: &str, known: &mut Vec<String>) {
    let join = |step: &str| if way.is_empty() { step.to_string() } else { format!("{way}_{step}") };
    match value {
        _ if known.len() >= 20 => {}
        Value::Object(fields) => fields.iter().for_each(|(name, value)| paths(value, &join(name), known)),
        Value::Array(items) => items.iter().take(1).for_each(|value| paths(value, &join("0"), known)),
        _ => known.push(format!("`{way}`")),
    }
}
