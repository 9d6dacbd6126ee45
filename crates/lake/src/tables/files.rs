//! The Parquet files of the next commit: one per partition while rows come, named by nobody before the commit.

use super::columns::Columns;
use super::partitions::{Partition, folder, split};
use super::stats;
use crate::location::{Location, sync_folder, unique};
use crate::query::{Summed, suffix};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use deltalake_core::kernel::Add;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Encoded rows in memory if nothing is said, all files together; past it they go to disk as row groups.
const BUFFERED_BYTES_MAX: usize = 256 << 20;
/// Files open at once; rows of further partitions wait in memory, and each gets its file when there is no more room, or at the end.
const OPEN_MAX: usize = 128;
/// The end of the name of a file that is not complete.
pub const PART: &str = ".part";
const ROW_GROUP_ROWS: usize = 1_000_000;

pub struct Files {
    table: Location,
    /// Where they are written.
    root: PathBuf,
    columns: Arc<Columns>,
    schema: SchemaRef,
    /// What no other writer's files start with.
    prefix: String,
    created: u64,
    buffered_max: usize,
    open: HashMap<Partition, DataFile>,
    /// Rows of partitions that have no file.
    waiting: BTreeMap<Partition, Vec<RecordBatch>>,
    waiting_bytes: usize,
    finished: Vec<Add>,
    /// Made since the last call of [`Files::finish`].
    uncommitted: HashSet<PathBuf>,
    /// Complete, but not yet synced.
    unsynced: Vec<(File, PathBuf)>,
    /// Folders whose entries are not yet synced.
    folders: BTreeSet<PathBuf>,
}

/// Complete files.
pub struct Finished {
    table: Location,
    pub adds: Vec<Add>,
    files: Vec<(File, PathBuf)>,
    folders: BTreeSet<PathBuf>,
}

impl Finished {
    /// What is to be added, and what has to be done before: put them where they belong, for good.
    pub fn split(self) -> (Vec<Add>, impl FnOnce() -> Result<()> + Send + 'static) {
        let Finished { table, adds, files, folders } = self;
        let names: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
        (adds, move || match table {
            Location::Folder(_) => {
                for (file, path) in &files {
                    file.sync_all().doing(|| format!("syncing `{}`", path.display()))?;
                }
                folders.iter().try_for_each(|folder| sync_folder(folder))
            }
            Location::Bucket { .. } => send(&table, &names),
        })
    }
}

/// Files that are on their way at once.
const SENT_AT_ONCE: usize = 8;

fn send(table: &Location, names: &[String]) -> Result<()> {
    let some = names.len().div_ceil(SENT_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let each = |names: &'_ [String]| names.iter().try_for_each(|name| table.send(name));
        let sent: Vec<_> = names.chunks(some).map(|names| scope.spawn(move || each(names))).collect();
        let sent = sent.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("sending panicked"))));
        sent.collect::<Vec<_>>().into_iter().collect()
    })
}

struct DataFile {
    writer: ArrowWriter<Summed<File>>,
    path: PathBuf,
    /// Folder in the table, with a slash behind it. (`Add` escapes it once more when it is written as a URL.)
    folder: String,
    partition: Partition,
}

impl Files {
    pub fn new(table: &Location, columns: &Arc<Columns>, app_id: &str) -> Files {
        let app: String = app_id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        let prefix = format!("{app}-{}", unique());
        let (columns, schema) = (columns.clone(), columns.file_schema());
        Files {
            table: table.clone(),
            root: table.writing_folder(),
            columns,
            schema,
            prefix,
            created: 0,
            buffered_max: BUFFERED_BYTES_MAX,
            open: HashMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            finished: Vec::new(),
            uncommitted: HashSet::new(),
            unsynced: Vec::new(),
            folders: BTreeSet::new(),
        }
    }

    /// With less in memory: smaller row groups.
    pub fn within(mut self, bytes: usize) -> Files {
        self.buffered_max = bytes.min(BUFFERED_BYTES_MAX);
        self
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        for (partition, rows) in split(rows, &self.columns)? {
            if !self.open.contains_key(&partition) {
                if self.open.len() >= OPEN_MAX {
                    let rows = compact(rows)?;
                    self.waiting_bytes += rows.get_array_memory_size();
                    self.waiting.entry(partition).or_default().push(rows);
                    continue;
                }
                let file = self.create(partition.clone())?;
                self.open.insert(partition.clone(), file);
            }
            let file = self.open.get_mut(&partition).expect("just inserted");
            file.writer.write(&rows).map_err(|e| failed(e, &file.path))?;
        }
        if self.waiting_bytes > self.buffered_max {
            self.write_waiting()?;
        }
        let buffered: usize = self.open.values().map(|file| file.writer.memory_size()).sum();
        if buffered > self.buffered_max {
            for file in self.open.values_mut() {
                file.writer.flush().map_err(|e| failed(e, &file.path))?;
            }
        }
        Ok(())
    }

