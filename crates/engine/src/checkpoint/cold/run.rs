//! A run: keys that left memory together, in a file that is sorted so that one is found again with one read.
//!
//! ```text
//!     OUZELCD1                                         magic and version
//!     entries as `Shard::evict` writes them            ascending by hash of the key, in blocks of about 4 KiB
//!     blocks: first hash u64, where u64, crc32c u32    the directory: how many blocks, each of them
//!     filter
//!     entries u64
//!     length u64 of the directory, crc32c u32 of it
//! ```
//!
//! Keys of one hash lie in one block. The directory is held in memory: about two bytes per key.

use super::filter::Filter;
use ouzel_core::error::ResultExt;
use ouzel_core::wire::{Damaged, Taker, Wire};
use ouzel_core::{Error, Kind, Result};
use ouzel_detect::features::Entry;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const MAGIC: &[u8; 8] = b"OUZELCD1";
const BLOCK_BYTES: usize = 4096;
const END_BYTES: u64 = 8 + 4;

/// A run that is open.
pub struct Run {
    /// For messages.
    pub name: String,
    pub entries: u64,
    blocks: Vec<Block>,
    /// Where the last block ends.
    end: u64,
    filter: Filter,
    /// What is to be written, until it is.
    image: Mutex<Option<Arc<Vec<u8>>>>,
    file: OnceLock<File>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    first: u64,
    at: u64,
    check: u32,
}

impl Run {
    /// `bytes`: how long the file is to be. [`Kind::Data`]: it is damaged.
    pub fn open(path: &Path, bytes: u64) -> Result<Run> {
        let name = path.display().to_string();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(&name, "it is missing")),
            Err(e) => return Err(e).doing(|| format!("opening `{name}`")),
        };
        let found = file.metadata().doing(|| format!("opening `{name}`"))?.len();
        if found != bytes || bytes < MAGIC.len() as u64 + END_BYTES {
            return Err(damaged(&name, &format!("it has {found} bytes, not {bytes}")));
        }
        let read = |range: Range<u64>| {
            let mut into = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut into, range.start).doing(|| format!("reading `{name}`")).map(|()| into)
        };
        if read(0..MAGIC.len() as u64)? != MAGIC {
            return Err(damaged(&name, "it does not begin as a run of keys"));
        }
        let end = read(bytes - END_BYTES..bytes)?;
        let length = u64::from_le_bytes(std::array::from_fn(|i| end[i]));
        let check = u32::from_le_bytes(std::array::from_fn(|i| end[8 + i]));
        let at = (bytes - END_BYTES).checked_sub(length).filter(|at| *at >= MAGIC.len() as u64);
        let Some(at) = at else { return Err(damaged(&name, "its directory is longer than it is")) };
        let directory = read(at..bytes - END_BYTES)?;
        if crc32c::crc32c(&directory) != check {
            return Err(damaged(&name, "its directory has another checksum"));
        }
        let taken = Run::of_directory(name.clone(), at, Taker(&directory)).map_err(|_| damaged(&name, "its directory"))?;
        let _ = taken.file.set(file);
        Ok(taken)
    }

    /// A run that is still to be written: what the builder has made of it. It can be read at once.
    pub fn of_image(name: String, image: Vec<u8>) -> Result<Run> {
        let cut = |_| Error::internal("a run was built wrong");
        let end = image.len().saturating_sub(END_BYTES as usize);
        let length = Taker(&image[end..]).array().map(u64::from_le_bytes).map_err(cut)?;
        let at = end.saturating_sub(length as usize);
        let run = Run::of_directory(name, at as u64, Taker(&image[at..end])).map_err(cut)?;
        *run.image.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(image));
        Ok(run)
    }

    fn of_directory(name: String, end: u64, mut from: Taker<'_>) -> Result<Run, Damaged> {
        let count = from.count()?;
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            let (first, at) = (u64::from_le_bytes(from.array()?), u64::from_le_bytes(from.array()?));
            blocks.push(Block { first, at, check: u32::from_le_bytes(from.array()?) });
        }
        let (filter, entries) = (from.take()?, from.take()?);
        let sound = blocks.iter().map(|b| b.at).chain([end]).is_sorted() && blocks.first().is_none_or(|b| b.at == 8);
        if !sound || !from.is_empty() {
            return Err(Damaged);
        }
        Ok(Run { name, entries, blocks, end, filter, image: Mutex::default(), file: OnceLock::new() })
    }

    /// What is to be written, if it is.
    pub fn image(&self) -> Option<Arc<Vec<u8>>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has been written.
    pub fn settle(&self, file: File) {
        let _ = self.file.set(file);
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The entry of a key, as a part of `block`, which is read if the key may be there. [`Kind::Data`]: it is damaged.
    pub fn find(&self, hash: u64, key: &[u8], block: &mut Vec<u8>) -> Result<Option<Range<usize>>> {
        if !self.filter.may_hold(hash) {
            return Ok(None);
        }
        let Some(at) = self.blocks.partition_point(|b| b.first <= hash).checked_sub(1) else { return Ok(None) };
        self.read(at, block)?;
        let (mut rest, all) = (Taker(block), block.len());
        while !rest.is_empty() {
            let start = all - rest.0.len();
            let (found, _) = Entry::split(&mut rest).map_err(|_| self.damaged(at))?;
            if found == key {
                return Ok(Some(start..all - rest.0.len()));
            }
        }
        Ok(None)
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The entries of a block. [`Kind::Data`]: it is damaged.
    pub fn read(&self, at: usize, into: &mut Vec<u8>) -> Result<()> {
        let block = self.blocks[at];
        let length = self.blocks.get(at + 1).map_or(self.end, |next| next.at) - block.at;
        into.clear();
        into.resize(length as usize, 0);
        match self.file.get() {
            Some(file) => match file.read_exact_at(into, block.at) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(self.damaged(at)),
                read => read.doing(|| format!("reading `{}`", self.name))?,
            },
            None => match self.image() {
                Some(image) => into.copy_from_slice(&image[block.at as usize..(block.at + length) as usize]),
                // Settled between the two looks.
                None => return self.read(at, into),
            },
        }
        if crc32c::crc32c(into) == block.check { Ok(()) } else { Err(self.damaged(at)) }
    }

    pub fn damaged(&self, at: usize) -> Error {
        let at = self.blocks[at].at;
        damaged(&self.name, &format!("the keys at byte {at} are not what was written"))
    }
}

