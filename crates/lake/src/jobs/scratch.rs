//! Files of a run's own, on this machine: rows on their way, in the order in which they came. They go with it; what a killed run has left goes after a day.

use super::landing::Arrived;
use crate::location::{LEFT_FOR, Location, age, unique};
use crate::query::DeltaFiles;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A folder of such files.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

/// Of the names of folders.
const FOLDER: &str = "scratch-";

impl Scratch {
    /// `beside`: the folder of this machine for what is remembered of a table.
    pub fn new(beside: &Path) -> Result<Scratch> {
        sweep(beside);
        let folder = beside.join(format!("{FOLDER}{}", unique()));
        let made = fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
        Ok(Scratch { folder: made.doing(|| format!("making the folder `{}`", folder.display()))? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Begins a file of rows.
    pub fn rows(&self, name: String, schema: SchemaRef) -> Result<Rows> {
        let path = self.path(&name);
        let doing = || format!("writing `{}`", path.display());
        let file = File::create(&path).doing(doing)?;
        let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| Error::internal(doing()).caused_by(e))?;
        Ok(Rows { name, path, writer, rows: 0 })
    }

    /// Files of rows with these columns, as a table.
    pub fn table(&self, name: &str, schema: SchemaRef, files: &[Arrived]) -> DeltaFiles {
        DeltaFiles::of_folder(&Location::Folder(self.folder.clone()), name, schema, &[], files)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn sweep(beside: &Path) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(FOLDER) && age(&entry).is_some_and(|age| age > LEFT_FOR) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A file of rows that is being written.
pub struct Rows {
    name: String,
    path: PathBuf,
    writer: ArrowWriter<File>,
    pub rows: u64,
}

impl Rows {
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(failed(&self.path))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Bytes that it keeps in memory, about.
    pub fn memory(&self) -> usize {
        self.writer.memory_size()
    }

    pub fn finish(self) -> Result<Arrived> {
        self.writer.close().map_err(failed(&self.path))?;
        let bytes = fs::metadata(&self.path).doing(|| format!("writing `{}`", self.path.display()))?.len();
        Ok(Arrived { path: self.name, bytes, modified: 0 })
    }

    /// Nothing is to become of it.
    pub fn discard(self) {
        drop(self.writer);
        let _ = fs::remove_file(&self.path);
    }
}

fn failed(path: &Path) -> impl Fn(ParquetError) -> Error {
    move |e| Error::unavailable(format!("writing `{}`", path.display())).caused_by(e)
}
