//! Reads compressed bytes as what they stand for: whole files of several members, frames or streams.

use super::rows::Rows;
use ouzel_core::Packing;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How a file is compressed. `auto` looks at its first bytes, never at its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    #[default]
    Auto,
    None,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    /// Rows, read as lines of JSON. The codec says so.
    #[serde(skip)]
    Packed(Packing),
}

/// A reader of what `input` holds. Nothing is read before the first call: standard input may have nothing yet.
pub(crate) struct Decompressed {
    /// `Auto` until the first bytes are known.
    pub format: Compression,
    /// Until the first bytes are known.
    raw: Option<Box<dyn Read + Send>>,
    first: Vec<u8>,
    reader: Box<dyn Read + Send>,
    tally: Arc<Tally>,
    scratch: Vec<u8>,
}

/// What happened on the compressed side.
#[derive(Default)]
struct Tally {
    bytes: Arc<AtomicU64>,
    input_failed: AtomicBool,
}

const MAGIC_BYTES_MAX: usize = 6;
const READ_BYTES: usize = 128 << 10;
/// A decoder that meets corrupt data drops what it decoded in that call: keep it little.
const DECODE_BYTES: usize = 16 << 10;
/// `xz -9` needs 65 MiB; a file that asks for more than this is refused as corrupt.
const XZ_MEMORY_MAX: u64 = 512 << 20;

impl Decompressed {
    pub fn new(input: Box<dyn Read + Send>, format: Compression) -> Decompressed {
        let tally = Arc::new(Tally::default());
        Decompressed { format, raw: Some(input), first: Vec::new(), reader: Box::new(io::empty()), tally, scratch: Vec::new() }
    }

    /// The rows of a file as lines of JSON.
    pub fn unpacked(file: File, packing: Packing) -> Decompressed {
        let tally = Arc::new(Tally::default());
        let reader = Box::new(Rows::new(file, packing, tally.bytes.clone()));
        let format = Compression::Packed(packing);
        Decompressed { format, raw: None, first: Vec::new(), reader, tally, scratch: Vec::new() }
    }

    /// Opens a regular file.
    pub fn of_file(file: File, compression: Compression, packing: Option<Packing>) -> Decompressed {
        match packing {
            Some(packing) => Decompressed::unpacked(file, packing),
            None => Decompressed::new(Box::new(file), compression),
        }
    }

    /// Finds out the compression; waits for no more bytes than leave it in doubt. After an error it can be called again.
    fn prepare(&mut self) -> io::Result<()> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        while self.format != Compression::None && self.first.len() < MAGIC_BYTES_MAX && may_be_magic(&self.first) {
            let mut more = [0u8; MAGIC_BYTES_MAX];
            match read(raw, &mut more[self.first.len()..])? {
                0 => break,
                n => self.first.extend_from_slice(&more[..n]),
            }
        }
        self.format = match self.format {
            // An empty file is empty whatever its compression.
            _ if self.first.is_empty() => Compression::None,
            Compression::Auto => detect(&self.first),
            given => given,
        };
        let Some(raw) = self.raw.take() else { return Ok(()) };
        let input: Box<dyn Read + Send> = Box::new(Cursor::new(std::mem::take(&mut self.first)).chain(raw));
        self.reader = match self.format {
            Compression::None | Compression::Auto => input,
            _ => decoder(self.format, BufReader::with_capacity(READ_BYTES, Tallied { input, tally: self.tally.clone() }))?,
        };
        Ok(())
    }

    /// A decoder whose input failed may take the next call for the end: it is not called again.
    fn check(&mut self) -> io::Result<()> {
        self.prepare()?;
        match self.tally.input_failed.load(Relaxed) {
            true => Err(io::Error::other("an earlier read failed")),
            false => Ok(()),
        }
    }

    /// Appends up to `bytes_max` bytes; fewer only at the end. What was read before an error is appended too.
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        self.check()?;
        let before = out.len();
        out.reserve_exact(bytes_max);
        if self.format == Compression::None {
            // Straight into the unused part of `out`, without clearing it first.
            return Read::by_ref(&mut self.reader).take(bytes_max as u64).read_to_end(out);
        }
        while out.len() - before < bytes_max {
            if self.read_once(out, bytes_max - (out.len() - before))? == 0 {
                break;
            }
        }
        Ok(out.len() - before)
    }

    /// Appends what one read gives, so that it waits only while there is nothing; 0 at the end.
    pub fn read_once(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        self.check()?;
        let step = if self.format == Compression::None { bytes_max } else { bytes_max.min(DECODE_BYTES) };
        if self.scratch.len() < step {
            self.scratch.resize(step, 0);
        }
        let result = read(&mut self.reader, &mut self.scratch[..step]);
        if let (Compression::Packed(_), Err(e)) = (self.format, &result) {
            self.tally.input_failed.store(e.kind() != io::ErrorKind::InvalidData, Relaxed);
        }
        let n = result?;
        out.extend_from_slice(&self.scratch[..n]);
        Ok(n)
    }

    /// Compressed bytes read so far; 0 if nothing is compressed.
    pub fn compressed_bytes(&self) -> u64 {
        self.tally.bytes.load(Relaxed)
    }

    /// Whether an error means that the bytes are wrong, not that they could not be read.
    pub fn is_corrupt(&self) -> bool {
        self.format != Compression::None && !self.tally.input_failed.load(Relaxed)
    }
}

