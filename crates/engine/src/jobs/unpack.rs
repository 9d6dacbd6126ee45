//! Files of records, read as a pipeline reads them: into rows on this machine, over which a job's SQL is run. Of each file all that can be read is taken, or nothing.

mod file;
mod growing;

pub use file::{Refused, wanted};

use super::Progress;
use crate::plan::Plan;
use crate::runtime::RecordReader;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use file::{Fetched, Taken, passing};
use growing::Growing;
use ouzel_connect::sources::FileReader;
use ouzel_core::{Result, Source};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::Arrived;
use ouzel_lake::jobs::scratch::Scratch;
use ouzel_lake::query::DeltaFiles;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How the records of a source's files are read.
pub struct Reading {
    pub plan: Plan,
    /// The project's folder, which lookups' files are named from.
    pub root: PathBuf,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("plan", &self.plan.version).finish_non_exhaustive()
    }
}

/// The file that a row is of, to the project if it is within, and its place there, from 1.
pub const FILE: &str = "_file";
pub const ROW: &str = "_row";

/// Small files are read together, so many bytes of them.
const UNIT_BYTES: u64 = 4 << 20;

/// What has become of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    pub received: u64,
    /// Left out by the source's `where`.
    pub filtered: u64,
    pub quarantined: u64,
    pub dead_lettered: u64,
    /// Rows that go on, and have a value that could not be read.
    pub malformed: u64,
    /// Rows that go on, and have a value that cannot be true.
    pub implausible: u64,
}

impl Records {
    fn add(&mut self, other: Records) {
        self.received += other.received;
        self.filtered += other.filtered;
        self.quarantined += other.quarantined;
        self.dead_lettered += other.dead_lettered;
        self.malformed += other.malformed;
        self.implausible += other.implausible;
    }

    /// Rows that a job is given.
    pub fn rows(&self) -> u64 {
        self.received - self.filtered - self.quarantined - self.dead_lettered
    }
}

/// What is to be read.
pub struct Given<'a> {
    pub reading: &'a Reading,
    pub target: &'a str,
    pub from: &'a Location,
    /// What is before the names of files, for people.
    pub base: &'a str,
    pub files: &'a [Arrived],
    /// What the names of folders say.
    pub folders: &'a [String],
    /// What the header of the first file that was taken names; none if there was none.
    pub known: &'a BTreeSet<String>,
    /// The folder of this machine for what is remembered of the table.
    pub beside: &'a Path,
    pub threads: usize,
    pub progress: &'a Progress,
}

/// Rows of files, and what has become of the others.
#[derive(Debug)]
pub struct Unpacked {
    scratch: Scratch,
    schema: SchemaRef,
    files: Vec<Arrived>,
    pub found: Found,
}

/// What was found in files.
#[derive(Debug, Default)]
pub struct Found {
    pub records: Records,
    /// Files that cannot be taken, and why.
    pub refused: BTreeMap<String, Refused>,
    /// What values are called.
    pub names: BTreeSet<String>,
    /// What the header of the first file names, where files have one.
    pub header: BTreeSet<String>,
    /// Columns that have values.
    pub filled: BTreeSet<String>,
    /// Folders with what was set aside, in the order of the files.
    pub asides: Vec<PathBuf>,
    /// Why some of the records were set aside.
    pub reasons: Vec<String>,
}

/// Reasons that are told.
const REASONS_MAX: usize = 10;

impl Found {
    fn add(&mut self, other: Found) {
        self.records.add(other.records);
        self.refused.extend(other.refused);
        if self.header.is_empty() {
            self.header = other.header;
        }
        self.names.extend(other.names);
        self.filled.extend(other.filled);
        self.asides.extend(other.asides);
        self.reasons.extend(other.reasons);
        self.reasons.truncate(REASONS_MAX);
    }
}

/// The columns that a job is given.
pub fn columns(plan: &Plan, folders: &[String]) -> SchemaRef {
    let own =
        plan.columns.fields().iter().enumerate().filter(|(column, _)| plan.is_needed(*column)).map(|(_, field)| field.clone());
    let text = |name: &String| Arc::new(Field::new(name, DataType::Utf8View, true));
    let row = Arc::new(Field::new(ROW, DataType::Int64, true));
    Arc::new(Schema::new(own.chain(folders.iter().map(text)).chain([text(&FILE.to_string()), row]).collect::<Vec<_>>()))
}

/// Reads files. An error is of what lies outside them.
pub fn unpack(given: &Given<'_>) -> Result<Unpacked> {
    let mut unpacked = Unpacked {
        scratch: Scratch::new(given.beside)?,
        schema: columns(&given.reading.plan, given.folders),
        files: Vec::new(),
        found: Found::default(),
    };
    let units = units(given.files);
    given.progress.reads(given.files.iter().map(|file| file.bytes).sum());
    let reader = RecordReader::new(&given.reading.plan, &given.reading.root)?;
    let mut from = 0;
    if given.known.is_empty() && given.reading.plan.codec.has_header() {
        // The first file tells what the others are to have.
        while from < units.len() && unpacked.found.header.is_empty() {
            unpacked.some(given, &units, from..from + 1, &reader)?;
            from += 1;
        }
    }
    unpacked.some(given, &units, from..units.len(), &reader)?;
    Ok(unpacked)
}

