//! Appending to a log.

use super::frame::{Header, PAYLOAD_BYTES_MAX, Part};
use super::lock::Lock;
use super::segment::{Found, Segment, bases, path};
use super::{Alive, GroupSync, Settings, retain::retain};
use crate::sinks::sync_folder;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::{Error, Kind, Run};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who writes. A later epoch of the same writer fences the earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writer {
    pub id: u64,
    pub epoch: u64,
}

/// The end of a log, as a writer commits it: everything before it lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub position: u64,
    /// By partition: of the next record.
    pub offsets: Vec<u64>,
    /// All rows of the writer's events before this one are before the position. That may be more than what it commits: it may be doing
    /// again what it did before it was killed.
    pub upto: u64,
}

/// What to do where another process holds the log's lock for longer than an append takes: one that is paused, maybe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    Wait,
    /// Pass over it. What it still writes when it wakes up goes behind the end of a segment that has ended.
    TakeOver,
}

/// What was found when a log was opened to write.
#[derive(Debug, Default)]
pub struct Opening {
    /// The log has the rows of the writer's events before this one.
    pub holds: u64,
    /// Bytes at its end that were no whole frames, and are cut off.
    pub cut: u64,
    /// Positions of what is damaged.
    pub damaged: Vec<(u64, u64)>,
}

/// Appends to the log of a folder; one for each writer.
pub struct Appender {
    folder: PathBuf,
    settings: Settings,
    writer: Writer,
    /// Locked for each append: other processes append too.
    pub(super) lock: Lock,
    segment: Arc<File>,
    pub(super) base: u64,
    /// Position behind the last frame.
    end: u64,
    /// Of the last frame.
    time: i64,
    /// By partition: of its next record.
    offsets: Vec<u64>,
    /// The log has the rows of this writer's events before this one.
    upto: u64,
    sync: GroupSync,
    buffer: Vec<u8>,
    _alive: Alive,
}

impl Appender {
    /// Makes the log if there is none, and puts its end in order. [`Kind::Changed`]: it does not have what the writer had committed to it.
    /// `committed`: where the writer goes on.
    pub fn open(folder: &Path, settings: &Settings, writer: Writer, committed: &End, busy: Busy) -> Result<(Appender, Opening)> {
        let doing = || format!("opening the stream in `{}`", folder.display());
        let alive = Alive::hold(folder)?;
        let mut lock = Lock::open(folder).doing(doing)?;
        let passed_over = lock.take(busy).doing(doing)?;
        let mut opening = Opening::default();
        let mut recovered = recover(folder, committed, &mut opening).doing(doing)?;
        while passed_over
            && recovered.end > recovered.base
            && !begin_segment(folder, recovered.base, recovered.end).doing(doing)?
        {
            recovered = recover(folder, committed, &mut opening).doing(doing)?;
        }
        if passed_over {
            recovered.base = recovered.end;
        }
        if recovered.end < committed.position {
            let message = format!(
                "the stream in `{}` ends at byte {}, of the {} that were committed to it",
                folder.display(),
                recovered.end,
                committed.position
            );
            return Err(Error::new(Kind::Changed, message));
        }
        opening.holds = held(folder, writer, committed).doing(doing)?;
        let mut offsets = recovered.offsets;
        offsets.resize(offsets.len().max(settings.partitions as usize), 0);
        let mut appender = Appender {
            folder: folder.to_path_buf(),
            settings: settings.clone(),
            writer,
            segment: Arc::new(open_segment(folder, recovered.base).doing(doing)?),
            lock,
            base: recovered.base,
            end: recovered.end,
            time: recovered.time,
            offsets,
            upto: opening.holds,
            sync: GroupSync::default(),
            buffer: Vec::new(),
            _alive: alive,
        };
        appender.sync.synced(recovered.durable.max(committed.position));
        // Fences whoever wrote as this writer before, and tells the next to open the log what it needs to know.
        let fenced = appender.put(&[], &[], opening.holds);
        appender.lock.release().doing(doing)?;
        fenced?;
        sync_folder(folder)?;
        Ok((appender, opening))
    }

