//! Columns as text, cell by cell: the type is looked at once per batch, not once per cell.

use super::scalars::{date, float, integer, json_text, padded, timestamp};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, StringArray, StringViewArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use ouzel_core::{Error, Result};

/// One column, ready to be written.
pub(super) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    Int64(ScalarBuffer<i64>),
    Int32(ScalarBuffer<i32>),
    UInt64(ScalarBuffer<u64>),
    Float64(ScalarBuffer<f64>),
    Float32(ScalarBuffer<f32>),
    Decimal(PrimitiveArray<Decimal128Type>),
    /// Microseconds; `true` if they are UTC (any zone: the instant is UTC), `false` for wall-clock times without zone.
    Timestamp(ScalarBuffer<i64>, bool),
    Date(ScalarBuffer<i32>),
    View(StringViewArray),
    Text(StringArray),
    LargeText(LargeStringArray),
    List(OffsetBuffer<i32>, Box<Cells>),
    /// Each field with `{"name":` or `,"name":` before it.
    Struct(Vec<(Prefix, Cells)>),
}

impl Cells {
    pub(super) fn new(array: &ArrayRef) -> Result<Cells> {
        let bad = |e: ArrowError| {
            Error::internal(format!("cannot write a column of type `{}` as text", array.data_type())).caused_by(e)
        };
        let cast = |to: DataType| Cells::new(&arrow_cast::cast(array, &to).map_err(bad)?);
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values().clone()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values().clone()),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => return cast(DataType::Int32),
            DataType::UInt32 => return cast(DataType::Int64),
            DataType::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values().clone()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values().clone()),
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values().clone()),
            DataType::Float16 => return cast(DataType::Float32),
            DataType::Decimal128(..) => Values::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values().clone(), zone.is_some())
            }
            DataType::Timestamp(_, zone) => return cast(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values().clone()),
            DataType::Utf8View => Values::View(array.as_string_view().clone()),
            DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Values::LargeText(array.as_string::<i64>().clone()),
            DataType::Dictionary(_, of) => return cast(of.as_ref().clone()),
            DataType::LargeList(of) | DataType::FixedSizeList(of, _) => return cast(DataType::List(of.clone())),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list.offsets().clone(), Box::new(Cells::new(list.values())?))
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let named = fields.iter().zip(columns).enumerate();
                Values::Struct(named.map(|(i, (f, c))| Ok((Prefix::new(i, f.name()), Cells::new(c)?))).collect::<Result<_>>()?)
            }
            _ => Values::Text(formatted(array).map_err(bad)?),
        };
        Ok(Cells { nulls: array.nulls().cloned(), values })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// As a JSON value. NaN and the infinities, which JSON does not have, become null.
    #[inline]
    pub(super) fn json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::View(texts) => json_text(texts.value(row), out),
            Values::Text(texts) => json_text(texts.value(row), out),
            Values::LargeText(texts) => json_text(texts.value(row), out),
            Values::Float64(n) if !n[row].is_finite() => out.extend_from_slice(b"null"),
            Values::Float32(n) if !n[row].is_finite() => out.extend_from_slice(b"null"),
            Values::Timestamp(..) | Values::Date(_) => {
                out.push(b'"');
                self.bare(row, out);
                out.push(b'"');
            }
            _ => self.bare(row, out),
        }
    }

    /// As text without quotes or escapes. Lists and structs are JSON.
    #[inline]
    pub(super) fn bare(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &self.values {
            Values::Null => {}
            Values::Boolean(b) => out.extend_from_slice(if b.value(row) { b"true" } else { b"false" }),
            Values::Int64(n) => integer(n[row], out),
            Values::Int32(n) => integer(n[row].into(), out),
            Values::UInt64(n) => out.extend_from_slice(itoa::Buffer::new().format(n[row]).as_bytes()),
            Values::Float64(n) => float(n[row], out),
            Values::Float32(n) => out.extend_from_slice(ryu::Buffer::new().format(n[row]).as_bytes()),
            Values::Decimal(n) => out.extend_from_slice(n.value_as_string(row).as_bytes()),
            Values::Timestamp(us, utc) => timestamp(us[row], *utc, out),
            Values::Date(days) => date(i64::from(days[row]), out),
            Values::View(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::Text(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::LargeText(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::List(offsets, items) => {
                out.push(b'[');
                for item in offsets[row] as usize..offsets[row + 1] as usize {
                    if item > offsets[row] as usize {
                        out.push(b',');
                    }
                    items.json(item, out);
                }
                out.push(b']');
            }
            Values::Struct(fields) if fields.is_empty() => out.extend_from_slice(b"{}"),
            Values::Struct(fields) => {
                for (prefix, field) in fields {
                    prefix.write(out);
                    field.json(row, out);
                }
                out.push(b'}');
            }
        }
    }

    /// Whether [`Cells::bare`] may hold any character at all.
    pub(super) fn is_free_text(&self) -> bool {
        matches!(self.values, Values::View(_) | Values::Text(_) | Values::LargeText(_) | Values::List(..) | Values::Struct(_))
    }

    pub(super) fn is_number(&self) -> bool {
        use Values::*;
        matches!(self.values, Int64(_) | Int32(_) | UInt64(_) | Float64(_) | Float32(_) | Decimal(_))
    }
}

/// `{"name":` for the first field, `,"name":` for the others.
pub(super) struct Prefix {
    text: Vec<u8>,
    /// The same, filled up.
    short: [u8; PREFIX_BYTES],
}

const PREFIX_BYTES: usize = 32;

impl Prefix {
    pub(super) fn new(position: usize, name: &str) -> Prefix {
        let mut text = vec![if position == 0 { b'{' } else { b',' }];
        json_text(name, &mut text);
        text.push(b':');
        let mut short = [0; PREFIX_BYTES];
        let shown = text.len().min(PREFIX_BYTES);
        short[..shown].copy_from_slice(&text[..shown]);
        Prefix { text, short }
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match PREFIX_BYTES.checked_sub(self.text.len()) {
            Some(unused) => padded(&self.short, unused, out),
            None => out.extend_from_slice(&self.text),
        }
    }
}

fn formatted(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let texts =
        (0..array.len()).map(|row| if array.is_null(row) { Ok(None) } else { formatter.value(row).try_to_string().map(Some) });
    texts.collect()
}
