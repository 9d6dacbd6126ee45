//! A Parquet file, under another name until it is complete.

use super::PassRows;
use super::text_file::{create_parent, sync_parent};
use arrow_schema::SchemaRef;
use ouzel_core::error::ResultExt;
use ouzel_core::{Encode, Encoded, Error, Result, Sink};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::path::PathBuf;

const ROW_GROUP_ROWS: usize = 1_000_000;
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Row groups are encoded as rows come, so that memory holds one row group at most.
pub struct ParquetFile {
    /// Until closed, or until a write fails: a Parquet file cannot be cut back to its last whole rows.
    writer: Option<ArrowWriter<File>>,
    path: PathBuf,
    partial: PathBuf,
}

impl ParquetFile {
    pub fn create(path: PathBuf, schema: SchemaRef) -> Result<ParquetFile> {
        create_parent(&path)?;
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let file = File::create(&partial).doing(|| format!("opening `{}` to write", partial.display()))?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| failed(e, &partial, 0))?;
        Ok(ParquetFile { writer: Some(writer), path, partial })
    }

    /// Bytes written so far, of whole row groups.
    pub fn length(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.bytes_written() as u64)
    }

    fn take(&mut self) -> Result<ArrowWriter<File>> {
        self.writer
            .take()
            .ok_or_else(|| Error::unavailable(format!("`{}` is closed, or could not be written before", self.path.display())))
    }
}

impl Sink for ParquetFile {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(PassRows))
    }

    fn write(&mut self, block: Encoded) -> Result<()> {
        let Encoded::Rows(rows) = block else { return Err(Error::internal("a Parquet file takes rows")) };
        let mut writer = self.take()?;
        writer.write(&rows).map_err(|e| failed(e, &self.partial, writer.bytes_written()))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let writer = self.take()?;
        let length = writer.bytes_written();
        let file = writer.into_inner().map_err(|e| failed(e, &self.partial, length))?;
        file.sync_all().doing(|| format!("syncing `{}`", self.partial.display()))?;
        fs::rename(&self.partial, &self.path).doing(|| format!("renaming `{}`", self.partial.display()))?;
        sync_parent(&self.path)
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// The schema was accepted when the writer was made: what fails later is the disk.
fn failed(e: ParquetError, path: &std::path::Path, length: usize) -> Error {
    let message = format!("writing `{}` after {length} bytes", path.display());
    match e {
        ParquetError::NYI(_) | ParquetError::ArrowError(_) => Error::internal(message).caused_by(e),
        _ => Error::unavailable(message).caused_by(e),
    }
}
