//! Files of records, read as a pipeline reads them: into rows on this machine, over which a job's SQL is run. Of each file all that can be read is taken, or nothing.

use super::Progress;
use crate::journal::{Journal, SetAside};
use crate::plan::Plan;
use crate::registry::CodecConfig;
use crate::runtime::{Aside, Batch, RecordReader};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_connect::sources::{FileReader, is_damage};
use ouzel_core::{Chunk, Error, Result, Source};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::{Arrived, folders_of};
use ouzel_lake::jobs::scratch::{Rows, Scratch};
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
/// Of a file, what is held in memory until it is known whether it can be read; rows of a larger one go to a file of their own.
const HELD_BYTES_MAX: usize = 32 << 20;
/// What a value takes in memory, beside its text.
const VALUE_BYTES: usize = 20;
/// What a file that is being written may keep in memory.
const WRITING_BYTES_MAX: usize = 64 << 20;
/// Rows of a file on this machine, about: what is read at once later.
const ROWS_MAX: u64 = 1 << 18;
/// What may be set aside of one file.
const ASIDE_BYTES_MAX: u64 = 256 << 20;
/// Records that tell what their values are called.
const NAMED_BY: usize = 100;

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
/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub why: String,
    /// It may pass: the file is looked at again, changed or not.
    pub passing: bool,
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused { why, passing: false }
    }
}

fn passing(what: &str, e: &Error) -> Refused {
    Refused { why: format!("{what}: {e}"), passing: true }
}

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
        let mut taken =
            Taken { file, name, found: Found::default(), aside, journal: None, first: String::new(), fault: None, last: None };
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
        if taken.last.is_none()
            && let Some(why) = taken.begin(plan, plan.codec.names(log.header(), std::iter::empty()), known)
        {
            return Ok(Err(why));
        }
        taken.ended(&plan.codec, log.is_cut_short())
    }
}

/// A file on this machine.
enum Fetched {
    There(PathBuf),
    /// It goes when it has been read.
    Copy(PathBuf),
}

