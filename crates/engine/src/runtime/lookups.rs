//! The lookups of a pipeline, and which version of their files they are of.
//!
//! A file that is replaced while a run goes on is read when it has not changed for a second; one that makes no sense leaves the one before in
//! place, and is told. Results depend on lookups as on the log, so they change at a commit: the commit names the versions that hold behind
//! it, and no batch behind it is begun before it is made. Where state lasts, it keeps a copy of what its commits name; a run that goes on
//! begins with these, until it is past what its sinks have already got.

use crate::checkpoint::{self, LookupVersion};
use crate::plan::{self, Plan};
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Lookup, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By the path that the pipeline gives the file.
pub type Versions = BTreeMap<String, LookupVersion>;

pub(super) struct Lookups {
    root: PathBuf,
    /// Where copies are kept.
    state: Option<PathBuf>,
    current: Mutex<Set>,
    /// Counts the changes.
    number: AtomicU64,
    /// Read, and waits for a commit.
    next: Mutex<Option<Set>>,
    waits: AtomicBool,
    /// Named by a commit that is under way: used when it is made, whatever comes meanwhile.
    turning: Mutex<Option<Set>>,
    turns: AtomicBool,
    watch: Mutex<Watch>,
}

/// Lookups that belong together.
struct Set {
    lookups: Vec<Box<dyn Lookup>>,
    versions: Versions,
}

struct Watch {
    since: Stopwatch,
    /// As the files were when they were looked at last, and when they were read last.
    seen: Vec<Look>,
    read: Vec<Look>,
}

/// Size and time of a file, as far as there is one.
type Look = Option<(u64, std::time::SystemTime)>;

/// Files are looked at as often.
const LOOK_S: f64 = 1.0;

impl Lookups {
    /// `committed`: the versions that the state's last commit names. What cannot be used of the files as they are now is told in `notes`,
    /// if there is a copy of what was before.
    pub fn open(
        plan: &Plan,
        root: &Path,
        state: Option<&Path>,
        committed: Option<&Versions>,
        notes: &mut Vec<String>,
    ) -> Result<Lookups> {
        let committed = committed.filter(|versions| files(plan).iter().all(|file| versions.contains_key(*file)));
        let looks = looks(plan, root);
        let now = Set::read(plan, root, state);
        let (current, next) = match (committed, now) {
            (None, now) => (now?, None),
            (Some(versions), Ok(now)) if *versions == now.versions => (now, None),
            (Some(versions), now) => {
                let state = state.ok_or_else(|| Error::internal("a commit without state"))?;
                let kept = Set::kept(plan, versions, state).map_err(|e| {
                    let message = format!("the lookup files of the last commit are not there any more: {e}");
                    Error::new(Kind::Changed, message)
                })?;
                let next = now.map_err(|e| notes.push(stays(&e))).ok();
                (kept, next)
            }
        };
        let waits = AtomicBool::new(next.is_some());
        Ok(Lookups {
            root: root.to_path_buf(),
            state: state.map(Path::to_path_buf),
            current: Mutex::new(current),
            number: AtomicU64::new(0),
            next: Mutex::new(next),
            waits,
            turning: Mutex::new(None),
            turns: AtomicBool::new(false),
            watch: Mutex::new(Watch { since: Stopwatch::start(), seen: looks.clone(), read: looks }),
        })
    }

    /// Looks for files that were replaced. What is to be told, if anything.
    pub fn look(&self, plan: &Plan) -> Option<String> {
        let mut watch = lock(&self.watch);
        if plan.lookups.is_empty() || watch.since.seconds() < LOOK_S {
            return None;
        }
        watch.since = Stopwatch::start();
        let looks = looks(plan, &self.root);
        let settled = looks == watch.seen;
        watch.seen = looks.clone();
        if !settled || looks == watch.read {
            return None;
        }
        watch.read = looks;
        match Set::read(plan, &self.root, self.state.as_deref()) {
            Ok(set) => {
                let mut next = lock(&self.next);
                let is_other = match &*lock(&self.turning) {
                    Some(turning) => set.versions != turning.versions,
                    None => set.versions != lock(&self.current).versions,
                };
                *next = is_other.then_some(set);
                self.waits.store(is_other, Relaxed);
                None
            }
            Err(e) => Some(stays(&e)),
        }
    }

