//! What of a source of files is new: files that are not whole, or have other columns, are set aside with the reason, and the others go on.

use super::aside;
use super::template::table_of_source;
use super::unpack::{self, Records, Refused, Unpacked};
use super::{Files, Job, Lake};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::{Arrived, Ledger, folders_of};
use ouzel_lake::location::BESIDE;
use ouzel_lake::query::{DeltaFiles, columns_of_file, read_file};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was set aside, beside the table.
const ASIDE: &str = "aside.json";

/// Files of a source.
#[derive(Debug, Clone, Serialize)]
pub struct Landing {
    pub source: String,
    /// Those that a run takes.
    pub files: usize,
    pub bytes: u64,
    /// Those that cannot be taken; each is looked at again when it has changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aside: BTreeMap<String, Aside>,
    /// Those that were taken and have changed since: their rows are as they were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// How many were taken and are gone: their rows stay.
    pub gone: usize,
    /// What the files have and those before them did not: it is not taken. Of records it is known when they have been read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new_columns: Vec<String>,
    /// Columns that had values in files before, and have none in all of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vanished: Vec<String>,
    /// What has become of the files' records, where they were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    #[serde(skip)]
    folder: Location,
    #[serde(skip)]
    new: Vec<Arrived>,
    #[serde(skip)]
    columns: SchemaRef,
    /// Columns that the names of folders say.
    #[serde(skip)]
    folders: Vec<String>,
    /// The file that has decided on them, if one of these has.
    #[serde(skip)]
    decided_by: Option<String>,
    /// Whether all files are taken.
    #[serde(skip)]
    anew: bool,
    /// Where they lie, as commits tell it, and what is before their names in what the table knows.
    #[serde(skip)]
    base: String,
    #[serde(skip)]
    prefix: String,
    /// What was taken before.
    #[serde(skip)]
    taken_before: BTreeSet<String>,
    /// How records are read, as a verdict on a file knows it.
    #[serde(skip)]
    definition: Option<String>,
    #[serde(skip)]
    header: BTreeSet<String>,
    /// Rows of records.
    #[serde(skip)]
    unpacked: Option<Arc<Unpacked>>,
    /// As the table's commits tell it.
    #[serde(skip)]
    names: BTreeSet<String>,
    #[serde(skip)]
    filled: BTreeSet<String>,
    #[serde(skip)]
    has_table: bool,
    /// As it was kept.
    #[serde(skip)]
    aside_before: BTreeMap<String, Aside>,
}

/// A file that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    pub why: String,
    bytes: u64,
    modified: i64,
    /// How its records were to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    /// What is wrong may pass: it is looked at again by the next run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passing: bool,
}

impl Landing {
    /// Looks at the files of a job's source. `anew`: takes those that were taken as well. [`ErrorKind::Changed`]: they are others than those that were taken.
    pub fn look(job: &Job, source: &Files, table: &Location, anew: bool) -> Result<Landing> {
        Landing::look_without(job, source, table, anew, &BTreeMap::new())
    }