impl Fetched {
    fn path(&self) -> &Path {
        match self {
            Fetched::There(path) | Fetched::Copy(path) => path,
        }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Fetched::Copy(path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What has been taken of a file so far.
struct Taken<'f> {
    file: &'f Arrived,
    /// For people.
    name: String,
    found: Found,
    /// Folder for what is set aside.
    aside: PathBuf,
    journal: Option<Journal>,
    /// Why the first record that is set aside is.
    first: String,
    /// Why the last stretch that is no records is none.
    fault: Option<String>,
    /// Its last chunk, and why the last record in it is none.
    last: Option<(Chunk, Option<String>)>,
}

impl Taken<'_> {
    /// Takes in what its values are called. Why the file is not taken, if that shows.
    fn begin(&mut self, plan: &Plan, names: BTreeSet<String>, known: &BTreeSet<String>) -> Option<Refused> {
        self.found.names = names;
        if plan.codec.has_header() {
            if let Some(why) = wrong_header(plan, &self.found.names, known) {
                return Some(why.into());
            }
            self.found.header = self.found.names.clone();
        }
        None
    }

    /// Takes a batch in. Why the file is not taken, if that shows.
    fn look(
        &mut self,
        given: &Given<'_>,
        known: &BTreeSet<String>,
        mut batch: Batch,
        rows: &mut Growing<'_>,
    ) -> Result<Option<Refused>> {
        let plan = &given.reading.plan;
        if self.found.records.received == 0 {
            let records = (0..batch.rows.min(NAMED_BY)).map(|row| batch.bytes(row));
            let names = plan.codec.names(batch.chunk.origin.header.as_deref(), records);
            if let Some(why) = self.begin(plan, names, known) {
                return Ok(Some(why));
            }
        }
        self.last = Some((batch.chunk.clone(), broken_at_end(&batch)));
        self.fault = batch.chunk.fault.clone().or(self.fault.take());
        batch.first_offset = self.found.records.received;
        let (received, filtered) = (batch.counts.received, batch.counts.filtered);
        let aside = batch.set_aside.len() as u64;
        let (malformed, implausible) = (held(&batch, plan.standard.malformed), held(&batch, plan.standard.implausible));
        // What comes in the place of a file is another.
        let id = |offset: u64| format!("{}.{}@{:x}.{}", given.target, self.name, self.file.modified, offset + 1);
        let mut quarantined = 0;
        let is_packed = plan.codec.framing().packing().is_some();
        for (_, event) in batch.asides(id) {
            if is_packed && is_damage(&event.raw) {
                return Ok(Some(event.reason.into()));
            }
            quarantined += u64::from(event.fate == crate::journal::Fate::Quarantined);
            if let Some(why) = self.set_aside(&event)? {
                return Ok(Some(why));
            }
        }
        let dead_lettered = aside - quarantined;
        self.found.records.add(Records { received, filtered, quarantined, dead_lettered, malformed, implausible });
        if batch.rows > 0 {
            let bytes = batch.chunk.data.len() + batch.rows * rows.schema.fields().len() * VALUE_BYTES;
            rows.hold(self.rows_of(given, &batch, &rows.schema)?, bytes)?;
        }
        Ok(None)
    }

    fn rows_of(&mut self, given: &Given<'_>, batch: &Batch, schema: &SchemaRef) -> Result<RecordBatch> {
        let plan = &given.reading.plan;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (column, values) in batch.columns.iter().enumerate().filter(|(column, _)| plan.is_needed(*column)) {
            if values.null_count() < batch.rows {
                self.found.filled.insert(plan.columns.field(column).name().clone());
            }
            columns.push(values.clone());
        }
        let said = folders_of(&self.file.path);
        let constant =
            |text: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from_iter(std::iter::repeat_n(text, batch.rows))) };
        for folder in given.folders {
            columns.push(constant(said.iter().find(|(name, _)| name == folder).and_then(|(_, value)| value.as_deref())));
        }
        columns.push(constant(Some(&self.name)));
        let row = |ordinal: &u32| (batch.first_offset + u64::from(*ordinal)) as i64 + 1;
        columns.push(Arc::new(Int64Array::from_iter_values(batch.ordinals.iter().map(row))));
        RecordBatch::try_new(schema.clone(), columns).map_err(|e| Error::internal("rows of a file").caused_by(e))
    }

    fn set_aside(&mut self, event: &SetAside) -> Result<Option<Refused>> {
        if self.first.is_empty() {
            self.first = format!("at byte {}: {}", event.origin.1, event.reason);
        }
        if self.found.reasons.len() < REASONS_MAX {
            self.found.reasons.push(format!("{}, record at byte {}: {}", event.origin.0, event.origin.1, event.reason));
        }
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(Journal::open(&self.aside, Default::default(), false)?),
        };
        if journal.bytes() > ASIDE_BYTES_MAX {
            let why = format!("more of its records than can be kept cannot be used; the first, {}", self.first);
            return Ok(Some(why.into()));
        }
        journal.write(event).map(|()| None)
    }

    /// What there is, if the file is taken.
    fn ended(mut self, codec: &CodecConfig, cut_short: bool) -> Result<Result<Found, Refused>> {
        let Records { received, dead_lettered, .. } = self.found.records;
        if cut_short {
            return Ok(Err(format!("it is not whole: {}", self.fault.unwrap_or_default()).into()));
        }
        if let Some((last, broken)) = self.last {
            if codec.is_cut_off(&last) {
                let why = broken.unwrap_or("what is opened in it is not closed".into());
                return Ok(Err(format!("it is not whole: {why}").into()));
            }
            if let (Some(why), true) = (broken, last.data.last() != Some(&b'\n')) {
                return Ok(Err(format!("it ends in the middle of a record: {why}").into()));
            }
        }
        if received > 0 && dead_lettered == received {
            return Ok(Err(format!("none of its {received} records can be read; the first, {}", self.first).into()));
        }
        if let Some(mut journal) = self.journal {
            journal.prepare()?;
            self.found.asides.push(self.aside);
        }
        Ok(Ok(self.found))
    }
}

