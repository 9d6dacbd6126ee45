//! Rows as CSV after RFC 4180. Null is an empty cell, an empty text is `""`; lists and structs are JSON text.

use super::cells::Cells;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use ouzel_core::{Encode, Encoded, Result};

#[derive(Default)]
pub struct CsvEncoder {
    cell: Vec<u8>,
    row_bytes: usize,
}

impl CsvEncoder {
    pub fn new() -> CsvEncoder {
        CsvEncoder::default()
    }

    /// The first line of a file.
    pub fn header(schema: &Schema) -> Vec<u8> {
        let mut line = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            if i > 0 {
                line.push(b',');
            }
            quoted(field.name().as_bytes(), &mut line);
        }
        line.push(b'\n');
        line
    }
}

impl Encode for CsvEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        let columns: Vec<Cells> = rows.columns().iter().map(Cells::new).collect::<Result<_>>()?;
        let count = rows.num_rows();
        let mut data = Vec::with_capacity(count * self.row_bytes);
        for row in 0..count {
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    data.push(b',');
                }
                if column.is_null(row) {
                    continue;
                }
                if column.is_free_text() {
                    self.cell.clear();
                    column.bare(row, &mut self.cell);
                    quoted(&self.cell, &mut data);
                } else {
                    column.bare(row, &mut data);
                }
            }
            data.push(b'\n');
        }
        self.row_bytes = data.len().div_ceil(count.max(1)) * 17 / 16;
        Ok(Encoded::Bytes { data, rows: count })
    }
}

/// Quotes a cell if it must be.
fn quoted(cell: &[u8], out: &mut Vec<u8>) {
    let special = |&b: &u8| matches!(b, b',' | b'"' | b'\n' | b'\r');
    if !cell.is_empty() && !cell.iter().any(special) {
        return out.extend_from_slice(cell);
    }
    out.push(b'"');
    for &b in cell {
        if b == b'"' {
            out.push(b'"');
        }
        out.push(b);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Float64Array, ListArray, StringViewArray};
    use std::sync::Arc;

    #[test]
    fn quotes_only_where_needed() {
        let texts = StringViewArray::from(vec![Some("plain"), Some("a,b"), Some("say \"hi\"\r\n"), Some(""), None]);
        let numbers = Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(f64::NEG_INFINITY), Some(1e16), None]);
        let list = |n: &[i64]| Some(n.iter().map(|n| Some(*n)).collect::<Vec<_>>());
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([list(&[]), list(&[7]), list(&[1, 2]), None, None]);
        let columns: [(&str, ArrayRef); 3] = [("a,b", Arc::new(texts)), ("n", Arc::new(numbers)), ("l", Arc::new(lists))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();

        let mut out = CsvEncoder::header(&rows.schema());
        let Encoded::Bytes { data, rows: 5 } = CsvEncoder::new().encode(&rows).unwrap() else { panic!() };
        out.extend(data);
        let expected = "\"a,b\",n,l\nplain,1.0,[]\n\"a,b\",NaN,[7]\n\"say \"\"hi\"\"\r\n\",-inf,\"[1,2]\"\n\"\",1e16,\n,,\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
