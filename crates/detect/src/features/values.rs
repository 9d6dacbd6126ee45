//! Columns as measures and keys want them.

use super::measure::Values;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray};
use arrow_buffer::{BooleanBuffer, ScalarBuffer};
use arrow_schema::DataType;
use ouzel_core::Error;
use xxhash_rust::xxh3::xxh3_128;

/// The form in which a measure takes its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    None,
    /// Integers; booleans as 0 and 1, times as microseconds.
    Int,
    Float,
    Id,
    Text,
}

/// [`Values`] that own their buffers.
pub enum OwnedValues {
    None,
    Int(ScalarBuffer<i64>),
    Float(ScalarBuffer<f64>),
    Id(Vec<u128>),
    Text(StringViewArray),
}

impl OwnedValues {
    /// Values and which of them count (`None`: all): nulls do not, nor do NaN and infinities.
    pub fn of(array: &ArrayRef, kind: ValueKind) -> Result<(OwnedValues, Option<BooleanBuffer>), Error> {
        let valid = array.logical_nulls().map(|n| n.inner().clone());
        Ok(match kind {
            ValueKind::None => (OwnedValues::None, valid),
            ValueKind::Int => (OwnedValues::Int(ints(array)?), valid),
            ValueKind::Float => {
                let floats = arrow_cast::cast(array, &DataType::Float64).map_err(|e| Error::internal(e.to_string()))?;
                let values = floats.as_primitive::<Float64Type>().values().clone();
                if values.iter().all(|x| x.is_finite()) {
                    return Ok((OwnedValues::Float(values), valid));
                }
                let numbers: BooleanBuffer = values.iter().map(|x| x.is_finite()).collect();
                (OwnedValues::Float(values), Some(valid.map_or(numbers.clone(), |v| &v & &numbers)))
            }
            ValueKind::Id => (OwnedValues::Id(ids(array)?), valid),
            ValueKind::Text => {
                let text = array.as_string_view_opt().ok_or_else(|| Error::internal("a text argument is no text"))?;
                (OwnedValues::Text(text.clone()), valid)
            }
        })
    }

    pub fn as_values(&self) -> Values<'_> {
        match self {
            OwnedValues::None => Values::None,
            OwnedValues::Int(v) => Values::Int(v),
            OwnedValues::Float(v) => Values::Float(v),
            OwnedValues::Id(v) => Values::Id(v),
            OwnedValues::Text(v) => Values::Text(v),
        }
    }

    pub fn filter(self, keep: &BooleanArray) -> Result<OwnedValues, Error> {
        let filter = |array: ArrayRef| arrow_select::filter::filter(&array, keep).map_err(|e| Error::internal(e.to_string()));
        Ok(match self {
            OwnedValues::None => OwnedValues::None,
            OwnedValues::Int(v) => {
                let array = filter(std::sync::Arc::new(Int64Array::new(v, None)))?;
                OwnedValues::Int(array.as_primitive::<Int64Type>().values().clone())
            }
            OwnedValues::Float(v) => {
                let array = filter(std::sync::Arc::new(Float64Array::new(v, None)))?;
                OwnedValues::Float(array.as_primitive::<Float64Type>().values().clone())
            }
            OwnedValues::Id(v) => {
                OwnedValues::Id(v.into_iter().enumerate().filter(|(i, _)| keep.value(*i)).map(|(_, id)| id).collect())
            }
            OwnedValues::Text(v) => OwnedValues::Text(filter(std::sync::Arc::new(v))?.as_string_view().clone()),
        })
    }
}

fn ints(array: &ArrayRef) -> Result<ScalarBuffer<i64>, Error> {
    match array.data_type() {
        DataType::Int64 => Ok(array.as_primitive::<Int64Type>().values().clone()),
        DataType::Timestamp(..) => Ok(array.as_primitive::<TimestampMicrosecondType>().values().clone()),
        _ => {
            let ints = arrow_cast::cast(array, &DataType::Int64).map_err(|e| Error::internal(e.to_string()))?;
            Ok(ints.as_primitive::<Int64Type>().values().clone())
        }
    }
}

/// Identities of values: equal values have equal ones, and two that differ share one less often than memory fails.
pub fn ids(array: &ArrayRef) -> Result<Vec<u128>, Error> {
    let column = KeyColumn::new(array);
    let mut bytes = Vec::new();
    Ok((0..array.len())
        .map(|row| match &column {
            KeyColumn::Text(text) => xxh3_128(text.value(row).as_bytes()),
            column => {
                bytes.clear();
                column.append(row, false, &mut bytes);
                xxh3_128(&bytes)
            }
        })
        .collect())
}

/// A column as part of a key.
pub enum KeyColumn<'a> {
    Text(&'a StringViewArray),
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
    Time(&'a arrow_array::TimestampMicrosecondArray),
    /// Any other type, as text.
    Other(ArrayRef),
}

impl<'a> KeyColumn<'a> {
    pub fn new(array: &'a ArrayRef) -> KeyColumn<'a> {
        match array.data_type() {
            DataType::Utf8View => KeyColumn::Text(array.as_string_view()),
            DataType::Int64 => KeyColumn::Int(array.as_primitive()),
            DataType::Float64 => KeyColumn::Float(array.as_primitive()),
            DataType::Boolean => KeyColumn::Bool(array.as_boolean()),
            DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, _) => KeyColumn::Time(array.as_primitive()),
            _ => KeyColumn::Other(
                arrow_cast::cast(array, &DataType::Utf8View)
                    .unwrap_or_else(|_| arrow_array::new_null_array(&DataType::Utf8View, array.len())),
            ),
        }
    }

    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            KeyColumn::Text(a) => a.is_null(row),
            KeyColumn::Int(a) => a.is_null(row),
            KeyColumn::Float(a) => a.is_null(row),
            KeyColumn::Bool(a) => a.is_null(row),
            KeyColumn::Time(a) => a.is_null(row),
            KeyColumn::Other(a) => a.is_null(row),
        }
    }

    /// Appends the value's bytes. `delimited`: more follows, so a text carries its length.
    #[inline]
    pub fn append(&self, row: usize, delimited: bool, out: &mut Vec<u8>) {
        let mut text = |text: &str| {
            if delimited {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            }
            out.extend_from_slice(text.as_bytes());
        };
        match self {
            KeyColumn::Text(a) => text(a.value(row)),
            KeyColumn::Other(a) => text(a.as_string_view().value(row)),
            KeyColumn::Int(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
            KeyColumn::Time(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
            // -0.0 equals 0.0.
            KeyColumn::Float(a) => out.extend_from_slice(&(a.value(row) + 0.0).to_bits().to_le_bytes()),
            KeyColumn::Bool(a) => out.push(a.value(row) as u8),
        }
    }
}
