//! Events that do not go on, kept with their reason and raw bytes: `quarantine.ndjson` and `dead_letters.ndjson` in the pipeline's
//! folder of state, one JSON object a line.

mod reading;
#[cfg(test)]
mod tests;

pub use reading::{Entry, Journaled};

use crate::checkpoint::JournalLengths;
use ouzel_connect::sinks::{check_is, replace_by_copy};
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::limits::{JOURNAL_BYTES_MAX, KEPT_RAW_BYTES_MAX};
use ouzel_core::{Error, Kind};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where they are, in a pipeline's folder of state: what is quarantined, what is dead.
pub fn files(folder: &Path) -> [PathBuf; 2] {
    [Fate::Quarantined, Fate::DeadLettered].map(|fate| folder.join(fate.file()))
}

/// Whether the files have so much.
pub fn holds(folder: &Path, lengths: JournalLengths) -> bool {
    let has = |path: &PathBuf| std::fs::metadata(path).map_or(0, |about| about.len());
    files(folder).iter().zip([lengths.quarantine, lengths.dead_letters]).all(|(path, length)| has(path) >= length)
}

/// An event set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub fate: Fate,
    pub id: String,
    /// File or the like, and byte position in it.
    pub origin: (String, u64),
    pub reason: String,
    /// At most `KEPT_RAW_BYTES_MAX` of it.
    pub raw: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Could be an event, and is held for judgement.
    Quarantined,
    /// Cannot be processed.
    DeadLettered,
}

impl Fate {
    /// Name of its journal.
    fn file(self) -> &'static str {
        match self {
            Fate::Quarantined => "quarantine.ndjson",
            Fate::DeadLettered => "dead_letters.ndjson",
        }
    }
}

/// Writes them; a file is made when its first event comes.
pub struct Journal {
    /// Bytes of each.
    limit: u64,
    quarantine: Lazy,
    dead_letters: Lazy,
}

struct Lazy {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
    /// As it was found, until it is begun.
    opened: Option<File>,
    /// What was settled of the events that go.
    settled: Option<File>,
    take_over: bool,
}

impl Journal {
    /// `folder`: of the pipeline's state. `keep`: bytes of what earlier runs set aside; what lies behind them is cut off when it begins.
    /// `take_over`: another process may still write to them.
    pub fn open(folder: &Path, keep: JournalLengths, take_over: bool) -> Result<Journal> {
        Ok(Journal {
            limit: JOURNAL_BYTES_MAX,
            quarantine: Lazy::open(folder.join(Fate::Quarantined.file()), keep.quarantine, take_over)?,
            dead_letters: Lazy::open(folder.join(Fate::DeadLettered.file()), keep.dead_letters, take_over)?,
        })
    }

    /// Cuts them off, as [`ouzel_core::Sink::begin`] does.
    pub fn begin(&mut self) -> Result<()> {
        self.quarantine.begin()?;
        self.dead_letters.begin()
    }

    /// Of both files.
    pub fn bytes(&self) -> u64 {
        self.quarantine.bytes + self.dead_letters.bytes
    }

    /// What a commit needs: how long the files are, and what makes that durable.
    pub fn prepare(&mut self) -> Result<(JournalLengths, Vec<File>)> {
        let mut files = Vec::new();
        for lazy in [&mut self.quarantine, &mut self.dead_letters] {
            if let Some(file) = &mut lazy.file {
                let doing = || format!("writing `{}`", lazy.path.display());
                file.flush().doing(doing)?;
                files.push(file.get_ref().try_clone().doing(doing)?);
            }
        }
        Ok((JournalLengths { quarantine: self.quarantine.bytes, dead_letters: self.dead_letters.bytes }, files))
    }

