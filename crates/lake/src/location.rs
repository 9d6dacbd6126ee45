//! Where a lake, or a table of it, lies: a folder of this machine, or a prefix of a bucket.

use crate::bucket::Bucket;
use datafusion::datasource::object_store::ObjectStoreUrl;
use deltalake_core::logstore::{LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError, ensure_table_uri};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use std::fmt;
use std::fs::{self, DirEntry, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::Url;

/// The folder of a table's log.
pub const LOG: &str = "_delta_log";
/// Of what jobs keep beside a table, and a lake beside its tables; other engines pass over names that begin so.
pub const BESIDE: &str = "_ouzel";

/// A folder of this machine, or a prefix of a bucket. Names in it are relative, with `/`.
#[derive(Debug, Clone)]
pub enum Location {
    Folder(PathBuf),
    Bucket {
        bucket: Arc<Bucket>,
        key: Key,
        /// Folder of this machine for what is on its way there, and for what makes things faster.
        work: PathBuf,
    },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => write!(f, "{}", path.display()),
            Location::Bucket { bucket, key, .. } => write!(f, "s3://{}/{key}", bucket.name()),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Location {
        Location::Folder(path.to_path_buf())
    }
}

impl Location {
    /// A folder in it.
    pub fn join(&self, name: &str) -> Location {
        match self {
            Location::Folder(path) => Location::Folder(path.join(name)),
            Location::Bucket { bucket, key, work } => {
                Location::Bucket { bucket: bucket.clone(), key: key.clone().join(name), work: work.join(name) }
            }
        }
    }

    /// The last part of its name.
    pub fn name(&self) -> String {
        match self {
            Location::Folder(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Location::Bucket { key, .. } => key.filename().unwrap_or_default().to_string(),
        }
    }

    /// The folder of this machine that its files are written in: its own, or one that they are put into the bucket from.
    pub fn writing_folder(&self) -> PathBuf {
        match self {
            Location::Folder(path) => path.clone(),
            Location::Bucket { work, .. } => work.join("writing"),
        }
    }

    /// The folder of this machine for what a job remembers of its table. What is remembered of a table in a bucket goes by a name that lies there, so that
    /// nothing is taken for that of a table that has gone.
    pub fn beside(&self) -> Result<PathBuf> {
        let Location::Bucket { work, .. } = self else { return Ok(self.writing_folder().join(BESIDE)) };
        let (beside, name) = (self.join(BESIDE), "id");
        let id = match beside.read(name)? {
            Some(id) => id,
            None => {
                let random = || RandomState::new().build_hasher().finish();
                let id = format!("{:016x}{:016x}", random(), random()).into_bytes();
                if beside.create(name, &id)? { id } else { beside.read(name)?.unwrap_or(id) }
            }
        };
        let id = String::from_utf8_lossy(&id).chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        Ok(work.join(id))
    }

    fn key(&self, name: &str) -> Result<Key> {
        let Location::Bucket { key, .. } = self else { return Err(Error::internal("a folder has no keys")) };
        // Names of partitions' folders are escaped already.
        Key::parse(format!("{key}/{name}")).map_err(|e| Error::internal(format!("the name `{name}`")).caused_by(e))
    }

    /// `None`: there is nothing of that name.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.read_all(&[name.to_string()])?.pop().flatten())
    }

    /// Each `None` if there is nothing of that name.
    pub fn read_all(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        match self {
            Location::Folder(path) => names.iter().map(|name| read_file(&path.join(name))).collect(),
            Location::Bucket { bucket, .. } => {
                let keys = names.iter().map(|name| self.key(name)).collect::<Result<Vec<_>>>()?;
                bucket.read_all(&keys)
            }
        }
    }

    /// Names of the files right in it, sorted; none if there is no such folder. `behind`: only those behind this name.
    pub fn files(&self, behind: Option<&str>) -> Result<Vec<String>> {
        let mut names = match self {
            Location::Folder(path) => entries(path)?,
            Location::Bucket { bucket, key, .. } => {
                let behind = behind.map(|name| self.key(name)).transpose()?;
                let found = bucket.list(key, behind.as_ref())?;
                let name = |at: &Key| {
                    let mut parts = at.prefix_match(key)?;
                    let name = parts.next()?.as_ref().to_string();
                    parts.next().is_none().then_some(name)
                };
                found.iter().filter_map(|about| name(&about.location)).collect()
            }
        };
        names.retain(|name| behind.is_none_or(|behind| name.as_str() > behind));
        names.sort();
        Ok(names)
    }

    /// Names of the tables in it, sorted.
    pub fn tables(&self) -> Result<Vec<String>> {
        let mut names = match self {
            Location::Folder(path) => entries(path)?,
            Location::Bucket { bucket, key, .. } => bucket.folders(key)?,
        };
        names.retain(|name| self.has_table(name).unwrap_or(false));
        names.sort();
        Ok(names)
    }

    /// Whether it has a table of this name.
    pub fn has_table(&self, name: &str) -> Result<bool> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return Ok(false);
        }
        match self.join(name).join(LOG) {
            Location::Folder(log) => Ok(log.is_dir()),
            Location::Bucket { bucket, key, .. } => bucket.has_any(&key),
        }
    }

    /// Creates a file: wholly or not at all, and for good. False if there is another of that name.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        match self {
            Location::Folder(path) => create_file(path, name, bytes),
            Location::Bucket { bucket, .. } => bucket.create(&self.key(name)?, bytes),
        }
    }

    /// Puts a file in the place of what is there, wholly or not at all.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Location::Folder(path) => {
                let (place, part) = (path.join(name), path.join(temporary_name()));
                let write = || -> io::Result<()> {
                    fs::create_dir_all(path)?;
                    fs::write(&part, bytes)?;
                    File::open(&part)?.sync_all()?;
                    fs::rename(&part, &place)
                };
                write().doing(|| format!("writing `{}`", place.display()))?;
                sync_folder(path)
            }
            Location::Bucket { bucket, .. } => bucket.put(&self.key(name)?, bytes.to_vec()),
        }
    }

    /// Brings a file of this machine there, if that is elsewhere: from [`Location::writing_folder`], under the same name.
    pub fn send(&self, name: &str) -> Result<()> {
        let Location::Bucket { bucket, .. } = self else { return Ok(()) };
        let file = self.writing_folder().join(name);
        let bytes = fs::metadata(&file).doing(|| format!("reading `{}`", file.display()))?.len();
        bucket.upload(&self.key(name)?, &file, 0, bytes)?;
        let _ = fs::remove_file(&file);
        Ok(())
    }

    /// Copies a file to one of this machine. False: there is nothing of that name.
    pub fn fetch(&self, name: &str, to: &Path) -> Result<bool> {
        let doing = || format!("copying `{name}` to `{}`", to.display());
        match self {
            Location::Folder(path) => match fs::copy(path.join(name), to) {
                Ok(_) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(e) => Err(e).doing(doing),
            },
            Location::Bucket { bucket, .. } => {
                let key = self.key(name)?;
                let mut tries = OPENED_MAX;
                loop {
                    tries -= 1;
                    match bucket.fetch(&key, &mut File::create(to).doing(doing)?) {
                        // An answer may break off.
                        Err(_) if tries > 0 => {}
                        ended => return ended,
                    }
                }
            }
        }
    }

    /// Removes a file, here and there. What cannot be removed is in nobody's way.
    pub fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.writing_folder().join(name));
        if let (Location::Bucket { bucket, .. }, Ok(key)) = (self, self.key(name)) {
            bucket.remove(&key);
        }
    }

    /// Where DataFusion finds what lies here, and what it asks.
    pub fn store(&self) -> Result<(ObjectStoreUrl, Arc<dyn ObjectStore>)> {
        match self {
            Location::Folder(_) => Ok((ObjectStoreUrl::local_filesystem(), Arc::new(LocalFileSystem::new()))),
            Location::Bucket { bucket, .. } => {
                let url = format!("s3://{}", bucket.id());
                let url = ObjectStoreUrl::parse(&url).map_err(|e| Error::internal(url).caused_by(e))?;
                Ok((url, bucket.store()))
            }
        }
    }

    /// The key of a file in [`Location::store`].
    pub fn key_of(&self, name: &str) -> Result<Key> {
        match self {
            Location::Folder(path) => {
                let path = path.join(name);
                Key::from_absolute_path(&path).map_err(|e| Error::internal(format!("`{}`", path.display())).caused_by(e))
            }
            Location::Bucket { .. } => self.key(name),
        }
    }

    /// Opens the table that lies here.
    pub async fn open_table(&self, version: Option<u64>) -> Result<DeltaTable> {
        let wrong = |e: DeltaTableError| Error::unavailable(format!("opening the table `{}`", self.name())).caused_by(e);
        let mut tries = match self {
            Location::Folder(_) => 1,
            Location::Bucket { .. } => OPENED_MAX,
        };
        loop {
            let mut builder = self.builder().map_err(wrong)?;
            if let Some(version) = version {
                builder = builder.with_version(version);
            }
            tries -= 1;
            match builder.load().await {
                // An answer may break off; what is never answered takes a minute each time.
                Err(_) if tries > 0 => {}
                opened => return opened.map_err(wrong),
            }
        }
    }

    fn builder(&self) -> DeltaResult<DeltaTableBuilder> {
        match self {
            Location::Folder(path) => {
                let path = path.canonicalize().map_err(DeltaTableError::generic)?;
                DeltaTableBuilder::from_url(ensure_table_uri(path.to_string_lossy())?)
            }
            Location::Bucket { bucket, .. } => {
                let url = self.url()?;
                logstore_factories().entry(scheme()?).or_insert_with(|| Arc::new(Buckets));
                Ok(DeltaTableBuilder::from_url(url.clone())?.with_storage_backend(bucket.store(), url))
            }
        }
    }

    /// `file:///..`, `s3://..`
    pub fn url(&self) -> DeltaResult<Url> {
        match self {
            Location::Folder(path) => ensure_table_uri(path.to_string_lossy()),
            Location::Bucket { bucket, key, .. } => {
                let wrong = || DeltaTableError::InvalidTableLocation(self.to_string());
                let mut url = Url::parse(&format!("s3://{}", bucket.name())).map_err(|_| wrong())?;
                url.path_segments_mut().map_err(|()| wrong())?.extend(key.parts().map(|part| part.as_ref().to_string()));
                Ok(url)
            }
        }
    }
}

