//! One open file, cut into chunks of whole records. A plain file is read straight into the chunks; only the part of a
//! record at the end of a chunk is copied. Memory is bounded by the longest record allowed, whatever the file holds.

use super::digest::{BLOCK_BYTES, Digest, Mark};
use super::named;
use super::place::{At, ReadFile, Reading, Seen, changed};
use super::reader::Listed;
use crate::sources::Compression;
use crate::sources::compression::Decompressed;
use arrow_buffer::Buffer;
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::limits::{CHUNK_BYTES_MAX, KEPT_RAW_BYTES_MAX, RECORD_BYTES_MAX};
use ouzel_core::{Chunk, Framing, Origin};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// One open file.
pub(super) struct Open {
    file: Listed,
    input: Decompressed,
    /// Hand over what a single read gives.
    pipe: bool,
    /// It is being written: where it ends now is not its end.
    grows: bool,
    digest: Digest,
    framing: Box<dyn Framing>,
    header: Option<Arc<[u8]>>,
    state: State,
    /// Bytes not yet handed over; starts at a record, except in `State::Start` and `State::Skip`.
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that hold no whole record.
    searched: usize,
    /// Position of the first byte of `buffer` in the decompressed file.
    position: u64,
    at_end: bool,
    /// Why the file ends before its end.
    corrupt: Option<String>,
    /// What has been taken ends with a line's end.
    ends_line: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before the byte order mark and the header.
    Start,
    Records,
    /// Inside a record that is too long.
    Skip,
    Ended,
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).doing(|| named("opening", path))
}

