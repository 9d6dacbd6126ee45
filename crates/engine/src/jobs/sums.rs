//! New rows added to the groups that are there: a job that counts and sums up need not read again what it has read.

use super::plan::{Kind, Planned};
use super::run::{only_new, sound};
use super::{Entry, Job, Lake, audit};
use crate::fault;
use ouzel_core::{Kind as ErrorKind, Result};
use ouzel_lake::Queries;
use ouzel_lake::jobs::groups::{Groups, Memory};
use ouzel_lake::jobs::history;
use ouzel_lake::jobs::target::{Target, Written};
use ouzel_lake::query::Additive;
use std::path::PathBuf;
use std::sync::Arc;

/// The groups of the new rows, and of those before, by the names that SQL has for them.
const NEW: &str = "__new_groups";
const OLD: &str = "__old_groups";
/// A part of a job's memory: what is remembered and not on disk.
const PART_OF_MEMORY: usize = 4;

/// Rows that were made by adding, and what is remembered from here on.
pub struct Added {
    pub written: Written,
    pub groups: Option<Arc<Groups>>,
}

/// Writes a run's rows by adding. `None`: they have to be made from everything. What was remembered is then of no use any more.
pub fn write(
    lake: &Lake<'_>,
    job: &Job,
    planned: &Planned,
    whole: &Queries,
    sql: &str,
    target: &Target,
) -> Result<Option<Added>> {
    if planned.kind != Kind::Full && planned.sources.iter().all(|source| source.changes.is_empty()) {
        return Ok(None);
    }
    let write = || match planned.kind {
        Kind::Full => from_everything(lake, job, whole, sql, target),
        _ => from_new(lake, job, planned, sql, target),
    };
    let added = match write() {
        // What is remembered is damaged: without it, it is made again.
        Err(e) if e.kind == ErrorKind::Data => {
            Groups::forget(&folder(lake, job)?)?;
            write()
        }
        other => other,
    };
    match added {
        Ok(Some(added)) => Ok(Some(added)),
        Ok(None) => Groups::forget(&folder(lake, job)?).map(|()| None),
        Err(e) if e.kind == ErrorKind::Data => Groups::forget(&folder(lake, job)?).map(|()| None),
        Err(e) => Err(e),
    }
}

/// What is remembered as of a version of the table is as of another, which is of the same rows of its sources.
pub fn keep(lake: &Lake<'_>, job: &Job, seen: Option<u64>, version: u64) -> Result<()> {
    match Groups::open(&folder(lake, job)?, &job.version, 0) {
        Some(groups) if groups.version() == seen => groups.commit(version),
        _ => Ok(()),
    }
}

fn folder(lake: &Lake<'_>, job: &Job) -> Result<PathBuf> {
    Ok(lake.lake.join(&job.target).beside()?.join("groups"))
}

fn from_everything(lake: &Lake<'_>, job: &Job, queries: &Queries, sql: &str, target: &Target) -> Result<Option<Added>> {
    let partition_by = job.partition_by();
    if partition_by.is_empty() {
        return Ok(None);
    }
    for table in &job.reads {
        let Some(additive) = queries.additive(sql, table, &partition_by)? else { continue };
        let memories = additive.memories();
        if memories.is_empty() {
            return Ok(None);
        }
        let folder = folder(lake, job)?;
        Groups::forget(&folder)?;
        let groups = Arc::new(Groups::begin(&folder, &job.version, memories, lake.memory / PART_OF_MEMORY)?);
        return add(lake, queries, &additive, groups, None, target).map(Some);
    }
    Ok(None)
}