    /// Appends records of the events before `upto` as one frame: whole or not at all. Gives the position behind it. `data`: the records, each with its
    /// line end, in the order of the runs.
    /// [`Kind::Conflict`]: a later epoch of this writer is there.
    pub fn append(&mut self, data: &[u8], runs: &[Run], upto: u64) -> Result<u64> {
        let doing = || "appending to a stream".to_string();
        self.lock.take(Busy::Wait).doing(doing)?;
        let result = self.catch_up().and_then(|()| self.put(data, runs, upto)).and_then(|end| {
            // Whoever passes over us takes the lock away first and looks at what is there after that.
            if self.lock.is_the_lock().doing(doing)? { Ok(end) } else { Err(self.passed_over()) }
        });
        self.lock.release().doing(doing)?;
        result
    }

    pub fn end(&self) -> End {
        End { position: self.end, offsets: self.offsets.clone(), upto: self.upto }
    }

    pub fn sync(&self) -> &GroupSync {
        &self.sync
    }

    /// Writes a frame at the end. The lock is held.
    pub(super) fn put(&mut self, data: &[u8], runs: &[Run], upto: u64) -> Result<u64> {
        if self.end - self.base >= self.settings.segment_bytes {
            self.roll()?;
        } else if self.end == self.base && !runs.is_empty() {
            self.put(&[], &[], self.upto)?;
        }
        if data.len() > PAYLOAD_BYTES_MAX as usize {
            return Err(Error::internal(format!("a frame of {} bytes", data.len())));
        }
        let mut next = self.offsets.clone();
        let mut part = |run: Run| {
            let partition = run.partition as usize;
            next.resize(next.len().max(partition + 1), 0);
            let offset = next[partition];
            next[partition] += u64::from(run.records);
            Part { partition: run.partition, records: run.records, offset, bytes: run.bytes }
        };
        let parts: Vec<Part> = match runs {
            // A frame without records, such as the first of a segment, tells of all partitions.
            [] => (0..self.offsets.len() as u32).map(|partition| part(Run { partition, records: 0, bytes: 0 })).collect(),
            runs => runs.iter().copied().map(part).collect(),
        };
        let payload_crc = crc32c::crc32c(data);
        self.time = self.time.max(WallClock.now_us());
        let header = Header {
            position: self.end,
            time: self.time,
            writer: self.writer,
            upto,
            durable: self.sync.durable(),
            parts,
            payload_crc,
        };
        self.buffer.clear();
        header.encode(&mut self.buffer);
        self.buffer.extend_from_slice(data);
        let written = self.segment.write_all_at(&self.buffer, self.end - self.base);
        if let Err(e) = written {
            // What was still written of it is removed; if that fails too, whoever appends next does it.
            let _ = self.segment.set_len(self.end - self.base);
            return Err(e).doing(|| format!("appending to the stream in `{}`", self.folder.display()));
        }
        self.took(&header)?;
        self.upto = self.upto.max(upto);
        self.sync.written(self.end, &self.segment);
        Ok(self.end)
    }

    /// A frame is behind the end now.
    fn took(&mut self, header: &Header) -> Result<()> {
        if header.writer.id == self.writer.id && header.writer.epoch > self.writer.epoch {
            return Err(self.passed_over());
        }
        for part in &header.parts {
            let partition = part.partition as usize;
            self.offsets.resize(self.offsets.len().max(partition + 1), 0);
            self.offsets[partition] = part.offset + u64::from(part.records);
        }
        self.end = header.end();
        self.time = self.time.max(header.time);
        Ok(())
    }

    fn passed_over(&self) -> Error {
        let folder = self.folder.display();
        Error::new(Kind::Conflict, format!("another process has taken over writing to the stream in `{folder}`: this one stops"))
    }