/// A pipe holds no more on Linux.
const PIPE_BYTES: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Open {
    pub fn new(file: Listed, input: Decompressed, framing: Box<dyn Framing>) -> Open {
        Open {
            pipe: file.seen.bytes.is_none(),
            grows: false,
            file,
            input,
            digest: Digest::from_blocks(Mark::default()),
            framing,
            header: None,
            state: State::Start,
            buffer: Vec::new(),
            searched: 0,
            position: 0,
            at_end: false,
            corrupt: None,
            ends_line: false,
        }
    }

    /// `None` at its end, or, where it grows, where there is nothing yet.
    pub fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if self.state == State::Skip {
                self.skip();
            }
            if self.state == State::Start {
                self.start();
            }
            if self.state == State::Records
                && let Some(chunk) = self.cut()
            {
                return Ok(Some(chunk));
            }
            if self.buffer.len() > RECORD_BYTES_MAX {
                return Ok(Some(self.give_up()));
            }
            if self.at_end {
                let Some(reason) = self.corrupt.take() else { return Ok(None) };
                let chunk = self.fault(reason);
                self.take(self.buffer.len());
                self.state = State::Ended;
                return Ok(Some(chunk));
            }
            let held = self.buffer.len();
            self.read()?;
            if self.grows && self.buffer.len() == held {
                return Ok(None);
            }
        }
    }

    /// It grows, until it is said to have ended.
    pub fn follow(&mut self) {
        self.grows = true;
    }

    /// It will not grow any more: what follows its last record is one.
    pub fn end(&mut self) {
        self.grows = false;
    }

    /// What it held behind what has been read is gone: only what is in memory is left.
    pub fn cut_off(&mut self) {
        self.grows = false;
        self.at_end = true;
    }

    pub fn header(&self) -> Option<Arc<[u8]>> {
        self.header.clone()
    }

    /// Reading ended before the file does.
    pub fn is_cut_short(&self) -> bool {
        self.state == State::Ended
    }

    /// Bytes handed over.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Goes on where another reader of this file was, which has looked at the bytes before.
    pub fn skip_to(&mut self, position: u64, at: At) -> Result<()> {
        while self.position < position {
            while self.state == State::Start && !self.at_end {
                self.start();
                if self.state == State::Start {
                    self.read()?;
                }
            }
            let wanted = position - self.position;
            let here = self.buffer.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.take(here);
            if self.input.format == Compression::None && self.position < position {
                let mut file = open(&self.file.path)?;
                file.seek(SeekFrom::Start(position)).doing(|| named("reading", &self.file.path))?;
                self.input = Decompressed::new(Box::new(file), Compression::None);
                self.position = position;
            } else if here == 0 {
                let held = self.buffer.len();
                self.read()?;
                if self.buffer.len() == held {
                    return Err(changed(format!("`{}` is shorter than what was read of it", self.file.name)));
                }
            }
        }
        self.stand(at);
        Ok(())
    }

    fn stand(&mut self, at: At) {
        match at {
            At::Record if self.position == 0 => {}
            At::Record => self.state = State::Records,
            At::TooLong => self.state = State::Skip,
            At::End => {
                (self.state, self.at_end, self.corrupt) = (State::Ended, true, None);
                self.buffer.clear();
            }
        }
    }

    /// Whole records, as many as there are. At the end of a sound file also what follows them.
    fn cut(&mut self) -> Option<Chunk> {
        let whole = match self.at_end && self.corrupt.is_none() && self.buffer.len() <= RECORD_BYTES_MAX {
            true => self.buffer.len(),
            // No need to search again before the byte comes that a record ends with.
            false if self.framing.last_byte().is_none_or(|b| memchr::memchr(b, &self.buffer[self.searched..]).is_none()) => 0,
            false => self.framing.split(&self.buffer).min(self.buffer.len()),
        };
        self.searched = self.buffer.len();
        if whole == 0 {
            return None;
        }
        let position = self.position;
        let data = self.take(whole);
        self.searched = self.buffer.len();
        Some(Chunk { partition: 0, origin: self.origin(position), data: data.into(), ingested: Vec::new(), fault: None })
    }

    /// Neither a record nor a header ends within the bytes that one may have.
    fn give_up(&mut self) -> Chunk {
        let (mib, kib) = (RECORD_BYTES_MAX >> 20, KEPT_RAW_BYTES_MAX >> 10);
        let (next, reason) = match self.state {
            State::Start => {
                (State::Ended, format!("header longer than {mib} MiB (its first {kib} KiB are kept, the file is passed over)"))
            }
            _ if self.framing.last_byte() != Some(b'\n') => (
                State::Ended,
                format!("record longer than {mib} MiB (its first {kib} KiB are kept, the rest of the file is passed over)"),
            ),
            _ => (
                State::Skip,
                format!(
                    "record longer than {mib} MiB (its first {kib} KiB are kept, the rest up to the next line end is skipped)"
                ),
            ),
        };
        let chunk = self.fault(reason);
        self.take(self.buffer.len());
        self.state = next;
        self.at_end |= next == State::Ended;
        chunk
    }

    /// Passes over the byte order mark and the header.
    fn start(&mut self) {
        if self.position == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
        }
        if self.position == 0 && BYTE_ORDER_MARK.starts_with(&self.buffer) && !self.at_end {
            return;
        }
        let header = match self.framing.header(&self.buffer, self.at_end) {
            Some(n) => n.min(self.buffer.len()),
            None if self.at_end => 0,
            None => return,
        };
        if header > 0 {
            let line = self.take(header);
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            self.header = Some(line.strip_suffix(b"\r").unwrap_or(line).into());
        }
        self.state = State::Records;
    }

    /// Drops bytes up to the next line end.
    fn skip(&mut self) {
        match memchr::memchr(b'\n', &self.buffer) {
            Some(n) => {
                self.take(n + 1);
                self.state = State::Records;
            }
            None => _ = self.take(self.buffer.len()),
        }
    }

    /// Adds to the buffer what there is; notes the end.
    fn read(&mut self) -> Result<()> {
        let held = self.buffer.len();
        // Doubling keeps the search for the end of a long record linear.
        let wanted = if held < CHUNK_BYTES_MAX { CHUNK_BYTES_MAX - held } else { held.min(RECORD_BYTES_MAX + 1 - held) };
        let result = if self.pipe {
            self.input.read_once(&mut self.buffer, wanted.min(PIPE_BYTES)).map(|n| self.at_end = n == 0)
        } else {
            self.input.fill(&mut self.buffer, wanted).map(|n| self.at_end = n < wanted && !self.grows)
        };
        match result {
            Ok(()) => Ok(()),
            Err(e) if self.input.is_corrupt() => {
                let at = self.position + self.buffer.len() as u64;
                self.corrupt =
                    Some(format!("corrupt {} in `{}` after {at} decompressed bytes: {e}", self.input.format, self.file.name));
                self.at_end = true;
                Ok(())
            }
            Err(e) => Err(e).doing(|| format!("reading `{}`", self.file.name)),
        }
    }

    /// The first bytes of what cannot be records.
    fn fault(&self, reason: String) -> Chunk {
        let kept = &self.buffer[..self.buffer.len().min(KEPT_RAW_BYTES_MAX)];
        Chunk {
            partition: 0,
            origin: self.origin(self.position),
            data: Buffer::from(kept),
            ingested: Vec::new(),
            fault: Some(reason),
        }
    }

    fn origin(&self, position: u64) -> Origin {
        Origin { name: self.file.name.clone(), position, header: self.header.clone() }
    }

    /// Takes bytes off the front of the buffer.
    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = &self.buffer[n..];
        let mut next = Vec::new();
        if !rest.is_empty() {
            next.reserve_exact(rest.len().max(if self.pipe { 0 } else { CHUNK_BYTES_MAX }));
            next.extend_from_slice(rest);
        }
        let mut taken = std::mem::replace(&mut self.buffer, next);
        taken.truncate(n);
        // Small files shall not hold on to large buffers.
        if taken.len() < taken.capacity() / 2 {
            taken.shrink_to_fit();
        }
        self.searched = 0;
        self.position += n as u64;
        self.ends_line = taken.last().map_or(self.ends_line, |byte| *byte == b'\n');
        self.digest.add(&taken);
        taken
    }

    /// Reads up to where another reader of this file was.
    pub fn resume(&mut self, from: &Reading) -> Result<()> {
        let name = self.file.name.clone();
        let gone =
            |now: u64| changed(format!("`{name}` is shorter than what was read of it: {} bytes then, {now} now", from.position));
        if self.pipe || from.position == 0 {
            return Ok(());
        }
        while self.state == State::Start {
            self.start();
            if self.state == State::Start {
                if self.at_end {
                    return Err(gone(self.buffer.len() as u64));
                }
                self.read()?;
            }
        }
        if self.input.format == Compression::None {
            // What looks as it did is not read again, but for the block begun.
            let mark = if self.file.seen == from.file.seen { from.file.mark } else { Mark::default() };
            let mut file = open(&self.file.path)?;
            self.position = mark.blocks * BLOCK_BYTES as u64;
            file.seek(SeekFrom::Start(self.position)).doing(|| named("reading", &self.file.path))?;
            self.input = Decompressed::new(Box::new(file), Compression::None);
            self.digest = Digest::from_blocks(mark);
            self.buffer.clear();
            self.at_end = false;
        }
        while self.position < from.position {
            let wanted = from.position - self.position;
            let here = self.buffer.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            self.take(here);
            if (here as u64) < wanted {
                if self.at_end {
                    return Err(gone(self.position));
                }
                self.read()?;
            }
        }
        if self.digest.mark() != from.file.mark {
            return Err(changed(format!(
                "`{}` has changed: its first {} bytes are not those that were read",
                self.file.name, from.position
            )));
        }
        self.stand(from.at);
        Ok(())
    }

    pub fn reading(&self) -> Reading {
        Reading { file: self.as_read(self.file.seen), position: self.position, at: self.at() }
    }

    /// What lies at the position.
    pub fn at(&self) -> At {
        match self.state {
            State::Skip => At::TooLong,
            State::Ended => At::End,
            State::Start | State::Records => At::Record,
        }
    }

    /// It may have grown while it was read: what it looks like now, at its end, is what it was.
    pub fn ended(self) -> ReadFile {
        let seen = if self.pipe { self.file.seen } else { Seen::of(&self.file.path).unwrap_or(self.file.seen) };
        self.as_read(seen)
    }

    fn as_read(&self, seen: Seen) -> ReadFile {
        let is_lines = self.framing.last_byte() == Some(b'\n') && self.framing.packing().is_none();
        let goes_on = is_lines && !self.pipe && self.input.format == Compression::None && self.state == State::Records;
        let lines = (goes_on && self.ends_line && self.buffer.is_empty()).then_some(self.position);
        ReadFile { name: self.file.name.to_string(), seen, mark: self.digest.mark(), lines }
    }

    /// Bytes read of it, as it lies on disk.
    pub fn bytes_read(&self) -> u64 {
        match self.input.format {
            Compression::None => self.position + self.buffer.len() as u64,
            _ => self.input.compressed_bytes(),
        }
    }
}