/// What names in a bucket begin with, as it is. [`ouzel_core::Kind::Config`]: nothing there can begin so.
pub fn key_of_prefix(prefix: &str) -> Result<Key> {
    let prefix = prefix.trim_matches('/');
    Key::parse(prefix).map_err(|e| Error::config(format!("`{prefix}` is no prefix of names in a bucket: {e}")))
}

/// A table in a bucket is tried to be opened, and an object to be read, so often.
const OPENED_MAX: usize = 3;

fn scheme() -> DeltaResult<Url> {
    Url::parse("s3://").map_err(|e| DeltaTableError::generic(e.to_string()))
}

/// `deltalake`'s own reading of logs, over stores that we have opened. Commits are not made through it.
struct Buckets;

impl LogStoreFactory for Buckets {
    fn with_options(
        &self,
        prefixed: ObjectStoreRef,
        root: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed, root, location, options))
    }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing(|| format!("reading `{}`", path.display())),
    }
}

/// Names in a folder; none if there is no such folder.
fn entries(path: &Path) -> Result<Vec<String>> {
    let doing = || format!("reading `{}`", path.display());
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing(doing),
    };
    entries.map(|entry| Ok(entry.doing(doing)?.file_name().to_string_lossy().into_owned())).collect()
}

/// Written beside its place, synced, and linked to its name, which fails if the name is taken: so it is there wholly or not at all, also after a power cut.
fn create_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<bool> {
    let path = folder.join(name);
    let temporary = folder.join(temporary_name());
    let mut file = File::create_new(&temporary).doing(|| format!("writing `{}`", temporary.display()))?;
    let mut write = || -> io::Result<bool> {
        file.write_all(bytes)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, &path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    };
    let created = write();
    // A leftover is named so that readers pass over it and cleaning finds it.
    let _ = fs::remove_file(&temporary);
    let created = created.doing(|| format!("writing `{}`", path.display()))?;
    sync_folder(folder)?;
    Ok(created)
}

fn temporary_name() -> String {
    format!("_commit_{}.json.tmp", unique())
}

/// A part of a name that no other has: not of another process, nor of another thread of this one at the same instant.
pub fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:x}-{:x}-{:x}", WallClock.now_us(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What nobody has written to for so long is that of a killed run.
pub const LEFT_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long nobody has written to a file, or to the list of a folder.
pub fn age(entry: &DirEntry) -> Option<Duration> {
    entry.metadata().and_then(|about| about.modified()).ok()?.elapsed().ok()
}

/// A file's name is durable only when its folder is.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).doing(|| format!("syncing the folder `{}`", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::unique;

    #[test]
    fn names_of_one_instant_are_different() {
        let names: std::collections::HashSet<String> = (0..10_000).map(|_| unique()).collect();
        assert_eq!(names.len(), 10_000);
    }
}