    /// Files to be committed, finished or not.
    pub fn count(&self) -> usize {
        self.open.len() + self.waiting.len() + self.finished.len()
    }

    /// All files since the last call, complete but not yet on disk for good.
    pub fn finish(&mut self) -> Result<Finished> {
        self.finish_open()?;
        self.write_waiting()?;
        self.uncommitted.clear();
        Ok(Finished {
            table: self.table.clone(),
            adds: std::mem::take(&mut self.finished),
            files: std::mem::take(&mut self.unsynced),
            folders: std::mem::take(&mut self.folders),
        })
    }

    fn finish_open(&mut self) -> Result<()> {
        let mut files: Vec<DataFile> = self.open.drain().map(|(_, file)| file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.into_iter().try_for_each(|file| self.finish_one(file))
    }

    /// Gives each partition whose rows wait a file.
    fn write_waiting(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        for (partition, batches) in std::mem::take(&mut self.waiting) {
            let mut file = self.create(partition)?;
            for rows in batches {
                file.writer.write(&rows).map_err(|e| failed(e, &file.path))?;
            }
            self.finish_one(file)?;
        }
        Ok(())
    }

    fn finish_one(&mut self, file: DataFile) -> Result<()> {
        let part = file.path.clone();
        let (add, file, path) = file.finish(&self.columns.partition_names())?;
        self.uncommitted.remove(&part);
        self.uncommitted.insert(path.clone());
        self.finished.push(add);
        self.unsynced.push((file, path));
        Ok(())
    }

    fn create(&mut self, partition: Partition) -> Result<DataFile> {
        let mut folder_path = folder(&self.columns.partition_names(), &partition);
        let folder = self.root.join(&folder_path);
        fs::create_dir_all(&folder).doing(|| format!("making the folder `{}`", folder.display()))?;
        for part in folder.ancestors().take_while(|part| part.starts_with(&self.root)) {
            self.folders.insert(part.to_path_buf());
        }
        let name = format!("{}-{:05}{PART}", self.prefix, self.created);
        self.created += 1;
        if !folder_path.is_empty() {
            folder_path.push('/');
        }
        let path = folder.join(name);
        let file = File::create_new(&path).doing(|| format!("making `{}`", path.display()))?;
        self.uncommitted.insert(path.clone());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_coerce_types(true)
            .set_created_by(concat!("ouzel ", env!("CARGO_PKG_VERSION")).to_string())
            .build();
        // Without Arrow's own schema in the file: to readers, a text is a text, not a view.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer =
            ArrowWriter::try_new_with_options(Summed::new(file), self.schema.clone(), options).map_err(|e| failed(e, &path))?;
        Ok(DataFile { writer, path, folder: folder_path, partition })
    }
}

/// Rows that hold on to no more than they are: a text is a view into what it came with.
fn compact(rows: RecordBatch) -> Result<RecordBatch> {
    let own = |column: &ArrayRef| -> ArrayRef {
        column.as_string_view_opt().map_or_else(|| column.clone(), |texts| Arc::new(texts.gc()))
    };
    let columns = rows.columns().iter().map(own).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), columns, &options)
        .map_err(|e| Error::internal("rows that wait").caused_by(e))
}

/// What no commit has named is nobody's: a failed run gives the disk back.
impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.uncommitted {
            let _ = fs::remove_file(path);
        }
    }
}

impl DataFile {
    fn finish(mut self, names: &[&str]) -> Result<(Add, File, PathBuf)> {
        let doing = |path: &Path| format!("completing `{}`", path.display());
        let metadata = self.writer.finish().map_err(|e| failed(e, &self.path))?;
        let file = self.writer.inner().inner().try_clone().doing(|| doing(&self.path))?;
        let size = file.metadata().doing(|| doing(&self.path))?.len();
        // Whoever reads it can see that it holds what was written.
        let part = self.path.with_extension("");
        let name = format!("{}{}", part.file_name().unwrap_or_default().to_string_lossy(), suffix(self.writer.inner().sum()));
        let path = self.path.with_file_name(&name);
        fs::rename(&self.path, &path).doing(|| doing(&self.path))?;
        let add = Add {
            path: format!("{}{name}", self.folder),
            partition_values: names.iter().map(|name| name.to_string()).zip(self.partition).collect(),
            size: size as i64,
            modification_time: WallClock.now_us() / 1000,
            data_change: true,
            stats: Some(stats::of(&metadata)),
            ..Add::default()
        };
        Ok((add, file, path))
    }
}

fn failed(e: ParquetError, path: &Path) -> Error {
    let message = format!("writing `{}`", path.display());
    match e {
        ParquetError::NYI(_) | ParquetError::ArrowError(_) => Error::internal(message).caused_by(e),
        _ => Error::unavailable(message).caused_by(e),
    }
}
