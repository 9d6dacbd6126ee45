//! A file of pages, each with a checksum, then of what is kept in memory of them, with one of its own. It is not synced: what a power cut leaves of it is
//! seen, and made anew.

use crc32c::crc32c;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE_BYTES: usize = 4096;
/// Of a page, beside its checksum.
pub const CONTENT_BYTES: usize = PAGE_BYTES - 4;

/// What is told of a file that does not hold what was written.
pub fn damaged(path: &Path) -> Error {
    Error::new(Kind::Data, format!("`{}` is damaged: remove its folder, it is made anew", path.display()))
}

/// A complete file.
pub struct Pages {
    pub path: PathBuf,
    file: File,
}

impl Pages {
    /// Opens a file that ends with `N` numbers; with these, and what is kept in memory. `shape`: how many pages, and how many bytes of what is kept, a file with such
    /// numbers has. [`Kind::Data`]: it does not hold what was written.
    pub fn open<const N: usize>(
        path: &Path,
        shape: impl Fn([u64; N]) -> Option<(u64, u64)>,
    ) -> Result<(Pages, [u64; N], Vec<u8>)> {
        let doing = || format!("reading `{}`", path.display());
        let file = File::open(path).doing(doing)?;
        let bytes = file.metadata().doing(doing)?.len();
        let mut tail = vec![0; N * 8 + 4];
        let before = bytes.checked_sub(tail.len() as u64).ok_or_else(|| damaged(path))?;
        file.read_exact_at(&mut tail, before).doing(doing)?;
        let numbers = std::array::from_fn(|i| word(&tail[i * 8..]));
        let (pages, kept) = shape(numbers).ok_or_else(|| damaged(path))?;
        if pages.checked_mul(PAGE_BYTES as u64).and_then(|pages| pages.checked_add(kept)) != Some(before) {
            return Err(damaged(path));
        }
        let mut in_memory = vec![0; kept as usize];
        file.read_exact_at(&mut in_memory, before - kept).doing(doing)?;
        if crc32c(&in_memory).to_le_bytes() != tail[N * 8..] {
            return Err(damaged(path));
        }
        Ok((Pages { path: path.to_path_buf(), file }, numbers, in_memory))
    }

    pub fn page(&self, number: u64) -> Result<[u8; CONTENT_BYTES]> {
        let mut bytes = [0; PAGE_BYTES];
        let doing = || format!("reading `{}`", self.path.display());
        self.file.read_exact_at(&mut bytes, number * PAGE_BYTES as u64).doing(doing)?;
        let (content, sum) = bytes.split_first_chunk::<CONTENT_BYTES>().ok_or_else(|| damaged(&self.path))?;
        if crc32c(content).to_le_bytes() == sum { Ok(*content) } else { Err(damaged(&self.path)) }
    }
}

/// The number that bytes begin with.
pub fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
}

/// Writes items of one size.
pub struct PageWriter {
    path: PathBuf,
    file: BufWriter<File>,
    page: Vec<u8>,
}

impl PageWriter {
    pub fn create(path: PathBuf) -> Result<PageWriter> {
        let file = File::create_new(&path).doing(|| format!("making `{}`", path.display()))?;
        Ok(PageWriter { path, file: BufWriter::with_capacity(1 << 18, file), page: Vec::with_capacity(PAGE_BYTES) })
    }

    /// Whether the next item begins a page.
    pub fn at_start(&self) -> bool {
        self.page.is_empty()
    }

    pub fn push<const BYTES: usize>(&mut self, item: [u8; BYTES]) -> Result<()> {
        self.page.extend_from_slice(&item);
        if self.page.len() + BYTES > CONTENT_BYTES { self.write_page() } else { Ok(()) }
    }

    fn write_page(&mut self) -> Result<()> {
        self.page.resize(CONTENT_BYTES, 0);
        let sum = crc32c(&self.page);
        self.page.extend_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all(&self.page).doing(|| format!("writing `{}`", self.path.display()));
        self.page.clear();
        written
    }

    /// `in_memory`: what is kept of it; `numbers`: what tells its shape.
    pub fn finish(mut self, in_memory: &[u8], numbers: &[u64]) -> Result<Pages> {
        if !self.page.is_empty() {
            self.write_page()?;
        }
        let PageWriter { path, mut file, .. } = self;
        let mut write = || -> std::io::Result<()> {
            file.write_all(in_memory)?;
            numbers.iter().try_for_each(|number| file.write_all(&number.to_le_bytes()))?;
            file.write_all(&crc32c(in_memory).to_le_bytes())?;
            file.flush()
        };
        write().doing(|| format!("writing `{}`", path.display()))?;
        let file = File::open(&path).doing(|| format!("reading `{}`", path.display()))?;
        Ok(Pages { path, file })
    }
}
