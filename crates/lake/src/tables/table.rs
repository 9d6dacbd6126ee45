//! One Delta table: opening, growing its schema, appending files.
//!
//! Commits are made here and not by `deltalake`'s `CommitBuilder`, which keeps every file of the table in memory and
//! writes without fsync. An append needs neither the files nor a transaction of theirs: it conflicts only with a changed
//! schema and with another run of the same writer. A commit is a file of the log that is created under the next version's
//! name, which fails if the name is taken, on disk as in a bucket ([`Location::create`]).

use super::columns::Columns;
use super::files::PART;
use super::fit::{check_writable, grown};
use crate::jobs::history::{ChangedFile, file_name, latest};
use crate::location::{BESIDE, LEFT_FOR, LOG, Location, age, sync_folder};
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Add, Protocol, Remove, StructType, Transaction, new_metadata};
use deltalake_core::protocol::{DeltaOperation, SaveMode, checkpoints};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use ouzel_core::clock::{Clock, Stopwatch, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Commits between checkpoints, which spare readers the single commits before them.
const CHECKPOINT_EVERY: u64 = 100;
/// A version seen so long ago may have been cleaned away since: the latest is looked up.
const VERSION_TRUSTED_S: f64 = 3600.0;
/// Other writers that may win in a row before we give up.
const CONFLICTS_MAX: usize = 1000;

pub struct Table {
    root: Location,
    runtime: Runtime,
    columns: Arc<Columns>,
    app_id: String,
    /// The one seen first.
    found: Option<u64>,
    /// The latest seen.
    version: u64,
    since_seen: Stopwatch,
    /// Number of this writer's last commit.
    sequence: i64,
    checkpoint_due: bool,
}

/// Files to be added.
pub struct Commit<'a> {
    pub adds: &'a [Add],
    pub pipeline: &'a str,
    pub rows: u64,
    /// Greater than that of this writer's commit before.
    pub sequence: i64,
}

impl Table {
    pub fn open_or_create(root: &Location, columns: &Arc<Columns>, app_id: &str) -> Result<Table> {
        let root = match root {
            Location::Folder(path) => {
                let log = path.join(LOG);
                fs::create_dir_all(&log).doing(|| format!("making the folder `{}`", log.display()))?;
                let path = path.canonicalize().doing(|| format!("opening `{}`", path.display()))?;
                sync_folder(&path)?;
                for parent in path.ancestors().skip(1).take(2) {
                    // They may be new as well; or old, and of someone who lets us through but not read.
                    let _ = sync_folder(parent);
                }
                Location::Folder(path)
            }
            bucket => {
                sweep_old(&bucket.writing_folder(), "", LEFT_FOR);
                bucket.clone()
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting a runtime".into())?;
        let (columns, app_id) = (columns.clone(), app_id.to_string());
        let mut table = Table {
            root,
            runtime,
            columns,
            app_id,
            found: None,
            version: 0,
            since_seen: Stopwatch::start(),
            sequence: 0,
            checkpoint_due: false,
        };
        if latest(&table.root)?.is_none() {
            table.create()?;
        }
        let sequence = table.refresh()?;
        table.sequence = sequence.unwrap_or(0);
        Ok(table)
    }

    pub fn root(&self) -> &Location {
        &self.root
    }

    /// Of this writer's last commit; 0 if it has made none.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version that there was when it was opened; 0 if it was made.
    pub fn found(&self) -> u64 {
        self.found.unwrap_or(0)
    }

    /// Makes files visible, all at once, and returns the version that has them.
    /// [`Kind::Conflict`]: someone changed the table's columns in a way that does not fit, or runs as the same writer.
    pub fn append(&mut self, commit: Commit) -> Result<u64> {
        if self.since_seen.seconds() > VERSION_TRUSTED_S {
            self.check_sequence()?;
        }
        let sequence = commit.sequence;
        let actions = commit.adds.iter().cloned().map(Action::Add).collect();
        let partition_by = self.columns.partition_names().into_iter().map(String::from).collect();
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: Some(partition_by), predicate: None };
        let about = json!({ "version": env!("CARGO_PKG_VERSION"), "pipeline": commit.pipeline, "sequence": sequence, "rows": commit.rows });
        let transaction = Transaction::new_with_last_update(&self.app_id, sequence, Some(WallClock.now_us() / 1000));
        let version = self.commit(actions, operation, about, vec![transaction])?;
        self.sequence = sequence;
        self.checkpoint_due |= version % CHECKPOINT_EVERY == 0;
        if self.checkpoint_due {
            // Only readers' time depends on it, and the commit is made: a failure is no reason to stop. The next commit tries again.
            self.checkpoint_due = self.checkpoint().is_err();
        }
        Ok(version)
    }

    /// Takes files out and puts others in their place, in one commit on top of the version that was seen. `about` is told in it.
    /// [`Kind::Conflict`]: somebody else was first.
    pub fn replace(&mut self, adds: Vec<Add>, removes: Vec<Remove>, about: Value) -> Result<u64> {
        let sequence = self.sequence + 1;
        let actions = removes.into_iter().map(Action::Remove).chain(adds.into_iter().map(Action::Add)).collect();
        let partition_by = self.columns.partition_names().into_iter().map(String::from).collect();
        let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: Some(partition_by), predicate: None };
        let transaction = Transaction::new_with_last_update(&self.app_id, sequence, Some(WallClock.now_us() / 1000));
        let bytes = encode(actions, operation, about, vec![transaction])?;
        if !self.write_version(self.version + 1, &bytes)? {
            return Err(self.was_first());
        }
        self.version += 1;
        self.sequence = sequence;
        if self.version.is_multiple_of(CHECKPOINT_EVERY) {
            // Only readers' time depends on it.
            let _ = self.checkpoint();
        }
        Ok(self.version)
    }

