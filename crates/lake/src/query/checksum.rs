//! A data file's name ends with the checksum of its bytes, so that a flipped bit is found, whoever has copied the file.

use crc32c::crc32c_append;
use ouzel_core::Result;
use ouzel_core::error::ResultExt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Sums what passes through.
pub struct Summed<W> {
    inner: W,
    sum: u32,
}

impl<W> Summed<W> {
    pub fn new(inner: W) -> Summed<W> {
        Summed { inner, sum: 0 }
    }
    pub fn inner(&self) -> &W {
        &self.inner
    }
    /// CRC32C of what has been written.
    pub fn sum(&self) -> u32 {
        self.sum
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum = crc32c_append(self.sum, &bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What ends the name of a file with this sum.
pub fn suffix(sum: u32) -> String {
    format!("-c{sum:08x}.zstd.parquet")
}

/// The sum that a file's name tells; `None` where another engine named it.
pub fn sum_of_name(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".zstd.parquet")?;
    let (_, sum) = stem.rsplit_once("-c")?;
    if sum.len() == 8 { u32::from_str_radix(sum, 16).ok() } else { None }
}

/// CRC32C of a file's bytes.
pub fn checksum_of(path: &Path) -> Result<u32> {
    let doing = || format!("reading `{}`", path.display());
    let mut file = File::open(path).doing(doing)?;
    let mut block = vec![0; 1 << 20];
    let mut sum = 0;
    loop {
        match file.read(&mut block).doing(doing)? {
            0 => return Ok(sum),
            n => sum = crc32c_append(sum, &block[..n]),
        }
    }
}
