//! What of a source of files is new: files that are no whole Parquet files, or have other columns, are set aside with the reason, and the others go on.

use super::template::table_of_source;
use super::{Files, Job};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::{Arrived, Ledger};
use ouzel_lake::location::BESIDE;
use ouzel_lake::query::{DeltaFiles, columns_of_file, read_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// Columns that the files have and the table's first ones did not: they are not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub new_columns: Vec<String>,
    #[serde(skip)]
    folder: Location,
    #[serde(skip)]
    new: Vec<Arrived>,
    #[serde(skip)]
    columns: SchemaRef,
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
}

impl Landing {
    /// Looks at the files of a job's source. `anew`: takes those that were taken as well.
    pub fn look(job: &Job, source: &Files, table: &Location, anew: bool) -> Result<Landing> {
        let files = source.pattern.list().map_err(|e| e.context(format!("{}: source `{}`", job.file, source.name)))?;
        let ledger = match Ledger::read(table) {
            // What it has taken is not known any more; where all is taken anew it need not be.
            Err(e) if e.kind == ErrorKind::Changed && anew => Ledger::default(),
            read => read?,
        };
        let has_table = ledger.is_of_a_table();
        let known = table.join(BESIDE).read(ASIDE)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known: BTreeMap<String, Aside> = known.unwrap_or_default();
        let mut columns = match anew || ledger.columns.is_empty() {
            true => None,
            false => Some(read_columns(&ledger.columns)?),
        };
        let mut landing = Landing {
            source: source.name.clone(),
            files: 0,
            bytes: 0,
            aside: BTreeMap::new(),
            changed: Vec::new(),
            gone: 0,
            new_columns: Vec::new(),
            folder: source.pattern.folder.clone(),
            new: Vec::new(),
            columns: Arc::new(Schema::empty()),
            has_table,
            aside_before: known.clone(),
        };
        landing.gone = ledger.files.keys().filter(|path| files.binary_search_by(|file| file.path.cmp(path)).is_err()).count();
        for file in files {
            if let Some(taken) = ledger.files.get(&file.path).filter(|_| !anew) {
                if (taken.bytes, taken.modified) != (file.bytes, file.modified) {
                    landing.changed.push(file.path);
                }
                continue;
            }
            let before = known.get(&file.path).filter(|aside| (aside.bytes, aside.modified) == (file.bytes, file.modified));
            let judged = match before {
                Some(aside) => Err(aside.why.clone()),
                None => match columns_of_file(&landing.folder, &file) {
                    // Nothing is known of a file whose store does not answer.
                    Err(e) if e.kind != ErrorKind::Data => return Err(e),
                    Err(e) => Err(e.to_string()),
                    Ok(its) => landing.judge(&mut columns, &its),
                },
            };
            match judged {
                Ok(()) => landing.new.push(file),
                Err(why) => landing.aside_for(file, why),
            }
        }
        landing.columns = columns.unwrap_or(landing.columns);
        landing.count();
        Ok(landing)
    }

    /// Why a file with these columns is not taken. The first one says which there are.
    fn judge(&mut self, columns: &mut Option<SchemaRef>, its: &SchemaRef) -> Result<(), String> {
        let Some(columns) = columns else {
            *columns = Some(its.clone());
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

    fn aside_for(&mut self, file: Arrived, why: String) {
        self.aside.insert(file.path, Aside { why, bytes: file.bytes, modified: file.modified });
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
                    self.aside_for(file, e.to_string());
                }
                _ => self.new.push(file),
            }
        }
        self.count();
        Ok(found)
    }

    /// The new files as a table.
    pub fn table(&self) -> DeltaFiles {
        DeltaFiles::of_folder(&self.folder, &table_of_source(&self.source), self.columns.clone(), &self.new)
    }

    /// What a commit tells of its files.
    pub fn taken(&self) -> &[Arrived] {
        &self.new
    }

    /// Names and types.
    pub fn columns(&self) -> Vec<(String, String)> {
        self.columns.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect()
    }

    /// Remembers, beside the table, what was set aside, so that only what has changed is looked at again.
    pub fn keep(&self, table: &Location) -> Result<()> {
        if self.new.is_empty() && !self.has_table {
            return Ok(());
        }
        if !self.new.is_empty() {
            Ledger::read(table)?.keep(table)?;
        }
        if self.aside == self.aside_before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&self.aside).map_err(|e| Error::internal(e.to_string()))?;
        table.join(BESIDE).put(ASIDE, &bytes)
    }
}

/// All files that a table has taken, in the order in which it has. [`ErrorKind::Changed`]: some are not there any more as they were.
pub fn taken(source: &Files, table: &Location) -> Result<DeltaFiles> {
    let files = source.pattern.list()?;
    let ledger = Ledger::read(table)?;
    let as_taken = |file: &Arrived| {
        let taken = ledger.files.get(&file.path)?;
        ((taken.bytes, taken.modified) == (file.bytes, file.modified)).then_some(taken.version)
    };
    let mut there: Vec<(u64, Arrived)> = files.into_iter().filter_map(|file| Some((as_taken(&file)?, file))).collect();
    let lost = ledger.files.len() - there.len();
    if lost > 0 {
        let message = format!(
            "{lost} of the {} files that it has taken are gone or have changed: it cannot be made again",
            ledger.files.len()
        );
        return Err(Error::new(ErrorKind::Changed, message));
    }
    there.sort_by_key(|(version, _)| *version);
    let files: Vec<Arrived> = there.into_iter().map(|(_, file)| file).collect();
    Ok(DeltaFiles::of_folder(&source.pattern.folder, &table_of_source(&source.name), read_columns(&ledger.columns)?, &files))
}

fn read_columns(columns: &[(String, String)]) -> Result<SchemaRef> {
    let field = |(name, of): &(String, String)| {
        let of: DataType = of.parse().map_err(|e| Error::internal(format!("the type `{of}`")).caused_by(e))?;
        Ok(Field::new(name, of, true))
    };
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
}
