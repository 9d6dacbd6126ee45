//! Files one behind another, as one log.

use super::named;
use super::open_file::{Open, open};
use super::place::{Place, ReadFile, Seen, changed, find};
use super::unchanged::{check_beginning, check_read, grown};
use crate::sources::compression::Decompressed;
use crate::sources::{Compression, NewFraming};
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::{Chunk, Error, Kind, Source};
use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log of one `file` source.
pub struct FileReader {
    files: VecDeque<Listed>,
    current: Option<Open>,
    compression: Compression,
    framing: NewFraming,
    /// What has been read to its end.
    read: Vec<ReadFile>,
    /// Of all files; `None` if one is no regular file.
    bytes_total: Option<u64>,
    /// Of the files that are done.
    bytes_done: u64,
    /// Of a file, what follows a place could not be read.
    cut_short: bool,
    /// Of the last file.
    header: Option<Arc<[u8]>>,
}

/// A file to be read.
pub(super) struct Listed {
    pub path: PathBuf,
    /// As people know it.
    pub name: Arc<str>,
    pub seen: Seen,
}

impl FileReader {
    pub(super) fn new(files: Vec<Listed>, compression: Compression, framing: NewFraming) -> FileReader {
        let bytes_total = files.iter().map(|file| file.seen.bytes).sum();
        FileReader {
            files: files.into(),
            current: None,
            compression,
            framing,
            read: Vec::new(),
            bytes_total,
            bytes_done: 0,
            cut_short: false,
            header: None,
        }
    }

    /// One file, as a log of its own. `name`: as people know it.
    pub fn of_file(path: &Path, name: &str, framing: NewFraming) -> Result<FileReader> {
        let seen = Seen::of(path).doing(|| named("opening", path))?;
        Ok(FileReader::new(vec![Listed { path: path.to_path_buf(), name: name.into(), seen }], Compression::Auto, framing))
    }

    /// Whether a file ended before its end: it is damaged, or has no beginning that can be read.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// The header of the file that was read last, also where nothing follows it.
    pub fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }

    /// A log that comes through a pipe: what one read gives is handed over at once.
    pub fn from_reader(name: &str, input: Box<dyn Read + Send>, compression: Compression, framing: NewFraming) -> FileReader {
        let mut reader = FileReader::new(Vec::new(), compression, framing);
        reader.bytes_total = None;
        let file = Listed { path: PathBuf::new(), name: name.into(), seen: Seen::default() };
        reader.current = Some(Open::new(file, Decompressed::new(input, compression), (reader.framing)()));
        reader
    }

    /// Opens the next file; `None` if there is none.
    fn open_next(&mut self) -> Result<Option<Open>> {
        let Some(next) = self.files.front() else { return Ok(None) };
        let file = open(&next.path)?;
        let Some(next) = self.files.pop_front() else { return Ok(None) };
        let framing = (self.framing)();
        Ok(Some(Open::new(next, Decompressed::of_file(file, self.compression, framing.packing()), framing)))
    }
}

impl Source for FileReader {
    fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(open) = &mut self.current {
                if let Some(chunk) = open.next()? {
                    return Ok(Some(chunk));
                }
                self.bytes_done += open.bytes_read();
                self.cut_short |= open.is_cut_short();
                self.header = open.header();
                self.read.extend(self.current.take().map(Open::ended));
            }
            match self.open_next()? {
                Some(open) => self.current = Some(open),
                None => return Ok(None),
            }
        }
    }

    fn position(&self) -> Option<String> {
        let place = Place {
            read: self.read.clone(),
            reading: self.current.as_ref().map(Open::reading),
            ahead: self.files.iter().map(|file| file.name.to_string()).collect(),
        };
        serde_json::to_string(&place).ok()
    }

    fn resume(&mut self, position: &str) -> Result<()> {
        let place = parse(position)?;
        if self.current.is_some() {
            // A pipe: what was read from it before is gone.
            return Ok(());
        }
        let mut there = find(&place, std::mem::take(&mut self.files).into())?;
        let mut place = place;
        if let Some((last, reading)) = grown(&place, &there) {
            place.read.truncate(last);
            place.reading = Some(reading);
            let file = there.read.iter().position(|(i, _)| *i == last).map(|at| there.read.swap_remove(at).1);
            there.rest.splice(0..0, file);
        }
        for (i, file) in &there.read {
            check_read(&place.read[*i], file, self.compression, (self.framing)().packing())?;
            self.bytes_done += file.seen.bytes.unwrap_or(0);
        }
        self.files = there.rest.into();
        self.read = place.read;
        if let Some(reading) = &place.reading {
            self.current = self.open_next()?;
            if let Some(open) = &mut self.current {
                open.resume(reading)?;
            }
        }
        Ok(())
    }

    fn rewind(&mut self, position: &str) -> Result<()> {
        let place = parse(position)?;
        if self.current.is_some() {
            return Err(changed("a pipe cannot be read again from its beginning".into()));
        }
        let mut there = find(&place, std::mem::take(&mut self.files).into())?;
        let missing = place.read.iter().enumerate().find(|(i, _)| there.read.iter().all(|(read, _)| read != i));
        if let Some((_, file)) = missing {
            return Err(changed(format!("`{}` is gone, which had been read", file.name)));
        }
        let grown = grown(&place, &there);
        for (i, file) in &there.read {
            match &grown {
                Some((last, reading)) if last == i => check_beginning(reading, file)?,
                _ => check_read(&place.read[*i], file, self.compression, (self.framing)().packing())?,
            }
        }
        let read = there.read.drain(..).map(|(_, file)| file);
        self.files = read.chain(there.rest).collect();
        Ok(())
    }

    fn whereabouts(&self) -> String {
        match &self.current {
            Some(open) => format!("{}, byte {}", open.name(), open.position()),
            None => format!("behind {} file{}", self.read.len(), if self.read.len() == 1 { "" } else { "s" }),
        }
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let read = self.bytes_done + self.current.as_ref().map_or(0, Open::bytes_read);
        // A file may have grown since it was listed.
        self.bytes_total.map(|total| (total.max(read), read))
    }
}

fn parse(position: &str) -> Result<Place> {
    serde_json::from_str(position).map_err(|e| Error::new(Kind::Changed, format!("the state is of another kind of source ({e})")))
}