    /// Others wait to be used.
    pub fn is_due(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// The versions that hold.
    pub fn versions(&self) -> Versions {
        lock(&self.current).versions.clone()
    }

    /// Those that wait are used from the next [`Lookups::turn`] on: a commit names them that is begun now. `None`: none wait.
    pub fn begin_turn(&self) -> Option<Versions> {
        let mut next = lock(&self.next);
        let set = next.take()?;
        let versions = set.versions.clone();
        *lock(&self.turning) = Some(set);
        self.waits.store(false, Relaxed);
        self.turns.store(true, Relaxed);
        Some(versions)
    }

    /// A turn has begun.
    pub fn is_turning(&self) -> bool {
        self.turns.load(Relaxed)
    }

    /// From the next batch on, those are used that the turn has begun with. No batch is under way.
    pub fn turn(&self) {
        if let Some(set) = lock(&self.turning).take() {
            *lock(&self.current) = set;
            self.number.fetch_add(1, Relaxed);
        }
        self.turns.store(false, Relaxed);
    }

    /// Which change it is that holds now.
    pub fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// Lookups of a thread's own, over the same tables, and what outputs name them by.
    pub fn fork(&self, plan: &Plan) -> (Vec<Box<dyn Lookup>>, String) {
        let current = lock(&self.current);
        (current.lookups.iter().map(|lookup| lookup.fork()).collect(), current.version(plan))
    }
}

impl Set {
    /// Of the files as they are; copies are kept.
    fn read(plan: &Plan, root: &Path, state: Option<&Path>) -> Result<Set> {
        let mut versions = Versions::new();
        for file in files(plan) {
            versions.insert(file.to_string(), version(&root.join(file), state)?);
        }
        match state {
            // What is kept is what is used, whatever becomes of the file.
            Some(state) => Set::of(plan, versions.clone(), &|name| kept(state, &versions, name))
                .map_err(|e| named(e, root, state, &versions)),
            None => Set::of(plan, versions, &|name| root.join(name)),
        }
    }

    /// Of copies, which are what they were.
    fn kept(plan: &Plan, versions: &Versions, state: &Path) -> Result<Set> {
        for (file, version) in versions {
            let path = state.join(&version.name);
            let bytes = std::fs::read(&path).doing(|| format!("reading `{}`, the copy of `{file}`", path.display()))?;
            if name_of(&bytes) != version.name {
                return Err(Error::new(Kind::Data, format!("`{}`, the copy of `{file}`, is damaged", path.display())));
            }
        }
        Set::of(plan, versions.clone(), &|name| kept(state, versions, name))
    }

    fn of(plan: &Plan, versions: Versions, files: &dyn Fn(&str) -> PathBuf) -> Result<Set> {
        let lookups = plan.lookups.iter().map(|lookup| lookup.config.open(files, &lookup.wanted)).collect::<Result<_>>()?;
        Ok(Set { lookups, versions })
    }

    /// The pipeline's version, and that of its lookup files if it has any.
    fn version(&self, plan: &Plan) -> String {
        if self.versions.is_empty() {
            return plan.version.clone();
        }
        let names: Vec<&str> = self.versions.iter().flat_map(|(file, version)| [file.as_str(), &version.name]).collect();
        format!("{}-{}", plan.version, &plan::version(&names)[..6])
    }
}

fn kept(state: &Path, versions: &Versions, name: &str) -> PathBuf {
    versions.get(name).map_or_else(|| state.join(name), |version| state.join(&version.name))
}

/// A file is told by the name people know.
fn named(e: Error, root: &Path, state: &Path, versions: &Versions) -> Error {
    let name = |text: &str| {
        versions.iter().fold(text.to_string(), |text, (file, version)| {
            text.replace(&state.join(&version.name).display().to_string(), &root.join(file).display().to_string())
        })
    };
    Error::new(e.kind, name(&e.to_string()))
}

fn stays(e: &Error) -> String {
    format!("{e}: the lookups stay as they were before")
}

fn files(plan: &Plan) -> Vec<&str> {
    plan.lookups.iter().flat_map(|lookup| lookup.config.files()).collect()
}

fn looks(plan: &Plan, root: &Path) -> Vec<Look> {
    let look = |file: &str| {
        let about = std::fs::metadata(root.join(file)).ok()?;
        Some((about.len(), about.modified().ok()?))
    };
    files(plan).into_iter().map(look).collect()
}

fn name_of(bytes: &[u8]) -> String {
    format!("{:032x}.lookup", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// Tells a file by its content, and keeps a copy.
fn version(path: &Path, state: Option<&Path>) -> Result<LookupVersion> {
    let reading = || format!("reading lookup file `{}`", path.display());
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::config(format!("lookup file `{}` does not exist", path.display())),
        _ => Error::unavailable(e.to_string()).context(reading()),
    })?;
    let name = name_of(&bytes);
    if let Some(state) = state {
        let kept = state.join(&name);
        if !std::fs::read(&kept).is_ok_and(|there| there == bytes) {
            checkpoint::replace(&kept, |file| {
                use std::io::Write;
                file.write_all(&bytes).doing(|| format!("writing `{}`", kept.display()))
            })?;
        }
    }
    Ok(LookupVersion { name, bytes: bytes.len() as u64 })
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
