//! The files that a log has been rotated to: beside it, under names that begin with its own, known by their first bytes whatever they are called.

use super::named;
use crate::sources::Compression;
use crate::sources::compression::Decompressed;
use ouzel_core::Result;
use ouzel_core::error::ResultExt;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes that a file is known by.
pub const HEAD_BYTES: u64 = 1024;

/// The first bytes of a file: how many, and their hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub bytes: u64,
    pub hash: u64,
}

/// A file that the log may lie in.
pub struct Sibling {
    pub path: PathBuf,
    modified: i128,
    bytes: u64,
    inode: u64,
}

impl Sibling {
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

pub fn modified(about: &Metadata) -> i128 {
    i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec())
}

/// Of a plain file, of which there are at least as many.
pub fn head_of(file: &File, bytes: u64) -> io::Result<Head> {
    let mut head = vec![0; bytes as usize];
    let mut read = 0;
    while read < head.len() {
        match file.read_at(&mut head[read..], read as u64)? {
            0 => break,
            n => read += n,
        }
    }
    Ok(Head { bytes: read as u64, hash: xxh3_64(&head[..read]) })
}

/// What a file holds, decompressed.
pub struct Content(Decompressed);

impl Content {
    pub fn open(path: &Path) -> io::Result<Content> {
        Ok(Content(Decompressed::new(Box::new(File::open(path)?), Compression::Auto)))
    }

    /// Its first bytes, as many of them.
    pub fn head(&mut self, bytes: u64) -> io::Result<Head> {
        let mut head = Vec::new();
        self.0.fill(&mut head, bytes as usize)?;
        Ok(Head { bytes: head.len() as u64, hash: xxh3_64(&head) })
    }

    /// Once its first bytes are known.
    pub fn is_plain(&self) -> bool {
        self.0.format == Compression::None
    }

    /// Whether so many bytes follow.
    fn has(&mut self, mut bytes: u64) -> io::Result<bool> {
        let mut some = Vec::new();
        while bytes > 0 {
            some.clear();
            match self.0.fill(&mut some, bytes.min(1 << 20) as usize)? {
                0 => return Ok(false),
                n => bytes -= n as u64,
            }
        }
        Ok(true)
    }
}

/// The file that begins with `head` and is at least `length` bytes long: the log itself, or what it has been rotated to; the newest of them. One that was empty is
/// known by its inode.
pub fn same(log: &Path, head: &Head, inode: u64, length: u64) -> Result<Option<Sibling>> {
    let own = File::open(log).and_then(|file| file.metadata()).ok().map(|about| sibling(log.to_path_buf(), &about));
    let mut others = siblings(log)?;
    others.sort_by_key(|s| std::cmp::Reverse(s.modified));
    let is_it = |sibling: &Sibling| -> io::Result<bool> {
        if head.bytes == 0 {
            return Ok(sibling.inode == inode);
        }
        let mut content = Content::open(&sibling.path)?;
        Ok(content.head(head.bytes)? == *head && content.has(length.saturating_sub(head.bytes))?)
    };
    // What cannot be read, or is half written, is not it.
    Ok(own.into_iter().chain(others).find(|sibling| is_it(sibling).unwrap_or(false)))
}

/// What the log has been rotated to since, oldest first: modified at or after `since`, and not a file that begins as one of those `read`.
pub fn newer(log: &Path, since: i128, read: &[Head]) -> Result<Vec<Sibling>> {
    let mut found = siblings(log)?;
    found.retain(|s| s.modified >= since);
    let begins = |sibling: &Sibling, head: &Head| {
        head.bytes > 0 && !Content::open(&sibling.path).and_then(|mut content| content.head(head.bytes)).is_ok_and(|h| h != *head)
    };
    found.retain(|sibling| !read.iter().any(|head| begins(sibling, head)));
    found.sort_by_key(|s| s.modified);
    Ok(found)
}

/// Files beside the log whose names go on where its own ends; not the log.
fn siblings(log: &Path) -> Result<Vec<Sibling>> {
    let folder = log.parent().unwrap_or(Path::new("."));
    let name = log.file_name().unwrap_or_default().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in folder.read_dir().doing(|| named("listing", folder))? {
        let entry = entry.doing(|| named("listing", folder))?;
        let its = entry.file_name();
        let its = its.as_encoded_bytes();
        if its.len() > name.len() && its.starts_with(name) {
            // One that goes while it is looked at has been rotated away.
            found.extend(entry.metadata().ok().filter(Metadata::is_file).map(|about| sibling(entry.path(), &about)));
        }
    }
    Ok(found)
}

fn sibling(path: PathBuf, about: &Metadata) -> Sibling {
    Sibling { path, modified: modified(about), bytes: about.len(), inode: about.ino() }
}
