//! State on an object store: the store has every commit, the folder on this machine is a copy to work with.
//!
//! A commit first puts what it names there, then its manifest, only if there is none of that number: that is the commit, and the fence
//! between machines, as creating the file is between processes. Whoever opens the state begins with what the store has; another machine
//! gets what it lacks.

use super::manifest::{JournalPart, Manifest};
use super::merge::tier;
use crate::config::S3Store;
use crate::fault;
use crate::journal;
use object_store::path::Path as Key;
use ouzel_connect::sinks::sync_folder;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use ouzel_lake::Bucket;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// A pipeline's part of a bucket.
#[derive(Clone)]
pub struct Mirror {
    bucket: Arc<Bucket>,
    prefix: Key,
    /// For messages.
    pub location: String,
}

/// Parts of a journal that are not worth a merge.
const PARTS_MAX: usize = 12;

impl Mirror {
    /// [`ouzel_core::Kind::Config`]: the settings are none.
    pub fn open(settings: &S3Store, pipeline: &str) -> Result<Mirror> {
        let prefix = settings.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { pipeline.to_string() } else { format!("{prefix}/{pipeline}") };
        let location = format!("s3://{}/{prefix}", settings.bucket);
        Ok(Mirror { bucket: Arc::new(Bucket::open(&settings.settings())?), prefix: Key::from(prefix), location })
    }

    /// Names and sizes.
    pub fn list(&self) -> Result<BTreeMap<String, u64>> {
        // What lies in folders of ours is another pipeline's.
        let name = |key: &Key| {
            let mut parts = key.prefix_match(&self.prefix)?;
            let name = parts.next()?.as_ref().to_string();
            parts.next().is_none().then_some(name)
        };
        let found = self.bucket.list(&self.prefix, None)?;
        Ok(found.into_iter().filter_map(|about| Some((name(&about.location)?, about.size))).collect())
    }

