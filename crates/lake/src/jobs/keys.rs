//! Which keys a table has: a set of 128-bit keyed hashes (SipHash-1-3) beside the table, so that a key that comes again is found without reading the table.
//!
//! New hashes are kept in memory, and go to disk as sorted [`run`]s: at the commit, and before, where there are more than memory is to hold. Runs of about
//! the same size are merged, as in an LSM tree (O'Neil et al., 1996), so that there are few. What is on disk is of one version of the table; what later
//! versions have added is read from the table, so that losing this folder, or a kill at any moment, costs time and nothing else.

mod run;

use crate::location::{sync_folder, unique};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_row::{RowConverter, SortField};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use run::{Run, Writer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::path::{Path, PathBuf};

/// Bytes that a hash takes in memory, its place in the table included, at worst.
const BYTES_PER_HASH: usize = 40;
/// A run is merged with the one before it unless that one is so many times as large.
pub const GROWTH: u64 = 3;
/// The same where many of the same size come one after the other: each is merged a logarithm of their number of times.
pub const GROWTH_IN_BULK: u64 = 2;
const MANIFEST: &str = "manifest.json";

/// The set of a table's keys.
pub struct Keys {
    folder: PathBuf,
    manifest: Manifest,
    set: KeySet,
}

/// What is on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Manifest {
    /// The table's version whose keys these are; none yet.
    version: Option<u64>,
    /// Names of the columns.
    columns: Vec<String>,
    secret: Secret,
    /// Files, the oldest first.
    runs: Vec<String>,
}

impl Keys {
    /// Opens the set in `folder`, or begins one. Where what is there is of other columns, or damaged, it begins anew. `memory_bytes`: what the latest
    /// hashes may take.
    pub fn open(folder: &Path, columns: &[String], memory_bytes: usize) -> Result<Keys> {
        fs::create_dir_all(folder).doing(|| format!("making the folder `{}`", folder.display()))?;
        let manifest: Option<Manifest> = read_manifest(folder);
        let manifest = manifest.filter(|manifest| manifest.columns == columns);
        let opened = manifest.and_then(|manifest| {
            let set = KeySet::open(folder, &manifest.runs, memory_bytes);
            set.ok().map(|set| (manifest, set))
        });
        let (manifest, set) = match opened {
            Some(found) => found,
            None => {
                let manifest = Manifest { columns: columns.to_vec(), secret: Secret::new(), ..Manifest::default() };
                (manifest, KeySet::open(folder, &[], memory_bytes)?)
            }
        };
        sweep(folder, &manifest.runs)?;
        Ok(Keys { folder: folder.to_path_buf(), manifest, set })
    }

    /// The version whose keys are known.
    pub fn version(&self) -> Option<u64> {
        self.manifest.version
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.manifest.version = None;
        self.set.clear();
    }

    /// Takes keys in, and tells which rows' keys were not there: of rows with the same key the first. A key that is null anywhere is like no other.
    /// `columns`: one array for each column of the key.
    pub fn fresh(&mut self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let hashes = self.manifest.secret.hashes(columns)?;
        let fresh = hashes.into_iter().map(|hash| hash.map_or(Ok(true), |hash| self.set.insert(hash)));
        Ok(fresh.collect::<Result<Vec<bool>>>()?.into())
    }

    /// What was taken in is of this version of the table: it lasts from here on.
    pub fn commit(&mut self, version: u64) -> Result<()> {
        self.manifest.runs = self.set.settle()?;
        self.manifest.version = Some(version);
        write_manifest(&self.folder, &self.manifest)?;
        sweep(&self.folder, &self.manifest.runs)
    }
}

/// Of hashes: nobody outside can make two keys collide.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Secret(u64, u64);

impl Secret {
    pub fn new() -> Secret {
        let random = || RandomState::new().build_hasher().finish();
        Secret(random(), random())
    }

    /// The hash of each row, none where a value is null. `columns`: at least one, of the same length.
    pub fn hashes(&self, columns: &[ArrayRef]) -> Result<Vec<Option<u128>>> {
        let valid = |row: usize| columns.iter().all(|column| column.is_valid(row));
        let hashes = self.hashes_with_nulls(columns)?;
        Ok(hashes.into_iter().enumerate().map(|(row, hash)| valid(row).then_some(hash)).collect())
    }

