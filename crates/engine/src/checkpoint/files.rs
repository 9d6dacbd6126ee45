//! A file of state: sections, each with its checksum, so that damage is found where it lies.
//!
//! ```text
//!     OUZELST1                                              magic and version
//!     kind u8, group u32, entries u64, length u64           of a section, little-endian
//!     crc32c u32 of the payload, crc32c u32 of the header before it
//!     payload
//! ```
//!
//! A payload is what `Shard::save` or `Duplicates::save` writes; that of keys that are gone, which come before all others, the keys.

use ouzel_core::error::ResultExt;
use ouzel_core::wire::put_bytes;
use ouzel_core::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"OUZELST1";
const HEADER_BYTES: usize = 1 + 4 + 8 + 8 + 4 + 4;
/// Larger than any section that is written: a length beyond it is damage.
const SECTION_BYTES_MAX: u64 = 1 << 40;

/// Entries of one group, ids that may have duplicates, or keys that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub kind: SectionKind,
    pub entries: u64,
    pub payload: Vec<u8>,
}

impl Section {
    pub fn empty(kind: SectionKind) -> Section {
        Section { kind, entries: 0, payload: Vec::new() }
    }

    /// Adds a key that is gone.
    pub fn add_key(&mut self, key: &[u8]) {
        put_bytes(key, &mut self.payload);
        self.entries += 1;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Keys of the group at this place in the pipeline.
    Keys(u32),
    Ids,
    /// Keys of the group that have left memory: what files before this one say of them counts for nothing.
    Gone(u32),
}

impl SectionKind {
    fn code(self) -> (u8, u32) {
        match self {
            SectionKind::Keys(group) => (0, group),
            SectionKind::Ids => (1, 0),
            SectionKind::Gone(group) => (2, group),
        }
    }
    fn of(code: u8, group: u32) -> Option<SectionKind> {
        match code {
            0 => Some(SectionKind::Keys(group)),
            1 => Some(SectionKind::Ids),
            2 => Some(SectionKind::Gone(group)),
            _ => None,
        }
    }
}

/// Writes a file of state that is not there yet. The bytes are not synced.
pub struct Writer {
    file: File,
    bytes: u64,
}

impl Writer {
    pub fn create(path: &Path) -> Result<Writer> {
        let mut file = File::create(path).doing(|| format!("making `{}`", path.display()))?;
        file.write_all(MAGIC).doing(|| format!("writing `{}`", path.display()))?;
        Ok(Writer { file, bytes: MAGIC.len() as u64 })
    }

    pub fn write(&mut self, section: &Section) -> Result<()> {
        let (code, group) = section.kind.code();
        let mut header = [0u8; HEADER_BYTES];
        header[0] = code;
        header[1..5].copy_from_slice(&group.to_le_bytes());
        header[5..13].copy_from_slice(&section.entries.to_le_bytes());
        header[13..21].copy_from_slice(&(section.payload.len() as u64).to_le_bytes());
        header[21..25].copy_from_slice(&crc32c::crc32c(&section.payload).to_le_bytes());
        let check = crc32c::crc32c(&header[..25]);
        header[25..].copy_from_slice(&check.to_le_bytes());
        let written = self.file.write_all(&header).and_then(|()| self.file.write_all(&section.payload));
        written.doing(|| "writing state".into())?;
        self.bytes += (HEADER_BYTES + section.payload.len()) as u64;
        Ok(())
    }

