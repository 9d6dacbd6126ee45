//! Files that others put into a folder or a bucket, and which of them a table has taken: told in its commits, kept beside it to be found fast.

use super::history;
use crate::bucket::Bucket;
use crate::location::{BESIDE, Location, key_of_prefix};
use object_store::ObjectMeta;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// A file as it lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// To the folder of the source.
    pub path: String,
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
}

/// The folder that all names of a pattern lie in, and the rest of the pattern.
fn folder_of(pattern: &str) -> (&str, &str) {
    let special = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    match pattern[..special].rfind('/') {
        Some(slash) => (&pattern[..slash.max(1)], &pattern[slash + 1..]),
        None => (".", pattern),
    }
}

/// What the names of a file's folders say, `day=2026-11-01/site=a%2Fb/..`: names and values, in their order, as Hive writes them.
pub fn folders_of(path: &str) -> Vec<(String, Option<String>)> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let said = folders.split('/').filter_map(|folder| folder.split_once('=')).filter(|(name, _)| !name.is_empty());
    said.map(|(name, value)| (decoded(name), Some(decoded(value)).filter(|value| !value.is_empty() && value != NO_VALUE)))
        .collect()
}

/// Of a null, in the name of a folder.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which files of a folder or a bucket are meant: `*`, `?`, `[..]`; `**` is any number of folders. Hidden ones are passed over.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What all their names lie in.
    pub folder: Location,
    rest: String,
}

impl Pattern {
    pub fn of_folder(pattern: &Path) -> Pattern {
        let text = pattern.to_string_lossy();
        let (folder, rest) = folder_of(&text);
        let folder = PathBuf::from(folder);
        // Names are told apart from their folder's, which `.` and `..` would stand in the way of. One that is not there is told when it is listed.
        let folder = folder.canonicalize().unwrap_or(folder);
        Pattern { folder: Location::Folder(folder), rest: rest.to_string() }
    }

    /// `pattern`: of the names of objects. [`Kind::Config`]: it is none.
    pub fn of_bucket(bucket: Arc<Bucket>, pattern: &str) -> Result<Pattern> {
        let (folder, rest) = folder_of(pattern);
        let key = key_of_prefix(if folder == "." { "" } else { folder })?;
        Ok(Pattern { folder: Location::Bucket { bucket, key, work: PathBuf::new() }, rest: rest.to_string() })
    }

    /// The files, by name. [`Kind::Config`]: there is no such folder.
    pub fn list(&self) -> Result<Vec<Arrived>> {
        let mut files = match &self.folder {
            Location::Folder(folder) => self.list_folder(folder)?,
            Location::Bucket { bucket, key, .. } => {
                let pattern = glob::Pattern::new(&self.rest).map_err(|e| self.is_none(&e))?;
                let arrived = |about: ObjectMeta| {
                    let path = about.location.as_ref().strip_prefix(key.as_ref())?.trim_start_matches('/').to_string();
                    let is_meant = pattern.matches_with(&path, OPTIONS);
                    is_meant.then(|| Arrived { path, bytes: about.size, modified: about.last_modified.timestamp_millis() })
                };
                bucket.list(key, None)?.into_iter().filter_map(arrived).collect()
            }
        };
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn list_folder(&self, folder: &Path) -> Result<Vec<Arrived>> {
        if !folder.is_dir() {
            let message = format!("there is no folder `{}`, where `{}` looks for files", folder.display(), self.rest);
            return Err(Error::config(message));
        }
        let whole = format!("{}/{}", glob::Pattern::escape(&folder.to_string_lossy()), self.rest);
        let found = glob::glob_with(&whole, OPTIONS).map_err(|e| self.is_none(&e))?;
        let mut files = Vec::new();
        for path in found {
            let path = path.map_err(|e| Error::unavailable(format!("listing `{whole}`")).caused_by(e))?;
            let about = match fs::metadata(&path) {
                Ok(about) if about.is_dir() => continue,
                Ok(about) => about,
                // Gone since it was listed.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e).doing(|| format!("looking at `{}`", path.display())),
            };
            let modified = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let name =
                path.strip_prefix(folder).map_err(|e| Error::internal(format!("listing `{whole}`")).caused_by(e))?.to_str();
            let name = name.ok_or_else(|| Error::config(format!("the name of `{}` is not UTF-8: rename it", path.display())))?;
            let name = name.to_string();
            files.push(Arrived { path: name, bytes: about.len(), modified: modified.map_or(0, |at| at.as_millis() as i64) });
        }
        Ok(files)
    }

    fn is_none(&self, e: &glob::PatternError) -> Error {
        Error::config(format!("`{}` is no pattern of files: {e}", self.rest))
    }
}

const OPTIONS: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files that a table has taken.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The table's version that it is of.
    version: Option<u64>,
    /// What the names are relative to, as the commits tell it.
    #[serde(default)]
    base: Option<String>,
    /// By name.
    pub files: BTreeMap<String, Taken>,
    /// Columns of the files, with their types.
    pub columns: Vec<(String, String)>,
    /// Those of them that are what the names of folders say.
    #[serde(default)]
    pub folders: Vec<String>,
    /// What the header of the first file names, where files have one.
    #[serde(default)]
    pub header: BTreeSet<String>,
    /// What values are called in the records of the files, and columns that have had values.
    #[serde(default)]
    pub names: BTreeSet<String>,
    #[serde(default)]
    pub filled: BTreeSet<String>,
    /// Files with what was set aside, beside the table.
    #[serde(default)]
    pub aside: Vec<String>,
}

