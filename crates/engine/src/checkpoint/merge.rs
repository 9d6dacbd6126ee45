//! Makes one file of several, so that a key stands in few of them, on a thread of its own.

use super::files::{Section, SectionKind, Sections, Writer};
use super::manifest::{Manifest, StateFile};
use crate::fault;
use ouzel_core::wire::{Damaged, Taker, Wire, put_bytes};
use ouzel_core::{Error, Kind, Result};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use xxhash_rust::xxh3::xxh3_128;

/// A file that takes the place of others.
pub struct Merged {
    pub file: StateFile,
    /// Names of the others; they follow one another.
    pub of: Vec<String>,
}

/// Files that are not worth a merge.
const FILES_MAX: usize = 6;
const SECTION_BYTES: usize = 4 << 20;

/// Begins to merge the newest files, if there are many: back to the first that is larger than all after it, so that what is
/// written again and again stays in proportion to what comes.
pub fn begin(folder: &Path, manifest: &Manifest, epoch: u64) -> Option<JoinHandle<Result<Merged>>> {
    let files = &manifest.files;
    if files.len() <= FILES_MAX {
        return None;
    }
    let mut from = files.len() - 1;
    let mut bytes = files[from].bytes;
    while from > 0 && (files[from - 1].bytes <= bytes || files.len() - from < FILES_MAX / 2) {
        from -= 1;
        bytes += files[from].bytes;
    }
    let of = files[from..].to_vec();
    let name = format!("{:012}-{epoch}.merged", manifest.commit);
    let (folder, dead) = (folder.to_path_buf(), Dead { keys: manifest.dead_at.clone(), ids: manifest.ids_dead_at });
    Some(std::thread::spawn(move || merge(folder, name, of, dead)))
}

/// Up to when what is written is forgotten.
struct Dead {
    keys: Vec<i64>,
    ids: i64,
}

fn merge(folder: PathBuf, name: String, of: Vec<StateFile>, dead: Dead) -> Result<Merged> {
    let mut writer = Writer::create(&folder.join(&name))?;
    let mut seen: HashSet<(u32, u128)> = HashSet::new();
    let mut open: Vec<Section> = Vec::new();
    let mut entries = 0;
    // What was written last of a key is read first.
    for file in of.iter().rev() {
        let mut sections = Sections::open(&folder.join(&file.name), file.bytes)?;
        while let Some(section) = sections.next()? {
            let out = section_of(&mut open, section.kind);
            let damaged = |_: Damaged| Error::new(Kind::Data, format!("`{}` cannot be read", file.name));
            match section.kind {
                SectionKind::Ids => {
                    let mut rest = Taker(&section.payload);
                    while !rest.is_empty() {
                        let taken: (u128, i64) = rest.take().map_err(damaged)?;
                        if taken.1 > dead.ids {
                            taken.put(&mut out.payload);
                            out.entries += 1;
                        }
                    }
                }
                SectionKind::Keys(group) => {
                    let dead_at = dead.keys.get(group as usize).copied().unwrap_or(i64::MIN);
                    let mut rest = Taker(&section.payload);
                    while !rest.is_empty() {
                        let wanted = |key: &[u8], newest: i64| newest > dead_at && seen.insert((group, xxh3_128(key)));
                        copy_entry(&mut rest, wanted, out).map_err(damaged)?;
                    }
                }
            }
            if out.payload.len() > SECTION_BYTES {
                writer.write(out)?;
                entries += out.entries;
                (out.entries, out.payload) = (0, Vec::new());
            }
        }
    }
    for section in open.iter().filter(|s| s.entries > 0) {
        writer.write(section)?;
        entries += section.entries;
    }
    fault::point("merge-written");
    let bytes = writer.sync()?;
    Ok(Merged { file: StateFile { name, bytes, entries }, of: of.into_iter().map(|f| f.name).collect() })
}

fn section_of(open: &mut Vec<Section>, kind: SectionKind) -> &mut Section {
    let at = open.iter().position(|s| s.kind == kind).unwrap_or_else(|| {
        open.push(Section { kind, entries: 0, payload: Vec::new() });
        open.len() - 1
    });
    &mut open[at]
}

/// Copies one entry of `Shard::save`, if its key is wanted.
fn copy_entry(rest: &mut Taker<'_>, wanted: impl FnOnce(&[u8], i64) -> bool, out: &mut Section) -> Result<(), Damaged> {
    let (key, newest): (&[u8], i64) = (rest.bytes()?, rest.take()?);
    let length = u32::from_le_bytes(rest.array()?);
    let state = rest.slice(length as usize)?;
    if wanted(key, newest) {
        put_bytes(key, &mut out.payload);
        newest.put(&mut out.payload);
        out.payload.extend_from_slice(&length.to_le_bytes());
        out.payload.extend_from_slice(state);
        out.entries += 1;
    }
    Ok(())
}
