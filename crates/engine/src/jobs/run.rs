//! Running a job: what was planned is written beside the table, checked, and put in its place in one commit.

use super::Progress;
use super::checks::{self, Checked, NEW};
use super::config::Write;
use super::first;
use super::plan::{Kind, Planned, Source, interval, not_lost, plan, plan_again, span};
use super::rows::{self, Followed, Made, Making};
use super::sums;
use super::template::{Given, render, table_of_source};
use super::{Job, Landing, aside, audit, pause};
use crate::fault;
use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema};
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::jobs::history;
use ouzel_lake::jobs::target::Target;
use ouzel_lake::tables::COMMENT;
use ouzel_lake::{Location, Queries};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of a job's memory: rows that are written and not yet on disk.
const PART_OF_MEMORY: usize = 4;

/// Where a project's tables lie, and how jobs run there.
pub struct Lake<'a> {
    pub lake: &'a Location,
    /// Tables that lie elsewhere, by the names that SQL has for them.
    pub elsewhere: &'a BTreeMap<String, Location>,
    pub threads: usize,
    /// Bytes that a job keeps in memory, about.
    pub memory: usize,
    /// How far the present run is.
    pub progress: Progress,
}

impl Lake<'_> {
    /// Where a table lies.
    pub fn table(&self, name: &str) -> Location {
        self.elsewhere.get(name).cloned().unwrap_or_else(|| self.lake.join(name))
    }

    /// Gives the tables that lie elsewhere, of those that a job reads, as they are now. [`ErrorKind::Config`]: one is not there.
    pub fn give_elsewhere(&self, job: &Job, queries: &Queries) -> Result<()> {
        for table in job.reads.iter().filter(|table| self.elsewhere.contains_key(*table)) {
            let root = self.table(table);
            let now = history::latest(&root)?.ok_or_else(|| Error::config(format!("there is no table at `{root}`")))?;
            queries.at_version(table, &root, now)?;
        }
        Ok(())
    }

    /// Rows, counted while they pass.
    pub fn counted<'a>(
        &'a self,
        rows: impl Iterator<Item = Result<RecordBatch>> + 'a,
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        rows.inspect(|batch| self.progress.has_made(batch.as_ref().map_or(0, RecordBatch::num_rows) as u64))
    }

    pub fn queries(&self) -> Result<Queries> {
        Queries::open_within(self.lake, self.threads, true, self.memory)
    }
}

/// What a run has done.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub planned: Planned,
    pub rows: u64,
    /// Rows that were left out for others with their key.
    pub duplicates: u64,
    /// Rows of the table that new ones with their key have taken the place of.
    pub updated: u64,
    pub files_removed: usize,
    /// The new rows were added to what is there: the others were not read again.
    pub added: bool,
    /// The table's version that has the rows; none where nothing was to be done, or a check stopped it.
    pub version: Option<u64>,
    pub checks: Vec<Checked>,
    /// A check stopped it: the old data are still there, and no run goes on before somebody says so.
    pub blocked: bool,
    pub seconds: f64,
}

/// Plans, and does it.
pub fn run(lake: &Lake<'_>, job: &Job, full: bool) -> Result<Outcome> {
    let watch = Stopwatch::start();
    perform(lake, job, plan(lake, job, full)?, full, &watch)
}

/// Makes the partitions of a range anew, see [`plan_again`].
pub fn run_again(lake: &Lake<'_>, job: &Job, from: &str, to: &str) -> Result<Outcome> {
    let watch = Stopwatch::start();
    perform(lake, job, plan_again(lake, job, from, to)?, false, &watch)
}

/// `asked`: for a full refresh.
fn perform(lake: &Lake<'_>, job: &Job, planned: Planned, asked: bool, watch: &Stopwatch) -> Result<Outcome> {
    let mut outcome = Outcome {
        planned,
        rows: 0,
        duplicates: 0,
        updated: 0,
        files_removed: 0,
        added: false,
        version: None,
        checks: Vec::new(),
        blocked: false,
        seconds: 0.0,
    };
    lake.progress.makes(outcome.planned.partitions.len() as u64);
    fault::point("job-planned");
    if let (Some(landing), Some(source)) = (&mut outcome.planned.landing, &job.source)
        && outcome.planned.kind != Kind::Nothing
    {
        landing.unpack(lake, job, source).map_err(|e| e.context(job.file.clone()))?;
        if outcome.planned.kind == Kind::Full && !asked {
            not_lost(job, landing)?;
        }
        if landing.files == 0 {
            (outcome.planned.kind, outcome.planned.why) = (Kind::Nothing, "none of the new files can be taken".into());
        }
    }
    if outcome.planned.kind != Kind::Nothing {
        make(lake, job, &mut outcome)?;
    }
    if let Some(landing) = &outcome.planned.landing {
        landing.keep(&lake.lake.join(&job.target))?;
    }
    outcome.seconds = watch.seconds();
    Ok(outcome)
}

