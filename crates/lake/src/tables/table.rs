//! One Delta table on local disk: opening, growing its schema, appending files.
//!
//! Commits are made here and not by `deltalake`'s `CommitBuilder`, which keeps every file of the table in memory and
//! writes without fsync. An append needs neither the files nor a transaction of theirs: it conflicts only with a changed
//! schema and with another run of the same writer. A commit is written beside its place, synced, and linked to the
//! next version's name, which fails if the name is taken: so it is there wholly or not at all, also after a power cut.

use super::columns::Columns;
use super::files::sync_folder;
use super::fit::{check_writable, grown};
use crate::jobs::history::ChangedFile;
use deltalake_core::kernel::transaction::CommitData;
use deltalake_core::kernel::{Action, Add, Protocol, Remove, StructType, Transaction, new_metadata};
use deltalake_core::protocol::{DeltaOperation, SaveMode, checkpoints};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use futures::TryStreamExt;
use ouzel_core::clock::{Clock, Stopwatch, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;

/// Commits between checkpoints, which spare readers the single commits before them.
const CHECKPOINT_EVERY: u64 = 100;
/// A version seen so long ago may have been cleaned away since: the latest is looked up.
const VERSION_TRUSTED_S: f64 = 3600.0;
/// Other writers that may win in a row before we give up.
const CONFLICTS_MAX: usize = 1000;

pub struct Table {
    root: PathBuf,
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
    pub fn open_or_create(root: &Path, columns: &Arc<Columns>, app_id: &str) -> Result<Table> {
        let log = root.join("_delta_log");
        fs::create_dir_all(&log).doing(|| format!("making the folder `{}`", log.display()))?;
        let root = root.canonicalize().doing(|| format!("opening `{}`", root.display()))?;
        sync_folder(&root)?;
        for parent in root.ancestors().skip(1).take(2) {
            // They may be new as well; or old, and of someone who lets us through but not read.
            let _ = sync_folder(parent);
        }
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
        if !has_versions(&table.log())? {
            table.create()?;
        }
        let sequence = table.refresh()?;
        table.sequence = sequence.unwrap_or(0);
        Ok(table)
    }

    pub fn root(&self) -> &Path {
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
        let location = ensure_table_uri(self.root.to_string_lossy()).map_err(from_delta)?;
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
        let url = ensure_table_uri(self.root.to_string_lossy()).map_err(from_delta)?;
        let builder = DeltaTableBuilder::from_url(url).map_err(from_delta)?;
        self.runtime.block_on(builder.load()).map_err(from_delta)
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
        let path = self.log().join(file_name(version));
        let text = fs::read_to_string(&path).doing(|| format!("reading `{}`", path.display()))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let action: Value = serde_json::from_str(line)
                .map_err(|e| Error::unavailable(format!("reading `{}`", path.display())).caused_by(e))?;
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
        Error::new(Kind::Conflict, format!("another run writes to `{}` as `{}`", self.root.display(), self.app_id))
    }

    /// Somebody else has written to it since it was looked at.
    pub fn was_first(&self) -> Error {
        Error::new(Kind::Conflict, format!("somebody else has written to `{}` meanwhile: run it again", self.root.display()))
    }

    fn checkpoint(&self) -> Result<()> {
        let table = self.load()?;
        self.runtime.block_on(checkpoints::create_checkpoint(&table, None)).map_err(from_delta)?;
        // `deltalake` does not sync what it writes.
        let entries = fs::read_dir(self.log()).doing(|| "reading the log".into())?;
        let version = format!("{:020}.checkpoint", table.version().unwrap_or_default());
        for entry in entries {
            let entry = entry.doing(|| "reading the log".into())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&version) || name == "_last_checkpoint" {
                File::open(entry.path()).and_then(|f| f.sync_all()).doing(|| format!("syncing `{name}`"))?;
            }
        }
        sync_folder(&self.log())?;
        let snapshot = table.snapshot().map_err(from_delta)?;
        if deltalake_core::table::config::TablePropertiesExt::enable_expired_log_cleanup(snapshot.snapshot().table_properties()) {
            self.runtime.block_on(checkpoints::cleanup_metadata(&table, None)).map_err(from_delta)?;
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.root.join("_delta_log")
    }

    /// False if the version exists already.
    fn write_version(&self, version: u64, bytes: &[u8]) -> Result<bool> {
        let log = self.log();
        let path = log.join(file_name(version));
        let temporary = log.join(temporary_name());
        let mut file = File::create_new(&temporary).doing(|| format!("writing `{}`", temporary.display()))?;
        let mut write = || -> io::Result<bool> {
            file.write_all(bytes)?;
            file.sync_all()?;
            match fs::hard_link(&temporary, &path) {
                Ok(()) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(e) => Err(e),
            }
        };
        let created = write();
        // A leftover is named so that readers pass over it and cleaning finds it.
        let _ = fs::remove_file(&temporary);
        let created = created.doing(|| format!("writing `{}`", path.display()))?;
        sync_folder(&log)?;
        Ok(created)
    }
}

/// A name no other commit on its way has: not of another process, nor of another thread of this one at the same instant.
fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("_commit_{}-{:x}-{}.json.tmp", std::process::id(), WallClock.now_us(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn file_name(version: u64) -> String {
    format!("{version:020}.json")
}

fn has_versions(log: &Path) -> Result<bool> {
    for entry in fs::read_dir(log).doing(|| format!("reading `{}`", log.display()))? {
        let name = entry.doing(|| format!("reading `{}`", log.display()))?.file_name();
        if name.to_string_lossy().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(true);
        }
    }
    Ok(false)
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
    use super::temporary_name;

    #[test]
    fn commits_of_one_instant_have_names_of_their_own() {
        let names: std::collections::HashSet<String> = (0..10_000).map(|_| temporary_name()).collect();
        assert_eq!(names.len(), 10_000);
    }
}