    fn look_without(
        job: &Job,
        source: &Files,
        table: &Location,
        anew: bool,
        refused: &BTreeMap<String, Refused>,
    ) -> Result<Landing> {
        let files = source.pattern.list().map_err(|e| e.context(format!("{}: source `{}`", job.file, source.name)))?;
        let mut ledger = match Ledger::read(table) {
            // What it has taken is not known any more; where all is taken anew it need not be.
            Err(e) if e.kind == ErrorKind::Changed && anew => Ledger::default(),
            read => read?,
        };
        let has_table = ledger.is_of_a_table();
        let known = table.join(BESIDE).read(ASIDE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known: BTreeMap<String, Aside> = known.unwrap_or_default();
        let seen = ledger.seen_from(&source.base);
        let is_other = |file: &Arrived| {
            let taken = ledger.files.get(&file.path);
            taken.is_some_and(|taken| (taken.bytes, taken.modified) != (file.bytes, file.modified))
        };
        if let Some(file) = files.iter().find(|file| seen.is_other && !anew && is_other(file)) {
            let message = format!(
                "{}: the source `{}` lies in `{}` now, and its `{}` is not the file of this name that was taken from elsewhere: put it back, or begin anew with `--full-refresh`",
                job.file, source.name, source.base, file.path
            );
            return Err(Error::new(ErrorKind::Changed, message));
        }
        let ledger = if anew { ledger.anew() } else { ledger };
        let mut landing = Landing {
            source: source.name.clone(),
            files: 0,
            bytes: 0,
            aside: BTreeMap::new(),
            changed: Vec::new(),
            gone: 0,
            new_columns: Vec::new(),
            vanished: Vec::new(),
            records: None,
            folder: source.pattern.folder.clone(),
            new: Vec::new(),
            columns: Arc::new(Schema::empty()),
            folders: ledger.folders,
            decided_by: None,
            anew,
            base: source.base.clone(),
            prefix: seen.prefix,
            taken_before: ledger.files.keys().cloned().collect(),
            definition: source.reading.as_ref().map(|reading| reading.plan.version.clone()),
            unpacked: None,
            header: ledger.header,
            names: ledger.names,
            filled: ledger.filled,
            has_table,
            aside_before: known.clone(),
        };
        let mut columns = match (&source.reading, ledger.columns.is_empty()) {
            (_, true) => None,
            // What records have is said; files differ in what the names of their folders say.
            (Some(_), false) => Some(texts(&landing.folders)),
            (None, false) => Some(read_columns(&ledger.columns)?),
        };
        let listed: BTreeSet<String> = files.iter().map(|file| landing.known_as(&file.path)).collect();
        landing.gone = ledger.files.keys().filter(|name| !listed.contains(*name)).count();
        for file in files {
            if let Some(taken) = ledger.files.get(&landing.known_as(&file.path)).filter(|_| !anew) {
                if (taken.bytes, taken.modified) != (file.bytes, file.modified) {
                    landing.changed.push(file.path);
                }
                continue;
            }
            let is_as_it_was = |aside: &&Aside| {
                (aside.bytes, aside.modified) == (file.bytes, file.modified) && aside.definition == landing.definition
            };
            if let Some(why) = refused.get(&file.path) {
                landing.aside_for(file, why.clone());
                continue;
            }
            let judged = match known.get(&file.path).filter(is_as_it_was).filter(|_| !anew) {
                Some(aside) => Err(aside.why.clone()),
                // An empty file has no rows that say anything.
                None if file.bytes == 0 && source.reading.is_some() => Ok(()),
                None => match its_columns(source, &file) {
                    // Nothing is known of a file whose store does not answer.
                    Err(e) if e.kind != ErrorKind::Data => return Err(e),
                    Err(e) => Err(e.to_string()),
                    Ok((its, folders)) => landing.judge(&mut columns, its, folders, &file),
                },
            };
            match judged {
                Ok(()) => landing.new.push(file),
                Err(why) => landing.aside_for(file, why.into()),
            }
        }
        landing.columns = match &source.reading {
            Some(reading) => unpack::columns(&reading.plan, &landing.folders),
            None => columns.unwrap_or(landing.columns),
        };
        landing.count();
        Ok(landing)
    }

    /// Why a file with these columns is not taken; `folders`: those of them that the names of its folders say. The first one tells which there are.
    fn judge(
        &mut self,
        columns: &mut Option<SchemaRef>,
        its: SchemaRef,
        folders: Vec<String>,
        file: &Arrived,
    ) -> Result<(), String> {
        let Some(columns) = columns else {
            (*columns, self.folders, self.decided_by) = (Some(its), folders, Some(file.path.clone()));
            return Ok(());
        };
        for field in columns.fields() {
            match its.field_with_name(field.name()) {
                Err(_) => return Err(format!("it has no column `{}`, which the files before it have", field.name())),
                Ok(own) if own.data_type() != field.data_type() => {
                    let (now, before) = (own.data_type(), field.data_type());
                    return Err(format!(
                        "its column `{}` is of type {now}, that of the files before it of {before}",
                        field.name()
                    ));
                }
                Ok(_) if self.folders.contains(field.name()) != folders.contains(field.name()) => {
                    let (its, theirs) = match folders.contains(field.name()) {
                        true => ("in the name of its folder", "in the files before it within them"),
                        false => ("within it", "in those before it in the names of their folders"),
                    };
                    return Err(format!("its column `{}` is {its}, {theirs}", field.name()));
                }
                Ok(_) => {}
            }
        }
        for field in its.fields().iter().filter(|field| columns.field_with_name(field.name()).is_err()) {
            if !self.new_columns.contains(field.name()) {
                self.new_columns.push(field.name().clone());
            }
        }
        Ok(())
    }

    /// The name of a file in what the table knows.
    fn known_as(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Files that were taken before, and cannot be taken again.
    pub fn lost(&self) -> Vec<&String> {
        self.aside.keys().filter(|path| self.taken_before.contains(&self.known_as(path))).collect()
    }

    fn aside_for(&mut self, file: Arrived, Refused { why, passing }: Refused) {
        let definition = self.definition.clone();
        self.aside.insert(file.path, Aside { why, bytes: file.bytes, modified: file.modified, definition, passing });
    }

    fn count(&mut self) {
        self.files = self.new.len();
        self.bytes = self.new.iter().map(|file| file.bytes).sum();
    }

    /// Reads these files to the end, and sets those aside that cannot be read. How many.
    pub fn set_aside(&mut self, suspects: &[String]) -> Result<usize> {
        let mut found = 0;
        for file in std::mem::take(&mut self.new) {
            match suspects.contains(&file.path).then(|| read_file(&self.folder, &file.path)) {
                // Nothing is known of a file whose store does not answer.
                Some(Err(e)) if e.kind != ErrorKind::Data => return Err(e),
                Some(Err(e)) => {
                    found += 1;
                    self.aside_for(file, e.to_string().into());
                }
                _ => self.new.push(file),
            }
        }
        self.count();
        Ok(found)
    }

    /// Reads the records of the new files, and sets those files aside of which they cannot be read.
    pub fn unpack(&mut self, lake: &Lake<'_>, job: &Job, source: &Files) -> Result<()> {
        let Some(reading) = &source.reading else { return Ok(()) };
        let table = lake.lake.join(&job.target);
        let mut refused = BTreeMap::new();
        let unpacked = loop {
            let unpacked = unpack::unpack(&unpack::Given {
                reading,
                target: &job.target,
                from: &self.folder,
                base: &self.base,
                files: &self.new,
                folders: &self.folders,
                known: &self.header,
                beside: &table.beside()?,
                threads: lake.threads,
                progress: &lake.progress,
            })?;
            let by_refused = self.decided_by.as_ref().is_some_and(|file| unpacked.found.refused.contains_key(file));
            if !by_refused {
                break unpacked;
            }
            // What is not taken decides on nothing.
            refused.extend(unpacked.found.refused.clone());
            *self = Landing::look_without(job, source, &table, self.anew, &refused)?;
        };
        let found = &unpacked.found;
        for file in std::mem::take(&mut self.new) {
            match found.refused.get(&file.path) {
                Some(why) => self.aside_for(file, why.clone()),
                None => self.new.push(file),
            }
        }
        self.count();
        let (had_files, wanted) = (!self.names.is_empty(), unpack::wanted(&reading.plan));
        let is_new = |name: &&String| had_files && !self.names.contains(*name) && !wanted.contains(*name);
        self.new_columns.extend(found.names.iter().filter(is_new).cloned());
        if found.records.rows() > 0 {
            self.vanished = self.filled.difference(&found.filled).filter(|name| !name.starts_with('_')).cloned().collect();
        }
        self.header = if self.header.is_empty() { found.header.clone() } else { BTreeSet::new() };
        self.names = found.names.difference(&self.names).cloned().collect();
        self.filled = found.filled.difference(&self.filled).cloned().collect();
        self.records = Some(found.records);
        self.unpacked = Some(Arc::new(unpacked));
        Ok(())
    }

    /// What the new files have, as a table.
    pub fn table(&self) -> DeltaFiles {
        let name = table_of_source(&self.source);
        match &self.unpacked {
            Some(unpacked) => unpacked.table(&name),
            None => DeltaFiles::of_folder(&self.folder, &name, self.columns.clone(), &self.folders, &self.new),
        }
    }

    /// What was found in the files, where records were read.
    pub fn found(&self) -> Option<&unpack::Found> {
        self.unpacked.as_ref().map(|unpacked| &unpacked.found)
    }

    /// What a commit tells of the files. `aside`: the files with what was set aside.
    pub fn tell(&self, about: &mut Value, aside: &[String]) {
        about["files"] = json!(self.new);
        about["base"] = json!(self.base);
        about["columns"] = json!(self.columns());
        let mut tell = |key: &str, value: Value, is_said: bool| {
            if is_said {
                about[key] = value;
            }
        };
        tell("folders", json!(self.folders), !self.folders.is_empty());
        tell("header", json!(self.header), self.unpacked.is_some() && !self.header.is_empty());
        tell("names", json!(self.names), self.unpacked.is_some() && !self.names.is_empty());
        tell("filled", json!(self.filled), self.unpacked.is_some() && !self.filled.is_empty());
        tell("records", json!(self.records), self.records.is_some());
        tell("aside", json!(aside), !aside.is_empty());
    }

    /// Names and types.
    fn columns(&self) -> Vec<(String, String)> {
        self.columns.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }

    /// Remembers, beside the table, what was set aside, so that only what has changed is looked at again.
    pub fn keep(&self, table: &Location) -> Result<()> {
        if self.new.is_empty() && !self.has_table {
            return Ok(());
        }
        if !self.new.is_empty() {
            let ledger = Ledger::read(table)?;
            ledger.keep(table)?;
            if self.records.is_some() {
                aside::sweep(table, &ledger.aside)?;
            }
        }
        let kept: BTreeMap<&String, &Aside> = self.aside.iter().filter(|(_, aside)| !aside.passing).collect();
        if kept.iter().map(|(file, aside)| (*file, *aside)).eq(&self.aside_before) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&kept).map_err(|e| Error::internal(e.to_string()))?;
        table.join(BESIDE).put(ASIDE, &bytes)
    }
}

/// The columns of a file that differ from file to file, and those of them that the names of its folders say.
fn its_columns(source: &Files, file: &Arrived) -> Result<(SchemaRef, Vec<String>)> {
    let own = match &source.reading {
        Some(reading) => unpack::columns(&reading.plan, &[]),
        None => columns_of_file(&source.pattern.folder, file)?,
    };
    let mut folders: Vec<String> = Vec::new();
    for (name, _) in folders_of(&file.path) {
        if own.field_with_name(&name).is_err() && !folders.contains(&name) {
            folders.push(name);
        }
    }
    let of_folders = texts(&folders);
    let all = match &source.reading {
        // What records have is said.
        Some(_) => of_folders,
        None => Arc::new(Schema::new(own.fields().iter().chain(of_folders.fields()).cloned().collect::<Vec<_>>())),
    };
    Ok((all, folders))
}

fn texts(names: &[String]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8View, true)).collect::<Vec<_>>()))
}