impl Unpacked {
    /// Reads some units, several at once.
    fn some(&mut self, given: &Given<'_>, units: &[&[Arrived]], which: Range<usize>, reader: &RecordReader<'_>) -> Result<()> {
        let (next, failed) = (AtomicUsize::new(which.start), AtomicBool::new(false));
        let done: Mutex<BTreeMap<usize, Result<Ended>>> = Mutex::default();
        let known = if given.known.is_empty() { &self.found.header.clone() } else { given.known };
        let work = |mut reader: RecordReader<'_>| {
            while !failed.load(Relaxed) {
                let number = next.fetch_add(1, Relaxed);
                if number >= which.end {
                    return;
                }
                let rows = Growing::new(&self.scratch, &self.schema, number);
                let unit = Unit { given, known, scratch: &self.scratch, number, found: Found::default(), rows };
                let ended = unit.read(units[number], &mut reader);
                failed.fetch_or(ended.is_err(), Relaxed);
                done.lock().unwrap_or_else(PoisonError::into_inner).insert(number, ended);
            }
        };
        std::thread::scope(|scope| -> Result<()> {
            for _ in 1..given.threads.min(which.len()) {
                let reader = reader.fork()?;
                scope.spawn(|| work(reader));
            }
            work(reader.fork()?);
            Ok(())
        })?;
        for (_, ended) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let (files, found) = ended?;
            self.files.extend(files);
            self.found.add(found);
        }
        Ok(())
    }

    /// The rows, in the order of the files.
    pub fn table(&self, name: &str) -> DeltaFiles {
        self.scratch.table(name, self.schema.clone(), &self.files)
    }
}

/// Files that one thread reads, one after another.
fn units(files: &[Arrived]) -> Vec<&[Arrived]> {
    let mut units = Vec::new();
    let mut rest = files;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |file: &&Arrived| {
            bytes += file.bytes;
            bytes <= UNIT_BYTES
        };
        let (unit, behind) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        units.push(unit);
        rest = behind;
    }
    units
}

struct Unit<'a> {
    given: &'a Given<'a>,
    known: &'a BTreeSet<String>,
    scratch: &'a Scratch,
    number: usize,
    found: Found,
    rows: Growing<'a>,
}

/// What a unit's files gave: rows on this machine, and what was found.
type Ended = (Vec<Arrived>, Found);
impl Unit<'_> {
    fn read(mut self, files: &[Arrived], reader: &mut RecordReader<'_>) -> Result<Ended> {
        for (place, file) in files.iter().enumerate() {
            match self.file(file, place, reader)? {
                Ok(found) => {
                    self.rows.keep()?;
                    self.found.add(found);
                }
                Err(why) => {
                    self.rows.forget();
                    self.found.refused.insert(file.path.clone(), why);
                }
            }
        }
        Ok((self.rows.finish()?, self.found))
    }

    /// Reads one file to its end.
    fn file(&mut self, file: &Arrived, place: usize, reader: &mut RecordReader<'_>) -> Result<Result<Found, Refused>> {
        let plan = &self.given.reading.plan;
        let fetched = match self.given.from {
            Location::Folder(folder) => Fetched::There(folder.join(&file.path)),
            bucket => {
                let copy = self.scratch.path(&format!("{}.raw", self.number));
                match bucket.fetch(&file.path, &copy)? {
                    true => Fetched::Copy(copy),
                    false => return Ok(Err(Refused { why: "it is gone".into(), passing: true })),
                }
            }
        };
        let base = self.given.base;
        let name = if base.is_empty() { file.path.clone() } else { format!("{base}/{}", file.path) };
        let codec = plan.codec.clone();
        let opened = FileReader::of_file(fetched.path(), &name, Box::new(move || codec.framing()));
        let mut log = match opened {
            Ok(log) => log,
            Err(e) => return Ok(Err(passing("it cannot be opened", &e))),
        };
        let aside = self.scratch.path(&format!("aside-{}-{place}", self.number));
        let mut taken = Taken::new(file, name, aside);
        let known = if self.known.is_empty() { &self.found.header } else { self.known };
        let mut read = 0;
        loop {
            let now = log.progress().map_or(0, |(_, bytes)| bytes);
            self.given.progress.has_read(now.saturating_sub(read));
            read = now;
            let chunk = match log.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(e) => return Ok(Err(passing("it cannot be read", &e))),
            };
            let batch = reader.read(chunk)?;
            if let Some(why) = taken.look(self.given, known, batch, &mut self.rows)? {
                return Ok(Err(why));
            }
        }
        taken.ended(plan, known, log.header(), log.is_cut_short())
    }
}