    /// The table's files, each with what takes it out.
    pub fn files(&self) -> Result<Vec<(ChangedFile, Remove)>> {
        let table = self.load()?;
        let snapshot = table.snapshot().map_err(from_delta)?.snapshot();
        let store = table.log_store();
        self.runtime.block_on(async {
            let mut views = snapshot.file_views(store.as_ref(), None);
            let mut found = Vec::new();
            while let Some(view) = views.try_next().await.map_err(from_delta)? {
                let path = view.object_store_path().to_string();
                let file = ChangedFile { path, bytes: view.size() as u64, partition: view.partition_values_map() };
                found.push((file, view.remove_action(true)));
            }
            Ok(found)
        })
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    fn create(&mut self) -> Result<()> {
        let schema = StructType::try_new(self.columns.delta.clone()).map_err(|e| Error::config(e.to_string()))?;
        let metadata = new_metadata(&schema, self.columns.partition_names(), [] as [(&str, &str); 0])
            .map_err(|e| Error::internal(e.to_string()))?;
        let protocol: Protocol = serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))
            .map_err(|e| Error::internal(e.to_string()))?;
        let location = self.root.url().map_err(from_delta)?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location,
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let bytes = encode(vec![Action::Protocol(protocol), Action::Metadata(metadata)], operation, Value::Null, vec![])?;
        // Where another writer was first, its table is opened like any other.
        self.write_version(0, &bytes)?;
        Ok(())
    }

    /// Sees the latest version: checks that our columns fit, adds those that are missing. Returns the last number this
    /// writer has committed.
    fn refresh(&mut self) -> Result<Option<i64>> {
        let table = self.load()?;
        let snapshot = table.snapshot().map_err(from_delta)?.snapshot();
        self.version = snapshot.version();
        self.found.get_or_insert(self.version);
        self.since_seen = Stopwatch::start();
        check_writable(snapshot)?;
        let store = table.log_store();
        let sequence = self.runtime.block_on(snapshot.transaction_version(store.as_ref(), &self.app_id)).map_err(from_delta)?;
        if let Some(metadata) = grown(snapshot, &self.columns)? {
            let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
            let bytes = encode(vec![Action::Metadata(metadata)], operation, json!({ "change": "new columns" }), vec![])?;
            // Whoever was first may have added the same columns: look again.
            self.write_version(self.version + 1, &bytes)?;
            return self.refresh();
        }
        Ok(sequence)
    }

    fn load(&self) -> Result<DeltaTable> {
        self.runtime.block_on(self.root.open_table(None))
    }

    fn commit(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        about: Value,
        transactions: Vec<Transaction>,
    ) -> Result<u64> {
        let bytes = encode(actions, operation, about, transactions)?;
        for _ in 0..CONFLICTS_MAX {
            if self.write_version(self.version + 1, &bytes)? {
                self.version += 1;
                self.since_seen = Stopwatch::start();
                return Ok(self.version);
            }
            self.pass_over(self.version + 1)?;
        }
        Err(Error::new(Kind::Conflict, format!("{CONFLICTS_MAX} commits of other writers in a row were faster than ours")))
    }

    /// Takes note of another writer's commit.
    fn pass_over(&mut self, version: u64) -> Result<()> {
        let doing = || format!("reading version {version} of `{}`", self.root);
        let commit =
            self.log().read(&file_name(version))?.ok_or_else(|| Error::unavailable(format!("{}: it is not there", doing())))?;
        for action in serde_json::Deserializer::from_slice(&commit).into_iter::<Value>() {
            let action = action.map_err(|e| Error::unavailable(doing()).caused_by(e))?;
            if action["txn"]["appId"] == self.app_id.as_str() {
                return Err(self.fenced());
            }
            if action.get("metaData").is_some() || action.get("protocol").is_some() {
                return self.check_sequence();
            }
        }
        self.version = version;
        Ok(())
    }

    fn check_sequence(&mut self) -> Result<()> {
        let newest =
            self.refresh().map_err(|e| if e.kind == Kind::Config { Error::new(Kind::Conflict, e.to_string()) } else { e })?;
        if newest.unwrap_or(0) > self.sequence { Err(self.fenced()) } else { Ok(()) }
    }

    fn fenced(&self) -> Error {
        Error::new(Kind::Conflict, format!("another run writes to `{}` as `{}`", self.root, self.app_id))
    }

    /// Somebody else has written to it since it was looked at.
    pub fn was_first(&self) -> Error {
        Error::new(Kind::Conflict, format!("somebody else has written to `{}` meanwhile: run it again", self.root))
    }

    fn checkpoint(&self) -> Result<()> {
        let table = self.load()?;
        self.runtime.block_on(checkpoints::create_checkpoint(&table, None)).map_err(from_delta)?;
        // `deltalake` does not sync what it writes.
        let version = format!("{:020}.checkpoint", table.version().unwrap_or_default());
        if let Location::Folder(log) = self.log() {
            for name in
                self.log().files(None)?.into_iter().filter(|name| name.starts_with(&version) || name == "_last_checkpoint")
            {
                File::open(log.join(&name)).and_then(|f| f.sync_all()).doing(|| format!("syncing `{name}`"))?;
            }
            sync_folder(&log)?;
        }
        let snapshot = table.snapshot().map_err(from_delta)?;
        if deltalake_core::table::config::TablePropertiesExt::enable_expired_log_cleanup(snapshot.snapshot().table_properties()) {
            self.runtime.block_on(checkpoints::cleanup_metadata(&table, None)).map_err(from_delta)?;
        }
        if let Location::Folder(root) = &self.root {
            sweep_old(root, PART, LEFT_FOR);
        }
        Ok(())
    }

    fn log(&self) -> Location {
        self.root.join(LOG)
    }

    /// False if the version exists already.
    fn write_version(&self, version: u64, bytes: &[u8]) -> Result<bool> {
        self.log().create(&file_name(version), bytes)
    }
}

