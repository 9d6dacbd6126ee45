//! Makes one file of several, so that a key stands in few of them.

use super::files::{Section, SectionKind, Sections, Writer};
use super::manifest::{Manifest, StateFile};
use crate::fault;
use crate::plan::Plan;
use ouzel_core::wire::{Damaged, Taker, Wire};
use ouzel_core::{Error, Kind, Result};
use ouzel_detect::features::{Entry, SHARDS, Shard, keys_by_shard};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Files of which one is to be made.
pub struct Merge {
    folder: PathBuf,
    name: String,
    of: Vec<StateFile>,
    /// They are all that is older than some file: keys that are gone need not be told any more.
    from_first: bool,
    /// By group: a key without an event after this is forgotten.
    dead_at: Vec<i64>,
    ids_dead_at: i64,
}

/// A file that takes the place of others.
pub struct Merged {
    pub file: StateFile,
    /// Names of the others; they follow one another.
    pub of: Vec<String>,
}

/// Files that are not worth a merge.
const FILES_MAX: usize = 12;
const SECTION_BYTES: usize = 4 << 20;
/// Bytes of files below which all shards are merged in one pass; a larger merge reads its files once for each few shards, so that
/// memory stays small.
const ONE_PASS_BYTES: u64 = 16 << 20;

/// Which files are to be merged, the oldest first, if there are more than `max`: from here on, back to the first that is larger
/// than all after it, so that what is written again and again stays in proportion to what comes.
pub(super) fn tier(bytes: &[u64], max: usize) -> Option<usize> {
    if bytes.len() <= max {
        return None;
    }
    let mut from = bytes.len() - 1;
    let mut sum = bytes[from];
    while from > 0 && (bytes[from - 1] <= sum || bytes.len() - from < max.div_ceil(2)) {
        from -= 1;
        sum += bytes[from];
    }
    Some(from)
}

impl Merge {
    /// What is to be merged of a commit's files, if they are many.
    pub fn due(folder: &Path, manifest: &Manifest, epoch: u64) -> Option<Merge> {
        let files = &manifest.files;
        let from = tier(&files.iter().map(|f| f.bytes).collect::<Vec<_>>(), FILES_MAX)?;
        Some(Merge {
            folder: folder.to_path_buf(),
            name: format!("{:012}-{epoch}.merged", manifest.commit),
            of: files[from..].to_vec(),
            from_first: from == 0,
            dead_at: manifest.dead_at.clone(),
            ids_dead_at: manifest.ids_dead_at,
        })
    }

    /// Reads what was written, one file after the other, and writes it as one. The state of a key may lie in several of them, or
    /// in part in older ones that are not merged.
    pub fn run(self, plan: &Plan) -> Result<Merged> {
        let mut out = Out { writer: Writer::create(&self.folder.join(&self.name))?, entries: 0 };
        let bytes: u64 = self.of.iter().map(|file| file.bytes).sum();
        let passes = (bytes / ONE_PASS_BYTES + 1).min(SHARDS as u64) as usize;
        for pass in 0..passes {
            self.pass(plan, pass * SHARDS / passes..(pass + 1) * SHARDS / passes, pass == 0, &mut out)?;
        }
        fault::point("merge-written");
        let bytes = out.writer.sync()?;
        let file = StateFile { name: self.name, bytes, entries: out.entries };
        Ok(Merged { file, of: self.of.into_iter().map(|f| f.name).collect() })
    }

    fn pass(&self, plan: &Plan, shards: Range<usize>, ids: bool, out: &mut Out) -> Result<()> {
        let mut groups: Vec<Vec<_>> = plan.groups.iter().map(|g| shards.clone().map(|_| g.group.shard()).collect()).collect();
        let mut all_gone: Vec<BTreeSet<Vec<u8>>> = plan.groups.iter().map(|_| BTreeSet::new()).collect();
        for file in &self.of {
            let damaged = |_: Damaged| Error::new(Kind::Data, format!("`{}` cannot be read", file.name));
            let mut sections = Sections::open(&self.folder.join(&file.name), file.bytes)?;
            while let Some(section) = sections.next()? {
                match section.kind {
                    SectionKind::Ids if ids => out.write(self.living(&section.payload).map_err(damaged)?)?,
                    SectionKind::Ids => {}
                    SectionKind::Keys(group) => {
                        let Some(into) = groups.get_mut(group as usize) else { continue };
                        let dead_at = self.dead_at.get(group as usize).copied().unwrap_or(i64::MIN);
                        let found = Entry::by_shard(Taker(&section.payload)).map_err(damaged)?;
                        for (shard, into) in shards.clone().zip(into) {
                            into.load(&found[shard], dead_at).map_err(damaged)?;
                        }
                    }
                    SectionKind::Gone(group) => {
                        let Some(from) = groups.get_mut(group as usize) else { continue };
                        let gone = keys_by_shard(Taker(&section.payload)).map_err(damaged)?;
                        for (shard, from) in shards.clone().zip(from) {
                            from.remove(&gone[shard]);
                            if !self.from_first {
                                all_gone[group as usize].extend(gone[shard].iter().map(|key| key.to_vec()));
                            }
                        }
                    }
                }
            }
        }
        for (group, gone) in all_gone.into_iter().enumerate() {
            let mut section = Section::empty(SectionKind::Gone(group as u32));
            gone.iter().for_each(|key| section.add_key(key));
            out.write(section)?;
        }
        for (group, shards) in groups.into_iter().enumerate() {
            for mut shard in shards {
                out.save(SectionKind::Keys(group as u32), &mut shard)?;
            }
        }
        Ok(())
    }

    fn living(&self, payload: &[u8]) -> Result<Section, Damaged> {
        let mut section = Section { kind: SectionKind::Ids, entries: 0, payload: Vec::new() };
        let mut rest = Taker(payload);
        while !rest.is_empty() {
            let taken: (u128, i64) = rest.take()?;
            if taken.1 > self.ids_dead_at {
                taken.put(&mut section.payload);
                section.entries += 1;
            }
        }
        Ok(section)
    }
}

struct Out {
    writer: Writer,
    entries: u64,
}

impl Out {
    fn write(&mut self, section: Section) -> Result<()> {
        self.entries += section.entries;
        if section.entries > 0 { self.writer.write(&section) } else { Ok(()) }
    }

    fn save(&mut self, kind: SectionKind, shard: &mut Shard) -> Result<()> {
        let mut result = Ok(());
        shard.save_all(SECTION_BYTES, |entries, payload| {
            if result.is_ok() {
                result = self.write(Section { kind, entries, payload });
            }
        });
        result
    }
}