    pub fn write(&mut self, event: &SetAside) -> Result<()> {
        let lazy = match event.fate {
            Fate::Quarantined => &mut self.quarantine,
            Fate::DeadLettered => &mut self.dead_letters,
        };
        let kept = &event.raw[..event.raw.len().min(KEPT_RAW_BYTES_MAX)];
        let (key, raw) = match std::str::from_utf8(kept) {
            Ok(text) => ("raw", text.to_string()),
            Err(_) => ("raw_hex", kept.iter().map(|b| format!("{b:02x}")).collect()),
        };
        let line = json!({
            "id": event.id, "origin": event.origin.0, "position": event.origin.1, "reason": event.reason,
            key: raw, "raw_bytes": event.raw.len(),
        });
        let line = line.to_string();
        if lazy.bytes + line.len() as u64 >= self.limit {
            return Err(lazy.is_full());
        }
        lazy.write_line(&line)
    }

    /// The files that hold anything.
    pub fn close(mut self) -> Result<Vec<String>> {
        let mut written = Vec::new();
        for lazy in [&mut self.quarantine, &mut self.dead_letters] {
            if let Some(mut file) = lazy.file.take() {
                file.flush().and_then(|()| file.get_ref().sync_all()).doing(|| format!("writing `{}`", lazy.path.display()))?;
            }
            if lazy.bytes > 0 {
                written.push(lazy.path.display().to_string());
            }
        }
        Ok(written)
    }
}

impl Lazy {
    fn open(path: PathBuf, keep: u64, take_over: bool) -> Result<Lazy> {
        let doing = || format!("opening `{}`", path.display());
        let there = |path: &Path| match File::options().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing(doing),
        };
        let bytes = std::fs::metadata(&path).map_or(0, |about| about.len());
        if bytes < keep {
            let message = format!("`{}` holds {bytes} bytes, of the {keep} that were committed to it", path.display());
            return Err(Error::new(Kind::Changed, message));
        }
        let settled = if keep == 0 { there(&path.with_extension("settled"))? } else { None };
        Ok(Lazy { opened: there(&path)?, path, file: None, bytes: keep, settled, take_over })
    }

    /// What is behind the bytes that are kept goes. Whoever was taken over writes into nothing.
    fn begin(&mut self) -> Result<()> {
        let doing = || format!("opening `{}`", self.path.display());
        if let Some(settled) = self.settled.take() {
            let path = self.path.with_extension("settled");
            match self.take_over {
                true => check_is(&settled, &path).and_then(|()| std::fs::remove_file(&path).doing(doing))?,
                false => settled.set_len(0).doing(doing)?,
            }
        }
        let Some(mut file) = self.opened.take() else { return Ok(()) };
        if self.take_over && self.bytes == 0 {
            check_is(&file, &self.path)?;
            return std::fs::remove_file(&self.path).doing(doing);
        }
        if self.take_over {
            file = replace_by_copy(&mut file, &self.path, self.bytes)?;
        }
        file.set_len(self.bytes).and_then(|()| file.seek(SeekFrom::Start(self.bytes))).doing(doing)?;
        self.file = Some(BufWriter::new(file));
        Ok(())
    }

    /// Nothing more is set aside, and nothing dropped: the run waits for somebody.
    fn is_full(&self) -> Error {
        let command = if self.path.ends_with(Fate::Quarantined.file()) { "quarantine" } else { "deadletters" };
        Error::unavailable(format!(
            "`{}` is full, with {} MB of events set aside: look at them with `ouzel {command}`, make room with `ouzel {command} retry --to FILE` or \
             `ouzel {command} drop --all`, and run again",
            self.path.display(),
            self.bytes >> 20
        ))
    }

    fn write_line(&mut self, line: &str) -> Result<()> {
        let doing = || format!("writing `{}`", self.path.display());
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder).doing(doing)?;
            }
            // It was not there when the run began: if it is now, it is that of a process that has taken over.
            let file = File::create_new(&self.path).map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    let message = format!("another process has taken over: `{}` is its own", self.path.display());
                    Error::new(Kind::Conflict, message)
                }
                _ => Error::unavailable(e.to_string()).context(doing()),
            })?;
            self.file = Some(BufWriter::new(file));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).doing(doing)?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}
