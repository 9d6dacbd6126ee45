//! Appends rows to a Delta table, a commit every few seconds.
//!
//! Rows are written to Parquet files as they come; the files become visible all at once, when a commit names them.
//! Every data file and every commit is on disk (fsync) before anyone can see it.

use super::columns::{Columns, ToTable};
use super::files::Files;
use super::table::{Commit, Table};
use crate::location::Location;
use arrow_schema::SchemaRef;
use deltalake_core::kernel::Add;
use ouzel_core::clock::Stopwatch;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Encode, Encoded, Error, Kind, Prepared, Report, Result, Sink, Spanned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows in a Delta table of the project's lake.
///
/// ```yaml
/// lake: { table: requests, partition_by: [_date], commit_every: 5s, commit_rows: 1000000 }
/// ```
///
/// The table is made if it does not exist. New columns are added to one that does; a column whose type has changed is
/// refused. Rows become visible by commits. Where state lasts these are the commits of the run (every half second of work, and
/// after a second where there is little), and each records the pipeline and the offset behind its last event; with state
/// in memory `commit_every` and `commit_rows` decide, and each records a running number.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeSink {
    /// The table's folder in the lake: letters, digits, `_`, `-` and `.`.
    pub table: Spanned<String>,
    /// Columns whose values become folders; best a few with few values, `_date` above all. Text, whole numbers,
    /// dates or booleans. An empty text reads back as null.
    #[serde(default)]
    pub partition_by: Vec<Spanned<String>>,
    /// With state in memory: a row waits this long at most before it is visible.
    #[serde(default = "default_commit_every")]
    pub commit_every: Spanned<TimeSpan>,
    /// With state in memory: or until so many rows wait.
    #[serde(default = "default_commit_rows")]
    pub commit_rows: Spanned<u64>,
}

/// Who writes: recorded in every commit.
#[derive(Debug, Clone)]
pub struct Writer {
    /// The same across restarts, different for every sink: the table remembers the last commit of each.
    pub app_id: String,
    pub pipeline: String,
}

fn default_commit_every() -> Spanned<TimeSpan> {
    Spanned::nowhere(TimeSpan::seconds(5))
}
fn default_commit_rows() -> Spanned<u64> {
    Spanned::nowhere(1_000_000)
}

/// More files than this are committed at once although neither time nor rows ask for it.
const FILES_PER_COMMIT_MAX: usize = 10_000;

impl LakeSink {
    pub fn validate(&self, report: &mut Report) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.table.is_empty() || self.table.starts_with('.') || !self.table.chars().all(plain) {
            let message = format!("`{}` is no name for a table", *self.table);
            report.error(self.table.span, message).hint("letters, digits, `_`, `-` and `.`, not starting with a dot");
        }
        for (i, column) in self.partition_by.iter().enumerate() {
            if self.partition_by[..i].iter().any(|earlier| earlier.value == column.value) {
                report.error(column.span, format!("column `{}` is named twice", column.value));
            }
        }
        if self.commit_every.micros() == 0 {
            report.error(self.commit_every.span, "`commit_every` must be longer than 0");
        }
        if *self.commit_rows == 0 {
            report.error(self.commit_rows.span, "`commit_rows` must be at least 1");
        }
    }

    /// `lake`: where the tables lie. `schema`: the sink's columns, in their order.
    pub fn open(self, lake: &Location, schema: SchemaRef, writer: Writer, commits: Commits<'_>) -> Result<Box<dyn Sink>> {
        let partition_by: Vec<String> = self.partition_by.iter().map(|column| column.value.clone()).collect();
        let columns = Arc::new(Columns::new(&schema, &partition_by)?);
        let doing = format!("opening the table `{}`", *self.table);
        let table =
            Table::open_or_create(&lake.join(self.table.as_str()), &columns, &writer.app_id).map_err(|e| e.context(doing))?;
        let files = Files::new(table.root(), &columns, &writer.app_id);
        let mut table = table;
        if let Commits::Follow(Some(position)) = commits {
            let pending: Pending = serde_json::from_str(position).map_err(|e| {
                Error::new(Kind::Changed, format!("the state of the table `{}` cannot be read ({e})", *self.table))
            })?;
            pending.publish(&mut table, &writer.pipeline)?;
        }
        Ok(Box::new(LakeWriter {
            root: table.root().clone(),
            holds: if matches!(commits, Commits::Follow(_)) { table.sequence() as u64 } else { 0 },
            follows: matches!(commits, Commits::Follow(_)),
            table: Arc::new(Mutex::new(table)),
            columns,
            files,
            writer,
            commit_every_s: self.commit_every.micros() as f64 / 1e6,
            commit_rows: *self.commit_rows,
            ready: Vec::new(),
            rows: 0,
            since_first: None,
            broken: false,
        }))
    }
}

