//! Rows as NDJSON: one JSON object per line, keys in column order.

use super::cells::{Cells, Prefix};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use ouzel_core::{Encode, Encoded, Error, Result};
use serde_json::{Map, Value};

/// Writes nulls as `null`, timestamps as RFC 3339 with microseconds, finite numbers in the shortest form that reads
/// back as the same number (`1.0`, `0.1`, `1e16`), others as `null`.
pub struct NdjsonEncoder {
    prefixes: Vec<Prefix>,
    row_bytes: usize,
}

impl NdjsonEncoder {
    pub fn new(schema: &Schema) -> NdjsonEncoder {
        let prefixes = schema.fields().iter().enumerate().map(|(i, field)| Prefix::new(i, field.name())).collect();
        NdjsonEncoder { prefixes, row_bytes: 0 }
    }
}

/// Rows as JSON objects, for who looks at a few of them.
pub fn objects(rows: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let Encoded::Bytes { data, .. } = NdjsonEncoder::new(&rows.schema()).encode(rows)? else {
        return Err(Error::internal("rows of JSON are bytes"));
    };
    let lines = data.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|e| Error::internal(e.to_string()))).collect()
}

impl Encode for NdjsonEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        let columns: Vec<Cells> = rows.columns().iter().map(Cells::new).collect::<Result<_>>()?;
        let columns: Vec<(&Prefix, &Cells)> = self.prefixes.iter().zip(&columns).collect();
        let count = rows.num_rows();
        let mut data = Vec::with_capacity(count * self.row_bytes);
        for row in 0..count {
            if columns.is_empty() {
                data.push(b'{');
            }
            for (prefix, column) in &columns {
                prefix.write(&mut data);
                column.json(row, &mut data);
            }
            data.extend_from_slice(b"}\n");
        }
        // The next batch is likely to have rows of this size, and a little more.
        self.row_bytes = data.len().div_ceil(count.max(1)) * 17 / 16;
        Ok(Encoded::Bytes { data, rows: count })
    }
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
