//! A Delta table as a list of Parquet files: nothing in a plan but names of files, values of partitions and columns.

use super::Damage;
use super::checksum::{checksum_of, sum_of_name};
use crate::bucket::Bucket;
use crate::jobs::history::ChangedFile;
use crate::jobs::landing::{Arrived, folders_of};
use crate::location::Location;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchemaBuilder;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use deltalake_core::kernel::EagerSnapshot;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// One version of a table.
#[derive(Debug)]
pub struct DeltaFiles {
    root: Location,
    name: String,
    /// Stored columns, then those of partitions.
    schema: SchemaRef,
    stored: SchemaRef,
    partitions: Vec<FieldRef>,
    files: Vec<DataFile>,
    /// Look whether files hold what was written.
    verify: bool,
    damage: Damage,
}

/// A file that the version names.
#[derive(Debug, Clone)]
struct DataFile {
    /// To the table.
    path: String,
    bytes: u64,
    rows: Option<usize>,
    partition: Vec<ScalarValue>,
}

impl DataFile {
    /// What is wrong with it on disk.
    fn problem(&self, table: &Path) -> Option<String> {
        let path = table.join(&self.path);
        match std::fs::metadata(&path) {
            Err(e) => return Some(format!("cannot be read ({e})")),
            Ok(about) if about.len() != self.bytes => {
                return Some(format!("is damaged ({} bytes, of the {} that were written)", about.len(), self.bytes));
            }
            Ok(_) => {}
        }
        let written = sum_of_name(&self.path)?;
        match checksum_of(&path) {
            Ok(found) if found == written => None,
            Ok(found) => Some(format!("is damaged (its bytes sum up to {found:08x}, those that were written to {written:08x})")),
            Err(e) => Some(format!("cannot be read ({e})")),
        }
    }
}

impl DeltaFiles {
    /// A version, the latest if none is named. [`Kind::Config`]: it uses something of Delta that is not read here.
    pub async fn open(root: &Location, version: Option<u64>, verify: bool, damage: Damage) -> ouzel_core::Result<DeltaFiles> {
        let name = root.name();
        let wrong = |e: deltalake_core::DeltaTableError| Error::unavailable(format!("opening the table `{name}`")).caused_by(e);
        let root = match root {
            Location::Folder(path) => {
                let path = path.canonicalize().map_err(|e| Error::unavailable(format!("opening the table `{name}`: {e}")))?;
                Location::Folder(path)
            }
            bucket => bucket.clone(),
        };
        let table = root.open_table(version).await?;
        let snapshot = table.snapshot().map_err(wrong)?.snapshot();
        let (stored, partitions) = columns(snapshot, &name)?;
        let mut files = Vec::new();
        let mut views = snapshot.file_views(table.log_store().as_ref(), None);
        while let Some(view) = views.try_next().await.map_err(wrong)? {
            if view.deletion_vector_descriptor().is_some() {
                let message =
                    format!("the table `{name}` has deletion vectors, which are not read here: rewrite it without them");
                return Err(Error::config(message));
            }
            let values = view.partition_values_map();
            let partition = partitions.iter().map(|field| value(values.get(field.name()).cloned().flatten(), field));
            files.push(DataFile {
                path: view.object_store_path().to_string(),
                bytes: view.size() as u64,
                rows: view.num_records(),
                partition: partition
                    .collect::<Result<_>>()
                    .map_err(|e| Error::new(Kind::Data, format!("the table `{name}`: {e}")))?,
            });
        }
        drop(views);
        let all: Vec<FieldRef> = stored.fields().iter().chain(&partitions).cloned().collect();
        Ok(DeltaFiles { root, name, schema: Arc::new(Schema::new(all)), stored, partitions, files, verify, damage })
    }

    /// Some files of a table, in their order, whether a version names them or not, with the columns of a version.
    pub async fn open_files(
        root: &Location,
        version: Option<u64>,
        files: Vec<ChangedFile>,
        damage: Damage,
    ) -> ouzel_core::Result<DeltaFiles> {
        let mut table = DeltaFiles::open(root, version, true, damage).await?;
        let named = |file: ChangedFile| -> Result<DataFile> {
            let values = |field: &FieldRef| value(file.partition.get(field.name()).cloned().flatten(), field);
            let partition = table.partitions.iter().map(values).collect::<Result<_>>()?;
            Ok(DataFile { path: file.path, bytes: file.bytes, rows: None, partition })
        };
        let files = files.into_iter().map(named).collect::<Result<_>>();
        table.files = files.map_err(|e| Error::new(Kind::Data, format!("the table `{}`: {e}", table.name)))?;
        Ok(table)
    }

