//! Deals rows out to partitions, and names the partitions' folders.

use super::columns::Columns;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, cast::AsArray};
use arrow_row::{RowConverter, SortField};
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
    let keys: Vec<ArrayRef> = columns.partitions.iter().map(|&i| rows.column(i).clone()).collect();
    if keys.is_empty() {
        return Ok(vec![(Vec::new(), stored)]);
    }
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let encoded = RowConverter::new(fields).and_then(|converter| converter.convert_columns(&keys)).map_err(bad)?;
    let mut found: HashMap<&[u8], usize> = HashMap::new();
    let mut dealt: Vec<Vec<u32>> = Vec::new();
    let mut before: (&[u8], usize) = (&[], 0);
    for row in 0..encoded.num_rows() {
        let key = encoded.row(row).data();
        if row == 0 || key != before.0 {
            before = (key, *found.entry(key).or_insert(dealt.len()));
            if before.1 == dealt.len() {
                dealt.push(Vec::new());
            }
        }
        dealt[before.1].push(row as u32);
    }
    // A value is written out once for each partition. Null and the empty text are one.
    let value = |row: u32| -> Result<Partition, ArrowError> {
        let text = |key: &ArrayRef| {
            let text = arrow_cast::cast(&key.slice(row as usize, 1), &DataType::Utf8)?;
            let text = text.as_string::<i32>();
            Ok((text.is_valid(0) && !text.value(0).is_empty()).then(|| text.value(0).to_string()))
        };
        keys.iter().map(text).collect()
    };
    let mut parts: Vec<(Partition, Vec<u32>)> = Vec::with_capacity(dealt.len());
    let mut with_null: HashMap<Partition, usize> = HashMap::new();
    for rows in dealt {
        let partition = value(rows[0]).map_err(bad)?;
        if partition.contains(&None) {
            let at = *with_null.entry(partition.clone()).or_insert(parts.len());
            if let Some((_, twin)) = parts.get_mut(at) {
                twin.extend(rows);
                continue;
            }
        }
        parts.push((partition, rows));
    }
    if parts.len() == 1 {
        return Ok(parts.into_iter().map(|(partition, _)| (partition, stored.clone())).collect());
    }
    let take = |(partition, mut rows): (Partition, Vec<u32>)| {
        rows.sort_unstable();
        Ok((partition, arrow_select::take::take_record_batch(&stored, &UInt32Array::from(rows))?))
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

    /// Null and the empty text are one partition, wherever they come.
    #[test]
    fn null_and_the_empty_text_are_one() {
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
        let of = |texts: Vec<Option<&str>>| {
            let texts: ArrayRef = Arc::new(StringViewArray::from(texts));
            let rows = RecordBatch::try_from_iter([("n", n.slice(0, texts.len())), ("c", texts)]).unwrap();
            let columns = Columns::new(&rows.schema(), &["c".into()]).unwrap();
            let parts = split(&rows, &columns).unwrap();
            let numbers = |rows: RecordBatch| rows.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec();
            parts.into_iter().map(|(partition, rows)| (partition[0].clone(), numbers(rows))).collect::<Vec<_>>()
        };
        let found = of(vec![Some(""), Some("a"), None, Some("a"), Some(""), None]);
        assert_eq!(found, [(None, vec![0, 2, 4, 5]), (Some("a".to_string()), vec![1, 3])]);
        assert_eq!(of(vec![None, Some("")]), [(None, vec![0, 1])]);
        assert_eq!(of(vec![]), []);
    }

    #[test]
    fn folders_are_safe_names() {
        assert_eq!(folder(&["a"], &vec![Some("../x y%é".into())]), "a=..%2Fx%20y%25%C3%A9");
        assert!(folder(&["a"], &vec![Some("/".repeat(10_000))]).len() < 160);
        assert_eq!(folder(&[], &vec![]), "");
    }
}