/// When rows become visible.
#[derive(Debug, Clone, Copy)]
pub enum Commits<'a> {
    /// By the sink's own settings. Nothing goes on from here.
    Own,
    /// With the commits of the run, from one of which (its position) the sink may go on. The sequence of a commit of the table is the
    /// offset that the commit of the run was made at.
    Follow(Option<&'a str>),
}

/// Files that a commit of the run has decided on. Whether the table has them, its sequence tells.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    sequence: i64,
    rows: u64,
    adds: Vec<Add>,
}

impl Pending {
    fn publish(&self, table: &mut Table, pipeline: &str) -> Result<()> {
        if self.adds.is_empty() || table.sequence() >= self.sequence {
            return Ok(());
        }
        let commit = Commit { adds: &self.adds, pipeline, rows: self.rows, sequence: self.sequence };
        table.append(commit).map(|_| ())
    }
}

struct LakeWriter {
    table: Arc<Mutex<Table>>,
    root: Location,
    /// The table has the rows of the events before this offset.
    holds: u64,
    /// Commits come from outside.
    follows: bool,
    columns: Arc<Columns>,
    files: Files,
    writer: Writer,
    commit_every_s: f64,
    commit_rows: u64,
    /// Finished files whose commit has not succeeded yet.
    ready: Vec<Add>,
    /// Written since the last commit.
    rows: u64,
    /// Runs while rows wait.
    since_first: Option<Stopwatch>,
    /// A data file failed and took rows with it that were accepted before: nothing may be committed any more.
    broken: bool,
}

impl LakeWriter {
    fn commit_if_due(&mut self) -> Result<()> {
        let waited_s = self.since_first.as_ref().map_or(0.0, Stopwatch::seconds);
        let due = self.rows >= self.commit_rows || waited_s >= self.commit_every_s || self.files.count() >= FILES_PER_COMMIT_MAX;
        if due && !self.follows { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let adds = self.with_files(|files| {
            let (adds, sync) = files.finish()?.split();
            sync().map(|()| adds)
        })?;
        self.ready.extend(adds);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = table.sequence() + 1;
        table.append(Commit { adds: &self.ready, pipeline: &self.writer.pipeline, rows: self.rows, sequence })?;
        drop(table);
        self.ready.clear();
        self.rows = 0;
        self.since_first = None;
        Ok(())
    }

    fn with_files<T>(&mut self, work: impl FnOnce(&mut Files) -> Result<T>) -> Result<T> {
        if self.broken {
            return Err(Error::unavailable(format!("an earlier write to `{}` failed: start anew", self.location())));
        }
        work(&mut self.files).inspect_err(|_| self.broken = true)
    }
}

impl Sink for LakeWriter {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(ToTable::new(self.columns.clone())))
    }

    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        let Encoded::Rows(rows) = block else { return Err(Error::internal("a table takes rows")) };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.since_first.get_or_insert_with(Stopwatch::start);
        self.with_files(|files| files.write(&rows))?;
        self.rows += rows.num_rows() as u64;
        self.commit_if_due()
    }

    fn tick(&mut self) -> Result<()> {
        self.commit_if_due()
    }

    fn prepare(&mut self, offset: u64) -> Result<Prepared> {
        if !self.follows {
            return Ok(Prepared::default());
        }
        let (adds, sync) = self.with_files(Files::finish)?.split();
        let rows = std::mem::take(&mut self.rows);
        let pending = Pending { sequence: offset as i64, rows, adds };
        let position = serde_json::to_string(&pending).map_err(|e| Error::internal(e.to_string()))?;
        let (table, pipeline) = (self.table.clone(), self.writer.pipeline.clone());
        let publish = move || pending.publish(&mut table.lock().unwrap_or_else(PoisonError::into_inner), &pipeline);
        Ok(Prepared { position, sync: Some(Box::new(sync)), publish: Some(Box::new(publish)) })
    }

    fn holds(&self) -> u64 {
        self.holds
    }

    fn close(&mut self) -> Result<()> {
        if self.follows { Ok(()) } else { self.commit() }
    }

    fn location(&self) -> String {
        self.root.to_string()
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