/// Rows with names in a list of them.
fn held(batch: &Batch, column: usize) -> u64 {
    let lists = batch.columns[column].as_list_opt::<i32>();
    lists.map_or(0, |lists| (0..lists.len()).filter(|row| lists.value_length(*row) > 0).count() as u64)
}

/// Why a file's header does not do. `known`: the names of the first file that was taken.
fn wrong_header(plan: &Plan, names: &BTreeSet<String>, known: &BTreeSet<String>) -> Option<String> {
    let wanted = wanted(plan);
    if names.is_empty() {
        return None;
    }
    if let Some(missing) = known.iter().find(|name| wanted.contains(*name) && !names.contains(*name)) {
        return Some(format!("it has no column `{missing}`, which the files before it have"));
    }
    names.is_disjoint(&wanted).then(|| {
        let some: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
        format!("its header names nothing that is read: it begins with {}", some.join(", "))
    })
}

/// Names of the values of records that somebody reads.
pub fn wanted(plan: &Plan) -> BTreeSet<String> {
    let first = |wanted: &ouzel_core::Wanted| match wanted.path.0.first() {
        Some(ouzel_core::path::Step::Key(key)) => Some(key.clone()),
        _ => None,
    };
    plan.wanted.iter().filter_map(first).collect()
}

/// Why the last record of a chunk is none, if it is none.
fn broken_at_end(batch: &Batch) -> Option<String> {
    let end = batch.chunk.data.trim_ascii_end().len() as u32;
    let is_last = |aside: &&Aside| aside.is_broken && aside.range.1 >= end;
    batch.set_aside.iter().find(is_last).filter(|_| batch.chunk.fault.is_none()).map(|aside| aside.reason.clone())
}

/// Rows of a unit's files on this machine, of which those of the last file may be forgotten.
struct Growing<'s> {
    scratch: &'s Scratch,
    schema: SchemaRef,
    unit: usize,
    /// Files so far.
    number: usize,
    done: Vec<Arrived>,
    open: Option<Rows>,
    /// Of the present file.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// The present file's rows have files of their own, those of `done` from here on.
    own: Option<usize>,
}

impl<'s> Growing<'s> {
    fn new(scratch: &'s Scratch, schema: &SchemaRef, unit: usize) -> Growing<'s> {
        let schema = schema.clone();
        Growing { scratch, schema, unit, number: 0, done: Vec::new(), open: None, held: Vec::new(), held_bytes: 0, own: None }
    }

    /// `bytes`: what they take in memory, about.
    fn hold(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        if self.own.is_some() {
            return self.write(&batch);
        }
        self.held_bytes += bytes;
        self.held.push(batch);
        if self.held_bytes > HELD_BYTES_MAX {
            self.end()?;
            self.own = Some(self.done.len());
            self.write_held()?;
        }
        Ok(())
    }

    /// The present file is taken.
    fn keep(&mut self) -> Result<()> {
        self.write_held()?;
        if self.own.take().is_some() {
            self.end()?;
        }
        Ok(())
    }

    /// It is not.
    fn forget(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        if let Some(from) = self.own.take() {
            self.open.take().into_iter().for_each(Rows::discard);
            self.done.drain(from..).for_each(|file| _ = std::fs::remove_file(self.scratch.path(&file.path)));
        }
    }

    fn finish(mut self) -> Result<Vec<Arrived>> {
        self.end()?;
        Ok(self.done)
    }

    fn write_held(&mut self) -> Result<()> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held).iter().try_for_each(|batch| self.write(batch))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = match &mut self.open {
            Some(rows) => rows,
            none => {
                self.number += 1;
                none.insert(self.scratch.rows(format!("{:08}-{}.parquet", self.unit, self.number), self.schema.clone())?)
            }
        };
        rows.write(batch)?;
        if rows.rows >= ROWS_MAX || rows.memory() > WRITING_BYTES_MAX { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(rows) = self.open.take() {
            self.done.push(rows.finish()?);
        }
        Ok(())
    }
}
