//! Reading a log while it grows: all partitions, in the order in which they were appended.

use super::frame::Header;
use super::segment::{Found, Segment, bases, path};
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a log has been read up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Position of the next frame to look at.
    pub at: u64,
    /// Bytes of its payload that have been handed over.
    pub skip: u64,
    /// By partition: of its next record, as of the beginning of that frame.
    pub offsets: Vec<u64>,
}

impl Place {
    /// How many records are before it.
    pub fn records(&self) -> u64 {
        self.offsets.iter().sum()
    }

    fn offset(&self, partition: u32) -> u64 {
        self.offsets.get(partition as usize).copied().unwrap_or(0)
    }

    fn set_offset(&mut self, partition: u32, offset: u64) {
        let partition = partition as usize;
        self.offsets.resize(self.offsets.len().max(partition + 1), 0);
        self.offsets[partition] = offset;
    }
}

/// Records in order, as they lie in the log.
#[derive(Debug, Default)]
pub struct Piece {
    /// Whole records, each with its line end.
    pub data: Vec<u8>,
    /// When they were appended: from which byte of `data` on, and microseconds since 1970.
    pub times: Vec<(u32, i64)>,
    /// Set where records are lost to damage: there is no data, and this says which.
    pub damage: Option<String>,
}

/// Reads the log of a folder.
pub struct Reader {
    folder: PathBuf,
    segment: Option<Segment>,
    place: Place,
    /// It begins with the first record there is: none has been read before.
    anew: bool,
}

/// What became of a frame.
enum Taken {
    /// It is in the piece; or passed over, as it has no records.
    All,
    /// The piece is to be handed over before more of it can be taken.
    Full,
    /// Records before it are missing.
    Gap(String),
}

impl Reader {
    /// From a place, or from the beginning. There need not be a log yet.
    pub fn new(folder: &Path, place: Option<Place>) -> Reader {
        Reader { folder: folder.to_path_buf(), segment: None, anew: place.is_none(), place: place.unwrap_or_default() }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// [`Kind::Changed`]: the log does not go on from the place.
    pub fn check(&mut self) -> Result<()> {
        self.is_open().map(drop)
    }

    /// The segment that is being read; those before it are synced.
    pub fn file(&self) -> Option<&File> {
        self.segment.as_ref().map(|segment| &segment.file)
    }

    /// What is there, about so many bytes of it; `None` if there is nothing now.
    /// [`Kind::Changed`]: the log does not go on from the place, because it was removed or is shorter.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Piece>> {
        let mut piece = Piece::default();
        while self.is_open()? {
            let Some(segment) = &mut self.segment else { break };
            let (at, base) = (self.place.at, segment.base);
            match segment.look(at)? {
                // The segment ends where the next begins, whatever lies behind.
                Found::Frame(_) | Found::Damage(_) if at > base && path(&self.folder, at).exists() => self.segment = None,
                Found::Frame(header) => match self.take(&header, &mut piece, bytes_max)? {
                    Taken::All => {}
                    Taken::Full => break,
                    Taken::Gap(damage) => return Ok(Some(Piece { damage: Some(damage), ..Piece::default() })),
                },
                // Which records it was is known at the next frame.
                Found::Damage(to) => (self.place.at, self.place.skip) = (to, 0),
                Found::Nothing => {
                    if !self.move_on()? {
                        break;
                    }
                }
            }
        }
        Ok(Some(piece).filter(|piece| !piece.data.is_empty()))
    }

    fn take(&mut self, header: &Header, piece: &mut Piece, bytes_max: usize) -> Result<Taken> {
        if std::mem::take(&mut self.anew) {
            header.parts.iter().rev().for_each(|part| self.place.set_offset(part.partition, part.offset));
        }
        // As of behind each part.
        let mut behind = self.place.clone();
        for part in &header.parts {
            if self.place.skip == 0 {
                let next = behind.offset(part.partition);
                if part.offset < next {
                    let what = format!("record {next} is to be read next, the log has record {} there", part.offset);
                    return Err(self.gone(&what));
                }
                if part.offset > next {
                    if !piece.data.is_empty() {
                        return Ok(Taken::Full);
                    }
                    self.place.set_offset(part.partition, part.offset);
                    return Ok(Taken::Gap(lost(next, part.offset, part.partition)));
                }
            }
            behind.set_offset(part.partition, part.offset + u64::from(part.records));
        }
        let Some(segment) = &self.segment else { return Ok(Taken::Full) };
        let rest = &segment.payload(header)[self.place.skip as usize..];
        let taken = match rest.len() <= bytes_max.saturating_sub(piece.data.len()) {
            true => rest.len(),
            false if piece.data.is_empty() => whole_records(rest, bytes_max),
            false => return Ok(Taken::Full),
        };
        if taken > 0 {
            piece.times.push((piece.data.len() as u32, header.time));
            piece.data.extend_from_slice(&rest[..taken]);
        }
        if taken < rest.len() {
            self.place.skip += taken as u64;
            return Ok(Taken::Full);
        }
        self.place = Place { at: header.end(), skip: 0, offsets: behind.offsets };
        Ok(Taken::All)
    }

