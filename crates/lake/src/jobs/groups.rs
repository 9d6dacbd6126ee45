//! What a job remembers of its groups, so that new rows can be added to them without reading the others: which values a `count(distinct ..)` has seen, and
//! the sorted values of a `percentile_cont`. It lies beside the job's table, partition by partition, and is of one version of the table that the job reads;
//! losing it costs time and nothing else.

mod values;

use super::keys::{KeySet, Secret, read_manifest, sweep, write_manifest};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use values::ValueSet;

/// Of what a value takes in memory, at worst.
const BYTES_PER_ROW: usize = 40;

/// What an aggregate has to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memory {
    /// Which values there were.
    Distinct,
    /// The values, sorted.
    Sorted,
}

/// What is remembered, of all partitions.
pub struct Groups {
    folder: PathBuf,
    manifest: Manifest,
    /// What may be in memory and not on disk, of all partitions.
    memory_bytes: usize,
    /// At most so much of it is in use.
    in_use: AtomicUsize,
    parts: Mutex<HashMap<u128, Arc<Mutex<Part>>>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Manifest {
    /// Of the job.
    definition: String,
    /// The version of the table that it reads; none yet.
    version: Option<u64>,
    secret: Secret,
    memories: Vec<Memory>,
    /// By partition: the files of each memory, the oldest first.
    parts: BTreeMap<String, Vec<Vec<String>>>,
}

enum Set {
    Distinct(KeySet),
    Sorted(ValueSet),
}

/// What is remembered of a partition, by memory.
struct Part(Vec<Set>);

impl Groups {
    /// Opens what is remembered for a job of this definition. `None`: nothing is, or it is damaged.
    pub fn open(folder: &Path, definition: &str, memory_bytes: usize) -> Option<Groups> {
        let manifest: Manifest = read_manifest(folder).filter(|manifest: &Manifest| manifest.definition == definition)?;
        manifest.version?;
        Some(Groups {
            folder: folder.to_path_buf(),
            manifest,
            memory_bytes,
            in_use: AtomicUsize::new(0),
            parts: Mutex::default(),
        })
    }

    /// Begins with nothing.
    pub fn begin(folder: &Path, definition: &str, memories: Vec<Memory>, memory_bytes: usize) -> Result<Groups> {
        fs::create_dir_all(folder).doing(|| format!("making the folder `{}`", folder.display()))?;
        let manifest = Manifest { definition: definition.into(), secret: Secret::new(), memories, ..Manifest::default() };
        Ok(Groups { folder: folder.to_path_buf(), manifest, memory_bytes, in_use: AtomicUsize::new(0), parts: Mutex::default() })
    }