    /// The hash of each row; null is a value like another. However texts are held (`Utf8`, `Utf8View`, ..), the same have the same hash.
    pub fn hashes_with_nulls(&self, columns: &[ArrayRef]) -> Result<Vec<u128>> {
        let internal = |e: arrow_schema::ArrowError| Error::internal("reading keys").caused_by(e);
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns)).map_err(internal)?;
        // Neighbours are often the same.
        let mut before: Option<(arrow_row::Row<'_>, u128)> = None;
        let mut hashes = Vec::with_capacity(rows.num_rows());
        for key in rows.iter() {
            let hash = match &before {
                Some((same, hash)) if same.as_ref() == key.as_ref() => *hash,
                _ => self.hash(key.as_ref()),
            };
            before = Some((key, hash));
            hashes.push(hash);
        }
        Ok(hashes)
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        let mut sip = SipHasher13::new_with_keys(self.0, self.1);
        sip.write(bytes);
        sip.finish128().as_u128()
    }
}

/// Hashes, in memory and in runs.
pub struct KeySet {
    folder: PathBuf,
    runs: Vec<Run>,
    recent: HashSet<u128, BuildHasherDefault<AsItIs>>,
    recent_max: usize,
    /// Runs that were written since the last commit.
    uncommitted: Vec<Run>,
}

impl KeySet {
    /// `runs`: names of files in `folder`, the oldest first.
    pub fn open(folder: &Path, runs: &[String], memory_bytes: usize) -> Result<KeySet> {
        let runs = runs.iter().map(|name| Run::open(&folder.join(name))).collect::<Result<_>>()?;
        let recent_max = (memory_bytes / BYTES_PER_HASH).max(1024);
        Ok(KeySet { folder: folder.to_path_buf(), runs, recent: HashSet::default(), recent_max, uncommitted: Vec::new() })
    }

    pub fn clear(&mut self) {
        self.runs.clear();
        self.uncommitted.clear();
        self.recent.clear();
    }

    /// Whether it was not there.
    pub fn insert(&mut self, hash: u128) -> Result<bool> {
        if !self.recent.insert(hash) {
            return Ok(false);
        }
        for run in self.runs.iter().chain(&self.uncommitted) {
            if run.contains(hash)? {
                self.recent.remove(&hash);
                return Ok(false);
            }
        }
        if self.recent.len() >= self.recent_max {
            self.write_recent()?;
        }
        Ok(true)
    }

    pub fn write_recent(&mut self) -> Result<()> {
        if self.recent.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<u128> = std::mem::take(&mut self.recent).into_iter().collect();
        sorted.sort_unstable();
        let mut writer = Writer::create(free(&self.folder), sorted.len() as u64)?;
        sorted.into_iter().try_for_each(|hash| writer.push(hash))?;
        self.uncommitted.push(writer.finish()?);
        let merged = merge_last(&mut self.uncommitted, &self.folder, GROWTH_IN_BULK)?;
        // Nothing names them.
        merged.iter().for_each(|run| _ = fs::remove_file(run.path()));
        Ok(())
    }

    /// Everything on disk, in few files: their names.
    pub fn settle(&mut self) -> Result<Vec<String>> {
        self.write_recent()?;
        self.runs.append(&mut self.uncommitted);
        merge_last(&mut self.runs, &self.folder, GROWTH)?;
        let name = |run: &Run| run.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(self.runs.iter().map(name).collect())
    }
}

/// Merges the last runs, as long as the one before is less than so many times as large. Gives those that are not needed any more.
fn merge_last(runs: &mut Vec<Run>, folder: &Path, growth: u64) -> Result<Vec<Run>> {
    let mut merged = Vec::new();
    while let [.., before, last] = runs.as_slice()
        && before.len() < growth * last.len()
    {
        let last: Vec<Run> = runs.pop().into_iter().chain(runs.pop()).collect();
        runs.push(run::merge(&last, free(folder))?);
        merged.extend(last);
    }
    Ok(merged)
}

/// A file that is not there yet.
pub fn free(folder: &Path) -> PathBuf {
    folder.join(format!("{}{SUFFIX}", unique()))
}

/// Of the names of runs.
const SUFFIX: &str = ".run";

pub fn read_manifest<M: DeserializeOwned>(folder: &Path) -> Option<M> {
    serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()
}

pub fn write_manifest(folder: &Path, manifest: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(manifest).map_err(|e| Error::internal(e.to_string()))?;
    let (path, part) = (folder.join(MANIFEST), folder.join("manifest.part"));
    let write = || -> std::io::Result<()> {
        fs::write(&part, &bytes)?;
        fs::File::open(&part)?.sync_all()?;
        fs::rename(&part, &path)
    };
    write().doing(|| format!("writing `{}`", path.display()))?;
    sync_folder(folder)
}

