//! One file on its way: whether it can be taken shows at its end, at the latest.

use super::growing::Growing;
use super::{Found, Given, REASONS_MAX, Records};
use crate::journal::{Fate, Journal, SetAside};
use crate::plan::Plan;
use crate::runtime::Batch;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::SchemaRef;
use ouzel_connect::sources::is_damage;
use ouzel_core::path::Step;
use ouzel_core::{Chunk, Error, Result, Wanted};
use ouzel_lake::jobs::landing::{Arrived, folders_of};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What may be set aside of one file.
const ASIDE_BYTES_MAX: u64 = 256 << 20;
/// Records that tell what their values are called.
const NAMED_BY: usize = 100;

/// What a value takes in memory, beside its text.
const VALUE_BYTES: usize = 20;
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

pub fn passing(what: &str, e: &Error) -> Refused {
    Refused { why: format!("{what}: {e}"), passing: true }
}

/// A file on this machine.
pub enum Fetched {
    There(PathBuf),
    /// It goes when it has been read.
    Copy(PathBuf),
}

impl Fetched {
    pub fn path(&self) -> &Path {
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
pub struct Taken<'f> {
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

impl<'f> Taken<'f> {
    /// `name`: for people. `aside`: a folder for what is set aside, which is made when there is anything.
    pub fn new(file: &'f Arrived, name: String, aside: PathBuf) -> Taken<'f> {
        Taken { file, name, found: Found::default(), aside, journal: None, first: String::new(), fault: None, last: None }
    }

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
    pub fn look(
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
            quarantined += u64::from(event.fate == Fate::Quarantined);
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
    /// `header`: also where nothing follows it.
    pub fn ended(
        mut self,
        plan: &Plan,
        known: &BTreeSet<String>,
        header: Option<&[u8]>,
        cut_short: bool,
    ) -> Result<Result<Found, Refused>> {
        if self.last.is_none()
            && let Some(why) = self.begin(plan, plan.codec.names(header, std::iter::empty()), known)
        {
            return Ok(Err(why));
        }
        let Records { received, dead_lettered, .. } = self.found.records;
        if cut_short {
            return Ok(Err(format!("it is not whole: {}", self.fault.unwrap_or_default()).into()));
        }
        if let Some((last, broken)) = self.last {
            if plan.codec.is_cut_off(&last) {
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
    let first = |wanted: &Wanted| match wanted.path.0.first() {
        Some(Step::Key(key)) => Some(key.clone()),
        _ => None,
    };
    plan.wanted.iter().filter_map(first).collect()
}

/// Why the last record of a chunk is none, if it is none.
fn broken_at_end(batch: &Batch) -> Option<String> {
    let end = batch.chunk.data.trim_ascii_end().len() as u32;
    let last = batch.set_aside.iter().find(|aside| aside.is_broken && aside.range.1 >= end);
    last.filter(|_| batch.chunk.fault.is_none()).map(|aside| aside.reason.clone())
}
