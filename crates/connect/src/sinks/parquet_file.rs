//! A Parquet file, made at the end of parts that are whole files each: a commit ends a part, so that a run which goes on
//! from it finds what it wrote.

use super::PassRows;
use super::text_file::{create_parent, sync_parent};
use arrow_schema::SchemaRef;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Encode, Encoded, Error, Kind, Prepared, Result, Sink};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROW_GROUP_ROWS: usize = 1_000_000;
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Row groups are encoded as rows come, so that memory holds one row group at most.
pub struct ParquetFile {
    path: PathBuf,
    schema: SchemaRef,
    /// The part that is being written. Gone for good when a write fails: a Parquet file cannot be cut back to its last whole rows.
    writer: Option<ArrowWriter<File>>,
    parts: Parts,
    /// What the name of the next part ends with: of this process, and its number.
    names: (String, u32),
    broken: bool,
    /// Parts that were there when it was opened, and are of no commit.
    left: Vec<PathBuf>,
    /// Parts of the one that was taken over, which are here under names of our own.
    old: Vec<PathBuf>,
    take_over: bool,
}

/// Parts that are complete, and the rows in them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Parts {
    /// What their names end with. A process has names of its own, so that one that was taken over writes over nobody's parts.
    complete: Vec<String>,
    rows: i64,
}

impl ParquetFile {
    /// `position`: go on behind the parts of an earlier run. `take_over`: that run may not have ended.
    pub fn open(path: PathBuf, schema: SchemaRef, position: Option<&str>, take_over: bool) -> Result<ParquetFile> {
        create_parent(&path)?;
        let mut parts = match position {
            None => Parts::default(),
            Some(position) => serde_json::from_str(position)
                .map_err(|e| Error::new(Kind::Changed, format!("the state of `{}` cannot be read ({e})", path.display())))?,
        };
        let mut names = (format!("{:x}-{:x}", std::process::id(), WallClock.now_us()), 0);
        if position.is_some() {
            parts.find(&path, &mut names)?;
        }
        let left = parts.left(&path);
        Ok(ParquetFile { path, schema, writer: None, parts, names, broken: false, left, old: Vec::new(), take_over })
    }

    fn writer(&mut self) -> Result<ArrowWriter<File>> {
        if let Some(writer) = self.writer.take() {
            return Ok(writer);
        }
        if self.broken {
            return Err(Error::unavailable(format!("`{}` could not be written before", self.path.display())));
        }
        let part = self.part();
        let file = File::create(&part).doing(|| format!("opening `{}` to write", part.display()))?;
        ArrowWriter::try_new(file, self.schema.clone(), Some(properties())).map_err(|e| failed(e, &part))
    }

    /// Ends the part that is being written, if there is one.
    fn end_part(&mut self) -> Result<Option<File>> {
        let Some(mut writer) = self.writer.take() else { return Ok(None) };
        let metadata = writer.finish().map_err(|e| failed(e, &self.part()))?;
        self.parts.rows += metadata.file_metadata().num_rows();
        self.parts.complete.push(next(&mut self.names));
        let file = writer.inner().try_clone().doing(|| format!("syncing a part of `{}`", self.path.display()))?;
        Ok(Some(file))
    }

    /// The part that is being written.
    fn part(&self) -> PathBuf {
        part(&self.path, &format!("{}-{}", self.names.0, self.names.1))
    }

    /// One file of all parts.
    fn join(&self) -> Result<()> {
        let joined = self.part();
        let parts: Vec<PathBuf> = self.parts.complete.iter().map(|name| part(&self.path, name)).collect();
        copy_row_groups(&parts, i64::MAX, &joined)?;
        fs::rename(&joined, &self.path).doing(|| format!("renaming `{}`", joined.display()))
    }
}

/// Copies row groups as they are, one file after the other, as long as they hold no more than so many rows. Gives how many they hold.
fn copy_row_groups(from: &[PathBuf], rows: i64, to: &Path) -> Result<i64> {
    let doing = |path: &Path| format!("copying `{}`", path.display());
    let mut writer: Option<SerializedFileWriter<File>> = None;
    let mut copied = 0;
    for path in from {
        let file = File::open(path).doing(|| doing(path))?;
        let reader = SerializedFileReader::new(file.try_clone().doing(|| doing(path))?).map_err(|e| failed(e, path))?;
        let metadata = reader.metadata();
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let out = File::create(to).doing(|| doing(to))?;
                let about = metadata.file_metadata();
                let properties = properties().into_builder().set_key_value_metadata(about.key_value_metadata().cloned()).build();
                let schema = about.schema_descr().root_schema_ptr();
                writer.insert(SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(|e| failed(e, to))?)
            }
        };
        for group in metadata.row_groups() {
            if copied + group.num_rows() > rows {
                break;
            }
            copied += group.num_rows();
            let mut out = writer.next_row_group().map_err(|e| failed(e, to))?;
            for column in group.columns() {
                let chunk = ColumnCloseResult {
                    bytes_written: column.compressed_size() as u64,
                    rows_written: group.num_rows() as u64,
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                out.append_column(&file, chunk).map_err(|e| failed(e, to))?;
            }
            out.close().map_err(|e| failed(e, to))?;
        }
    }
    if let Some(writer) = writer {
        let file = writer.into_inner().map_err(|e| failed(e, to))?;
        file.sync_all().doing(|| doing(to))?;
    }
    Ok(copied)
}

