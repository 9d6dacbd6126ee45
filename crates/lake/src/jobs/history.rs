//! A table's log between two versions, read commit by commit.

use deltalake_core::kernel::Action;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

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

/// The latest version; `None` if there is no such table.
pub fn latest(root: &Path) -> Result<Option<u64>> {
    let log = root.join("_delta_log");
    if !log.is_dir() {
        return Ok(None);
    }
    let entries = fs::read_dir(&log).doing(|| format!("reading `{}`", log.display()))?;
    let mut latest = None;
    for entry in entries {
        let name = entry.doing(|| format!("reading `{}`", log.display()))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if let Some(version) = name.strip_suffix(".json").filter(|stem| stem.len() == 20).and_then(|stem| stem.parse().ok()) {
            latest = latest.max(Some(version));
        }
    }
    Ok(latest)
}

/// What has changed behind version `after` (`None`: from the beginning), up to `upto`. Rewriting files without changing rows is no change. [`Kind::Changed`]: the log of these versions
/// is not there any more.
pub fn changes(root: &Path, after: Option<u64>, upto: u64) -> Result<Changes> {
    let (mut added, mut removed): (BTreeMap<String, (u64, ChangedFile)>, BTreeMap<String, ChangedFile>) = Default::default();
    let mut span: Option<(i64, i64)> = None;
    for version in after.map_or(0, |after| after + 1)..=upto {
        for line in lines(root, version)? {
            if let Some(at) = line["commitInfo"]["timestamp"].as_i64() {
                span = Some(span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            }
            if line.get("add").is_none() && line.get("remove").is_none() {
                continue;
            }
            let action: Action = serde_json::from_value(line).map_err(|e| {
                Error::new(Kind::Data, format!("version {version} of `{}` cannot be read", root.display())).caused_by(e)
            })?;
            match action {
                Action::Add(add) if add.data_change => {
                    let file = ChangedFile { path: add.path.clone(), bytes: add.size as u64, partition: add.partition_values };
                    // One that went and came back is as it was.
                    if removed.remove(&add.path).is_none() {
                        added.insert(add.path, (version, file));
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
    let mut added: Vec<(u64, ChangedFile)> = added.into_values().collect();
    added.sort_by_key(|(version, _)| *version);
    Ok(Changes { added: added.into_iter().map(|(_, file)| file).collect(), removed: removed.into_values().collect(), span })
}

/// What jobs have told of their latest commits, the latest first, so many at most: version, milliseconds since 1970, what they told. As far back as the
/// log reaches.
pub fn told(root: &Path, most: usize) -> Result<Vec<(u64, i64, Value)>> {
    let mut found = Vec::new();
    let Some(latest) = latest(root)? else { return Ok(found) };
    for version in (0..=latest).rev() {
        if found.len() >= most {
            break;
        }
        let lines = match lines(root, version) {
            Ok(lines) => lines,
            // Cleaned away.
            Err(e) if e.kind == Kind::Changed => break,
            Err(e) => return Err(e),
        };
        found.extend(of_jobs(lines).map(|(at, about)| (version, at, about)));
    }
    Ok(found)
}

/// What jobs have told in one commit, as [`told`]. [`Kind::Changed`]: it has been cleaned away.
pub fn told_at(root: &Path, version: u64) -> Result<Vec<(i64, Value)>> {
    Ok(of_jobs(lines(root, version)?).collect())
}

fn of_jobs(lines: Vec<Value>) -> impl Iterator<Item = (i64, Value)> {
    lines.into_iter().filter_map(|mut line| {
        let info = line.get_mut("commitInfo")?;
        let at = info["timestamp"].as_i64().unwrap_or(0);
        info["ouzel"].get("job").is_some().then(|| (at, info["ouzel"].take()))
    })
}

fn lines(root: &Path, version: u64) -> Result<Vec<Value>> {
    let path = root.join("_delta_log").join(format!("{version:020}.json"));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("the log of version {version} of `{}` has been cleaned away", root.display());
            return Err(Error::new(Kind::Changed, message));
        }
        Err(e) => return Err(e).doing(|| format!("reading `{}`", path.display())),
    };
    let parsed =
        text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect::<std::result::Result<_, _>>();
    parsed.map_err(|e| Error::new(Kind::Data, format!("`{}` cannot be read", path.display())).caused_by(e))
}
