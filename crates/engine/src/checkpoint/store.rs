//! The folder of a pipeline's state: who holds it, which commits there are, making the next one.

use super::cold::{Cold, ColdMerge, ColdMerged, NewRun, Run};
use super::files::{Section, Writer};
use super::manifest::{ColdFile, Manifest, StateFile};
use super::merge::{Merge, Merged};
use super::mirror::Mirror;
use crate::fault;
use crate::plan::Plan;
use ouzel_connect::sinks::sync_folder;
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Commits that are kept: the last, and some to fall back on where it is damaged.
const KEPT_COMMITS: usize = 3;

/// Commits after a merge that failed before another is tried.
const FAILED_COMMITS: u32 = 32;

/// The state of a pipeline, held by this process.
pub struct Store {
    folder: PathBuf,
    project: String,
    pipeline: String,
    /// Released when it is closed.
    _lock: File,
    epoch: u64,
    process: String,
    /// The folder is a copy of this.
    mirror: Option<Mirror>,
    /// Another machine made the commit that was found.
    is_from_elsewhere: bool,
    /// Number of the last commit.
    commit: u64,
    /// Oldest first; which of their files are still needed follows from them.
    kept: Vec<Manifest>,
    merging: Merging,
}

/// At most one merge at a time.
#[derive(Default)]
enum Merging {
    #[default]
    Idle,
    UnderWay,
    Done(Made),
    /// No other is tried for so many commits: more files only take longer to read.
    Failed(u32),
}

/// A merge that should be made.
pub struct Due {
    what: What,
    folder: PathBuf,
    mirror: Option<Mirror>,
}

enum What {
    Files(Merge),
    Runs(ColdMerge),
}

impl Due {
    pub fn run(self, plan: &Plan) -> Result<Made> {
        let (name, bytes, made) = match self.what {
            What::Files(merge) => merge.run(plan).map(|m| (m.file.name.clone(), m.file.bytes, Made::File(m)))?,
            What::Runs(merge) => merge.run().map(|m| (m.file.name.clone(), m.file.bytes, Made::Run(m)))?,
        };
        if let Some(mirror) = &self.mirror {
            mirror.upload(&name, &self.folder.join(&name), 0, bytes)?;
        }
        Ok(made)
    }
}

/// A merge that has been made.
pub enum Made {
    File(Merged),
    Run(ColdMerged),
}

/// A store and what it holds.
pub struct Opened {
    pub store: Store,
    /// Sound commits, the newest first.
    pub commits: Vec<Manifest>,
    /// What is damaged, for people.
    pub damaged: Vec<String>,
}

impl Store {
    /// `project` and `pipeline`: whose state it is to be. `take_over`: pass over whoever holds it.
    /// [`Kind::Conflict`]: another process holds it. [`Kind::Changed`]: it is of a newer version or of another project.
    pub fn open(folder: &Path, project: &str, pipeline: &str, take_over: bool, mirror: Option<Mirror>) -> Result<Opened> {
        fs::create_dir_all(folder).doing(|| format!("making the folder `{}`", folder.display()))?;
        for parent in folder.ancestors().skip(1).take(2).filter(|parent| !parent.as_os_str().is_empty()) {
            // They may be new as well; or old, and of someone who lets us through but not read.
            let _ = sync_folder(parent);
        }
        let lock = lock(folder, take_over)?;
        let is_from_elsewhere = match &mirror {
            Some(mirror) => mirror.pull(folder)?,
            None => false,
        };
        let (mut commits, mut damaged) = (Vec::new(), Vec::new());
        let mut newest = 0;
        for (number, path) in manifests(folder)?.into_iter().rev() {
            newest = newest.max(number);
            let read = fs::read(&path).doing(|| format!("reading `{}`", path.display()))?;
            match Manifest::decode(&read) {
                Ok(manifest) => commits.push(manifest),
                Err(e) if e.kind == Kind::Data => damaged.push(format!("`{}` is damaged: {}", path.display(), e.message())),
                Err(e) => return Err(e.context(format!("reading `{}`", path.display()))),
            }
        }
        if let Some(last) = commits.first()
            && (last.project != project || last.pipeline != pipeline)
        {
            let message = format!(
                "`{}` holds the state of pipeline `{}` of project `{}`, not of `{pipeline}` of `{project}`: name another \
                 place with `stores: state:`, or remove it",
                folder.display(),
                last.pipeline,
                last.project
            );
            return Err(Error::new(Kind::Changed, message));
        }
        let epoch = commits.iter().map(|m| m.epoch).max().unwrap_or(0) + 1;
        let kept = commits.iter().rev().cloned().collect();
        let store = Store {
            folder: folder.to_path_buf(),
            project: project.into(),
            pipeline: pipeline.into(),
            _lock: lock,
            epoch,
            process: format!("{:016x}", Cold::new_seed()),
            mirror,
            is_from_elsewhere,
            commit: newest,
            kept,
            merging: Merging::Idle,
        };
        Ok(Opened { store, commits, damaged })
    }