/// Files that killed runs left behind: those whose names end so, and that nobody has written to for so long.
fn sweep_old(folder: &Path, ending: &str, left_for: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && ![LOG, BESIDE].contains(&name.as_str()) => sweep_old(&entry.path(), ending, left_for),
            Ok(kind) if kind.is_file() && name.ends_with(ending) && age(&entry).is_some_and(|age| age >= left_for) => {
                let _ = fs::remove_file(entry.path());
            }
            _ => {}
        }
    }
}

fn encode(actions: Vec<Action>, operation: DeltaOperation, about: Value, transactions: Vec<Transaction>) -> Result<Vec<u8>> {
    let adds_only = actions.iter().all(|action| matches!(action, Action::Add(_)));
    let about = HashMap::from([("ouzel".to_string(), about), ("isBlindAppend".to_string(), json!(adds_only))]);
    let data = CommitData::new(actions, operation, about, transactions);
    Ok(data.get_bytes().map_err(|e| Error::internal("encoding a commit").caused_by(e))?.to_vec())
}

fn from_delta(e: DeltaTableError) -> Error {
    Error::unavailable("the table's log").caused_by(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["a.part", "day=1/b.part", "day=1/c.parquet", "_delta_log/d.part", "_ouzel/keys/e.part"];
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(path, "").expect("written");
        }
        let left = || files.iter().filter(|name| folder.path().join(name).exists()).copied().collect::<Vec<_>>();
        sweep_old(folder.path(), PART, LEFT_FOR);
        assert_eq!(left(), files, "somebody may be writing to them");
        sweep_old(folder.path(), PART, Duration::ZERO);
        assert_eq!(left(), files[2..]);
    }
}