/// Takes runs away that nothing names.
pub fn sweep(folder: &Path, named: &[String]) -> Result<()> {
    let doing = || format!("listing `{}`", folder.display());
    let named: HashSet<&str> = named.iter().map(String::as_str).collect();
    for entry in fs::read_dir(folder).doing(doing)? {
        let name = entry.doing(doing)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(SUFFIX) && !named.contains(name.as_str()) {
            let _ = fs::remove_file(folder.join(&name));
        }
    }
    Ok(())
}

/// Hashes need no hashing.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};
    use std::sync::Arc;

    fn key(id: i64) -> Vec<ArrayRef> {
        let text: ArrayRef = Arc::new(StringArray::from(vec![format!("id-{id}")]));
        vec![text, Arc::new(Int64Array::from(vec![id % 3]))]
    }

    fn columns() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    /// Little memory, many commits, re-opened at random: as a plain set.
    #[test]
    fn it_is_a_set_whatever_is_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut committed, mut plain) = (HashSet::new(), HashSet::new());
        let mut keys = Keys::open(folder.path(), &columns(), 0).expect("opens");
        for version in 0..60 {
            for _ in 0..random(3000) {
                let id = random(60_000) as i64;
                let fresh = keys.fresh(&key(id)).expect("read").value(0);
                assert_eq!(fresh, plain.insert(id), "{id}");
            }
            match random(4) {
                0 => {
                    // What was not committed is gone.
                    keys = Keys::open(folder.path(), &columns(), 0).expect("opens");
                    plain.clone_from(&committed);
                }
                _ => {
                    keys.commit(version).expect("written");
                    assert_eq!(keys.version(), Some(version));
                    committed.clone_from(&plain);
                }
            }
        }
        let files = fs::read_dir(folder.path()).expect("listed").count();
        assert!(files < 12, "{files} files");
    }

    /// What is in memory has other types than what is read again.
    #[test]
    fn the_same_text_has_the_same_hash() {
        let texts =
            [Some("a"), None, Some(""), Some("a text that is longer than what a view holds in itself, and than a block of rows")];
        let views: ArrayRef = Arc::new(arrow_array::StringViewArray::from_iter(texts));
        let large: ArrayRef = Arc::new(arrow_array::LargeStringArray::from_iter(texts));
        let plain: ArrayRef = Arc::new(StringArray::from_iter(texts));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let secret = Secret::new();
        let hashes = |column: &ArrayRef| secret.hashes_with_nulls(&[number.clone(), column.clone()]).expect("hashed");
        assert_eq!(hashes(&views), hashes(&plain));
        assert_eq!(hashes(&large), hashes(&plain));
    }

    #[test]
    fn a_null_is_like_no_other_and_other_columns_begin_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut keys = Keys::open(folder.path(), &["a".into()], 0).expect("opens");
        let some: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("x"), None]));
        let fresh: Vec<bool> = keys.fresh(&[some]).expect("read").iter().flatten().collect();
        assert_eq!(fresh, [true, true, false, true]);
        keys.commit(3).expect("written");
        assert_eq!(Keys::open(folder.path(), &["a".into()], 0).expect("opens").version(), Some(3));
        assert_eq!(Keys::open(folder.path(), &["b".into()], 0).expect("opens").version(), None);
    }

    /// A flipped bit is told, or the set begins anew: it never tells of other keys.
    #[test]
    fn damage_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5000));
        let mut keys = Keys::open(folder.path(), &["a".into()], 1 << 20).expect("opens");
        keys.fresh(std::slice::from_ref(&ids)).expect("read");
        keys.commit(1).expect("written");
        let name = keys.manifest.runs[0].clone();
        let file = folder.path().join(&name);
        let (sound, manifest) = (fs::read(&file).expect("read"), keys.manifest.clone());
        for at in (0..sound.len()).step_by(997) {
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            fs::write(&file, &bytes).expect("written");
            let mut keys = Keys::open(folder.path(), &["a".into()], 1 << 20).expect("opens");
            let begun_anew = keys.version().is_none();
            let found = keys.fresh(std::slice::from_ref(&ids));
            let none_fresh = found.as_ref().is_ok_and(|fresh| fresh.true_count() == 0);
            assert!(begun_anew || found.is_err() || none_fresh, "byte {at}");
            // Opening anew has swept it away.
            fs::write(&file, &sound).expect("written");
            write_manifest(folder.path(), &manifest).expect("written");
        }
    }
}