/// How a ledger's names are told, for files of some place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Before their own names.
    pub prefix: String,
    /// It is another place than that of the files that were taken.
    pub is_other: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub bytes: u64,
    pub modified: i64,
    /// The version that has its rows.
    pub version: u64,
}

impl Ledger {
    /// Of a table that is made anew: its files, and nothing of what they are to have.
    pub fn anew(self) -> Ledger {
        Ledger { version: self.version, files: self.files, ..Ledger::default() }
    }

    /// How its names are told for files that lie in `base`, which may be within what it knows, or around it.
    pub fn seen_from(&mut self, base: &str) -> Seen {
        let within = |outer: &str, inner: &str| {
            if outer.is_empty() {
                // The project's folder.
                let is_there = !inner.starts_with('/') && !inner.contains("://");
                return is_there.then(|| format!("{inner}/"));
            }
            inner.strip_prefix(outer)?.strip_prefix('/').map(|rest| format!("{rest}/"))
        };
        let known = self.base.get_or_insert_with(|| base.to_string()).clone();
        if known == base {
            return Seen { prefix: String::new(), is_other: false };
        }
        if let Some(prefix) = within(&known, base) {
            return Seen { prefix, is_other: false };
        }
        let around = within(base, &known);
        if let Some(prefix) = &around {
            self.files =
                std::mem::take(&mut self.files).into_iter().map(|(name, taken)| (prefix.clone() + &name, taken)).collect();
        }
        self.base = Some(base.to_string());
        Seen { prefix: String::new(), is_other: around.is_none() }
    }

    /// Whether there is a table.
    pub fn is_of_a_table(&self) -> bool {
        self.version.is_some()
    }

    /// Reads what the table's commits tell. [`Kind::Changed`]: its log does not reach back to the beginning any more, and what was kept of it is gone.
    pub fn read(table: &Location) -> Result<Ledger> {
        let Some(latest) = history::latest(table)? else { return Ok(Ledger::default()) };
        let kept = table.join(BESIDE).read(KEPT)?.and_then(|bytes| serde_json::from_slice::<Ledger>(&bytes).ok());
        let mut ledger = kept.unwrap_or_default();
        if ledger.version.is_some_and(|version| version > latest) {
            ledger = Ledger::default();
        }
        let versions: Vec<u64> = (ledger.version.map_or(0, |version| version + 1)..=latest).collect();
        for some in versions.chunks(history::READ_AT_ONCE) {
            for (version, about) in history::told_at(table, some)? {
                ledger.take(version, &about["job"])?;
            }
        }
        ledger.version = Some(latest);
        Ok(ledger)
    }