    /// Parquet files that are no table's, with the columns that they are known to have; `folders`: those that the names of their folders say.
    pub fn of_folder(root: &Location, name: &str, columns: SchemaRef, folders: &[String], files: &[Arrived]) -> DeltaFiles {
        let (partitions, stored): (Vec<FieldRef>, Vec<FieldRef>) =
            columns.fields().iter().cloned().partition(|field| folders.contains(field.name()));
        let named = |file: &Arrived| {
            let mut said = folders_of(&file.path);
            let mut value = |field: &FieldRef| {
                let value = said.iter_mut().find(|(name, _)| name == field.name()).and_then(|(_, value)| value.take());
                ScalarValue::Utf8View(value)
            };
            DataFile {
                path: file.path.clone(),
                bytes: file.bytes,
                rows: None,
                partition: partitions.iter().map(&mut value).collect(),
            }
        };
        let files = files.iter().map(named).collect();
        let schema = Arc::new(Schema::new(stored.iter().chain(&partitions).cloned().collect::<Vec<_>>()));
        let (stored, damage) = (Arc::new(Schema::new(stored)), Damage::default());
        DeltaFiles { root: root.clone(), name: name.to_string(), schema, stored, partitions, files, verify: false, damage }
    }

    /// Its files in their order, some at a time.
    pub fn parts(&self, bytes: u64) -> Vec<DeltaFiles> {
        let mut parts: Vec<(u64, Vec<DataFile>)> = Vec::new();
        for file in &self.files {
            match parts.last_mut() {
                Some((all, files)) if *all + file.bytes <= bytes => {
                    *all += file.bytes;
                    files.push(file.clone());
                }
                _ => parts.push((file.bytes, vec![file.clone()])),
            }
        }
        parts.into_iter().map(|(_, files)| self.with(files)).collect()
    }

    /// Puts its files in an order.
    pub fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&str) -> K) {
        self.files.sort_by_cached_key(|file| key(&file.path));
    }

    /// The same columns, and no rows.
    pub fn empty(&self) -> DeltaFiles {
        self.with(Vec::new())
    }

    /// The same files.
    pub fn again(&self) -> DeltaFiles {
        self.with(self.files.clone())
    }

    fn with(&self, files: Vec<DataFile>) -> DeltaFiles {
        DeltaFiles {
            root: self.root.clone(),
            name: self.name.clone(),
            schema: self.schema.clone(),
            stored: self.stored.clone(),
            partitions: self.partitions.clone(),
            files,
            verify: self.verify,
            damage: self.damage.clone(),
        }
    }

    /// Its files, relative to the table.
    pub fn paths(&self) -> Vec<String> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Files that may hold rows for which the filters are true, by what their partitions say.
    fn files_for(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&DataFile>> {
        let partitioned = Schema::new(self.partitions.clone());
        let is_of_partitions =
            |filter: &&Expr| !filter.is_volatile() && filter.column_refs().iter().all(|c| partitioned.index_of(c.name()).is_ok());
        let filters: Vec<Expr> = filters.iter().filter(is_of_partitions).cloned().collect();
        let Some(filter) = conjunction(filters).filter(|_| !self.partitions.is_empty() && !self.files.is_empty()) else {
            return Ok(self.files.iter().collect());
        };
        let column = |i: usize| ScalarValue::iter_to_array(self.files.iter().map(|file| file.partition[i].clone()));
        let columns = (0..self.partitions.len()).map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let values = RecordBatch::try_new(Arc::new(partitioned.clone()), columns)?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(partitioned)?)?;
        let met = filter.evaluate(&values)?.into_array(values.num_rows())?;
        let met: &BooleanArray = met.as_boolean();
        Ok(self.files.iter().zip(met).filter(|(_, met)| *met == Some(true)).map(|(file, _)| file).collect())
    }

    /// Those that are sound. The others are told: nothing of them is served.
    fn sound<'f>(&self, files: Vec<&'f DataFile>) -> Vec<&'f DataFile> {
        // A bucket tells by itself when it cannot give what it was given.
        let Location::Folder(root) = &self.root else { return files };
        if !self.verify {
            return files;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = files.len().div_ceil(threads).max(1);
        let problems: Vec<Option<String>> = std::thread::scope(|scope| {
            let check = |files: &[&DataFile]| files.iter().map(|file| file.problem(root)).collect::<Vec<_>>();
            let parts: Vec<_> = files.chunks(part).map(|files| scope.spawn(move || check(files))).collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        });
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sound = Vec::new();
        for (file, problem) in files.into_iter().zip(problems) {
            match problem {
                None => sound.push(file),
                Some(problem) => {
                    let rows = file.rows.map_or("its".to_string(), |rows| format!("its {rows}"));
                    damage.push(format!("table {}: `{}` {problem}: {rows} rows are left out", self.name, file.path));
                }
            }
        }
        damage.sort();
        damage.dedup();
        sound
    }

    fn partitioned_file(&self, file: &DataFile) -> Result<PartitionedFile> {
        let location = self.root.key_of(&file.path).map_err(external)?;
        let mut listed = PartitionedFile::new(location.to_string(), file.bytes);
        listed.object_meta.location = location;
        listed.partition_values = file.partition.clone();
        Ok(listed)
    }
}

fn external(e: Error) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

