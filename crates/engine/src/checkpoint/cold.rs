//! Keys that have left memory: those without an event for longest, when there are more than a pipeline may hold. They lie in runs,
//! sorted files, and come back with their next event.
//!
//! A commit that keys leave with writes them as a run per group and names it in its manifest; its delta says which keys are gone,
//! so that what older deltas say of them counts for nothing. A key in memory is newer than any run, a run newer than those
//! before it. Leaving and coming back changes no output: a run holds all that was known of a key.

mod filter;
mod merge;
mod run;
#[cfg(test)]
mod tests;

use super::manifest::{ColdFile, Manifest};
use ouzel_core::{Error, Kind, Result};
use ouzel_detect::features::Evicted;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

pub use merge::{ColdMerge, ColdMerged};
use run::Builder;
pub use run::Run;

/// The runs of a pipeline.
pub struct Cold {
    /// Of the hash that runs are sorted by: nobody outside can make keys that collide.
    seed: u64,
    /// By group, the newest first.
    groups: Vec<RwLock<Runs>>,
}

type Runs = Arc<[Arc<Run>]>;

/// A run that a commit is to write.
pub struct NewRun {
    pub group: u32,
    pub run: Arc<Run>,
}

/// Keys that leave a shard.
#[derive(Default)]
pub struct Leaving {
    bytes: Vec<u8>,
    /// Hash, and where in the bytes.
    entries: Vec<(u64, usize, usize)>,
}

impl Leaving {
    pub fn add(&mut self, cold: &Cold, key: &[u8], entry: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(entry);
        self.entries.push((hash(cold.seed, key), start, self.bytes.len()));
    }
}

fn hash(seed: u64, key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, seed)
}

impl Cold {
    /// [`Kind::Data`]: a run is damaged.
    pub fn open(folder: &Path, manifest: &Manifest, groups: usize) -> Result<Cold> {
        let mut runs: Vec<Vec<Arc<Run>>> = vec![Vec::new(); groups];
        for file in manifest.cold.iter().rev() {
            if let Some(runs) = runs.get_mut(file.group as usize) {
                runs.push(Arc::new(Run::open(&folder.join(&file.name), file.bytes)?));
            }
        }
        Ok(Cold { seed: manifest.seed, groups: runs.into_iter().map(|runs| RwLock::new(runs.into())).collect() })
    }

    pub fn empty(seed: u64, groups: usize) -> Cold {
        Cold { seed, groups: (0..groups).map(|_| RwLock::new(Arc::default())).collect() }
    }

    /// Not 0.
    pub fn new_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0) | 1
    }

    /// Where a batch looks for a group's keys; `None` where none has left.
    pub fn finder(&self, group: usize) -> Option<Finder> {
        let runs = self.groups[group].read().unwrap_or_else(PoisonError::into_inner).clone();
        (!runs.is_empty()).then(|| Finder { seed: self.seed, runs, block: Vec::new() })
    }

    /// Makes a run of what leaves a group's shards; it is found from here on.
    pub fn leave(&self, group: usize, leaving: &[Leaving]) -> Result<Option<NewRun>> {
        let mut order: Vec<(u64, usize, usize, usize)> = Vec::with_capacity(leaving.iter().map(|l| l.entries.len()).sum());
        for (shard, leaving) in leaving.iter().enumerate() {
            order.extend(leaving.entries.iter().map(|(hash, start, end)| (*hash, shard, *start, *end)));
        }
        if order.is_empty() {
            return Ok(None);
        }
        order.sort_unstable();
        let bytes: usize = leaving.iter().map(|l| l.bytes.len()).sum();
        let built = || -> std::io::Result<Vec<u8>> {
            let mut builder = Builder::new(Vec::with_capacity(bytes + bytes / 16 + 2 * order.len()), order.len() as u64)?;
            for (hash, shard, start, end) in &order {
                builder.add(*hash, &leaving[*shard].bytes[*start..*end])?;
            }
            builder.finish().map(|(image, _, _)| image)
        };
        let image = built().map_err(|e| Error::internal(e.to_string()))?;
        let run = Arc::new(Run::of_image("keys that leave memory".into(), image)?);
        let mut runs = self.groups[group].write().unwrap_or_else(PoisonError::into_inner);
        *runs = [run.clone()].into_iter().chain(runs.iter().cloned()).collect();
        Ok(Some(NewRun { group: group as u32, run }))
    }

    /// One run takes the place of those it was made of.
    pub fn replace(&self, merged: &ColdMerged) {
        let mut runs = self.groups[merged.file.group as usize].write().unwrap_or_else(PoisonError::into_inner);
        let is_old = |run: &Arc<Run>| merged.runs.iter().any(|old| Arc::ptr_eq(old, run));
        let Some(at) = runs.iter().position(is_old) else { return };
        let (newer, older) = (runs[..at].to_vec(), runs[at..].iter().filter(|run| !is_old(run)).cloned());
        *runs = newer.into_iter().chain([merged.run.clone()]).chain(older).collect();
    }

    /// A merge that should be made of the runs that a commit names.
    pub fn merge_due(&self, folder: &Path, manifest: &Manifest, epoch: u64) -> Option<ColdMerge> {
        (0..self.groups.len()).find_map(|group| {
            let files: Vec<ColdFile> = manifest.cold.iter().filter(|f| f.group as usize == group).cloned().collect();
            let runs = self.groups[group].read().unwrap_or_else(PoisonError::into_inner).clone();
            ColdMerge::due(folder, manifest, epoch, files, &runs, self.seed)
        })
    }

    /// Reads every run from beginning to end. [`Kind::Data`]: one is damaged.
    pub fn verify(&self) -> Result<()> {
        let mut block = Vec::new();
        for runs in &self.groups {
            for run in runs.read().unwrap_or_else(PoisonError::into_inner).iter() {
                (0..run.blocks()).try_for_each(|at| run.read(at, &mut block))?;
            }
        }
        Ok(())
    }
}

/// Looks keys up in the runs of a group.
pub struct Finder {
    seed: u64,
    runs: Runs,
    block: Vec<u8>,
}

impl Evicted for Finder {
    fn find(&mut self, key: &[u8]) -> Result<Option<&[u8]>> {
        let hash = hash(self.seed, key);
        for run in self.runs.iter() {
            let found = run.find(hash, key, &mut self.block).map_err(|e| match e.kind {
                Kind::Data => Error::new(Kind::Changed, format!("{e}. Make the state anew from the source with `--rebuild`")),
                _ => e,
            });
            if let Some(range) = found? {
                return Ok(Some(&self.block[range]));
            }
        }
        Ok(None)
    }
}