    /// Makes it durable; gives its length.
    pub fn sync(self) -> Result<u64> {
        self.file.sync_data().doing(|| "syncing state".into())?;
        Ok(self.bytes)
    }
}

/// Reads the sections of a file of state, checking each.
pub struct Sections {
    input: BufReader<File>,
    name: String,
    left: u64,
}

impl Sections {
    /// `bytes`: how long the file is to be. [`Kind::Data`]: it is damaged.
    pub fn open(path: &Path, bytes: u64) -> Result<Sections> {
        let name = path.display().to_string();
        let damaged = |what: &str| Error::new(Kind::Data, format!("`{name}` is damaged: {what}"));
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            Err(e) => return Err(e).doing(|| format!("opening `{name}`")),
        };
        let found = file.metadata().doing(|| format!("opening `{name}`"))?.len();
        if found != bytes {
            return Err(damaged(&format!("it has {found} bytes, not {bytes}")));
        }
        let mut input = BufReader::new(file);
        let mut magic = [0u8; 8];
        input.read_exact(&mut magic).map_err(|_| damaged("it has no beginning"))?;
        if magic != *MAGIC {
            return Err(match &magic[..7] == b"OUZELST" && magic[7] > MAGIC[7] {
                true => Error::new(Kind::Changed, format!("`{name}` was written by a newer version of Ouzel")),
                false => damaged("it does not begin as a file of state"),
            });
        }
        Ok(Sections { input, name, left: bytes - MAGIC.len() as u64 })
    }

    pub fn next(&mut self) -> Result<Option<Section>> {
        if self.left == 0 {
            return Ok(None);
        }
        let at = self.left;
        let mut header = [0u8; HEADER_BYTES];
        self.read(&mut header)?;
        let number =
            |range: std::ops::Range<usize>| header[range].iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        let (entries, length) = (number(5..13), number(13..21));
        let kind = SectionKind::of(header[0], number(1..5) as u32);
        let sound = number(25..29) == u64::from(crc32c::crc32c(&header[..25]));
        let Some(kind) = kind.filter(|_| sound && length <= self.left && length <= SECTION_BYTES_MAX) else {
            return Err(self.damaged(at));
        };
        let mut payload = vec![0; length as usize];
        self.read(&mut payload)?;
        if number(21..25) != u64::from(crc32c::crc32c(&payload)) {
            return Err(self.damaged(at));
        }
        Ok(Some(Section { kind, entries, payload }))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<()> {
        if (into.len() as u64) > self.left || self.input.read_exact(into).is_err() {
            return Err(self.damaged(self.left));
        }
        self.left -= into.len() as u64;
        Ok(())
    }

    fn damaged(&self, left: u64) -> Error {
        Error::new(Kind::Data, format!("`{}` is damaged in the section {left} bytes before its end", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<Section> {
        vec![
            Section { kind: SectionKind::Keys(0), entries: 2, payload: b"abcdef".to_vec() },
            Section { kind: SectionKind::Ids, entries: 1, payload: vec![7; 1000] },
            Section { kind: SectionKind::Keys(3), entries: 0, payload: Vec::new() },
        ]
    }

    fn read(path: &Path, bytes: u64) -> Result<Vec<Section>> {
        let mut sections = Sections::open(path, bytes)?;
        let mut all = Vec::new();
        while let Some(section) = sections.next()? {
            all.push(section);
        }
        Ok(all)
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let mut writer = Writer::create(&path).expect("writable");
        sections().iter().for_each(|s| writer.write(s).expect("writable"));
        let bytes = writer.sync().expect("syncs");
        assert_eq!(read(&path, bytes).expect("sound"), sections());

        let sound = std::fs::read(&path).expect("readable");
        assert_eq!(sound.len() as u64, bytes);
        for at in 0..sound.len() {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x10;
            std::fs::write(&path, &flipped).expect("writable");
            assert!(read(&path, bytes).is_err(), "byte {at} flipped");
            std::fs::write(&path, &sound[..at]).expect("writable");
            assert_eq!(read(&path, bytes).expect_err("cut").kind, Kind::Data, "cut at {at}");
            // Also where the manifest is of the cut file.
            let whole = matches!(read(&path, at as u64), Ok(found) if sections().starts_with(&found));
            assert!(whole || read(&path, at as u64).is_err(), "cut at {at}");
        }
    }
}
