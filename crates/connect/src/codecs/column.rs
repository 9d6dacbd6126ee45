//! Values as typed columns.
//!
//! | type | from JSON | from text (CSV, access logs, syslog) |
//! | --- | --- | --- |
//! | `text` | strings | anything |
//! | `int` | numbers that are whole and fit 64 bits (`12`, `12.0`, `1e3`) | the same, also `+12` |
//! | `float` | numbers that are finite in 64 bits | the same, also `.5` and `5.` |
//! | `bool` | `true`, `false` | `true`, `false`, `1`, `0`, in any case |
//! | `timestamp` | strings as in [`time`], numbers since 1970 | the same |
//! | `ip` | strings | IPv4 as four decimals without leading zeros, IPv6 in any form; both become canonical |
//! | `json` | anything, as written | valid JSON |
//! | `list<T>` | arrays whose elements are `T` or `null` | the same, as JSON |
//!
//! Missing values, JSON `null`, empty CSV cells and `-` in access logs are null. Of a field's types the first that
//! reads a value wins; a value of any but the first type is null in the column and keeps its text in `other`.

use super::table::{BLOCK_BYTES_MAX, Blocks, Look, Raw, Slots};
use super::views::Views;
use super::{json, scalar, time};
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray, StringViewArray};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::Field;
use ouzel_core::{Column, FieldType, Malformed, Path, Wanted};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// Characters of a malformed value that its reason shows.
const SHOWN_MAX: usize = 60;

/// Reads the values of one slot as the field that is wanted.
pub(super) fn read(wanted: &Wanted, slots: Slots, blocks: &Blocks) -> Column {
    if wanted.any_text {
        let values = texts(slots, blocks, any_text, &mut |_, _| {});
        return Column { values: Arc::new(values.finish(blocks)), other: None, malformed: Vec::new() };
    }
    let Some((first, others)) = wanted.types.split_first() else {
        return Column {
            values: arrow_array::new_null_array(&FieldType::Text.arrow(), slots.len()),
            other: None,
            malformed: Vec::new(),
        };
    };
    let mut malformed = Vec::new();
    let mut kept: Vec<(u32, Raw)> = Vec::new();
    let values = array(first, slots, blocks, &mut |row, raw| {
        if others.iter().any(|kind| reads(kind, raw, blocks)) {
            kept.push((row, raw));
        } else {
            malformed.push(Malformed { row, reason: reason(&wanted.types, raw, blocks) });
        }
    });
    let other = (!others.is_empty()).then(|| keep(&kept, slots.len(), blocks));
    Column { values, other, malformed }
}

/// Reads text as a field's type, as a codec of text does: for what `select` makes.
pub fn read_text(values: &StringViewArray, of: &FieldType) -> Column {
    let mut text = String::new();
    let mut slots = Vec::with_capacity(Array::len(values));
    for value in values {
        // What does not fit is null: it takes hundreds of megabytes of one column out of one chunk.
        slots.push(match value.filter(|v| text.len() + v.len() < BLOCK_BYTES_MAX) {
            None => Raw::NULL,
            Some(value) => {
                let start = text.len();
                text.push_str(value);
                Raw::new(Look::Text, start, text.len())
            }
        });
    }
    let blocks = Blocks { chunk: text.into_bytes().into(), side: Vec::<u8>::new().into() };
    let wanted = Wanted { path: Path(Vec::new()), types: vec![of.clone()], any_text: false };
    read(&wanted, Slots { all: &slots, stride: 1, slot: 0 }, &blocks)
}

/// The text of the values that were read as another type, null elsewhere.
fn keep(kept: &[(u32, Raw)], rows: usize, blocks: &Blocks) -> ArrayRef {
    let mut views = Views::with_capacity(rows);
    let mut next = 0;
    for (row, raw) in kept {
        (next..*row).for_each(|_| views.null());
        any_text(&mut views, *raw, blocks);
        next = row + 1;
    }
    (next..rows as u32).for_each(|_| views.null());
    Arc::new(views.finish(blocks))
}