    fn take(&mut self, version: u64, job: &serde_json::Value) -> Result<()> {
        let wrong =
            |e| Error::new(Kind::Data, format!("version {version} tells of files in a way that is not known")).caused_by(e);
        if job["kind"] == "full" {
            *self = Ledger::default();
        }
        if let Some(files) = job.get("files") {
            let files: Vec<Arrived> = serde_json::from_value(files.clone()).map_err(wrong)?;
            let prefix = job["base"].as_str().map_or(String::new(), |base| self.seen_from(base).prefix);
            let taken =
                |file: Arrived| (prefix.clone() + &file.path, Taken { bytes: file.bytes, modified: file.modified, version });
            self.files.extend(files.into_iter().map(taken));
        }
        let told = |key: &str| job.get(key).cloned();
        if let Some(columns) = told("columns") {
            self.columns = serde_json::from_value(columns).map_err(wrong)?;
        }
        if let Some(folders) = told("folders") {
            self.folders = serde_json::from_value(folders).map_err(wrong)?;
        }
        let texts = |key: &str| -> Result<Vec<String>> {
            told(key).map_or(Ok(Vec::new()), |texts| serde_json::from_value(texts).map_err(wrong))
        };
        self.header.extend(texts("header")?);
        self.names.extend(texts("names")?);
        self.filled.extend(texts("filled")?);
        self.aside.extend(texts("aside")?);
        Ok(())
    }

    /// Keeps it beside the table, for as long as the table is there: its log is cleaned away.
    pub fn keep(&self, table: &Location) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::internal(e.to_string()))?;
        table.join(BESIDE).put(KEPT, &bytes)
    }
}

/// Of what is kept of it.
const KEPT: &str = "files.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_from_further_up_and_further_down() {
        let mut ledger = Ledger::default();
        let commit = |version: u64, base: &str, file: &str| {
            (version, serde_json::json!({ "base": base, "files": [{ "path": file, "bytes": 1, "modified": 1 }] }))
        };
        for (version, job) in [commit(1, "in/a", "1"), commit(2, "in", "b/2"), commit(3, "in/a/c", "3"), commit(4, "", "in/4")] {
            ledger.take(version, &job).expect("known");
        }
        let names: Vec<&str> = ledger.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["in/4", "in/a/1", "in/a/c/3", "in/b/2"]);
        assert_eq!(ledger.seen_from("in/a"), Seen { prefix: "in/a/".into(), is_other: false });
        assert!(ledger.seen_from("/elsewhere").is_other);
        let mut ledger = Ledger { base: Some("s3://b/in".into()), ..Ledger::default() };
        assert!(ledger.seen_from("s3://b/in-other").is_other);
    }

    #[test]
    fn folders_say_what_their_names_do() {
        let said = |path: &str| {
            folders_of(path).into_iter().map(|(n, v)| format!("{n}={}", v.unwrap_or("null".into()))).collect::<Vec<_>>()
        };
        assert_eq!(said("a/day=2026-11-01/site=a%2Fb%3D/x=1.parquet"), ["day=2026-11-01", "site=a/b="]);
        assert_eq!(said("day=__HIVE_DEFAULT_PARTITION__/n=/=3/x"), ["day=null", "n=null"]);
        assert!(said("x").is_empty());
    }

    #[test]
    fn patterns_begin_with_a_folder() {
        assert_eq!(folder_of("/a/b/**/*.parquet"), ("/a/b", "**/*.parquet"));
        assert_eq!(folder_of("/a/b-*/c.parquet"), ("/a", "b-*/c.parquet"));
        assert_eq!(folder_of("/a/c.parquet"), ("/a", "c.parquet"));
        assert_eq!(folder_of("/*"), ("/", "*"));
    }

    #[test]
    fn files_of_sub_folders_come_by_name_and_hidden_ones_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b/2.parquet", "b/1.parquet", "1.parquet", "b/.3.parquet", "b/c/4.parquet", "5.parquet.part"] {
            fs::create_dir_all(folder.path().join(name).parent().expect("has one")).expect("made");
            fs::write(folder.path().join(name), name).expect("written");
        }
        let pattern = Pattern::of_folder(&folder.path().join("**/*.parquet"));
        let files = pattern.list().expect("listed");
        assert_eq!(pattern.folder.to_string(), folder.path().to_string_lossy());
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["1.parquet", "b/1.parquet", "b/2.parquet", "b/c/4.parquet"]);
        assert_eq!(Pattern::of_folder(&folder.path().join("none/*")).list().expect_err("no folder").kind, Kind::Config);
    }
}
