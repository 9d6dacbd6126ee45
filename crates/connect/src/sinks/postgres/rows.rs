//! Rows in COPY's text format: a line each, tabs between columns, `\N` for null.

use crate::sinks::ID;
use crate::sinks::cells::{Cells, Prefix};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use ouzel_core::{Encode, Encoded, Result};

pub struct RowEncoder {
    /// For documents: the keys of their values.
    prefixes: Option<Vec<Prefix>>,
    id: usize,
    cell: Vec<u8>,
}

impl RowEncoder {
    pub fn new(schema: &Schema, as_documents: bool) -> RowEncoder {
        let keys = || schema.fields().iter().enumerate().map(|(i, field)| Prefix::new(i, field.name())).collect();
        RowEncoder { prefixes: as_documents.then(keys), id: schema.index_of(ID).unwrap_or(0), cell: Vec::new() }
    }
}

impl Encode for RowEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded> {
        let columns: Vec<Cells> = rows.columns().iter().map(Cells::new).collect::<Result<_>>()?;
        let mut data = Vec::new();
        for row in 0..rows.num_rows() {
            match &self.prefixes {
                None => {
                    for (i, column) in columns.iter().enumerate() {
                        if i > 0 {
                            data.push(b'\t');
                        }
                        self.cell.clear();
                        column.bare(row, &mut self.cell);
                        put(column.is_null(row), &self.cell, &mut data);
                    }
                }
                Some(prefixes) => {
                    self.cell.clear();
                    columns[self.id].bare(row, &mut self.cell);
                    put(columns[self.id].is_null(row), &self.cell, &mut data);
                    data.push(b'\t');
                    self.cell.clear();
                    for (prefix, column) in prefixes.iter().zip(&columns) {
                        prefix.write(&mut self.cell);
                        column.json(row, &mut self.cell);
                    }
                    self.cell.push(b'}');
                    put(false, &self.cell, &mut data);
                }
            }
            data.push(b'\n');
        }
        Ok(Encoded::Bytes { data, rows: rows.num_rows() })
    }
}

fn put(is_null: bool, cell: &[u8], out: &mut Vec<u8>) {
    if is_null {
        return out.extend_from_slice(b"\\N");
    }
    for &b in cell {
        match b {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b => out.push(b),
        }
    }
}