    /// Gets the files of a commit once more, where the folder is a copy. False: there is nowhere to get them from.
    pub fn fetch_again(&self, commit: &Manifest) -> Result<bool> {
        self.mirror.as_ref().map_or(Ok(false), |mirror| mirror.fetch_again(&self.folder, commit).map(|()| true))
    }

    pub fn is_from_elsewhere(&self) -> bool {
        self.is_from_elsewhere
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a commit of the sections, of the keys that leave and of what the manifest says besides; `manifest.files` are those it builds
    /// on. [`Kind::Conflict`]: another process has taken over.
    pub fn commit(&mut self, mut manifest: Manifest, sections: &[Section], leaving: &[NewRun], cold: &Cold) -> Result<Manifest> {
        self.take_merged(&mut manifest, cold);
        let commit = self.commit + 1;
        (manifest.format, manifest.epoch, manifest.commit) = (manifest.format(), self.epoch, commit);
        (manifest.project, manifest.pipeline) = (self.project.clone(), self.pipeline.clone());
        manifest.process = self.process.clone();
        let known = |name: &str| self.kept.iter().any(|m| m.lookups.values().any(|version| version.name == name));
        let mut new: Vec<(String, u64)> = manifest
            .lookups
            .values()
            .filter(|version| !known(&version.name))
            .map(|version| (version.name.clone(), version.bytes))
            .collect();
        for NewRun { group, run } in leaving {
            let file = self.write_run(format!("{commit:012}-{}-{group}.cold", self.epoch), *group, run)?;
            new.push((file.name.clone(), file.bytes));
            manifest.cold.push(file);
        }
        if sections.iter().any(|s| s.entries > 0) {
            let name = format!("{commit:012}-{}.delta", self.epoch);
            let mut writer = Writer::create(&self.folder.join(&name))?;
            for section in sections.iter().filter(|s| s.entries > 0) {
                writer.write(section)?;
            }
            fault::point("delta-written");
            let bytes = writer.sync()?;
            new.push((name.clone(), bytes));
            manifest.files.push(StateFile { name, bytes, entries: sections.iter().map(|s| s.entries).sum() });
        }
        fault::point("delta-synced");
        if let Some(mirror) = &self.mirror {
            mirror.push(&self.folder, &mut manifest, &new)?;
            if !mirror.commit(&manifest)? {
                return Err(self.taken_over());
            }
        }
        if !self.create(&manifest)? {
            return Err(self.taken_over());
        }
        fault::point("manifest-linked");
        // Who has slept for many commits of another finds the number free again.
        if self.numbers()?.into_iter().any(|number| number > commit) {
            let _ = fs::remove_file(self.folder.join(manifest.file_name()));
            if let Some(mirror) = &self.mirror {
                mirror.remove([manifest.file_name().as_str()].into_iter());
            }
            return Err(self.taken_over());
        }
        self.commit = commit;
        self.kept.push(manifest.clone());
        self.remove_old();
        Ok(manifest)
    }

    fn write_run(&self, name: String, group: u32, run: &Run) -> Result<ColdFile> {
        let path = self.folder.join(&name);
        let doing = || format!("writing `{}`", path.display());
        let image = run.image().ok_or_else(|| Error::internal("a run was written twice"))?;
        let mut file = File::options().create(true).read(true).write(true).truncate(true).open(&path).doing(doing)?;
        file.write_all(&image).doing(doing)?;
        fault::point("cold-written");
        file.sync_data().doing(doing)?;
        run.settle(file);
        Ok(ColdFile { group, name, bytes: image.len() as u64, entries: run.entries })
    }

    /// [`Kind::Conflict`]: another process has taken over.
    pub fn check_held(&self) -> Result<()> {
        let is_taken = self.numbers()?.into_iter().any(|number| number > self.commit);
        if is_taken { Err(self.taken_over()) } else { Ok(()) }
    }

    /// Of the commits there are.
    fn numbers(&self) -> Result<Vec<u64>> {
        match &self.mirror {
            Some(mirror) => mirror.numbers(),
            None => Ok(manifests(&self.folder)?.into_iter().map(|(number, _)| number).collect()),
        }
    }

    fn taken_over(&self) -> Error {
        let message = format!(
            "another process has taken over the state in `{}`: this one stops, what it did since its last commit is undone",
            self.mirror.as_ref().map_or_else(|| self.folder.display().to_string(), |mirror| mirror.location.clone())
        );
        Error::new(Kind::Conflict, message)
    }

    /// A merge that should be made of what the last commit names; its result is for [`Store::merged`].
    pub fn merge_due(&mut self, cold: &Cold) -> Option<Due> {
        let (Merging::Idle, Some(last)) = (&self.merging, self.kept.last()) else { return None };
        let files = || Merge::due(&self.folder, last, self.epoch).map(What::Files);
        let due = cold.merge_due(&self.folder, last, self.epoch).map(What::Runs).or_else(files);
        let due = due.map(|what| Due { what, folder: self.folder.clone(), mirror: self.mirror.clone() });
        if due.is_some() {
            self.merging = Merging::UnderWay;
        }
        due
    }

    /// The next commit names the merged file in place of those it was made of.
    pub fn merged(&mut self, result: Result<Made>) {
        self.merging = result.map_or(Merging::Failed(FAILED_COMMITS), Merging::Done);
    }

    fn take_merged(&mut self, manifest: &mut Manifest, cold: &Cold) {
        match &mut self.merging {
            Merging::Failed(left) if *left > 0 => *left -= 1,
            Merging::Failed(_) => self.merging = Merging::Idle,
            _ => {}
        }
        let Merging::Done(_) = self.merging else { return };
        match std::mem::take(&mut self.merging) {
            Merging::Done(Made::File(merged)) => {
                if let Some(at) = manifest.files.iter().position(|file| merged.of.first() == Some(&file.name)) {
                    manifest.files.splice(at..at + merged.of.len(), [merged.file]);
                }
            }
            Merging::Done(Made::Run(merged)) => {
                cold.replace(&merged);
                if let Some(at) = manifest.cold.iter().position(|file| merged.of.first() == Some(&file.name)) {
                    // Those of other groups lie between.
                    manifest.cold[at] = merged.file;
                    manifest.cold.retain(|file| !merged.of.contains(&file.name));
                }
            }
            Merging::Idle | Merging::UnderWay | Merging::Failed(_) => {}
        }
    }

    /// False if there is a commit of this number already.
    fn create(&self, manifest: &Manifest) -> Result<bool> {
        let path = self.folder.join(manifest.file_name());
        let temporary = self.folder.join(format!("{}.{}.new", manifest.file_name(), std::process::id()));
        let doing = || format!("writing `{}`", path.display());
        let bytes = manifest.encode()?;
        let mut file = File::create(&temporary).doing(doing)?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| {
            fault::point("manifest-synced");
            fs::hard_link(&temporary, &path)
        });
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            // There is one already; or our file is gone: swept away by a process that has taken over.
            Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => return Ok(false),
            Err(e) => return Err(e).doing(doing),
        }
        sync_folder(&self.folder)?;
        Ok(true)
    }

    /// Removes commits that nobody falls back on, and files that no commit names. What cannot be removed is in nobody's way.
    fn remove_old(&mut self) {
        let old = self.kept.len().saturating_sub(KEPT_COMMITS);
        if old == 0 {
            return;
        }
        let removed: Vec<Manifest> = self.kept.drain(..old).collect();
        let needed: BTreeSet<&str> = self.kept.iter().flat_map(Manifest::file_names).collect();
        if let Some(mirror) = &self.mirror {
            let manifests: Vec<String> = removed.iter().map(Manifest::file_name).collect();
            mirror.remove(manifests.iter().map(String::as_str));
            let files: BTreeSet<&str> = removed.iter().flat_map(Manifest::file_names).collect();
            mirror.remove(files.difference(&needed).copied());
        }
        for manifest in &removed {
            let _ = fs::remove_file(self.folder.join(manifest.file_name()));
            // A copy of a lookup file may just wait for its commit.
            let is_left = |name: &&str| !needed.contains(name) && !name.ends_with(".lookup");
            for name in manifest.file_names().filter(is_left) {
                let _ = fs::remove_file(self.folder.join(name));
            }
        }
        fault::point("files-removed");
    }

    /// Removes what a process that was killed left behind: files that no commit names.
    pub fn sweep(&self) -> Result<()> {
        let needed: BTreeSet<String> =
            self.kept.iter().flat_map(|m| m.file_names().map(str::to_string).chain([m.file_name()])).collect();
        for entry in fs::read_dir(&self.folder).doing(|| format!("reading `{}`", self.folder.display()))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = self.left(&name) || [".new", ".lookup"].iter().any(|end| name.ends_with(end));
            if ours && !needed.contains(&name) {
                let _ = fs::remove_file(entry.path());
            }
        }
        if let Some(mirror) = &self.mirror {
            let there = mirror.list()?;
            mirror.remove(there.keys().filter(|name| self.left(name) && !needed.contains(*name)).map(String::as_str));
        }
        Ok(())
    }

    /// Whether a file is of an epoch before this one: whoever came after us may just be writing.
    fn left(&self, name: &str) -> bool {
        let is_state = [".delta", ".merged", ".cold", ".part"].iter().any(|end| name.ends_with(end));
        let epoch = name.split(['-', '.']).nth(1).and_then(|epoch| epoch.parse::<u64>().ok());
        is_state && epoch.is_none_or(|epoch| epoch < self.epoch)
    }
}