/// The values of one type. Where one does not read it is null, and `odd` hears of it.
fn array(kind: &FieldType, slots: Slots, blocks: &Blocks, odd: &mut dyn FnMut(u32, Raw)) -> ArrayRef {
    match kind {
        FieldType::Text => Arc::new(texts(slots, blocks, text, odd).finish(blocks)),
        FieldType::Ip => Arc::new(texts(slots, blocks, ip, odd).finish(blocks)),
        FieldType::Json => Arc::new(texts(slots, blocks, raw_json, odd).finish(blocks)),
        FieldType::Int => Arc::new(numbers::<Int64Type>(slots, blocks, scalar::int, odd)),
        FieldType::Float => Arc::new(numbers::<Float64Type>(slots, blocks, scalar::float, odd)),
        FieldType::Timestamp => {
            Arc::new(numbers::<TimestampMicrosecondType>(slots, blocks, time::read, odd).with_timezone("UTC"))
        }
        FieldType::Bool => Arc::new(bools(slots, blocks, odd)),
        FieldType::List(of) => Arc::new(lists(of, slots, blocks, odd)),
    }
}

/// Whether a value, not null, reads as a type.
fn reads(kind: &FieldType, raw: Raw, blocks: &Blocks) -> bool {
    match kind {
        FieldType::Text => text(&mut Views::with_capacity(1), raw, blocks),
        FieldType::Ip => ip(&mut Views::with_capacity(1), raw, blocks),
        FieldType::Json => raw_json(&mut Views::with_capacity(1), raw, blocks),
        FieldType::Int => scalar::int(raw, blocks).is_some(),
        FieldType::Float => scalar::float(raw, blocks).is_some(),
        FieldType::Timestamp => time::read(raw, blocks).is_some(),
        FieldType::Bool => scalar::bool(raw, blocks).is_some(),
        FieldType::List(of) => {
            json::elements(raw, blocks).is_some_and(|items| items.iter().all(|item| item.is_null() || reads(of, *item, blocks)))
        }
    }
}

#[inline]
fn numbers<T: ArrowPrimitiveType>(
    slots: Slots,
    blocks: &Blocks,
    read: impl Fn(Raw, &Blocks) -> Option<T::Native>,
    odd: &mut dyn FnMut(u32, Raw),
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(slots.len());
    let mut nulls = NullBufferBuilder::new(slots.len());
    for raw in slots.iter() {
        let value = if raw.is_null() { None } else { read(raw, blocks) };
        match value {
            Some(_) => nulls.append_non_null(),
            None => {
                nulls.append_null();
                if !raw.is_null() {
                    odd(values.len() as u32, raw);
                }
            }
        }
        values.push(value.unwrap_or_default());
    }
    PrimitiveArray::new(values.into(), nulls.finish())
}

fn bools(slots: Slots, blocks: &Blocks, odd: &mut dyn FnMut(u32, Raw)) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(slots.len());
    let mut nulls = NullBufferBuilder::new(slots.len());
    for raw in slots.iter() {
        let value = if raw.is_null() { None } else { scalar::bool(raw, blocks) };
        if value.is_none() && !raw.is_null() {
            odd(values.len() as u32, raw);
        }
        nulls.append(value.is_some());
        values.append(value.unwrap_or_default());
    }
    BooleanArray::new(values.finish(), nulls.finish())
}

/// Text columns: `push` appends a value, or nothing if it does not read.
#[inline]
fn texts(slots: Slots, blocks: &Blocks, push: impl Fn(&mut Views, Raw, &Blocks) -> bool, odd: &mut dyn FnMut(u32, Raw)) -> Views {
    let mut views = Views::with_capacity(slots.len());
    for (row, raw) in slots.iter().enumerate() {
        if raw.is_null() {
            views.null();
        } else if !push(&mut views, raw, blocks) {
            views.null();
            odd(row as u32, raw);
        }
    }
    views
}

