//! The table that a job makes: new files are written beside the old ones, looked at, and put in their place in one commit.

use super::history::ChangedFile;
use crate::location::Location;
use crate::query::{Damage, DeltaFiles};
use crate::tables::columns::{Columns, ToTable};
use crate::tables::files::Files;
use crate::tables::table::Table;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use deltalake_core::kernel::{Add, Remove};
use ouzel_core::{Encode, Encoded, Error, Kind, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

/// Batches that wait for a writer.
const BATCHES_WAITING: usize = 32;

/// Values of the partition columns, by name; `None` is null.
pub type Partition = HashMap<String, Option<String>>;

pub struct Target {
    table: Table,
    columns: Arc<Columns>,
    app_id: String,
    /// What a writer keeps in memory.
    memory_bytes: usize,
}

/// Files that no commit has named yet.
pub struct Written {
    table: Location,
    adds: Vec<Add>,
    pub rows: u64,
}

impl Written {
    pub fn bytes(&self) -> u64 {
        self.adds.iter().map(|add| add.size as u64).sum()
    }

    pub fn files(&self) -> Vec<ChangedFile> {
        self.adds.iter().map(ChangedFile::from).collect()
    }

    /// Takes them away again: nothing is to become of them.
    pub fn discard(self) {
        self.adds.iter().for_each(|add| self.table.remove(&add.path));
    }
}

impl Target {
    /// Opens the table of a job, or makes it. `seen`: the version that there was when the run was planned; none if there was no table.
    /// [`ouzel_core::Kind::Config`]: its columns do not fit. [`ouzel_core::Kind::Conflict`]: somebody has written to it since it was planned.
    pub fn open(root: &Location, job: &str, schema: &Schema, partition_by: &[String], seen: Option<u64>) -> Result<Target> {
        let columns = Arc::new(Columns::new(schema, partition_by)?);
        let app_id = format!("ouzel.job.{job}");
        let table = Table::open_or_create(root, &columns, &app_id)?;
        if table.found() != seen.unwrap_or(0) {
            return Err(table.was_first());
        }
        Ok(Target { table, columns, app_id, memory_bytes: usize::MAX })
    }

    /// With a bound on what writers keep in memory, together.
    pub fn within(self, bytes: usize, writers: usize) -> Target {
        Target { memory_bytes: bytes / writers.max(1), ..self }
    }

    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// Its columns, in the order of the rows that are written.
    pub fn schema(&self) -> &Schema {
        &self.columns.schema
    }

    /// Some columns with the types that the table has for them.
    pub fn cast(&self, arrays: &[ArrayRef], names: &[String]) -> Result<Vec<ArrayRef>> {
        let cast = |(array, name): (&ArrayRef, &String)| {
            let field = self.columns.schema.field_with_name(name)?;
            arrow_cast::cast(array, field.data_type())
        };
        let cast = arrays.iter().zip(names).map(cast).collect::<std::result::Result<_, arrow_schema::ArrowError>>();
        cast.map_err(|e| Error::internal("columns do not fit the table").caused_by(e))
    }

    /// Writes rows to files; they last, and nobody sees them. Where rows come faster than one thread writes them, more do, up to `threads`.
    pub fn write(&self, rows: impl Iterator<Item = Result<RecordBatch>>, threads: usize) -> Result<Written> {
        let (sender, receiver) = sync_channel::<RecordBatch>(BATCHES_WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let (came, parts) = std::thread::scope(|scope| {
            // Ends the writers, however this ends; and the other way round.
            let (sender, receiver) = (sender, receiver);
            let begin = |rows: &Arc<Mutex<Receiver<RecordBatch>>>| {
                let rows = rows.clone();
                scope.spawn(move || self.write_some(&rows))
            };
            let mut writers = vec![begin(&receiver)];
            let mut receiver = Some(receiver).filter(|_| threads > 1);
            let mut send = |batch: RecordBatch| match sender.try_send(batch) {
                Ok(()) => true,
                Err(TrySendError::Full(batch)) => {
                    if let Some(rows) = receiver.take() {
                        writers.extend((1..threads).map(|_| begin(&rows)));
                    }
                    sender.send(batch).is_ok()
                }
                Err(TrySendError::Disconnected(_)) => false,
            };
            let mut came = Ok(());
            for batch in rows {
                // A writer that has ended has failed: it is told below.
                let goes_on = batch.map(&mut send).unwrap_or_else(|e| {
                    came = Err(e);
                    false
                });
                if !goes_on {
                    break;
                }
            }
            drop((sender, receiver));
            let ended =
                |writer: ScopedJoinHandle<'_, _>| writer.join().unwrap_or_else(|_| Err(Error::internal("a writer panicked")));
            (came, writers.into_iter().map(ended).collect::<Vec<_>>())
        });
        let mut all = Written { table: self.table.root().clone(), adds: Vec::new(), rows: 0 };
        let mut failed = came;
        for part in parts {
            match part {
                Ok((adds, rows)) => {
                    all.adds.extend(adds);
                    all.rows += rows;
                }
                Err(e) => failed = failed.and(Err(e)),
            }
        }
        match failed {
            Ok(()) => Ok(all),
            Err(e) => {
                // Nothing is left of it.
                all.discard();
                Err(e)
            }
        }
    }

    fn write_some(&self, rows: &Mutex<Receiver<RecordBatch>>) -> Result<(Vec<Add>, u64)> {
        let mut files = Files::new(self.table.root(), &self.columns, &self.app_id).within(self.memory_bytes);
        let mut encoder = ToTable::new(self.columns.clone());
        let mut written = 0;
        loop {
            let batch = rows.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = batch else { break };
            let Encoded::Rows(batch) = encoder.encode(&batch)? else { return Err(Error::internal("a table takes rows")) };
            if batch.num_rows() > 0 {
                written += batch.num_rows() as u64;
                files.write(&batch)?;
            }
        }
        let (adds, sync) = files.finish()?.split();
        match sync() {
            Ok(()) => Ok((adds, written)),
            Err(e) => {
                adds.iter().for_each(|add| self.table.root().remove(&add.path));
                Err(e)
            }
        }
    }

    /// Some of its files, to be read.
    pub fn files(&self, files: Vec<ChangedFile>, damage: Damage) -> Result<DeltaFiles> {
        self.table.runtime().block_on(DeltaFiles::open_files(self.table.root(), None, files, damage))
    }

    /// The table as it will be: what is there but for some partitions, and what was written.
    pub fn preview(&self, kept: &Replaced, written: &Written, damage: Damage) -> Result<(DeltaFiles, DeltaFiles)> {
        let new = written.files();
        let open = |files| self.files(files, damage.clone());
        Ok((open(new.clone())?, open(kept.kept.iter().cloned().chain(new).collect())?))
    }

    /// The files of some partitions (all, if none are named), and the others.
    pub fn replaced(&self, partitions: Option<&[Partition]>) -> Result<Replaced> {
        let files = self.table.files()?;
        let names = self.columns.partition_names();
        let key = |values: &Partition| -> Vec<Option<String>> {
            names.iter().map(|name| values.get(*name).cloned().flatten().filter(|value| !value.is_empty())).collect()
        };
        let wanted: Option<HashSet<Vec<Option<String>>>> = partitions.map(|all| all.iter().map(key).collect());
        let (mut removed, mut old, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (file, remove) in files {
            match wanted.as_ref().is_none_or(|wanted| wanted.contains(&key(&file.partition))) {
                true => {
                    removed.push(remove);
                    old.push(file);
                }
                false => kept.push(file),
            }
        }
        Ok(Replaced { removed, old, kept })
    }

    /// Puts what was written in the place of what is replaced, all at once. `job` is told in the commit.
    /// [`ouzel_core::Kind::Conflict`]: somebody else has written to the table meanwhile.
    pub fn publish(&mut self, replaced: Replaced, written: Written, job: Value) -> Result<u64> {
        let published = self.table.replace(written.adds.clone(), replaced.removed, job);
        // Where it is not known whether the commit was made, its files stay.
        if published.as_ref().is_err_and(|e| e.kind == Kind::Conflict) {
            written.discard();
        }
        published
    }
}

/// What a commit takes out, and what it leaves.
pub struct Replaced {
    removed: Vec<Remove>,
    old: Vec<ChangedFile>,
    kept: Vec<ChangedFile>,
}

impl Replaced {
    pub fn files(&self) -> usize {
        self.removed.len()
    }

    /// What is taken out.
    pub fn removed(&self) -> &[ChangedFile] {
        &self.old
    }
}

impl From<&Add> for ChangedFile {
    fn from(add: &Add) -> ChangedFile {
        ChangedFile { path: add.path.clone(), bytes: add.size as u64, partition: add.partition_values.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, StringArray};

    fn rows(day: &str, n: i64) -> RecordBatch {
        let days: ArrayRef = Arc::new(StringArray::from(vec![day; n as usize]));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
        RecordBatch::try_from_iter([("day", days), ("n", numbers)]).expect("sound")
    }

    fn open(root: &Location) -> Target {
        let seen = super::super::history::latest(root).expect("read");
        Target::open(root, "t", &rows("a", 0).schema(), &["day".into()], seen).expect("opens")
    }

    fn of_day(root: &std::path::Path, day: &str) -> usize {
        std::fs::read_dir(root.join(format!("day={day}"))).expect("there").count()
    }

    fn day(day: &str) -> Partition {
        Partition::from([("day".to_string(), Some(day.to_string()))])
    }

    #[test]
    fn who_was_not_first_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Location::from(folder.path());
        let job = || serde_json::json!({ "job": {} });
        let mut first = open(&root);
        let both = vec![Ok(rows("a", 3)), Ok(rows("b", 2))];
        let written = first.write(both.into_iter(), 1).expect("written");
        first.publish(first.replaced(None).expect("listed"), written, job()).expect("published");
        let planned = Target::open(&root, "t", &rows("a", 0).schema(), &["day".into()], None);
        assert_eq!(planned.map(|_| ()).expect_err("it is of a plan that is no more").kind, Kind::Conflict);
        let mut late = open(&root);
        let of_late =
            (late.replaced(Some(&[day("a")])).expect("listed"), late.write([Ok(rows("a", 9))].into_iter(), 1).expect("written"));
        assert_eq!((of_late.0.files(), of_late.0.kept.len()), (1, 1), "only its partition");
        let written = first.write([Ok(rows("a", 1))].into_iter(), 1).expect("written");
        first.publish(first.replaced(Some(&[day("a")])).expect("listed"), written, job()).expect("published");
        let refused = late.publish(of_late.0, of_late.1, job()).expect_err("somebody was first");
        assert_eq!(refused.kind, Kind::Conflict, "{refused}");
        assert_eq!(of_day(folder.path(), "a"), 2, "the first one's files, old and new, and none of the late one");
        let there: u64 = open(&root).replaced(Some(&[])).expect("listed").kept.len() as u64;
        assert_eq!(there, 2);
        // What has changed is a file in the place of another.
        let changes = super::super::history::changes(&root, Some(1), 2).expect("there");
        assert_eq!((changes.added.len(), changes.removed.len()), (1, 1));
        let all = super::super::history::changes(&root, None, 2).expect("there");
        assert_eq!((all.added.len(), all.removed.len()), (2, 0), "what came and went was never there");
    }
}
