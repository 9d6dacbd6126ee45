//! Rows that are put on disk in the order in which they came, each with its number, so that queries which keep no order can tell which came last.

use super::landing::Arrived;
use super::scratch::Scratch;
use super::target::Target;
use crate::query::DeltaFiles;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_core::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The column of the number, counted from 0.
pub const NUMBER: &str = "__number";
/// Rows of a file.
const FILE_ROWS: u64 = 1 << 20;

/// The rows' files; they go with it.
pub struct Numbered {
    folder: Scratch,
    schema: SchemaRef,
    files: Vec<Arrived>,
    pub rows: u64,
}

impl Numbered {
    /// Writes rows with the types that a table has for them. `beside`: the folder of this machine for what is remembered of the table.
    pub fn write(beside: &Path, target: &Target, rows: impl Iterator<Item = Result<RecordBatch>>) -> Result<Numbered> {
        let number = Arc::new(Field::new(NUMBER, DataType::Int64, false));
        let fields: Vec<_> = target.schema().fields().iter().cloned().chain([number]).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut numbered = Numbered { folder: Scratch::new(beside)?, schema, files: Vec::new(), rows: 0 };
        let names: Vec<String> = target.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut rows = rows.map(|batch| target.cast(batch?.columns(), &names)).peekable();
        while rows.peek().is_some() {
            numbered.write_file(&mut rows)?;
        }
        Ok(numbered)
    }

    fn write_file(&mut self, rows: &mut impl Iterator<Item = Result<Vec<ArrayRef>>>) -> Result<()> {
        let mut file = self.folder.rows(format!("{}.parquet", self.files.len()), self.schema.clone())?;
        while file.rows < FILE_ROWS
            && let Some(columns) = rows.next()
        {
            let columns = columns?;
            let (from, n) = ((self.rows + file.rows) as i64, columns.first().map_or(0, |column| column.len()) as i64);
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + n));
            let columns = columns.into_iter().chain([number]).collect();
            let batch = RecordBatch::try_new(self.schema.clone(), columns);
            file.write(&batch.map_err(|e| Error::internal("numbering rows").caused_by(e))?)?;
        }
        self.rows += file.rows;
        self.files.push(file.finish()?);
        Ok(())
    }

    /// As a table, with the number as its last column.
    pub fn table(&self) -> DeltaFiles {
        self.folder.table(NUMBER, self.schema.clone(), &self.files)
    }
}
