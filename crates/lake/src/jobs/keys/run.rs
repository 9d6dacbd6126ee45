//! A sorted run of hashes on disk: pages, and in memory the first hash of each page and a Bloom filter (blocked: one cache line for a hash; Putze, Sanders and
//! Singler, 2007).

use crate::jobs::pages::{CONTENT_BYTES, PageWriter, Pages, damaged, word};
use ouzel_core::Result;
use std::path::{Path, PathBuf};

const PAGE_HASHES: usize = CONTENT_BYTES / 16;
/// Of 512 bits each.
const BLOCK_WORDS: usize = 8;
const BITS_PER_HASH: u64 = 10;

/// A run that is there.
pub struct Run {
    pages: Pages,
    len: u64,
    /// The first hash of each page, its upper half.
    firsts: Vec<u64>,
    filter: Filter,
}

impl Run {
    pub fn open(path: &Path) -> Result<Run> {
        let pages_of = |len: u64| len.div_ceil(PAGE_HASHES as u64);
        let (pages, [len], kept) = Pages::open(path, |[len]| {
            Some((pages_of(len), pages_of(len).checked_mul(8)?.checked_add(Filter::blocks(len).checked_mul(64)?)?))
        })?;
        let words = |bytes: &[u8]| bytes.chunks_exact(8).map(word).collect();
        let (firsts, filter) = kept.split_at(pages_of(len) as usize * 8);
        Ok(Run { pages, len, firsts: words(firsts), filter: Filter { words: words(filter) } })
    }

    pub fn path(&self) -> &Path {
        &self.pages.path
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
        let there = (self.len as usize - page * PAGE_HASHES).min(PAGE_HASHES);
        let hash = |bytes: &[u8]| u128::from(word(&bytes[8..])) << 64 | u128::from(word(bytes));
        Ok(self.pages.page(page as u64)?.chunks_exact(16).take(there).map(hash).collect())
    }

    /// All hashes in their order.
    fn hashes(&self) -> impl Iterator<Item = Result<u128>> + '_ {
        (0..self.firsts.len()).flat_map(|page| match self.page(page) {
            Ok(hashes) => hashes.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(e)],
        })
    }
}

/// Writes a run, its hashes in ascending order.
pub struct Writer {
    pages: PageWriter,
    firsts: Vec<u64>,
    filter: Filter,
    len: u64,
}

impl Writer {
    /// `len`: hashes that will come.
    pub fn create(path: PathBuf, len: u64) -> Result<Writer> {
        Ok(Writer { pages: PageWriter::create(path)?, firsts: Vec::new(), filter: Filter::new(len), len: 0 })
    }

    pub fn push(&mut self, hash: u128) -> Result<()> {
        if self.pages.at_start() {
            self.firsts.push((hash >> 64) as u64);
        }
        self.filter.insert(hash);
        self.len += 1;
        self.pages.push(hash.to_le_bytes())
    }

    pub fn finish(self) -> Result<Run> {
        let Writer { pages, firsts, filter, len } = self;
        let kept: Vec<u8> = firsts.iter().chain(&filter.words).flat_map(|word| word.to_le_bytes()).collect();
        Ok(Run { pages: pages.finish(&kept, &[len])?, len, firsts, filter })
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
