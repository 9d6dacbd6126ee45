//! A table's log between two versions, read commit by commit.

use crate::location::{LOG, Location};
use deltalake_core::kernel::Action;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A data file that came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedFile {
    /// To the table.
    pub path: String,
    pub bytes: u64,
    pub partition: HashMap<String, Option<String>>,
}

/// What has changed behind one version, up to another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Files whose rows are new, in the order of the commits, then by name.
    pub added: Vec<ChangedFile>,
    /// Files whose rows were there before and are not any more: corrected or deleted.
    pub removed: Vec<ChangedFile>,
    /// When the first and the last of these commits were made, milliseconds since 1970.
    pub span: Option<(i64, i64)>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.added.iter().chain(&self.removed).map(|file| file.bytes).sum()
    }
}

/// The name of a version's commit.
pub fn file_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The latest version; `None` if there is no such table.
pub fn latest(root: &Location) -> Result<Option<u64>> {
    let log = root.join(LOG);
    // In a bucket, names are told a thousand at a time: those before the last checkpoint are of no interest.
    let checkpoint = match &log {
        Location::Folder(_) => None,
        Location::Bucket { .. } => log.read("_last_checkpoint")?,
    };
    let checkpoint = checkpoint.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()?["version"].as_u64());
    let names = log.files(checkpoint.map(|version| format!("{version:020}")).as_deref())?;
    let version = |name: &String| name.strip_suffix(".json").filter(|stem| stem.len() == 20)?.parse().ok();
    Ok(names.iter().rev().find_map(version))
}

/// What has changed behind version `after` (`None`: from the beginning), up to `upto`. Rewriting files without changing rows is no change. [`Kind::Changed`]: the log of these versions
/// is not there any more.
pub fn changes(root: &Location, after: Option<u64>, upto: u64) -> Result<Changes> {
    let (mut added, mut removed): (BTreeMap<String, (u64, ChangedFile)>, BTreeMap<String, ChangedFile>) = Default::default();
    let mut span: Option<(i64, i64)> = None;
    let versions: Vec<u64> = (after.map_or(0, |after| after + 1)..=upto).collect();
    for some in versions.chunks(READ_AT_ONCE) {
        for (version, lines) in some.iter().zip(lines(root, some)?) {
            for line in lines? {
                if let Some(at) = line["commitInfo"]["timestamp"].as_i64() {
                    span = Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
                }
                if line.get("add").is_none() && line.get("remove").is_none() {
                    continue;
                }
                let action: Action = serde_json::from_value(line)
                    .map_err(|e| Error::new(Kind::Data, format!("version {version} of `{root}` cannot be read")).caused_by(e))?;
                match action {
                    Action::Add(add) if add.data_change => {
                        let file =
                            ChangedFile { path: add.path.clone(), bytes: add.size as u64, partition: add.partition_values };
                        // One that went and came back is as it was.
                        if removed.remove(&add.path).is_none() {
                            added.insert(add.path, (*version, file));
                        }
                    }
                    Action::Remove(remove) if remove.data_change => {
                        let bytes = remove.size.unwrap_or(0) as u64;
                        let partition = remove.partition_values.unwrap_or_default();
                        let file = ChangedFile { path: remove.path.clone(), bytes, partition };
                        // Nobody has seen one that came and went.
                        if added.remove(&remove.path).is_none() {
                            removed.insert(remove.path, file);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    let mut added: Vec<(u64, ChangedFile)> = added.into_values().collect();
    added.sort_by_key(|(version, _)| *version);
    Ok(Changes { added: added.into_iter().map(|(_, file)| file).collect(), removed: removed.into_values().collect(), span })
}

/// What jobs have told of their latest commits, the latest first, so many at most: version, milliseconds since 1970, what they told. As far back as the
/// log reaches.
pub fn told(root: &Location, most: usize) -> Result<Vec<(u64, i64, Value)>> {
    let mut found = Vec::new();
    let mut upto = latest(root)?.map_or(0, |latest| latest + 1);
    while upto > 0 && found.len() < most {
        // Most commits of a job's table tell something.
        let some = (most - found.len()).min(READ_AT_ONCE) as u64;
        let versions: Vec<u64> = (upto.saturating_sub(some)..upto).collect();
        let lines = lines(root, &versions)?;
        for (version, lines) in versions.iter().zip(lines).rev() {
            match lines {
                Ok(lines) => found.extend(of_jobs(lines).map(|(at, about)| (*version, at, about))),
                // Cleaned away.
                Err(e) if e.kind == Kind::Changed => return Ok(found),
                Err(e) => return Err(e),
            }
        }
        upto = versions[0];
    }
    found.truncate(most);
    Ok(found)
}

/// What tells a table from every other, also from one that is put in its place. Empty where there is none.
pub fn id(root: &Location) -> Result<String> {
    // It is told where the table was made, and again in each checkpoint; the library finds it there.
    if let Some(Ok(first)) = lines(root, &[0])?.pop()
        && let Some(id) = first.iter().find_map(|action| action["metaData"]["id"].as_str())
    {
        return Ok(id.to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "starting a runtime".into())?;
    let table = runtime.block_on(root.open_table(None))?;
    Ok(table.snapshot().map(|snapshot| snapshot.metadata().id().to_string()).unwrap_or_default())
}

/// Commits that are read at once.
pub const READ_AT_ONCE: usize = 100;

/// What jobs have told in some commits, each as [`told`]. [`Kind::Changed`]: one has been cleaned away.
pub fn told_at(root: &Location, versions: &[u64]) -> Result<Vec<(u64, Value)>> {
    let mut found = Vec::new();
    for (version, lines) in versions.iter().zip(lines(root, versions)?) {
        found.extend(of_jobs(lines?).map(|(_, about)| (*version, about)));
    }
    Ok(found)
}

fn of_jobs(lines: Vec<Value>) -> impl Iterator<Item = (i64, Value)> {
    lines.into_iter().filter_map(|mut line| {
        let info = line.get_mut("commitInfo")?;
        let at = info["timestamp"].as_i64().unwrap_or(0);
        info["ouzel"].get("job").is_some().then(|| (at, info["ouzel"].take()))
    })
}

/// The actions of each of some commits.
fn lines(root: &Location, versions: &[u64]) -> Result<Vec<Result<Vec<Value>>>> {
    let names: Vec<String> = versions.iter().map(|version| file_name(*version)).collect();
    let commits = root.join(LOG).read_all(&names)?;
    let parsed = |(version, commit): (&u64, Option<Vec<u8>>)| {
        let Some(commit) = commit else {
            return Err(Error::new(Kind::Changed, format!("the log of version {version} of `{root}` has been cleaned away")));
        };
        let actions = serde_json::Deserializer::from_slice(&commit).into_iter::<Value>().collect::<std::result::Result<_, _>>();
        actions.map_err(|e| Error::new(Kind::Data, format!("version {version} of `{root}` cannot be read")).caused_by(e))
    };
    Ok(versions.iter().zip(commits).map(parsed).collect())
}
