//! Rows that are put on disk in the order in which they came, each with its number, so that queries which keep no order can tell which came last.

use super::landing::Arrived;
use super::target::Target;
use crate::location::{LEFT_FOR, Location, age, unique};
use crate::query::DeltaFiles;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The column of the number, counted from 0.
pub const NUMBER: &str = "__number";
/// Rows of a file.
const FILE_ROWS: i64 = 1 << 20;

/// The rows' files; they go with it.
pub struct Numbered {
    folder: PathBuf,
    schema: SchemaRef,
    files: Vec<Arrived>,
    pub rows: u64,
}

impl Numbered {
    /// Writes rows with the types that a table has for them. `beside`: the folder of this machine for what is remembered of the table.
    pub fn write(beside: &Path, target: &Target, rows: impl Iterator<Item = Result<RecordBatch>>) -> Result<Numbered> {
        sweep(beside);
        let folder = beside.join(format!("{FOLDER}{}", unique()));
        let made = fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
        let folder = made.doing(|| format!("making the folder `{}`", folder.display()))?;
        let number = Arc::new(Field::new(NUMBER, DataType::Int64, false));
        let fields: Vec<_> = target.schema().fields().iter().cloned().chain([number]).collect();
        let mut numbered = Numbered { folder, schema: Arc::new(Schema::new(fields)), files: Vec::new(), rows: 0 };
        let names: Vec<String> = target.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut rows = rows.map(|batch| target.cast(batch?.columns(), &names)).peekable();
        while rows.peek().is_some() {
            numbered.write_file(&mut rows)?;
        }
        Ok(numbered)
    }

    fn write_file(&mut self, rows: &mut impl Iterator<Item = Result<Vec<ArrayRef>>>) -> Result<()> {
        let name = format!("{}.parquet", self.files.len());
        let path = self.folder.join(&name);
        let doing = || format!("writing `{}`", path.display());
        let failed = |e: parquet::errors::ParquetError| Error::unavailable(doing()).caused_by(e);
        let file = File::create(&path).doing(doing)?;
        let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
        let mut writer = ArrowWriter::try_new(file, self.schema.clone(), Some(properties)).map_err(failed)?;
        let mut written = 0;
        while written < FILE_ROWS
            && let Some(columns) = rows.next()
        {
            let columns = columns?;
            let (from, n) = (self.rows as i64, columns.first().map_or(0, |column| column.len()) as i64);
            let number: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + n));
            let columns = columns.into_iter().chain([number]).collect();
            let batch = RecordBatch::try_new(self.schema.clone(), columns);
            writer.write(&batch.map_err(|e| Error::internal("numbering rows").caused_by(e))?).map_err(failed)?;
            self.rows += n as u64;
            written += n;
        }
        writer.close().map_err(failed)?;
        let bytes = fs::metadata(&path).doing(doing)?.len();
        self.files.push(Arrived { path: name, bytes, modified: 0 });
        Ok(())
    }

    /// As a table, with the number as its last column.
    pub fn table(&self) -> DeltaFiles {
        DeltaFiles::of_folder(&Location::Folder(self.folder.clone()), NUMBER, self.schema.clone(), &self.files)
    }
}

/// Of the names of folders.
const FOLDER: &str = "numbered-";

fn sweep(beside: &Path) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(FOLDER) && age(&entry).is_some_and(|age| age > LEFT_FOR) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