fn damaged(name: &str, what: &str) -> Error {
    Error::new(Kind::Data, format!("`{name}` is damaged: {what}"))
}

/// Writes a run.
pub struct Builder<W> {
    out: W,
    at: u64,
    block: Vec<u8>,
    /// Hashes of the first and the last entry of the block at hand.
    hashes: (u64, u64),
    blocks: Vec<Block>,
    filter: Filter,
    entries: u64,
}

impl<W: Write> Builder<W> {
    /// `keys`: at most so many will come.
    pub fn new(mut out: W, keys: u64) -> io::Result<Builder<W>> {
        out.write_all(MAGIC)?;
        let (block, blocks) = (Vec::with_capacity(2 * BLOCK_BYTES), Vec::new());
        Ok(Builder { out, at: MAGIC.len() as u64, block, hashes: (0, 0), blocks, filter: Filter::new(keys), entries: 0 })
    }

    /// Hashes do not descend.
    pub fn add(&mut self, hash: u64, entry: &[u8]) -> io::Result<()> {
        if self.block.len() >= BLOCK_BYTES && hash != self.hashes.1 {
            self.end_block()?;
        }
        if self.block.is_empty() {
            self.hashes.0 = hash;
        }
        self.hashes.1 = hash;
        self.block.extend_from_slice(entry);
        self.filter.add(hash);
        self.entries += 1;
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.blocks.push(Block { first: self.hashes.0, at: self.at, check: crc32c::crc32c(&self.block) });
            self.out.write_all(&self.block)?;
            self.at += self.block.len() as u64;
            self.block.clear();
        }
        Ok(())
    }

    /// Gives what it has written to, how many bytes and how many entries.
    pub fn finish(mut self) -> io::Result<(W, u64, u64)> {
        self.end_block()?;
        let mut directory = Vec::with_capacity(self.blocks.len() * 20 + 16);
        (self.blocks.len() as u64).put(&mut directory);
        for block in &self.blocks {
            directory.extend_from_slice(&block.first.to_le_bytes());
            directory.extend_from_slice(&block.at.to_le_bytes());
            directory.extend_from_slice(&block.check.to_le_bytes());
        }
        self.filter.put(&mut directory);
        self.entries.put(&mut directory);
        self.out.write_all(&directory)?;
        self.out.write_all(&(directory.len() as u64).to_le_bytes())?;
        self.out.write_all(&crc32c::crc32c(&directory).to_le_bytes())?;
        Ok((self.out, self.at + directory.len() as u64 + END_BYTES, self.entries))
    }
}
