//! Parquet: columns of simple types, read as text.

use super::{Each, Place, no_column, not_empty};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use ouzel_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) fn read(file: &str, data: Vec<u8>, names: &[&str], each: &mut Each) -> Result<()> {
    let bad = |what: String| Error::config(format!("{file}: expected Parquet: {what}"));
    // A damaged file may make the reader panic.
    let batches = catch_unwind(AssertUnwindSafe(|| batches(data, names))).unwrap_or_else(|_| Err("the file is damaged".into()));
    let mut number = 0;
    for batch in batches.map_err(bad)? {
        let mut columns = Vec::new();
        for name in names {
            let column = batch.column_by_name(name).ok_or_else(|| Error::internal("a projected column"))?;
            let text = arrow_cast::cast(column, &DataType::Utf8View);
            let text = text.map_err(|_| bad(format!("column `{name}` is {}, which is no text or number", column.data_type())))?;
            columns.push(text);
        }
        for row in 0..batch.num_rows() {
            number += 1;
            let cell = |column: &dyn Array| {
                let texts = column.as_string_view();
                texts.is_valid(row).then(|| texts.value(row).to_string()).and_then(|text| not_empty(Cow::Owned(text)))
            };
            let cells: Vec<_> = columns.iter().map(|column| cell(column)).collect();
            let place = Place::Row(number);
            each(place, &cells).map_err(|e| place.error(file, e))?;
        }
    }
    Ok(())
}

fn batches(data: Vec<u8>, names: &[&str]) -> Result<Vec<RecordBatch>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(data)).map_err(|e| e.to_string())?;
    let header: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut roots = Vec::new();
    for name in names {
        roots.push(header.iter().position(|column| column == name).ok_or_else(|| no_column(name, &header))?);
    }
    let mask = ProjectionMask::roots(reader.parquet_schema(), roots);
    let batches = reader.with_projection(mask).build().map_err(|e| e.to_string())?;
    batches.collect::<Result<_, _>>().map_err(|e| e.to_string())
}