    /// Opens the segment of the place; false if there is no log.
    fn is_open(&mut self) -> Result<bool> {
        if self.segment.is_none() {
            let bases = bases(&self.folder)?;
            let Some(first) = bases.first() else {
                return if self.place.at == 0 { Ok(false) } else { Err(self.gone("it is gone")) };
            };
            if self.anew && self.place.at < *first {
                self.place.at = *first;
            }
            let base = match bases.iter().rev().find(|base| **base <= self.place.at) {
                Some(base) => *base,
                None => {
                    self.missed(*first)?;
                    *first
                }
            };
            let segment = Segment::open(&self.folder, base).doing(|| self.reading())?;
            let bytes = segment.file.metadata().doing(|| self.reading())?.len();
            if base + bytes < self.place.at {
                return Err(self.gone(&format!("it ends at byte {}", base + bytes)));
            }
            self.segment = Some(segment);
        }
        Ok(true)
    }

    /// Goes on to the next segment, if there is one: then nothing more comes into this one.
    fn move_on(&mut self) -> Result<bool> {
        let Some(segment) = &mut self.segment else { return Ok(false) };
        let bases = bases(&self.folder)?;
        let Some(next) = bases.into_iter().find(|base| *base > segment.base) else {
            // A segment that was only begun may have been removed and begun again.
            let same = |there: std::fs::Metadata| segment.file.metadata().is_ok_and(|open| there.ino() == open.ino());
            if std::fs::metadata(path(&self.folder, segment.base)).is_ok_and(|there| !same(there)) {
                self.segment = None;
                return Ok(true);
            }
            return Ok(false);
        };
        segment.forget();
        if matches!(segment.look(self.place.at)?, Found::Frame(_) | Found::Damage(_)) {
            return Ok(true);
        }
        let bytes = segment.file.metadata().doing(|| "reading a stream".into())?.len();
        let end = segment.base + bytes;
        // A damaged end of this segment is a gap, told at the next frame.
        (self.place.at, self.place.skip, self.segment) = (end.min(next), 0, None);
        if next > end {
            self.missed(next)?;
        }
        Ok(true)
    }

    /// What was to be read next has been removed; what there is begins at `first`. Not told if no record was in it.
    fn missed(&mut self, first: u64) -> Result<()> {
        let mut segment = Segment::open(&self.folder, first).doing(|| self.reading())?;
        let Found::Frame(header) = segment.look(first)? else { return Err(self.gone("what was to be read next was removed")) };
        for part in &header.parts {
            let next = self.place.offset(part.partition);
            if part.offset > next {
                let which = records(next, part.offset);
                return Err(self.gone(&format!("{which} of partition {} were removed before they were read", part.partition)));
            }
        }
        (self.place.at, self.place.skip) = (first, 0);
        Ok(())
    }

    fn gone(&self, what: &str) -> Error {
        let (folder, at) = (self.folder.display(), self.place.at);
        Error::new(Kind::Changed, format!("the log in `{folder}` does not go on at byte {at}, where it was read up to: {what}"))
    }

    fn reading(&self) -> String {
        format!("reading the stream in `{}`", self.folder.display())
    }
}

fn lost(from: u64, to: u64, partition: u32) -> String {
    format!("the stream's log is damaged: {} of partition {partition} cannot be read", records(from, to))
}

fn records(from: u64, to: u64) -> String {
    if to - from == 1 { format!("record {from}") } else { format!("records {from} to {}", to - 1) }
}

/// The longest prefix of whole records that is not longer than `bytes_max`; at least one record.
fn whole_records(data: &[u8], bytes_max: usize) -> usize {
    let end = data.len().min(bytes_max);
    memchr::memrchr(b'\n', &data[..end])
        .or_else(|| memchr::memchr(b'\n', &data[end..]).map(|at| end + at))
        .map_or(data.len(), |at| at + 1)
}
