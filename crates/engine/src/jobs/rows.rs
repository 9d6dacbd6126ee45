//! How a run's rows are made: what is new added to what is there, or merged into it; taken in the order in which it came; or made of everything at once.

use super::config::Write;
use super::first::{self, FirstOfEach};
use super::partitions::restricted;
use super::plan::{Kind, Planned};
use super::template::table_of_source;
use super::{Job, Lake, merge, sums};
use arrow_schema::Schema;
use ouzel_core::{Error, Result};
use ouzel_lake::Queries;
use ouzel_lake::jobs::groups::Groups;
use ouzel_lake::jobs::keys::Keys;
use ouzel_lake::jobs::target::{Replaced, Target, Written};
use ouzel_lake::query::DeltaFiles;
use std::sync::Arc;

/// A run whose rows are to be made. In `queries` each table stands for what the run sees of it.
pub struct Making<'a> {
    pub lake: &'a Lake<'a>,
    pub job: &'a Job,
    pub planned: &'a Planned,
    pub queries: &'a Queries,
    pub sql: &'a str,
    pub schema: &'a Schema,
    pub target: &'a Target,
}

/// Rows that no commit names yet, and what they take the place of.
pub struct Made {
    pub written: Written,
    pub replaced: Replaced,
    /// What is new was added to what was there.
    pub added: bool,
    /// Rows that were left out for others with their key.
    pub duplicates: u64,
    /// Rows of the table that new ones with their key take the place of.
    pub updated: u64,
    /// What is to be remembered, once there is a commit.
    pub keys: Option<Keys>,
    pub groups: Option<Arc<Groups>>,
}

/// Why there are none.
pub struct Failed {
    pub e: Error,
    /// Files among which is the one that cannot be read, if it is one.
    pub suspects: Vec<String>,
    /// What was known of keys is damaged: without it all keys are read from the table.
    pub keys_lost: bool,
}

impl From<Error> for Failed {
    fn from(e: Error) -> Failed {
        Failed { e, suspects: Vec::new(), keys_lost: false }
    }
}

/// What rows are taken from in the order in which it came.
pub struct Followed {
    /// What SQL has for it.
    pub table: String,
    pub files: DeltaFiles,
}

/// Whether a job takes the rows of `table`, which it follows, in the order in which they came, a part of them at a time. False: its SQL looks at more than one of
/// them, and is run over all of them at once. [`ouzel_core::Kind::Config`]: it does, and must not.
pub fn in_order(job: &Job, queries: &Queries, sql: &str, table: &str) -> Result<bool> {
    let in_file = |e: Error| e.context(job.file.clone());
    let keyed = !job.unique_key().is_empty();
    let why = match keyed {
        true => queries.reordered(sql).map_err(in_file)?,
        false => queries.not_added(sql, table).map_err(in_file)?,
    };
    match why {
        None => Ok(true),
        Some(_) if !job.config.write.takes_new_rows() => Ok(false),
        Some(why) if keyed => Err(Error::config(format!(
            "{}: which rows came first, `unique_key` has to know: {why}. Let this job take the rows as they are, and do that in another, which reads its table with `ref`",
            job.file
        ))),
        Some(why) => Err(Error::config(format!(
            "{}: `write: {}` cannot follow new files here: {why}. Let this job take the rows as they are, and do that in another, which reads its table with `ref`",
            job.file,
            job.config.write.name()
        ))),
    }
}

impl Making<'_> {
    /// `followed`: what the job takes in order, if it does.
    pub fn make(&self, followed: Option<Followed>) -> Result<Made, Failed> {
        match followed {
            Some(followed) if self.job.config.write == Write::Merge => {
                merge::write(self, &followed, self.planned.kind == Kind::Full)
            }
            Some(followed) => self.as_they_came(&followed),
            None => match self.added()? {
                Some(made) => Ok(made),
                None => self.at_once(),
            },
        }
    }

    /// Rows in the place of what a run of this kind replaces.
    pub fn made(&self, written: Written) -> Result<Made> {
        let replaced = match (self.planned.kind, self.job.config.write.takes_new_rows()) {
            (Kind::Full, _) => self.target.replaced(None)?,
            (_, true) => self.target.replaced(Some(&[]))?,
            (_, false) => self.target.replaced(Some(&self.planned.touched))?,
        };
        Ok(Made { written, replaced, added: false, duplicates: 0, updated: 0, keys: None, groups: None })
    }

    fn added(&self) -> Result<Option<Made>> {
        if self.job.config.write != Write::Purgesert || self.planned.landing.is_some() {
            return Ok(None);
        }
        let added =
            sums::write(self.lake, self.job, self.planned, self.queries, self.sql, self.target).map_err(self.in_file())?;
        let Some(added) = added else { return Ok(None) };
        let is_added = self.planned.kind == Kind::Incremental;
        Ok(Some(Made { added: is_added, groups: added.groups, ..self.made(added.written)? }))
    }

    fn as_they_came(&self, followed: &Followed) -> Result<Made, Failed> {
        let mut keys = match self.job.unique_key().as_slice() {
            [] => None,
            columns => Some(first::keys(self.lake, self.job, self.target, columns, self.planned.kind == Kind::Full)?),
        };
        let in_order = self.queries.in_order(self.sql, &followed.table, &followed.files, self.lake.threads);
        let mut rows = FirstOfEach::new(in_order, keys.as_mut(), self.target, self.job)?;
        let written = self.target.write(self.lake.counted(rows.by_ref()), self.lake.threads);
        let written = written.map_err(|e| Failed { e, suspects: rows.files().to_vec(), keys_lost: rows.lost })?;
        let duplicates = rows.dropped;
        drop(rows);
        Ok(Made { duplicates, keys, ..self.made(written)? })
    }

    fn at_once(&self) -> Result<Made, Failed> {
        let all = match &self.planned.landing {
            Some(landing) => {
                let files = landing.table();
                let paths = files.paths();
                self.queries.give(&table_of_source(&landing.source), files);
                paths
            }
            None => Vec::new(),
        };
        let is_part = self.planned.kind == Kind::Incremental && !self.job.config.write.takes_new_rows();
        let sql = match is_part {
            true => restricted(self.queries, self.sql, self.schema, &self.job.partition_by(), &self.planned.touched)?,
            false => self.sql.to_string(),
        };
        let rows = self.queries.run(&sql).map_err(self.in_file());
        let written = rows.and_then(|rows| self.target.write(self.lake.counted(rows), self.lake.threads));
        let written = written.map_err(|e| Failed { e, suspects: all, keys_lost: false })?;
        Ok(self.made(written)?)
    }

    fn in_file(&self) -> impl Fn(Error) -> Error {
        |e| e.context(self.job.file.clone())
    }
}