    /// Forgets everything, for good.
    pub fn forget(folder: &Path) -> Result<()> {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).doing(|| format!("removing `{}`", folder.display())),
            _ => Ok(()),
        }
    }

    /// Of which version of the table that the job reads it is.
    pub fn version(&self) -> Option<u64> {
        self.manifest.version
    }

    pub fn secret(&self) -> Secret {
        self.manifest.secret
    }

    /// Whether values, by their hashes, are new: those of the `memory`th that was named. `parts`: hashes of the rows' partitions.
    pub fn fresh(&self, memory: usize, rows: impl Iterator<Item = Option<(u128, u128)>>) -> Result<Vec<bool>> {
        self.each(memory, rows, |set, hash: u128| match set {
            Set::Distinct(keys) => keys.insert(hash),
            Set::Sorted(_) => Err(Error::internal("a memory of another kind")),
        })
    }

    /// Takes values of groups. By row: its partition, its group, its value.
    pub fn collect(&self, memory: usize, rows: impl Iterator<Item = Option<(u128, (u128, f64))>>) -> Result<()> {
        let taken = self.each(memory, rows, |set, (group, value)| match set {
            Set::Sorted(values) => values.insert(group, value).map(|()| true),
            Set::Distinct(_) => Err(Error::internal("a memory of another kind")),
        });
        taken.map(|_| ())
    }

    /// Of each row's group, the value below which a part `p` of its values lies.
    pub fn percentiles(&self, memory: usize, p: f64, rows: &[(u128, u128)]) -> Result<Vec<Option<f64>>> {
        let of = |(part, group): &(u128, u128)| {
            let part = self.part(*part)?;
            match &mut lock(&part).0[memory] {
                Set::Sorted(values) => values.percentile(*group, p),
                Set::Distinct(_) => Err(Error::internal("a memory of another kind")),
            }
        };
        rows.iter().map(of).collect()
    }

    /// Rows of one partition often follow one another: a lock is kept as long as they do.
    fn each<T>(
        &self,
        memory: usize,
        rows: impl Iterator<Item = Option<(u128, T)>>,
        mut take: impl FnMut(&mut Set, T) -> Result<bool>,
    ) -> Result<Vec<bool>> {
        let rows: Vec<Option<(u128, T)>> = rows.collect();
        let mut found = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let Some((part, of)) = row else {
                found.push(false);
                continue;
            };
            let shared = self.part(part)?;
            let mut locked = lock(&shared);
            let set = &mut locked.0[memory];
            found.push(take(set, of)?);
            while let Some(row) = rows.next_if(|row| row.as_ref().is_none_or(|(next, _)| *next == part)) {
                found.push(match row {
                    Some((_, of)) => take(set, of)?,
                    None => false,
                });
            }
        }
        let taken = found.len() * BYTES_PER_ROW;
        if self.in_use.fetch_add(taken, Relaxed) + taken > self.memory_bytes {
            self.in_use.store(0, Relaxed);
            self.write()?;
        }
        Ok(found)
    }

    /// Puts on disk what is in memory.
    fn write(&self) -> Result<()> {
        let parts: Vec<_> = lock(&self.parts).values().cloned().collect();
        for part in parts {
            lock(&part).0.iter_mut().try_for_each(|set| match set {
                Set::Distinct(keys) => keys.write_recent(),
                Set::Sorted(values) => values.write_recent(),
            })?;
        }
        Ok(())
    }

    fn part(&self, hash: u128) -> Result<Arc<Mutex<Part>>> {
        let mut parts = lock(&self.parts);
        if let Some(part) = parts.get(&hash) {
            return Ok(part.clone());
        }
        let none = vec![Vec::new(); self.manifest.memories.len()];
        let files = self.manifest.parts.get(&name(hash)).unwrap_or(&none);
        let open = |(memory, files): (&Memory, &Vec<String>)| {
            Ok(match memory {
                Memory::Distinct => Set::Distinct(KeySet::open(&self.folder, files, usize::MAX)?),
                Memory::Sorted => Set::Sorted(ValueSet::open(&self.folder, files, usize::MAX)?),
            })
        };
        let sets = self.manifest.memories.iter().zip(files).map(open).collect::<Result<_>>()?;
        let part = Arc::new(Mutex::new(Part(sets)));
        parts.insert(hash, part.clone());
        Ok(part)
    }

    /// What was taken in is of this version: it lasts from here on.
    pub fn commit(&self, version: u64) -> Result<()> {
        let mut manifest = self.manifest.clone();
        for (hash, part) in lock(&self.parts).iter() {
            let settle = |set: &mut Set| match set {
                Set::Distinct(keys) => keys.settle(),
                Set::Sorted(values) => values.settle(),
            };
            let files = lock(part).0.iter_mut().map(settle).collect::<Result<_>>()?;
            manifest.parts.insert(name(*hash), files);
        }
        manifest.version = Some(version);
        write_manifest(&self.folder, &manifest)?;
        let named: BTreeSet<String> = manifest.parts.values().flatten().flatten().cloned().collect();
        sweep(&self.folder, &named.into_iter().collect::<Vec<_>>())
    }
}

fn name(hash: u128) -> String {
    format!("{hash:032x}")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