/// The newest sound commit of a folder of state, which a process may be working on, and who that is.
pub fn peek(folder: &Path, mirror: Option<&Mirror>) -> Result<Peeked> {
    let mut commit = mirror.map(Mirror::newest).transpose()?.flatten();
    if mirror.is_none() && folder.is_dir() {
        for (_, path) in manifests(folder)?.into_iter().rev() {
            // One that is damaged, or was removed meanwhile.
            if let Some(manifest) = fs::read(&path).ok().and_then(|bytes| Manifest::decode(&bytes).ok()) {
                commit = Some(manifest);
                break;
            }
        }
    }
    let held_by = File::open(folder.join("lock")).ok().and_then(|mut file| match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            Some(holder.trim().to_string())
        }
        Ok(()) | Err(fs::TryLockError::Error(_)) => None,
    });
    Ok(Peeked { commit, held_by })
}

/// Makes a folder what its object store has, unless a run works with it: then it is.
pub fn refresh(folder: &Path, mirror: &Mirror) -> Result<()> {
    fs::create_dir_all(folder).doing(|| format!("making the folder `{}`", folder.display()))?;
    match lock(folder, false) {
        Ok(_lock) => mirror.pull(folder).map(drop),
        Err(e) if e.kind == Kind::Conflict => Ok(()),
        Err(e) => Err(e),
    }
}