fn make(lake: &Lake<'_>, job: &Job, outcome: &mut Outcome) -> Result<()> {
    let planned = &outcome.planned;
    let new_only = planned.kind == Kind::Incremental && job.config.write.takes_new_rows();
    let queries = match new_only {
        true => only_new(lake, &planned.sources)?,
        false => at_versions(lake, &planned.sources)?,
    };
    if let Some(landing) = &planned.landing {
        queries.give(&table_of_source(&landing.source), landing.table().empty());
    }
    // What is made anew is made of everything, whatever the SQL leaves out where it sees only what is new.
    let sql = rendered(job, &Given { this: &job.target, incremental: new_only, interval: interval(&planned.sources) })?;
    let in_file = |e: Error| e.context(job.file.clone());
    let made = queries.schema_of(&sql).map_err(in_file)?;
    let schema = described(job, &made)?;
    let followed = followed(lake, job, planned, &queries, &sql)?;
    let root = lake.lake.join(&job.target);
    let target = Target::open(&root, &job.target, &schema, &job.partition_by(), planned.seen).map_err(in_file)?;
    let mut target = target.within(lake.memory / PART_OF_MEMORY, lake.threads);
    let making = Making { lake, job, planned, queries: &queries, sql: &sql, schema: &schema, target: &target };
    let mut made = match making.make(followed) {
        Ok(made) => made,
        Err(failed) if failed.keys_lost => {
            first::forget(lake, job)?;
            return make(lake, job, outcome);
        }
        Err(failed) => return without(lake, job, outcome, &failed.suspects, in_file(failed.e)),
    };
    if let Err(e) = sound(&queries) {
        made.written.discard();
        return Err(e);
    }
    fault::point("job-written");
    let (keys, groups) = (made.keys.take(), made.groups.take());
    publish(lake, job, &mut target, &queries, made, outcome)?;
    let Some(version) = outcome.version else { return Ok(()) };
    // Only time depends on what is remembered: the next run would find it in the table, or in its sources.
    if let Some(mut keys) = keys {
        let _ = keys.commit(version);
    }
    if let Some(groups) = groups {
        let _ = groups.commit(version);
    }
    if outcome.planned.sources.iter().all(|source| source.from == Some(source.to)) {
        // The same rows as before: what is remembered of them stays.
        let _ = sums::keep(lake, job, outcome.planned.seen, version);
    }
    Ok(())
}

/// Columns, with what the job says that they are.
fn described(job: &Job, schema: &Schema) -> Result<Schema> {
    let said = &job.config.columns.0;
    if let Some((name, _)) = said.iter().find(|(name, _)| schema.field_with_name(&name.value).is_err()) {
        let known: Vec<String> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
        let message = format!(
            "{}: `columns` describes `{}`, which the SQL does not give: it gives {}",
            job.file,
            name.value,
            known.join(", ")
        );
        return Err(Error::config(message));
    }
    let describe = |field: &FieldRef| -> FieldRef {
        let said =
            said.iter().find(|(name, _)| name.value == *field.name()).map(|(_, text)| (COMMENT.to_string(), text.value.clone()));
        Arc::new(field.as_ref().clone().with_metadata(said.into_iter().collect()))
    };
    Ok(Schema::new(schema.fields().iter().map(describe).collect::<Vec<_>>()))
}

/// What the run takes in the order in which it came, if it does.
fn followed(lake: &Lake<'_>, job: &Job, planned: &Planned, queries: &Queries, sql: &str) -> Result<Option<Followed>> {
    let (table, files) = match &planned.landing {
        Some(landing) => (table_of_source(&landing.source), landing.table()),
        None if job.unique_key().is_empty() => return Ok(None),
        None => first::files_of(lake, queries, planned, planned.kind == Kind::Incremental)?,
    };
    Ok(rows::in_order(job, queries, sql, &table)?.then_some(Followed { table, files }))
}

/// Goes on without those files that cannot be read to the end. `e`: what to tell if there is none.
fn without(lake: &Lake<'_>, job: &Job, outcome: &mut Outcome, suspects: &[String], e: Error) -> Result<()> {
    let Some(landing) = outcome.planned.landing.as_mut() else { return Err(e) };
    if landing.set_aside(suspects)? == 0 {
        return Err(e);
    }
    if landing.files == 0 {
        outcome.planned.kind = Kind::Nothing;
        return Ok(());
    }
    make(lake, job, outcome)
}