#[inline(always)]
fn text(views: &mut Views, raw: Raw, blocks: &Blocks) -> bool {
    match raw.look() {
        Look::Plain | Look::Text => views.value(raw, blocks),
        Look::Escaped => views.copy_with(|out| json::unescape(blocks.bytes(raw), out)),
        _ => return false,
    }
    true
}

/// Any value as text: strings unescaped, the rest as written.
fn any_text(views: &mut Views, raw: Raw, blocks: &Blocks) -> bool {
    if !text(views, raw, blocks) {
        views.value(raw, blocks);
    }
    true
}

#[inline(always)]
fn ip(views: &mut Views, raw: Raw, blocks: &Blocks) -> bool {
    if !matches!(raw.look(), Look::Plain | Look::Text | Look::Escaped) {
        return false;
    }
    if scalar::is_ipv4(blocks.bytes(raw)) {
        views.value(raw, blocks);
        return true;
    }
    unusual_ip(views, raw, blocks)
}

/// IPv6, and what has escapes.
#[cold]
fn unusual_ip(views: &mut Views, raw: Raw, blocks: &Blocks) -> bool {
    let given = scalar::text(raw, blocks);
    if scalar::is_ipv4(given.as_bytes()) {
        views.copy(&given);
        return true;
    }
    let Ok(address) = given.parse::<Ipv6Addr>() else { return false };
    let canonical = address.to_string();
    if canonical.as_bytes() == blocks.bytes(raw) {
        views.value(raw, blocks)
    } else {
        views.copy(&canonical)
    }
    true
}

fn raw_json(views: &mut Views, raw: Raw, blocks: &Blocks) -> bool {
    match raw.look() {
        // The quotes stand beside the range.
        Look::Plain | Look::Escaped => {
            views.value(raw.within(Look::Text, raw.start() - 1, raw.start() + raw.len() + 1), blocks);
        }
        Look::Text if !json::is_value(blocks.bytes(raw)) => return false,
        _ => views.value(raw, blocks),
    }
    true
}

fn lists(of: &FieldType, slots: Slots, blocks: &Blocks, odd: &mut dyn FnMut(u32, Raw)) -> ListArray {
    let mut offsets = vec![0i32];
    let mut nulls = NullBufferBuilder::new(slots.len());
    let mut items: Vec<Raw> = Vec::new();
    for (row, raw) in slots.iter().enumerate() {
        let found = if raw.is_null() { None } else { json::elements(raw, blocks) };
        let found = found.filter(|found| found.iter().all(|item| item.is_null() || reads(of, *item, blocks)));
        if found.is_none() && !raw.is_null() {
            odd(row as u32, raw);
        }
        nulls.append(found.is_some());
        items.extend(found.unwrap_or_default());
        offsets.push(items.len() as i32);
    }
    let values = array(of, Slots { all: &items, stride: 1, slot: 0 }, blocks, &mut |_, _| {});
    let field = Arc::new(Field::new("item", of.arrow(), true));
    ListArray::new(field, OffsetBuffer::new(ScalarBuffer::from(offsets)), values, nulls.finish())
}

/// Why a value is malformed, for people: "`12ms` is no int".
fn reason(types: &[FieldType], raw: Raw, blocks: &Blocks) -> String {
    let (bytes, quote) = match raw.look() {
        Look::Plain | Look::Escaped => (blocks.bytes(raw), "\""),
        _ => (blocks.bytes(raw), ""),
    };
    // Four bytes a character at most, so that a value of megabytes costs nothing.
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_MAX)]);
    let mut shown: String = start.chars().take(SHOWN_MAX).collect();
    if shown.len() < bytes.len() {
        shown.push_str("...");
    }
    let kinds: Vec<String> = types.iter().map(FieldType::to_string).collect();
    let beyond = quote.is_empty() && types == [FieldType::Int] && scalar::is_whole(bytes);
    let hint = if beyond { " of 64 bits" } else { "" };
    format!("`{quote}{shown}{quote}` is no {}{hint}", kinds.join(" or "))
}
