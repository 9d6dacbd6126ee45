//! Makes one run of several, block by block: what a newer one says of a key replaces what an older one says, and keys that can never be
//! seen again are left out.

use super::hash;
use super::run::{Builder, Run};
use crate::checkpoint::manifest::{ColdFile, Manifest};
use crate::checkpoint::merge::tier;
use crate::fault;
use ouzel_core::error::ResultExt;
use ouzel_core::wire::Taker;
use ouzel_core::{Error, Result};
use ouzel_detect::features::Entry;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Each is looked at for a key that is new, so they are to be few.
const RUNS_MAX: usize = 5;

/// Runs of which one is to be made.
pub struct ColdMerge {
    folder: PathBuf,
    name: String,
    group: u32,
    seed: u64,
    /// The newest first.
    runs: Vec<Arc<Run>>,
    of: Vec<String>,
    dead_at: i64,
}

/// A run that takes the place of others.
pub struct ColdMerged {
    pub file: ColdFile,
    pub run: Arc<Run>,
    /// Names of the others; they follow one another among those of their group.
    pub of: Vec<String>,
    pub runs: Vec<Arc<Run>>,
}

impl ColdMerge {
    /// `files`: a group's, the oldest first; `runs`: the same and perhaps newer ones, the newest first.
    pub fn due(
        folder: &Path,
        manifest: &Manifest,
        epoch: u64,
        files: Vec<ColdFile>,
        runs: &[Arc<Run>],
        seed: u64,
    ) -> Option<ColdMerge> {
        let from = tier(&files.iter().map(|f| f.bytes).collect::<Vec<_>>(), RUNS_MAX)?;
        let group = files[0].group;
        let newest = runs.len().checked_sub(files.len())?;
        Some(ColdMerge {
            folder: folder.to_path_buf(),
            name: format!("{:012}-{epoch}-{group}.merged.cold", manifest.commit),
            group,
            seed,
            runs: runs[newest..newest + files.len() - from].to_vec(),
            of: files[from..].iter().map(|f| f.name.clone()).collect(),
            dead_at: manifest.dead_at.get(group as usize).copied().unwrap_or(i64::MIN),
        })
    }

    pub fn run(self) -> Result<ColdMerged> {
        let path = self.folder.join(&self.name);
        let writing = || format!("writing `{}`", path.display());
        let file = BufWriter::with_capacity(1 << 20, File::create(&path).doing(writing)?);
        let mut builder = Builder::new(file, self.runs.iter().map(|run| run.entries).sum()).doing(writing)?;
        let mut readers: Vec<Reader> = self.runs.iter().map(|run| Reader::new(run.clone(), self.seed)).collect::<Result<_>>()?;
        // Those of one hash, each key once.
        let mut written: Vec<Vec<u8>> = Vec::new();
        while let Some(next) = readers.iter().filter_map(|reader| reader.hash).min() {
            written.clear();
            for reader in &mut readers {
                while reader.hash == Some(next) {
                    let (key, entry) = reader.entry()?;
                    if entry.newest > self.dead_at && !written.iter().any(|k| k == entry.key) {
                        builder.add(next, key).doing(writing)?;
                    }
                    written.push(entry.key.to_vec());
                    reader.advance()?;
                }
            }
        }
        fault::point("cold-merge-written");
        let (file, bytes, entries) = builder.finish().doing(writing)?;
        let mut file = file.into_inner().map_err(|e| e.into_error()).doing(writing)?;
        file.flush().and_then(|()| file.sync_data()).doing(writing)?;
        let run = Arc::new(Run::open(&path, bytes)?);
        let file = ColdFile { group: self.group, name: self.name, bytes, entries };
        Ok(ColdMerged { file, run, of: self.of, runs: self.runs })
    }
}

/// Goes through a run.
struct Reader {
    run: Arc<Run>,
    seed: u64,
    next_block: usize,
    block: Vec<u8>,
    /// The entry at hand.
    at: std::ops::Range<usize>,
    /// Its key's; `None` at the end.
    hash: Option<u64>,
}

impl Reader {
    fn new(run: Arc<Run>, seed: u64) -> Result<Reader> {
        let mut reader = Reader { run, seed, next_block: 0, block: Vec::new(), at: 0..0, hash: None };
        reader.advance()?;
        Ok(reader)
    }

    fn entry(&self) -> Result<(&[u8], Entry<'_>)> {
        let bytes = &self.block[self.at.clone()];
        let entry = Entry::take(&mut Taker(bytes)).map_err(|_| self.damaged())?;
        Ok((bytes, entry))
    }

    fn advance(&mut self) -> Result<()> {
        let mut start = self.at.end;
        if start == self.block.len() {
            if self.next_block == self.run.blocks() {
                self.hash = None;
                return Ok(());
            }
            self.run.read(self.next_block, &mut self.block)?;
            self.next_block += 1;
            start = 0;
        }
        let mut rest = Taker(&self.block[start..]);
        let (key, _) = Entry::split(&mut rest).map_err(|_| self.damaged())?;
        self.hash = Some(hash(self.seed, key));
        self.at = start..self.block.len() - rest.0.len();
        Ok(())
    }

    fn damaged(&self) -> Error {
        self.run.damaged(self.next_block.saturating_sub(1))
    }
}