    /// Reads what others have appended since. The lock is held.
    fn catch_up(&mut self) -> Result<()> {
        let doing = || "reading a stream".to_string();
        if !path(&self.folder, self.base).exists() {
            self.skip_removed()?;
        }
        loop {
            let bytes = self.segment.metadata().doing(doing)?.len();
            if self.base + bytes > self.end {
                let mut segment = Segment::open(&self.folder, self.base).doing(doing)?;
                // A segment ends where the next begins.
                let limit = bases(&self.folder)?.into_iter().find(|base| *base > self.base);
                while limit.is_none_or(|limit| self.end < limit) {
                    match segment.look(self.end)? {
                        Found::Frame(header) => self.took(&header)?,
                        Found::Damage(to) => self.end = to,
                        // A frame that is all there was not torn by a kill: it stays, damaged.
                        Found::Nothing => match segment.damaged(self.end)? {
                            Some(header) => self.took(&header)?,
                            None => break,
                        },
                    }
                }
                // Whoever wrote this was killed: no one appends but who holds the lock.
                if limit.is_none() && self.base + bytes > self.end {
                    self.segment.set_len(self.end - self.base).doing(doing)?;
                }
            }
            if self.end == self.base || !path(&self.folder, self.end).exists() {
                self.sync.written(self.end, &self.segment);
                return Ok(());
            }
            // Whoever began the next segment has synced this one.
            self.sync.synced(self.end);
            self.base = self.end;
            self.segment = Arc::new(open_segment(&self.folder, self.base).doing(doing)?);
        }
    }

    /// The segment this writer stood in has been removed, as old: goes on with the first there is, whose first frame tells of all partitions.
    fn skip_removed(&mut self) -> Result<()> {
        let doing = || "reading a stream".to_string();
        let first = bases(&self.folder)?.into_iter().find(|base| *base >= self.end);
        let first = first.ok_or_else(|| {
            Error::new(Kind::Changed, format!("the stream in `{}` was removed while it was written to", self.folder.display()))
        })?;
        self.segment = Arc::new(open_segment(&self.folder, first).doing(doing)?);
        (self.base, self.end) = (first, first);
        self.sync.synced(first);
        Ok(())
    }

    /// Begins the next segment.
    fn roll(&mut self) -> Result<()> {
        let doing = || "beginning a segment of a stream".to_string();
        self.segment.sync_data().doing(doing)?;
        self.sync.synced(self.end);
        self.segment = Arc::new(open_segment(&self.folder, self.end).doing(doing)?);
        self.base = self.end;
        self.put(&[], &[], self.upto)?;
        self.segment.sync_data().doing(doing)?;
        sync_folder(&self.folder)?;
        self.sync.synced(self.end);
        retain(&self.folder, &self.settings, self.time)?;
        Ok(())
    }
}

/// Begins a segment where another process may be about to write at the same place in the one before: false if it has done so.
fn begin_segment(folder: &Path, before: u64, base: u64) -> Result<bool> {
    let doing = || format!("beginning a segment in `{}`", folder.display());
    // What lies before a segment is synced.
    open_segment(folder, before).and_then(|file| file.sync_data()).doing(doing)?;
    open_segment(folder, base).doing(doing)?;
    sync_folder(folder)?;
    let bytes = fs::metadata(path(folder, before)).doing(doing)?.len();
    if before + bytes == base {
        return Ok(true);
    }
    fs::remove_file(path(folder, base)).doing(doing)?;
    Ok(false)
}

fn open_segment(folder: &Path, base: u64) -> std::io::Result<File> {
    File::options().create(true).read(true).write(true).truncate(false).open(path(folder, base))
}

/// The end of a log, put in order.
struct Recovered {
    base: u64,
    end: u64,
    time: i64,
    durable: u64,
    offsets: Vec<u64>,
}

