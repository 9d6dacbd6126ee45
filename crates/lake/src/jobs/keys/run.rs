//! A sorted run of hashes on disk: pages with a checksum each, then what is kept in memory of it: the first hash of each page, and a Bloom filter (blocked: one
//! cache line for a hash; Putze, Sanders and Singler, 2007), with a checksum of their own.

use super::damaged;
use crc32c::crc32c;
use ouzel_core::Result;
use ouzel_core::error::ResultExt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE_BYTES: usize = 4096;
/// Of 16 bytes; the checksum is behind them.
const PAGE_HASHES: usize = (PAGE_BYTES - 4) / 16;
/// Of 512 bits each.
const BLOCK_WORDS: usize = 8;
const BITS_PER_HASH: u64 = 10;
/// Number of hashes, checksum of what is kept in memory.
const TAIL_BYTES: u64 = 12;

/// A run that is there.
pub struct Run {
    path: PathBuf,
    file: File,
    len: u64,
    /// The first hash of each page, its upper half.
    firsts: Vec<u64>,
    filter: Filter,
}

impl Run {
    pub fn open(path: &Path) -> Result<Run> {
        let doing = || format!("reading `{}`", path.display());
        let file = File::open(path).doing(doing)?;
        let bytes = file.metadata().doing(doing)?.len();
        let mut tail = [0; TAIL_BYTES as usize];
        if bytes < TAIL_BYTES {
            return Err(damaged(path));
        }
        file.read_exact_at(&mut tail, bytes - TAIL_BYTES).doing(doing)?;
        let len = u64::from_le_bytes(tail[..8].try_into().unwrap_or_default());
        let sum = u32::from_le_bytes(tail[8..].try_into().unwrap_or_default());
        let pages = len.div_ceil(PAGE_HASHES as u64);
        let blocks = Filter::blocks(len);
        let kept = pages.checked_mul(8).and_then(|firsts| firsts.checked_add(blocks.checked_mul(64)?));
        let expected = kept.and_then(|kept| pages.checked_mul(PAGE_BYTES as u64)?.checked_add(kept + TAIL_BYTES));
        if expected != Some(bytes) {
            return Err(damaged(path));
        }
        let mut kept = vec![0; kept.unwrap_or(0) as usize];
        file.read_exact_at(&mut kept, pages * PAGE_BYTES as u64).doing(doing)?;
        if crc32c(&kept) != sum {
            return Err(damaged(path));
        }
        let words = |bytes: &[u8]| bytes.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default())).collect();
        let (firsts, filter) = kept.split_at(pages as usize * 8);
        Ok(Run { path: path.to_path_buf(), file, len, firsts: words(firsts), filter: Filter { words: words(filter) } })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of hashes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn contains(&self, hash: u128) -> Result<bool> {
        if !self.filter.may_have(hash) {
            return Ok(false);
        }
        let upper = (hash >> 64) as u64;
        // Pages may begin with the same upper half: begin with the last that lies below.
        let mut page = self.firsts.partition_point(|first| *first < upper).saturating_sub(1);
        while page < self.firsts.len() && self.firsts[page] <= upper {
            if self.page(page)?.binary_search(&hash).is_ok() {
                return Ok(true);
            }
            page += 1;
        }
        Ok(false)
    }

    fn page(&self, page: usize) -> Result<Vec<u128>> {
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_exact_at(&mut bytes, (page * PAGE_BYTES) as u64).doing(|| format!("reading `{}`", self.path.display()))?;
        let (hashes, sum) = bytes.split_at(PAGE_BYTES - 4);
        if crc32c(hashes).to_le_bytes() != sum {
            return Err(damaged(&self.path));
        }
        let before = page * PAGE_HASHES;
        let there = (self.len as usize - before).min(PAGE_HASHES);
        Ok(hashes.chunks_exact(16).take(there).map(|hash| u128::from_le_bytes(hash.try_into().unwrap_or_default())).collect())
    }

    /// All hashes in their order.
    fn hashes(&self) -> impl Iterator<Item = Result<u128>> + '_ {
        (0..self.firsts.len()).flat_map(|page| match self.page(page) {
            Ok(hashes) => hashes.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        })
    }
}