/// What a table has taken, in the order in which it has.
pub struct AllTaken {
    files: DeltaFiles,
    /// Where the files are of rows that were read anew.
    _unpacked: Option<Unpacked>,
}

impl AllTaken {
    pub fn table(&self) -> DeltaFiles {
        self.files.again()
    }
}

/// All that a table has taken. [`ErrorKind::Changed`]: some files are not there any more as they were.
pub fn taken(lake: &Lake<'_>, job: &Job, source: &Files) -> Result<AllTaken> {
    let table = lake.lake.join(&job.target);
    let files = source.pattern.list()?;
    let mut ledger = Ledger::read(&table)?;
    let seen = ledger.seen_from(&source.base);
    let as_taken = |file: &Arrived| {
        let taken = ledger.files.get(&format!("{}{}", seen.prefix, file.path))?;
        ((taken.bytes, taken.modified) == (file.bytes, file.modified)).then_some(taken.version)
    };
    let mut there: Vec<(u64, Arrived)> = files.into_iter().filter_map(|file| Some((as_taken(&file)?, file))).collect();
    let lost = ledger.files.len() - there.len();
    let changed = |message: String| Err(Error::new(ErrorKind::Changed, message));
    if lost > 0 {
        let of = ledger.files.len();
        return changed(format!("{lost} of the {of} files that it has taken are gone or have changed: it cannot be made again"));
    }
    there.sort_by_key(|(version, _)| *version);
    let files: Vec<Arrived> = there.into_iter().map(|(_, file)| file).collect();
    let name = table_of_source(&source.name);
    let Some(reading) = &source.reading else {
        let columns = read_columns(&ledger.columns)?;
        let files = DeltaFiles::of_folder(&source.pattern.folder, &name, columns, &ledger.folders, &files);
        return Ok(AllTaken { files, _unpacked: None });
    };
    let unpacked = unpack::unpack(&unpack::Given {
        reading,
        target: &job.target,
        from: &source.pattern.folder,
        base: &source.base,
        files: &files,
        folders: &ledger.folders,
        known: &ledger.header,
        beside: &table.beside()?,
        threads: lake.threads,
        progress: &lake.progress,
    })?;
    match unpacked.found.refused.iter().next() {
        Some((file, refused)) => changed(format!("`{file}`, which it has taken, cannot be read any more: {}", refused.why)),
        None => Ok(AllTaken { files: unpacked.table(&name), _unpacked: Some(unpacked) }),
    }
}

fn read_columns(columns: &[(String, String)]) -> Result<SchemaRef> {
    let field = |(name, of): &(String, String)| {
        let of: DataType = of.parse().map_err(|e| Error::internal(format!("the type `{of}`")).caused_by(e))?;
        Ok(Field::new(name, of, true))
    };
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
}
