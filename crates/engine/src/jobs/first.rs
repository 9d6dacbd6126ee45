//! Of rows with the same key, the first that came: what `unique_key` keeps.

use super::plan::Planned;
use super::{Job, Lake};
use arrow_array::RecordBatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::jobs::history;
use ouzel_lake::jobs::keys::Keys;
use ouzel_lake::jobs::target::Target;
use ouzel_lake::query::{DeltaFiles, InOrder};
use ouzel_lake::{Location, Queries, quoted};
use std::collections::HashMap;
use std::path::PathBuf;

/// A part of a job's memory: what the latest keys may take.
const PART_OF_MEMORY: usize = 4;

/// The keys of a table as it is; none where it is made anew.
pub fn keys(lake: &Lake<'_>, job: &Job, target: &Target, columns: &[String], anew: bool) -> Result<Keys> {
    let folder = folder(lake, job)?;
    let mut keys = Keys::open(&folder, columns, lake.memory / PART_OF_MEMORY)?;
    if anew {
        keys.clear();
        return Ok(keys);
    }
    if keys.version() == Some(target.version()) {
        return Ok(keys);
    }
    match catch_up(lake, job, target, columns, &mut keys) {
        // What is known is damaged: all of it is read from the table.
        Err(e) if e.kind == ErrorKind::Data && keys.version().is_some() => {
            keys.clear();
            catch_up(lake, job, target, columns, &mut keys)?;
        }
        other => other?,
    }
    Ok(keys)
}

/// Takes in what the table has and is not known: what was added since the keys were written; all of it where that is not known, or some are gone.
fn catch_up(lake: &Lake<'_>, job: &Job, target: &Target, columns: &[String], keys: &mut Keys) -> Result<()> {
    let root = lake.lake.join(&job.target);
    let now = target.version();
    let added =
        keys.version().filter(|version| *version < now).and_then(|version| history::changes(&root, Some(version), now).ok());
    let added = added.filter(|changes| changes.removed.is_empty());
    let queries = lake.queries()?;
    match added {
        Some(changes) => queries.only_files(&job.target, &root, now, changes.added)?,
        None => {
            keys.clear();
            queries.at_version(&job.target, &root, now)?;
        }
    }
    let names = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    for batch in queries.run(&format!("select {names} from {}", quoted(&job.target)))? {
        keys.fresh(&target.cast(batch?.columns(), columns)?)?;
    }
    super::run::sound(&queries)
}

/// Forgets what is known of keys.
pub fn forget(lake: &Lake<'_>, job: &Job) -> Result<()> {
    let folder = folder(lake, job)?;
    std::fs::remove_dir_all(&folder).doing(|| format!("removing `{}`", folder.display()))
}

fn folder(lake: &Lake<'_>, job: &Job) -> Result<PathBuf> {
    Ok(lake.lake.join(&job.target).beside()?.join("keys"))
}

/// The table that an append follows, with what is new of it in the order in which it came; all of it where the job's table is made anew.
pub fn files_of(lake: &Lake<'_>, queries: &Queries, planned: &Planned, incremental: bool) -> Result<(String, DeltaFiles)> {
    let source = planned.sources.iter().find(|source| !incremental || !source.changes.is_empty());
    let source = source.ok_or_else(|| Error::internal("a job that follows no table"))?;
    let root = lake.table(&source.table);
    if incremental {
        return Ok((source.table.clone(), queries.files(&root, source.to, source.changes.added.clone())?));
    }
    Ok((source.table.clone(), in_order(queries, &root, source.to)?))
}

/// All files of a version of a table in the order in which they came; where its log does not reach back, by name.
pub fn in_order(queries: &Queries, root: &Location, version: u64) -> Result<DeltaFiles> {
    let mut files = queries.version(root, version)?;
    let came = history::changes(root, None, version).map(|changes| changes.added).unwrap_or_default();
    let came: HashMap<String, usize> = came.into_iter().enumerate().map(|(at, file)| (file.path, at)).collect();
    files.sort_by_key(|path| (came.get(path).copied(), path.to_string()));
    Ok(files)
}

/// Rows without those whose key was there before.
pub struct FirstOfEach<'a> {
    rows: InOrder<'a>,
    keys: Option<&'a mut Keys>,
    target: &'a Target,
    columns: Vec<String>,
    /// Places of the columns.
    places: Vec<usize>,
    pub dropped: u64,
    /// What was known of keys cannot be read: without it all keys are read from the table.
    pub lost: bool,
}

impl<'a> FirstOfEach<'a> {
    pub fn new(rows: InOrder<'a>, keys: Option<&'a mut Keys>, target: &'a Target, job: &Job) -> Result<FirstOfEach<'a>> {
        let columns = job.unique_key();
        let place = |name: &String| {
            let found = target.schema().index_of(name);
            found.map_err(|_| Error::config(format!("{}: `unique_key` names `{name}`, which the SQL does not give", job.file)))
        };
        let places = columns.iter().map(place).collect::<Result<_>>()?;
        Ok(FirstOfEach { rows, keys, target, columns, places, dropped: 0, lost: false })
    }

    /// See [`InOrder::files`].
    pub fn files(&self) -> &[String] {
        self.rows.files()
    }

    fn first(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(keys) = &mut self.keys else { return Ok(batch) };
        let columns: Vec<_> = self.places.iter().map(|place| batch.column(*place).clone()).collect();
        let were_known = keys.version().is_some();
        let fresh = keys.fresh(&self.target.cast(&columns, &self.columns)?);
        let fresh = fresh.inspect_err(|e| self.lost = were_known && e.kind == ErrorKind::Data)?;
        if fresh.false_count() == 0 {
            return Ok(batch);
        }
        self.dropped += fresh.false_count() as u64;
        arrow_select::filter::filter_record_batch(&batch, &fresh).map_err(|e| Error::internal("leaving rows out").caused_by(e))
    }
}

impl Iterator for FirstOfEach<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.rows.next()?;
        Some(batch.and_then(|batch| self.first(batch)))
    }
}
