//! Deals rows out to partitions, and names the partitions' folders.

use super::columns::Columns;
use arrow_array::{Array, RecordBatch, StringArray, UInt32Array, cast::AsArray};
use arrow_schema::{ArrowError, DataType};
use ouzel_core::{Error, Result};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Values of the partition columns, as Delta writes them.
pub type Partition = Vec<Option<String>>;

/// The rows of each partition, in their order, without the partition columns.
pub fn split(rows: &RecordBatch, columns: &Columns) -> Result<Vec<(Partition, RecordBatch)>> {
    let bad = |e: ArrowError| Error::internal("splitting rows into partitions").caused_by(e);
    let stored = rows.project(&columns.stored).map_err(bad)?;
    let keys = columns.partitions.iter().map(|&i| arrow_cast::cast(rows.column(i), &DataType::Utf8));
    let keys =
        keys.map(|key| key.map(|key| key.as_string::<i32>().clone())).collect::<Result<Vec<StringArray>, _>>().map_err(bad)?;
    let value = |row: usize| {
        keys.iter()
            .map(|key| (!key.is_null(row) && !key.value(row).is_empty()).then(|| key.value(row).to_string()))
            .collect::<Partition>()
    };

    let same = |a: usize, b: usize| {
        keys.iter().all(|key| key.is_null(a) == key.is_null(b) && (key.is_null(a) || key.value(a) == key.value(b)))
    };
    let Some(change) = (1..rows.num_rows()).find(|&row| !same(row, 0)) else {
        return Ok(vec![(value(0), stored)]);
    };
    let mut found: HashMap<Partition, usize> = HashMap::from([(value(0), 0)]);
    let mut dealt: Vec<Vec<u32>> = vec![(0..change as u32).collect()];
    let mut current = 0;
    for row in change..rows.num_rows() {
        if !same(row, row - 1) {
            current = *found.entry(value(row)).or_insert(dealt.len());
            if current == dealt.len() {
                dealt.push(Vec::new());
            }
        }
        dealt[current].push(row as u32);
    }
    let mut parts = found.into_iter().collect::<Vec<_>>();
    parts.sort_by_key(|(_, position)| *position);
    let take = |(partition, position): (Partition, usize)| {
        let indices = UInt32Array::from(std::mem::take(&mut dealt[position]));
        Ok((partition, arrow_select::take::take_record_batch(&stored, &indices)?))
    };
    parts.into_iter().map(take).collect::<Result<_, ArrowError>>().map_err(bad)
}

const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// Of one value, escaped. File systems end at 255; the folder's name is for people, the log has the value.
const VALUE_BYTES_MAX: usize = 120;

/// `day=2026-11-24/country=DE`, empty without partitions. Characters that mean something in paths or URLs are escaped.
pub fn folder(names: &[&str], partition: &Partition) -> String {
    let mut path = String::new();
    for (name, value) in names.iter().zip(partition) {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&escaped(name));
        path.push('=');
        match value {
            None => path.push_str(NULL_FOLDER),
            Some(value) => path.push_str(&escaped(value)),
        }
    }
    path
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        if out.len() > VALUE_BYTES_MAX {
            let mut hash = DefaultHasher::new();
            text.hash(&mut hash);
            return format!("{out}-{:016x}", hash.finish());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Date32Array, Int64Array, StringViewArray};
    use std::sync::Arc;

    #[test]
    fn rows_keep_their_order_in_each_partition() {
        let day: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), Some(0), Some(1), None, Some(0), Some(1)]));
        let country: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("DE"), Some("DE"), Some("DE"), Some(""), Some("DE"), Some("DE")]));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
        let rows = RecordBatch::try_from_iter([("n", n), ("country", country), ("day", day)]).unwrap();
        let columns = Columns::new(&rows.schema(), &["day".into(), "country".into()]).unwrap();
        let parts = split(&rows, &columns).unwrap();
        let parts: Vec<(String, Vec<i64>)> = parts
            .iter()
            .map(|(p, rows)| {
                (
                    folder(&columns.partition_names(), p),
                    rows.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec(),
                )
            })
            .collect();
        assert_eq!(
            parts,
            [
                ("day=1970-01-01/country=DE".to_string(), vec![0, 1, 4]),
                ("day=1970-01-02/country=DE".to_string(), vec![2, 5]),
                (format!("day={NULL_FOLDER}/country={NULL_FOLDER}"), vec![3]),
            ]
        );
    }

    #[test]
    fn folders_are_safe_names() {
        assert_eq!(folder(&["a"], &vec![Some("../x y%é".into())]), "a=..%2Fx%20y%25%C3%A9");
        assert!(folder(&["a"], &vec![Some("/".repeat(10_000))]).len() < 160);
        assert_eq!(folder(&[], &vec![]), "");
    }
}