fn read(input: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(out) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn decoder(format: Compression, input: BufReader<Tallied>) -> io::Result<Box<dyn Read + Send>> {
    Ok(match format {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::None | Compression::Auto | Compression::Packed(_) => Box::new(input),
    })
}

/// First bytes of each format, `?` for any: zstd also starts with skippable frames, bzip2 names its level.
const MAGIC: [(Compression, &[u8]); 5] = [
    (Compression::Gzip, b"\x1f\x8b\x08"),
    (Compression::Zstd, b"\x28\xb5\x2f\xfd"),
    (Compression::Zstd, b"?\x2a\x4d\x18"),
    (Compression::Xz, b"\xfd7zXZ\0"),
    (Compression::Bzip2, b"BZh???"),
];

fn agrees(format: Compression, magic: &[u8], first: &[u8]) -> bool {
    first.iter().zip(magic).enumerate().all(|(i, (&byte, &expected))| match (format, i) {
        (Compression::Zstd, 0) if expected == b'?' => byte & 0xf0 == 0x50,
        (Compression::Bzip2, 3) => (b'1'..=b'9').contains(&byte),
        // A block of data, or the end mark of an empty stream.
        (Compression::Bzip2, 4) => byte == 0x31 || byte == 0x17,
        (Compression::Bzip2, 5) => byte == 0x41 || byte == 0x72,
        _ => byte == expected,
    })
}

fn may_be_magic(first: &[u8]) -> bool {
    MAGIC.iter().any(|(format, magic)| first.len() < magic.len() && agrees(*format, magic, first))
}

fn detect(first: &[u8]) -> Compression {
    let found = MAGIC.iter().find(|(format, magic)| first.len() >= magic.len() && agrees(*format, magic, first));
    found.map_or(Compression::None, |(format, _)| *format)
}

/// Counts what the decoder takes, and remembers whether reading it failed.
struct Tallied {
    input: Box<dyn Read + Send>,
    tally: Arc<Tally>,
}

impl Read for Tallied {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.input.read(out);
        match &result {
            Ok(n) => _ = self.tally.bytes.fetch_add(*n as u64, Relaxed),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.tally.input_failed.store(true, Relaxed),
        }
        result
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Auto => "auto",
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
            Compression::Packed(Packing::Parquet) => "Parquet",
            Compression::Packed(Packing::Avro) => "Avro",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_first_bytes() {
        for (first, expected) in [
            (&b"\x1f\x8b\x08\0\0\0"[..], Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x5a\x2a\x4d\x18\x04\0", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"BZh91A", Compression::Bzip2),
            (b"BZh9\x17\x72", Compression::Bzip2),
            (b"BZhe d", Compression::None),
            (b"{\"a\":", Compression::None),
            (b"\x1f", Compression::None),
            (b"", Compression::None),
        ] {
            assert_eq!(detect(first), expected, "{first:?}");
        }
        for (first, expected) in
            [(&b"{"[..], false), (b"B", true), (b"Bo", false), (b"\x1f", true), (b"\xfd7z", true), (b"", true)]
        {
            assert_eq!(may_be_magic(first), expected, "{first:?}");
        }
    }
}
