//! Statistics of a data file, as the log carries them: with them readers skip files without opening them.

use arrow_array::{Date32Array, TimestampMicrosecondArray};
use arrow_cast::display::array_value_to_string;
use parquet::basic::LogicalType;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// Delta's own default: the statistics of wide tables would make the log larger than it is worth.
const COLUMNS_MAX: usize = 32;
/// Longer bounds say little more. (Parquet cuts them to 64 bytes, rounding the upper one up.)
const TEXT_BYTES_MAX: usize = 256;

/// `{"numRecords": n, "minValues": {...}, "maxValues": {...}, "nullCount": {...}}` of the first 32 plain columns.
/// Bounds hold for all values; a column without bounds is one that readers cannot skip by.
pub fn of(metadata: &ParquetMetaData) -> String {
    let (mut min_values, mut max_values, mut null_count) = (Map::new(), Map::new(), Map::new());
    let plain = |(_, column): &(usize, &ColumnDescriptor)| column.path().parts().len() == 1;
    let columns = metadata.file_metadata().schema_descr();
    let columns = columns.columns().iter().map(AsRef::as_ref).enumerate().filter(plain).take(COLUMNS_MAX);
    for (position, column) in columns {
        let groups: Option<Vec<&Statistics>> =
            metadata.row_groups().iter().map(|group| group.column(position).statistics()).collect();
        let Some(groups) = groups else { continue };
        let nulls: Option<u64> = groups.iter().map(|group| group.null_count_opt()).sum();
        let name = column.name().to_string();
        if let Some(nulls) = nulls {
            null_count.insert(name.clone(), json!(nulls));
        }
        if let Some((min, max)) = bounds(column, &groups, metadata) {
            min_values.insert(name.clone(), min);
            max_values.insert(name, max);
        }
    }
    let rows = metadata.file_metadata().num_rows();
    json!({ "numRecords": rows, "minValues": min_values, "maxValues": max_values, "nullCount": null_count }).to_string()
}

/// `None` if any row group with values has no bounds, or they cannot be written as JSON.
fn bounds(column: &ColumnDescriptor, groups: &[&Statistics], metadata: &ParquetMetaData) -> Option<(Value, Value)> {
    let mut all: Option<(Bound, Bound)> = None;
    for (group, rows) in groups.iter().zip(metadata.row_groups().iter().map(|group| group.num_rows())) {
        if group.null_count_opt() == Some(rows as u64) {
            continue;
        }
        let (min, max) = Bound::both(group)?;
        all = Some(match all {
            None => (min, max),
            Some((low, high)) => (low.lesser(min)?, high.greater(max)?),
        });
    }
    let (min, max) = all?;
    Some((min.json(column)?, max.json(column)?))
}

#[derive(PartialEq, PartialOrd)]
enum Bound {
    Int(i64),
    Float(f64),
    Text(Vec<u8>),
}

impl Bound {
    fn both(of: &Statistics) -> Option<(Bound, Bound)> {
        Some(match of {
            Statistics::Int32(s) => (Bound::Int((*s.min_opt()?).into()), Bound::Int((*s.max_opt()?).into())),
            Statistics::Int64(s) => (Bound::Int(*s.min_opt()?), Bound::Int(*s.max_opt()?)),
            Statistics::Float(s) => (Bound::Float((*s.min_opt()?).into()), Bound::Float((*s.max_opt()?).into())),
            Statistics::Double(s) => (Bound::Float(*s.min_opt()?), Bound::Float(*s.max_opt()?)),
            Statistics::ByteArray(s) => (Bound::Text(s.min_opt()?.data().to_vec()), Bound::Text(s.max_opt()?.data().to_vec())),
            _ => return None,
        })
    }

    fn lesser(self, other: Bound) -> Option<Bound> {
        Some(if self.partial_cmp(&other)? == Ordering::Greater { other } else { self })
    }
    fn greater(self, other: Bound) -> Option<Bound> {
        Some(if self.partial_cmp(&other)? == Ordering::Less { other } else { self })
    }

    fn json(self, column: &ColumnDescriptor) -> Option<Value> {
        match (self, column.logical_type_ref()) {
            (_, Some(LogicalType::Decimal { .. })) => None,
            (Bound::Int(days), Some(LogicalType::Date)) => {
                array_value_to_string(&Date32Array::from(vec![i32::try_from(days).ok()?]), 0).ok().map(Value::from)
            }
            (Bound::Int(us), Some(LogicalType::Timestamp { .. })) => {
                let instant = TimestampMicrosecondArray::from(vec![us]).with_timezone("+00:00");
                array_value_to_string(&instant, 0).ok().map(Value::from)
            }
            (Bound::Int(n), _) => Some(json!(n)),
            (Bound::Float(n), _) => n.is_finite().then(|| json!(n)),
            (Bound::Text(bytes), Some(LogicalType::String)) if bytes.len() <= TEXT_BYTES_MAX => {
                String::from_utf8(bytes).ok().map(Value::from)
            }
            (Bound::Text(_), _) => None,
        }
    }
}