/// Checks what was written, and makes it visible.
fn publish(lake: &Lake<'_>, job: &Job, target: &mut Target, queries: &Queries, made: Made, outcome: &mut Outcome) -> Result<()> {
    let Made { written, replaced, .. } = made;
    let planned = &outcome.planned;
    (outcome.rows, outcome.files_removed) = (written.rows, replaced.files());
    (outcome.added, outcome.duplicates, outcome.updated) = (made.added, made.duplicates, made.updated);
    let checked = || -> Result<Vec<Checked>> {
        if job.config.checks.is_empty() {
            return Ok(Vec::new());
        }
        let (new, whole) = target.preview(&replaced, &written, queries.damage())?;
        queries.give(NEW, new);
        queries.give(&job.target, whole);
        let kind = json!(planned.kind);
        let before = audit::audit(lake.lake, &job.target, checks::COMPARED)?;
        let before = before.iter().filter(|entry| entry.job["kind"] == kind).filter_map(|entry| entry.job["rows"].as_u64());
        let found = planned.landing.as_ref().and_then(Landing::found);
        let run = checks::Run {
            made: written.rows,
            before: before.collect(),
            columns: target.schema().fields().iter().map(|field| field.name().clone()).collect(),
            records: found.map(|found| found.records),
            reasons: found.map_or(&[], |found| &found.reasons),
        };
        checks::check(job, queries, written.rows, &run)
    };
    outcome.checks = match checked() {
        Ok(checks) => checks,
        Err(e) => {
            written.discard();
            return Err(e);
        }
    };
    if outcome.checks.iter().any(|check| !check.ok && !check.warns) {
        written.discard();
        outcome.blocked = true;
        return pause::pause(lake, job, &outcome.checks);
    }
    fault::point("job-checked");
    let sources: BTreeMap<&str, u64> = outcome.planned.sources.iter().map(|source| (source.table.as_str(), source.to)).collect();
    let before: BTreeMap<&str, Option<u64>> = outcome.planned.sources.iter().map(|s| (s.table.as_str(), s.from)).collect();
    let checks: BTreeMap<&str, u64> = outcome.checks.iter().map(|check| (check.name.as_str(), check.failing)).collect();
    let mut about = json!({
        "name": job.target, "kind": outcome.planned.kind, "definition": job.version, "sources": sources, "from": before,
        "committed": span(&outcome.planned.sources), "partitions": outcome.planned.partitions, "rows": outcome.rows, "checks": checks,
    });
    let ids: BTreeMap<&str, &str> = outcome.planned.sources.iter().map(|s| (s.table.as_str(), s.id.as_str())).collect();
    if !ids.is_empty() {
        about["ids"] = json!(ids);
    }
    let root = lake.lake.join(&job.target);
    let mut aside = Vec::new();
    if let Some(landing) = &outcome.planned.landing {
        aside = match aside::store(&root, landing.found().map_or(&[], |found| &found.asides)) {
            Ok(aside) => aside,
            Err(e) => {
                written.discard();
                return Err(e);
            }
        };
        landing.tell(&mut about, &aside);
    }
    if outcome.added {
        about["added"] = json!(true);
    }
    if !job.config.unique_key.0.is_empty() {
        about["duplicates"] = json!(outcome.duplicates);
    }
    if job.config.write == Write::Merge {
        about["updated"] = json!(outcome.updated);
    }
    let published = target.publish(replaced, written, json!({ "version": env!("CARGO_PKG_VERSION"), "job": about }));
    if published.as_ref().is_err_and(|e| e.kind == ErrorKind::Conflict) {
        aside::discard(&root, &aside);
    }
    outcome.version = Some(published?);
    fault::point("job-published");
    Ok(())
}

/// The tables at the versions of a plan.
pub fn at_versions(lake: &Lake<'_>, sources: &[Source]) -> Result<Queries> {
    let queries = lake.queries()?;
    sources.iter().try_for_each(|source| queries.at_version(&source.table, &lake.table(&source.table), source.to))?;
    Ok(queries)
}

/// Of the sources that have changed only what is new, the others whole.
pub fn only_new(lake: &Lake<'_>, sources: &[Source]) -> Result<Queries> {
    let queries = at_versions(lake, sources)?;
    for source in sources.iter().filter(|source| !source.changes.is_empty()) {
        queries.only_files(&source.table, &lake.table(&source.table), source.to, source.changes.added.clone())?;
    }
    Ok(queries)
}

pub fn rendered(job: &Job, given: &Given<'_>) -> Result<String> {
    let rendered =
        render(&job.sql, given).map_err(|(line, why)| Error::config(format!("{}: line {line} of its SQL: {why}", job.file)))?;
    Ok(rendered.sql)
}

/// What was left out as damaged makes no table.
pub fn sound(queries: &Queries) -> Result<()> {
    match queries.damaged().as_slice() {
        [] => Ok(()),
        damaged => {
            let message = format!("{}. What is gone for good is passed over by `--full-refresh`", damaged.join("; "));
            Err(Error::new(ErrorKind::Changed, message))
        }
    }
}