/// What others see of a pipeline's state.
pub struct Peeked {
    pub commit: Option<Manifest>,
    /// The process that runs it.
    pub held_by: Option<String>,
}

/// A process that ends gives up its lock within this time.
const GOING_S: f64 = 1.0;

fn lock(folder: &Path, take_over: bool) -> Result<File> {
    let path = folder.join("lock");
    let doing = || format!("locking `{}`", path.display());
    if take_over {
        // Whoever holds the old file holds a file without a name.
        let _ = fs::remove_file(&path);
    }
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).doing(doing)?;
    let waited = Stopwatch::start();
    let taken = loop {
        match file.try_lock() {
            // A process that was killed a moment ago may not be gone yet.
            Err(fs::TryLockError::WouldBlock) if waited.seconds() < GOING_S => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            taken => break taken,
        }
    };
    match taken {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let message = format!(
                "the state in `{}` is in use by {}: wait until it has ended, or pass over it with `--take-over`",
                folder.display(),
                holder.trim()
            );
            return Err(Error::new(Kind::Conflict, message));
        }
        Err(fs::TryLockError::Error(e)) => return Err(e).doing(doing),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "this machine".into());
    let holder = format!("process {} on {}\n", std::process::id(), host.trim());
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes())).doing(doing)?;
    Ok(file)
}

/// Number and path of each commit, ascending.
fn manifests(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing(|| format!("reading `{}`", folder.display()))? {
        let path = entry.doing(|| format!("reading `{}`", folder.display()))?.path();
        let number = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".manifest")?.parse().ok());
        found.extend(number.map(|n| (n, path)));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Store {
        Store::open(folder, "project", "pipeline", true, None).expect("opens").store
    }

    #[test]
    fn who_has_slept_is_fenced_off_however_many_commits_the_other_has_made() {
        let cold = Cold::empty(0, 0);
        for commits in 1..8 {
            let folder = tempfile::tempdir().expect("a folder");
            let mut sleeper = open(folder.path());
            let last = sleeper.commit(Manifest::default(), &[], &[], &cold).expect("holds it");
            let mut other = open(folder.path());
            let mut theirs = last.clone();
            for _ in 0..commits {
                theirs = other.commit(theirs, &[], &[], &cold).expect("has taken it");
            }
            assert_eq!(sleeper.check_held().expect_err("fenced off").kind, Kind::Conflict);
            assert_eq!(sleeper.commit(last, &[], &[], &cold).expect_err("fenced off").kind, Kind::Conflict, "{commits}");
            other.check_held().expect("holds it");
            other.commit(theirs, &[], &[], &cold).expect("holds it");
        }
    }
}