/// Looks through the last segment and cuts off what is no whole frame. The lock is held.
fn recover(folder: &Path, committed: &End, opening: &mut Opening) -> Result<Recovered> {
    let doing = || format!("reading the stream in `{}`", folder.display());
    let mut bases = bases(folder)?;
    loop {
        let Some(base) = bases.pop() else {
            return Ok(Recovered { base: 0, end: 0, time: i64::MIN, durable: 0, offsets: Vec::new() });
        };
        let mut segment = Segment::open(folder, base).doing(doing)?;
        let length = segment.file.metadata().doing(doing)?.len();
        let mut found = Recovered { base, end: base, time: i64::MIN, durable: base, offsets: Vec::new() };
        // As of before each stretch of damage: where it begins and ends.
        let mut damage: Vec<(u64, u64)> = Vec::new();
        let mut frames = Vec::new();
        let mut at = base;
        loop {
            match segment.look(at)? {
                Found::Frame(header) => {
                    found.durable = found.durable.max(header.durable);
                    at = header.end();
                    frames.push(header);
                }
                Found::Damage(to) => {
                    damage.push((at, to));
                    at = to;
                }
                Found::Nothing => break,
            }
        }
        if at < base + length {
            damage.push((at, base + length));
        }
        let durable = found.durable.max(committed.position);
        let cut = damage.iter().find(|(from, _)| *from >= durable).map_or(base + length, |(from, _)| *from);
        opening.cut += base + length - cut;
        if cut == base && !bases.is_empty() {
            // The segment was begun and nothing whole came into it.
            fs::remove_file(path(folder, base)).doing(doing)?;
            continue;
        }
        if frames.is_empty() && base > 0 {
            return Err(Error::data(format!("the stream in `{}` is damaged: nothing of it can be read", folder.display())));
        }
        if cut < base + length {
            let file = open_segment(folder, base).doing(doing)?;
            file.set_len(cut - base).and_then(|()| file.sync_all()).doing(doing)?;
        }
        opening.damaged = damage.into_iter().filter(|(from, _)| *from < cut).collect();
        for header in frames.into_iter().filter(|h| h.position < cut) {
            found.time = header.time;
            for part in &header.parts {
                let partition = part.partition as usize;
                found.offsets.resize(found.offsets.len().max(partition + 1), 0);
                found.offsets[partition] = part.offset + u64::from(part.records);
            }
        }
        found.end = cut;
        // The frames that would tell may be what is damaged.
        found.offsets.resize(found.offsets.len().max(committed.offsets.len()), 0);
        found.offsets.iter_mut().zip(&committed.offsets).for_each(|(found, committed)| *found = (*found).max(*committed));
        return Ok(found);
    }
}

/// How far a writer has come.
fn held(folder: &Path, writer: Writer, committed: &End) -> Result<u64> {
    let from = committed.position;
    let bases = bases(folder)?;
    let first = bases.iter().rposition(|base| *base <= from).unwrap_or(0);
    let mut holds = committed.upto;
    for (i, base) in bases.iter().copied().enumerate().skip(first) {
        let limit = bases.get(i + 1).copied().unwrap_or(u64::MAX);
        let mut segment = Segment::open(folder, base).doing(|| format!("reading the stream in `{}`", folder.display()))?;
        let mut at = from.max(base);
        while at < limit {
            match segment.look(at)? {
                Found::Frame(header) => {
                    if header.writer.id == writer.id && header.writer.epoch > writer.epoch {
                        let message = format!("another process has taken over writing to the stream in `{}`", folder.display());
                        return Err(Error::new(Kind::Conflict, message));
                    }
                    if header.writer.id == writer.id {
                        holds = holds.max(header.upto);
                    }
                    at = header.end();
                }
                Found::Damage(to) => at = to,
                Found::Nothing => break,
            }
        }
    }
    Ok(holds)
}