fn from_new(lake: &Lake<'_>, job: &Job, planned: &Planned, sql: &str, target: &Target) -> Result<Option<Added>> {
    let changed: Vec<_> = planned.sources.iter().filter(|source| !source.changes.is_empty()).collect();
    let [source] = changed.as_slice() else { return Ok(None) };
    if !source.changes.removed.is_empty() {
        return Ok(None);
    }
    let queries = only_new(lake, &planned.sources)?;
    let Some(additive) = queries.additive(sql, &source.table, &job.partition_by())? else { return Ok(None) };
    let last = audit(lake.lake, &job.target, 2)?;
    let [last, before @ ..] = last.as_slice() else { return Ok(None) };
    // Nobody else has written to the table since.
    if planned.seen != Some(last.version) {
        return Ok(None);
    }
    // An empty text is null as a partition's value: two groups of the SQL may be in one partition, and cannot be told apart there.
    let is_text = |name: &String| target.schema().field_with_name(name).is_ok_and(|field| field.data_type().is_string());
    let texts: Vec<String> = job.partition_by().into_iter().filter(is_text).collect();
    if planned.touched.iter().any(|partition| texts.iter().any(|name| partition[name].is_none())) {
        return Ok(None);
    }
    let Some(groups) = remembered(lake, job, planned, sql, additive.memories(), last, before.first())? else { return Ok(None) };
    let replaced = target.replaced(Some(&planned.touched))?;
    queries.give(OLD, target.files(replaced.removed().to_vec(), queries.damage())?);
    add(lake, &queries, &additive, groups, Some(OLD), target).map(Some)
}

/// What is remembered as of the last commit.
fn remembered(
    lake: &Lake<'_>,
    job: &Job,
    planned: &Planned,
    sql: &str,
    memories: Vec<Memory>,
    last: &Entry,
    before: Option<&Entry>,
) -> Result<Option<Arc<Groups>>> {
    let (folder, bytes) = (folder(lake, job)?, lake.memory / PART_OF_MEMORY);
    if memories.is_empty() {
        return Groups::begin(&folder, &job.version, memories, bytes).map(|groups| Some(Arc::new(groups)));
    }
    match Groups::open(&folder, &job.version, bytes).map(Arc::new) {
        Some(groups) if groups.version() == Some(last.version) => Ok(Some(groups)),
        // The last run ended before it was written.
        Some(groups) if before.is_some_and(|before| groups.version() == Some(before.version)) => {
            caught_up(lake, job, planned, sql, last, groups)
        }
        // It was there, and is lost: where rows are only added it is worth its while to read everything once.
        _ if last.job["kind"] == "full" || last.job["added"] == true => {
            Groups::forget(&folder)?;
            let groups = Arc::new(Groups::begin(&folder, &job.version, memories, bytes)?);
            let queries = lake.queries()?;
            for table in &job.reads {
                let Some(version) = last.job["sources"][table].as_u64() else { return Ok(None) };
                queries.at_version(table, &lake.table(table), version)?;
            }
            for table in &job.reads {
                if let Some(additive) = queries.additive(sql, table, &job.partition_by())? {
                    queries.sums(&additive, &groups)?;
                    sound(&queries)?;
                    return Ok(Some(groups));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Takes in what a commit has added and is not remembered.
fn caught_up(
    lake: &Lake<'_>,
    job: &Job,
    planned: &Planned,
    sql: &str,
    last: &Entry,
    groups: Arc<Groups>,
) -> Result<Option<Arc<Groups>>> {
    let mut sources = planned.sources.clone();
    let mut table = None;
    for source in &mut sources {
        let version = |of: &str| last.job[of][&source.table].as_u64();
        let (Some(from), Some(to)) = (version("from"), version("sources")) else { return Ok(None) };
        let Ok(changes) = history::changes(&lake.table(&source.table), Some(from), to) else { return Ok(None) };
        if !changes.removed.is_empty() || (!changes.is_empty() && table.is_some()) {
            return Ok(None);
        }
        if !changes.is_empty() {
            table = Some(source.table.clone());
        }
        (source.from, source.to, source.changes) = (Some(from), to, changes);
    }
    let Some(table) = table else { return Ok(Some(groups)) };
    let queries = only_new(lake, &sources)?;
    let Some(additive) = queries.additive(sql, &table, &job.partition_by())? else { return Ok(None) };
    queries.sums(&additive, &groups)?;
    sound(&queries)?;
    Ok(Some(groups))
}

fn add(
    lake: &Lake<'_>,
    queries: &Queries,
    additive: &Additive,
    groups: Arc<Groups>,
    old: Option<&str>,
    target: &Target,
) -> Result<Added> {
    let sums = queries.sums(additive, &groups)?;
    queries.give_rows(NEW, additive.schema_of_sums(), sums)?;
    let sql = queries.added(additive, &groups, old, NEW);
    let written = target.write(queries.run(&sql)?, lake.threads)?;
    if let Err(e) = sound(queries) {
        written.discard();
        return Err(e);
    }
    fault::point("job-added");
    let groups = Some(groups).filter(|_| !additive.memories().is_empty());
    Ok(Added { written, groups })
}