/// Writes a run, its hashes in ascending order. What is not finished is taken away again.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    page: Vec<u8>,
    firsts: Vec<u64>,
    filter: Filter,
    len: u64,
}

impl Writer {
    /// `most`: hashes that will come, at most.
    pub fn create(path: PathBuf, most: u64) -> Result<Writer> {
        let file = File::create(&path).doing(|| format!("making `{}`", path.display()))?;
        let filter = Filter::new(most);
        Ok(Writer { path, file: BufWriter::new(file), page: Vec::with_capacity(PAGE_BYTES), firsts: Vec::new(), filter, len: 0 })
    }

    pub fn push(&mut self, hash: u128) -> Result<()> {
        if self.page.is_empty() {
            self.firsts.push((hash >> 64) as u64);
        }
        self.page.extend_from_slice(&hash.to_le_bytes());
        self.filter.insert(hash);
        self.len += 1;
        if self.page.len() == PAGE_HASHES * 16 { self.write_page() } else { Ok(()) }
    }

    fn write_page(&mut self) -> Result<()> {
        self.page.resize(PAGE_BYTES - 4, 0);
        let sum = crc32c(&self.page);
        self.page.extend_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all(&self.page).doing(|| format!("writing `{}`", self.path.display()));
        self.page.clear();
        written
    }

    /// It can be read. (It is not synced: what a power cut leaves of it is seen, and made anew.)
    pub fn finish(mut self) -> Result<Run> {
        if !self.page.is_empty() {
            self.write_page()?;
        }
        let kept: Vec<u8> = self.firsts.iter().chain(&self.filter.words).flat_map(|word| word.to_le_bytes()).collect();
        let Writer { path, mut file, firsts, filter, len, .. } = self;
        let mut write = || -> std::io::Result<()> {
            file.write_all(&kept)?;
            file.write_all(&len.to_le_bytes())?;
            file.write_all(&crc32c(&kept).to_le_bytes())?;
            file.flush()
        };
        write().doing(|| format!("writing `{}`", path.display()))?;
        let file = File::open(&path).doing(|| format!("reading `{}`", path.display()))?;
        Ok(Run { path, file, len, firsts, filter })
    }
}

/// Two runs, or more, as one.
pub fn merge(runs: &[Run], path: PathBuf) -> Result<Run> {
    let mut writer = Writer::create(path, runs.iter().map(Run::len).sum())?;
    let mut inputs: Vec<_> = runs.iter().map(|run| run.hashes().peekable()).collect();
    loop {
        let mut least: Option<(u128, usize)> = None;
        for (i, input) in inputs.iter_mut().enumerate() {
            match input.peek() {
                Some(Ok(hash)) if least.is_none_or(|(least, _)| *hash < least) => least = Some((*hash, i)),
                Some(Err(_)) => return Err(input.next().and_then(Result::err).unwrap_or_else(|| damaged(runs[i].path()))),
                _ => {}
            }
        }
        let Some((hash, i)) = least else { return writer.finish() };
        inputs[i].next();
        writer.push(hash)?;
    }
}

struct Filter {
    words: Vec<u64>,
}

impl Filter {
    fn blocks(len: u64) -> u64 {
        (len.saturating_mul(BITS_PER_HASH) / 512).max(1)
    }

    fn new(len: u64) -> Filter {
        Filter { words: vec![0; Filter::blocks(len) as usize * BLOCK_WORDS] }
    }

    /// The block, and one bit for each of its words.
    fn place(&self, hash: u128) -> (usize, u64) {
        let blocks = (self.words.len() / BLOCK_WORDS) as u128;
        let block = ((hash as u64 as u128 * blocks) >> 64) as usize;
        (block * BLOCK_WORDS, (hash >> 64) as u64)
    }

    fn insert(&mut self, hash: u128) {
        let (block, bits) = self.place(hash);
        for (i, word) in self.words[block..block + BLOCK_WORDS].iter_mut().enumerate() {
            *word |= 1 << (bits >> (6 * i) & 63);
        }
    }

    fn may_have(&self, hash: u128) -> bool {
        let (block, bits) = self.place(hash);
        self.words[block..block + BLOCK_WORDS].iter().enumerate().all(|(i, word)| word >> (bits >> (6 * i) & 63) & 1 == 1)
    }
}