#[async_trait::async_trait]
impl TableProvider for DeltaFiles {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.sound(self.files_for(state, filters)?);
        let schema = TableSchemaBuilder::new(self.stored.clone()).with_table_partition_cols(self.partitions.clone()).build();
        let mut source = ParquetSource::new(schema);
        if let Some(filter) = conjunction(filters.to_vec()) {
            let filter = state.create_physical_expr(filter, &DFSchema::try_from(self.schema.as_ref().clone())?)?;
            source = source.with_predicate(filter);
        }
        let groups = state.config().target_partitions().clamp(1, files.len().max(1));
        let mut lists: Vec<Vec<PartitionedFile>> = vec![Vec::new(); groups];
        for (i, file) in files.into_iter().enumerate() {
            lists[i % groups].push(self.partitioned_file(file)?);
        }
        let (url, store) = self.root.store().map_err(external)?;
        if let Location::Bucket { .. } = self.root {
            state.runtime_env().register_object_store(url.as_ref(), store);
        }
        let scan = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(lists.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

/// Stored columns and those of partitions, in the order of the table.
fn columns(snapshot: &EagerSnapshot, name: &str) -> ouzel_core::Result<(SchemaRef, Vec<FieldRef>)> {
    if snapshot.protocol().reader_features().is_some_and(|features| !features.is_empty()) {
        let message = format!(
            "the table `{name}` uses features of Delta that are not read here: {:?}",
            snapshot.protocol().reader_features()
        );
        return Err(Error::config(message));
    }
    let mapping = snapshot.metadata().configuration().get("delta.columnMapping.mode");
    if mapping.is_some_and(|mode| mode != "none") {
        return Err(Error::config(format!(
            "the table `{name}` maps its columns to other names, which is not read here: rewrite it without `delta.columnMapping.mode`"
        )));
    }
    let schema = snapshot.arrow_schema();
    let names = snapshot.metadata().partition_columns();
    let (mut stored, mut partitions) = (Vec::new(), Vec::new());
    for field in schema.fields() {
        match names.contains(field.name()) {
            true => partitions.push(Arc::new(Field::new(field.name(), field.data_type().clone(), field.is_nullable()))),
            false => stored.push(Arc::new(Field::new(field.name(), viewed(field.data_type()), field.is_nullable()))),
        }
    }
    Ok((Arc::new(Schema::new(stored)), partitions))
}

/// The columns of a Parquet file, as its footer tells. [`Kind::Data`]: it is none, or not all of it is there.
pub fn columns_of_file(folder: &Location, file: &Arrived) -> ouzel_core::Result<SchemaRef> {
    let wrong = |e: ParquetError| Error::new(Kind::Data, "it is no whole Parquet file").caused_by(e);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = match folder {
        Location::Folder(folder) => {
            let path = folder.join(&file.path);
            let file = File::open(&path).map_err(|e| Error::new(Kind::Data, format!("it cannot be opened: {e}")))?;
            ArrowReaderMetadata::load(&file, options).map_err(wrong)?
        }
        Location::Bucket { .. } if file.bytes == 0 => return Err(wrong(ParquetError::EOF("it is empty".into()))),
        Location::Bucket { bucket, .. } => {
            let footer = footer(bucket, &folder.key_of(&file.path)?, file.bytes)?;
            footer.and_then(|footer| ArrowReaderMetadata::try_new(Arc::new(footer), options)).map_err(wrong)?
        }
    };
    let fields = metadata.schema().fields().iter().map(|field| Field::new(field.name(), viewed(field.data_type()), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// What is read of a footer before it has told how long it is.
const FOOTER_BYTES: usize = 64 << 10;

fn footer(bucket: &Bucket, key: &Key, bytes: u64) -> ouzel_core::Result<std::result::Result<ParquetMetaData, ParquetError>> {
    let mut wanted = FOOTER_BYTES;
    loop {
        let tail = bucket.read_range(key, bytes.saturating_sub(wanted as u64)..bytes)?;
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        match reader.try_parse_sized(&tail, bytes) {
            Err(ParquetError::NeedMoreData(more)) if more > tail.len() && tail.len() < bytes as usize => wanted = more,
            parsed => return Ok(parsed.and_then(|()| reader.finish())),
        }
    }
}

/// Reads all of a file: why it cannot be.
pub fn read_file(folder: &Location, name: &str) -> ouzel_core::Result<()> {
    let wrong = |e: &dyn std::fmt::Display| Error::new(Kind::Data, format!("it cannot be read: {e}"));
    let file = match folder {
        Location::Folder(folder) => File::open(folder.join(name)).map_err(|e| wrong(&e))?,
        Location::Bucket { bucket, .. } => {
            let mut copy = tempfile::tempfile().doing(|| "making a temporary file".into())?;
            if !bucket.fetch(&folder.key_of(name)?, &mut copy)? {
                return Err(wrong(&"it is gone"));
            }
            copy
        }
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.build());
    reader.map_err(|e| wrong(&e))?.into_iter().try_for_each(|batch| batch.map(|_| ()).map_err(|e| wrong(&e)))
}

/// Text is read as views.
fn viewed(of: &DataType) -> DataType {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

fn value(text: Option<String>, field: &Field) -> Result<ScalarValue> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => ScalarValue::try_from_string(text, field.data_type()),
        None => ScalarValue::try_from(field.data_type()),
    }
}