impl Parts {
    /// Finds the parts, or the file that was made of them.
    fn find(&mut self, path: &Path, names: &mut (String, u32)) -> Result<()> {
        let is_there = |name: &String| part(path, name).is_file();
        if self.complete.iter().all(is_there) {
            return Ok(());
        }
        // It may hold more than was committed: every commit ends a row group.
        let name = next(names);
        let first = part(path, &name);
        let rows = if path.is_file() { copy_row_groups(&[path.to_path_buf()], self.rows, &first)? } else { 0 };
        if rows != self.rows {
            let _ = fs::remove_file(&first);
            let message = format!("`{}` does not hold the {} rows that were committed to it", path.display(), self.rows);
            return Err(Error::new(Kind::Changed, message));
        }
        self.complete = vec![name];
        Ok(())
    }
}

impl Parts {
    /// What runs that were killed left behind.
    fn left(&self, path: &Path) -> Vec<PathBuf> {
        let prefix = part(path, "");
        let Some(folder) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return Vec::new() };
        let is_left = |file: &PathBuf| {
            let name = file.to_str().and_then(|file| file.strip_prefix(prefix.to_str()?));
            name.is_some_and(|name| !self.complete.iter().any(|complete| complete == name))
        };
        folder.flatten().map(|entry| entry.path()).filter(is_left).collect()
    }

    /// The same parts under names of our own: who was taken over may still make a file of them, and remove them.
    fn link(&mut self, path: &Path, names: &mut (String, u32)) -> Result<Vec<PathBuf>> {
        let mut old = Vec::new();
        for name in &mut self.complete {
            let (theirs, ours) = (part(path, name), next(names));
            fs::hard_link(&theirs, part(path, &ours)).doing(|| format!("linking `{}`", theirs.display()))?;
            *name = ours;
            old.push(theirs);
        }
        Ok(old)
    }
}

/// What cannot be removed is in nobody's way.
fn remove(parts: &[PathBuf]) {
    parts.iter().for_each(|part| drop(fs::remove_file(part)));
}

fn part(path: &Path, name: &str) -> PathBuf {
    let mut file = path.to_path_buf().into_os_string();
    file.push(format!(".partial-{name}"));
    PathBuf::from(file)
}

fn next(names: &mut (String, u32)) -> String {
    names.1 += 1;
    format!("{}-{}", names.0, names.1 - 1)
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

impl Sink for ParquetFile {
    fn begin(&mut self) -> Result<()> {
        remove(&self.left);
        // The names before stay until the end: a commit may still be gone back to.
        if self.take_over {
            self.old = self.parts.link(&self.path, &mut self.names)?;
        }
        Ok(())
    }

    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(PassRows))
    }

    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        let Encoded::Rows(rows) = block else { return Err(Error::internal("a Parquet file takes rows")) };
        let mut writer = self.writer()?;
        self.broken = true;
        writer.write(&rows).map_err(|e| failed(e, &self.path))?;
        self.broken = false;
        self.writer = Some(writer);
        Ok(())
    }

    fn prepare(&mut self, _offset: u64) -> Result<Prepared> {
        let file = self.end_part()?;
        let path = self.path.clone();
        let position = serde_json::to_string(&self.parts).map_err(|e| Error::internal(e.to_string()))?;
        let sync = move || {
            if let Some(file) = file {
                file.sync_all().doing(|| format!("syncing a part of `{}`", path.display()))?;
                sync_parent(&path)?;
            }
            Ok(())
        };
        Ok(Prepared { position, sync: Some(Box::new(sync)), publish: None })
    }

    fn close(&mut self) -> Result<()> {
        if self.parts.complete.is_empty() && self.writer.is_none() {
            // A file without rows is a file too.
            self.writer = Some(self.writer()?);
        }
        if let Some(file) = self.end_part()? {
            file.sync_all().doing(|| format!("syncing a part of `{}`", self.path.display()))?;
        }
        // Who was taken over then has nothing to put in place of ours. (What came later is of somebody who has taken over from us.)
        remove(&self.old);
        match self.parts.complete.as_slice() {
            [only] => {
                let only = part(&self.path, only);
                fs::rename(&only, &self.path).doing(|| format!("renaming `{}`", only.display()))?;
            }
            parts => {
                self.join()?;
                // If one stays, it is in nobody's way.
                parts.iter().for_each(|name| drop(fs::remove_file(part(&self.path, name))));
            }
        }
        sync_parent(&self.path)
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

/// The schema was accepted when the writer was made: what fails later is the disk.
fn failed(e: ParquetError, path: &Path) -> Error {
    let message = format!("writing `{}`", path.display());
    match e {
        ParquetError::NYI(_) | ParquetError::ArrowError(_) => Error::internal(message).caused_by(e),
        _ => Error::unavailable(message).caused_by(e),
    }
}