    /// `None`: there is none of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.bucket.read(&self.key(name))
    }

    /// Appends an object to a file. False: there is none of that name.
    fn fetch(&self, name: &str, to: &mut File) -> Result<bool> {
        self.bucket.fetch(&self.key(name), to)
    }

    /// Puts a part of a file under a name.
    pub fn upload(&self, name: &str, from: &Path, at: u64, bytes: u64) -> Result<()> {
        self.bucket.upload(&self.key(name), from, at, bytes)
    }

    /// Removes objects; what cannot be removed is in nobody's way.
    pub fn remove<'n>(&self, names: impl Iterator<Item = &'n str>) {
        names.for_each(|name| self.bucket.remove(&self.key(name)));
    }

    fn key(&self, name: &str) -> Key {
        self.prefix.clone().join(name)
    }

    /// Makes the folder what the store has: its commits, and what they name. The commits come last: a folder that has one has all of it.
    /// True: another machine made the newest commit. [`Kind::Changed`]: the folder has commits and the store has none.
    pub fn pull(&self, folder: &Path) -> Result<bool> {
        let there = self.list()?;
        let manifests: Vec<&String> = there.keys().filter(|name| name.ends_with(".manifest")).collect();
        for entry in fs::read_dir(folder).doing(|| format!("reading `{}`", folder.display()))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".manifest") || manifests.contains(&&name) {
                continue;
            }
            if manifests.is_empty() {
                let message = format!(
                    "`{}` holds state, and `{}` holds none: go on with the folder (`state: {{ local: {{}} }}`), name another `path` to begin \
                     anew, or see that bucket and prefix are right",
                    folder.display(),
                    self.location
                );
                return Err(Error::new(Kind::Changed, message));
            }
            // It was never a commit.
            fs::remove_file(entry.path()).doing(|| format!("removing `{}`", entry.path().display()))?;
        }
        let (mut newest, mut new) = (None, Vec::new());
        let mut was_here = false;
        for name in manifests {
            let Some(bytes) = self.read(name)? else { continue };
            let path = folder.join(name);
            was_here = fs::read(&path).is_ok_and(|here| here == bytes);
            if let Ok(manifest) = Manifest::decode(&bytes) {
                for (name, bytes) in manifest.state_files() {
                    self.pull_file(folder, name, bytes)?;
                }
                newest = Some(manifest);
            }
            if !was_here {
                new.push((path, bytes));
            }
        }
        // What was set aside since the last commit here may be another than since the last commit there.
        if let Some(newest) = newest.as_ref().filter(|newest| !was_here || !journal::holds(folder, newest.journal)) {
            self.pull_journals(folder, newest)?;
        }
        for path in journal::files(folder) {
            self.join_settled(&path.with_extension("settled"))?;
        }
        let is_from_elsewhere = newest.is_some() && !was_here;
        for (path, bytes) in new {
            replace(&path, |file| file.write_all(&bytes).doing(|| format!("writing `{}`", path.display())))?;
        }
        Ok(is_from_elsewhere)
    }

    /// Gets the files of a commit once more: what is here is damaged.
    pub fn fetch_again(&self, folder: &Path, commit: &Manifest) -> Result<()> {
        for (name, bytes) in commit.state_files() {
            let _ = fs::remove_file(folder.join(name));
            self.pull_file(folder, name, bytes)?;
        }
        Ok(())
    }

    /// Adds to the events that are settled here those that are settled there.
    pub fn join_settled(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(theirs) = self.read(&name)? else { return Ok(()) };
        let here = fs::read_to_string(path).unwrap_or_default();
        let theirs = String::from_utf8_lossy(&theirs).into_owned();
        let known: HashSet<&str> = here.lines().collect();
        let more: String = theirs.lines().filter(|id| !known.contains(id)).map(|id| format!("{id}\n")).collect();
        if more.is_empty() {
            return Ok(());
        }
        let all = format!("{here}{more}");
        replace(path, |file| file.write_all(all.as_bytes()).doing(|| format!("writing `{}`", path.display())))
    }

    /// One that is there is as it was written: no two have one name. One that is not is for the restore to miss.
    fn pull_file(&self, folder: &Path, name: &str, bytes: u64) -> Result<()> {
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|about| about.len() == bytes) {
            return Ok(());
        }
        replace(&path, |file| self.fetch(name, file).map(drop))
    }

    fn pull_journals(&self, folder: &Path, manifest: &Manifest) -> Result<()> {
        for (dead, path) in journal::files(folder).into_iter().enumerate() {
            let _ = fs::remove_file(&path);
            let parts: Vec<_> = manifest.journal_parts.iter().filter(|part| part.dead == (dead == 1)).collect();
            if !parts.is_empty() {
                replace(&path, |file| parts.iter().try_for_each(|part| self.fetch(&part.name, file).map(drop)))?;
            }
        }
        Ok(())
    }

    /// Puts there what a commit names and was not there yet.
    pub fn push(&self, folder: &Path, manifest: &mut Manifest, new: &[(String, u64)]) -> Result<()> {
        for (name, bytes) in new {
            self.upload(name, &folder.join(name), 0, *bytes)?;
        }
        let lengths = [manifest.journal.quarantine, manifest.journal.dead_letters];
        for ((dead, path), length) in journal::files(folder).into_iter().enumerate().zip(lengths) {
            let (mut parts, others): (Vec<JournalPart>, Vec<_>) =
                std::mem::take(&mut manifest.journal_parts).into_iter().partition(|part| part.dead == (dead == 1));
            manifest.journal_parts = others;
            let there: u64 = parts.iter().map(|part| part.bytes).sum();
            if length > there {
                let name = format!("{:012}-{}-{dead}.part", manifest.commit, manifest.epoch);
                let mut bytes = length - there;
                let sizes: Vec<u64> = parts.iter().map(|part| part.bytes).chain([bytes]).collect();
                // The file has what all parts have, so merging some is putting their stretch of it.
                if let Some(from) = tier(&sizes, PARTS_MAX) {
                    parts.truncate(from);
                    bytes = sizes[from..].iter().sum();
                }
                self.upload(&name, &path, length - bytes, bytes)?;
                parts.push(JournalPart { dead: dead == 1, name, bytes });
            }
            manifest.journal_parts.extend(parts);
        }
        fault::point("uploaded");
        Ok(())
    }

    /// Makes the commit. False if there is one of this number already.
    pub fn commit(&self, manifest: &Manifest) -> Result<bool> {
        let created = self.bucket.create(&self.key(&manifest.file_name()), &manifest.encode()?)?;
        fault::point("created");
        Ok(created)
    }

    /// Numbers of the commits there are.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        Ok(self.list()?.keys().filter_map(|name| name.strip_suffix(".manifest")?.parse().ok()).collect())
    }

    /// The newest sound commit.
    pub fn newest(&self) -> Result<Option<Manifest>> {
        for name in self.list()?.keys().rev().filter(|name| name.ends_with(".manifest")) {
            if let Some(manifest) = self.read(name)?.and_then(|bytes| Manifest::decode(&bytes).ok()) {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }
}

/// Writes a file under another name until it is whole.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let new = path.with_extension("new");
    let doing = || format!("writing `{}`", path.display());
    let mut file = File::create(&new).doing(doing)?;
    write(&mut file)?;
    file.sync_data().and_then(|()| fs::rename(&new, path)).doing(doing)?;
    path.parent().map_or(Ok(()), sync_folder)
}
