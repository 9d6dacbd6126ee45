//! Segments, and the frames in them.

use super::frame::{Header, Parsed, search};
use ouzel_core::error::{Result, ResultExt};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

/// Positions at which the segments begin, ascending. None if there is no log.
pub fn bases(folder: &Path) -> Result<Vec<u64>> {
    let doing = || format!("reading the stream in `{}`", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing(doing),
    };
    let mut bases = Vec::new();
    for entry in entries {
        let name = entry.doing(doing)?.file_name();
        bases.extend(name.to_str().and_then(|n| n.strip_suffix(".log")?.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub bytes: u64,
    /// By partition: offsets of the first record there is and of the next.
    pub records: Vec<Range<u64>>,
}

/// Looks through the first frame and the last segment.
pub fn contents(folder: &Path) -> Result<Contents> {
    let Extent { begin, end } = extent(folder)?;
    let mut contents = Contents { bytes: end - begin, records: Vec::new() };
    let Some(last) = bases(folder)?.pop() else { return Ok(contents) };
    let mut saw = |header: &Header| {
        for part in &header.parts {
            let partition = part.partition as usize;
            while contents.records.len() <= partition {
                contents.records.push(part.offset..part.offset);
            }
            contents.records[partition].end = part.offset + u64::from(part.records);
        }
    };
    for (base, only_first) in [(begin, true), (last, false)] {
        let mut segment = Segment::open(folder, base).doing(|| format!("reading the stream in `{}`", folder.display()))?;
        let mut at = base;
        loop {
            match segment.look(at)? {
                Found::Frame(header) => {
                    saw(&header);
                    at = header.end();
                }
                Found::Damage(to) => at = to,
                Found::Nothing => break,
            }
            if only_first {
                break;
            }
        }
    }
    Ok(contents)
}

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub begin: u64,
    pub end: u64,
}

pub fn extent(folder: &Path) -> Result<Extent> {
    let bases = bases(folder)?;
    let (Some(first), Some(last)) = (bases.first(), bases.last()) else { return Ok(Extent::default()) };
    let bytes = std::fs::metadata(path(folder, *last)).doing(|| format!("reading the stream in `{}`", folder.display()))?.len();
    Ok(Extent { begin: *first, end: last + bytes })
}

/// A segment that is read. Reading is by position: whoever writes to it is not disturbed.
pub struct Segment {
    pub file: File,
    pub base: u64,
    /// Holds `have` bytes of it, from `window_at` on.
    window: Vec<u8>,
    have: usize,
    window_at: u64,
}

/// What lies at a position.
#[derive(Debug)]
pub enum Found {
    Frame(Header),
    /// Nothing that can be read, up to this position, where there is a frame again.
    Damage(u64),
    /// No whole frame, and none after it.
    Nothing,
}

/// Read at once; the window grows to the longest frame.
const WINDOW_BYTES: usize = 1 << 20;

impl Segment {
    pub fn open(folder: &Path, base: u64) -> std::io::Result<Segment> {
        Ok(Segment { file: File::open(path(folder, base))?, base, window: Vec::new(), have: 0, window_at: base })
    }

    /// The frame at a position, if it is sound. Its payload is given by [`Segment::payload`] until the next call.
    pub fn look(&mut self, at: u64) -> Result<Found> {
        if let Some(header) = self.frame(at)? {
            return Ok(Found::Frame(header));
        }
        let Some(next) = self.next_after(at)? else { return Ok(Found::Nothing) };
        // It may have been on its way when it was looked at; what lies before another frame is done.
        self.forget();
        Ok(self.frame(at)?.map_or(Found::Damage(next), Found::Frame))
    }

    /// The header of a frame that has all its bytes, and not those that were written.
    pub fn damaged(&mut self, at: u64) -> Result<Option<Header>> {
        let end = self.base + self.file.metadata().doing(|| "reading a stream".into())?.len();
        let mut wanted = 1;
        loop {
            match Header::parse(self.bytes(at, wanted)?, at) {
                Parsed::Header(header) => return Ok(Some(header).filter(|header| header.end() <= end)),
                Parsed::Short(n) if wanted < n => wanted = n,
                Parsed::Short(_) | Parsed::Not => return Ok(None),
            }
        }
    }

    fn frame(&mut self, at: u64) -> Result<Option<Header>> {
        let mut wanted = 1;
        loop {
            match Header::parse(self.bytes(at, wanted)?, at) {
                Parsed::Header(header) => {
                    let length = (header.end() - at) as usize;
                    let whole = self.bytes(at, length)?;
                    let sound = whole.len() >= length && crc32c::crc32c(&whole[header.bytes()..length]) == header.payload_crc;
                    return Ok(sound.then_some(header));
                }
                Parsed::Short(n) if wanted < n => wanted = n,
                // The file ends before the header does, or it is none.
                Parsed::Short(_) | Parsed::Not => return Ok(None),
            }
        }
    }

    /// The payload of a frame that was just looked at.
    pub fn payload(&self, header: &Header) -> &[u8] {
        let start = (header.position - self.window_at) as usize + header.bytes();
        &self.window[start..start + header.payload_bytes()]
    }

    /// The next sound header after a position.
    fn next_after(&mut self, at: u64) -> Result<Option<u64>> {
        let mut from = at + 1;
        loop {
            let bytes = self.bytes(from, WINDOW_BYTES)?;
            if let Some(found) = search(bytes, from) {
                return Ok(Some(from + found as u64));
            }
            if bytes.len() < WINDOW_BYTES {
                return Ok(None);
            }
            // A header may begin in this stretch and end in the next.
            from += (bytes.len() / 2) as u64;
        }
    }

    /// At least `n` bytes from a position on; fewer only where the file ends.
    fn bytes(&mut self, at: u64, n: usize) -> Result<&[u8]> {
        let start = at.checked_sub(self.window_at).map(|start| start as usize).filter(|start| start + n <= self.have);
        let start = match start {
            Some(start) => start,
            None => {
                self.fill(at, n.max(WINDOW_BYTES)).doing(|| "reading a stream".into())?;
                0
            }
        };
        Ok(&self.window[start..self.have])
    }

    fn fill(&mut self, at: u64, n: usize) -> std::io::Result<()> {
        if self.window.len() < n {
            self.window.resize(n, 0);
        }
        (self.window_at, self.have) = (at, 0);
        while self.have < n {
            match self.file.read_at(&mut self.window[self.have..n], at - self.base + self.have as u64) {
                Ok(0) => break,
                Ok(read) => self.have += read,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Forgets what was read: the file may have changed.
    pub fn forget(&mut self) {
        self.have = 0;
    }
}
