//! Planning and running a job.

use super::checks::{self, Checked, NEW};
use super::config::{Load, Write};
use super::template::{Given, render};
use super::{Job, audit};
use crate::fault;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::jobs::history::{self, Changes};
use ouzel_lake::jobs::target::{Partition, Target};
use ouzel_lake::{Queries, quoted};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a project's tables lie, and what jobs remember beside them.
pub struct Lake<'a> {
    pub lake: &'a Path,
    /// Folder of the pauses.
    pub state: &'a Path,
    pub threads: usize,
}

/// What a run would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No source has changed.
    Nothing,
    /// The table is made anew.
    Full,
    /// Some partitions are, or rows are added.
    Incremental,
}

/// A source of a run, and what of it is new.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub table: String,
    /// The version that the last run took.
    pub from: Option<u64>,
    pub to: u64,
    pub files_added: usize,
    pub files_removed: usize,
    pub bytes: u64,
    /// When the first and the last of these versions were committed, milliseconds since 1970.
    pub committed: Option<(i64, i64)>,
    #[serde(skip)]
    changes: Changes,
}

/// What a run would do, with nothing touched.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    pub target: String,
    pub kind: Kind,
    /// Why, for people.
    pub why: String,
    pub sources: Vec<Source>,
    /// `day=2026-11-24`; those that are made anew. Not told for a table that is made anew as a whole.
    pub partitions: Vec<String>,
    #[serde(skip)]
    touched: Vec<Partition>,
}

/// What a run has done.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub planned: Planned,
    pub rows: u64,
    pub files_removed: usize,
    /// The table's version that has the rows; none where nothing was to be done, or a check stopped it.
    pub version: Option<u64>,
    pub checks: Vec<Checked>,
    /// A check stopped it: the old data are still there, and no run goes on before somebody says so.
    pub blocked: bool,
    pub seconds: f64,
}

impl Planned {
    fn new(job: &Job, kind: Kind, why: impl Into<String>, sources: Vec<Source>) -> Planned {
        let (target, why) = (job.target.clone(), why.into());
        Planned { target, kind, why, sources, partitions: Vec::new(), touched: Vec::new() }
    }
}

/// More partitions than this are told apart by a join.
const LISTED_MAX: usize = 200;

/// Tells what a run would do.
pub fn plan(lake: &Lake<'_>, job: &Job, full: bool) -> Result<Planned> {
    let last = audit::audit(lake.lake, &job.target, 1)?.into_iter().next();
    let mut sources = Vec::new();
    for table in &job.reads {
        let Some(to) = history::latest(&lake.lake.join(table))? else {
            let why = format!("the table `{table}`, which it reads, is not there yet");
            return Ok(Planned::new(job, Kind::Nothing, why, Vec::new()));
        };
        let from = last.as_ref().and_then(|last| last.job["sources"][table].as_u64());
        sources.push(Source {
            table: table.clone(),
            from,
            to,
            files_added: 0,
            files_removed: 0,
            bytes: 0,
            committed: None,
            changes: Changes::default(),
        });
    }
    let made_anew = |why: &str, sources| Ok(Planned::new(job, Kind::Full, why, sources));
    let Some(last) = last else { return made_anew("it has not run yet", sources) };
    if full {
        return made_anew("a full refresh was asked for", sources);
    }
    if last.job["definition"] != job.version.as_str() {
        return made_anew("it says something else than when it last ran", sources);
    }
    for source in &mut sources {
        let root = lake.lake.join(&source.table);
        let Some(from) = source.from else { return made_anew(&format!("the table `{}` is new to it", source.table), sources) };
        match history::changes(&root, Some(from), source.to) {
            Ok(changes) => {
                (source.files_added, source.files_removed, source.bytes) =
                    (changes.added.len(), changes.removed.len(), changes.bytes());
                source.committed = changes.span;
                source.changes = changes;
            }
            Err(e) if e.kind == ErrorKind::Changed => return made_anew(&format!("{e}"), sources),
            Err(e) => return Err(e),
        }
    }
    let changed: Vec<&Source> = sources.iter().filter(|source| !source.changes.is_empty()).collect();
    if changed.is_empty() {
        return Ok(Planned::new(job, Kind::Nothing, "no source has changed", sources));
    }
    if job.config.load == Load::Full {
        return made_anew("it loads everything", sources);
    }
    let whole = Given { this: &job.target, incremental: false, interval: interval(&sources) };
    if job.config.write == Write::Append {
        let sql = rendered(job, &Given { incremental: true, ..whole })?;
        check_append(&at_versions(lake, &sources)?, job, &sql, &changed)?;
        return Ok(Planned::new(job, Kind::Incremental, "new rows are added", sources));
    }
    let partition_by = job.partition_by();
    if partition_by.is_empty() {
        return made_anew("it has no `partition_by`: any change touches all of it", sources);
    }
    let queries = at_versions(lake, &sources)?;
    let sql = rendered(job, &whole)?;
    if let Some(why) = queries.obstacle(&sql, &partition_by).map_err(|e| e.context(job.file.clone()))? {
        return made_anew(&format!("changed rows do not tell which partitions they touch: {why}"), sources);
    }
    let touched = touched(lake, job, &sql, &sources)?;
    let partitions = touched.iter().map(|partition| shown(job, partition)).collect();
    let planned = Planned::new(job, Kind::Incremental, "partitions that changed rows touch", sources);
    Ok(Planned { partitions, touched, ..planned })
}

/// Rows that are added follow one source that only grows, by SQL that makes rows of rows.
fn check_append(queries: &Queries, job: &Job, sql: &str, changed: &[&Source]) -> Result<()> {
    let why = match changed {
        [source] if !source.changes.removed.is_empty() => {
            format!("rows of `{}` were corrected or deleted, which `write: append` cannot follow", source.table)
        }
        [source] => match queries.not_added(sql, &source.table).map_err(|e| e.context(job.file.clone()))? {
            Some(why) => format!("`write: append` cannot follow new rows of `{}` here: {why}", source.table),
            None => return Ok(()),
        },
        _ => {
            let tables: Vec<String> = changed.iter().map(|source| format!("`{}`", source.table)).collect();
            format!("{} have changed, and `write: append` follows one source at a time", tables.join(" and "))
        }
    };
    Err(Error::new(ErrorKind::Changed, format!("{}: {why}: use `write: purgesert`, or `--full-refresh`", job.file)))
}

/// Plans, and does it.
pub fn run(lake: &Lake<'_>, job: &Job, full: bool) -> Result<Outcome> {
    let watch = Stopwatch::start();
    let planned = plan(lake, job, full)?;
    let mut outcome =
        Outcome { planned, rows: 0, files_removed: 0, version: None, checks: Vec::new(), blocked: false, seconds: 0.0 };
    if outcome.planned.kind != Kind::Nothing {
        make(lake, job, &mut outcome)?;
    }
    outcome.seconds = watch.seconds();
    Ok(outcome)
}

fn make(lake: &Lake<'_>, job: &Job, outcome: &mut Outcome) -> Result<()> {
    let planned = &outcome.planned;
    let incremental = planned.kind == Kind::Incremental;
    let append = incremental && job.config.write == Write::Append;
    let queries = match append {
        true => only_new(lake, &planned.sources)?,
        false => at_versions(lake, &planned.sources)?,
    };
    // What is made anew is made of everything, whatever the SQL leaves out where it sees only what is new.
    let sql = rendered(job, &Given { this: &job.target, incremental: append, interval: interval(&planned.sources) })?;
    let schema = queries.schema_of(&sql).map_err(|e| e.context(job.file.clone()))?;
    let partition_by = job.partition_by();
    let mut target = Target::open(&lake.lake.join(&job.target), &job.target, &schema, &partition_by)
        .map_err(|e| e.context(job.file.clone()))?;
    let sql = match incremental && !append {
        true => restricted(&queries, &sql, &schema, &partition_by, &planned.touched)?,
        false => sql,
    };
    let written = target.write(queries.run(&sql).map_err(|e| e.context(job.file.clone()))?)?;
    if let Err(e) = sound(&queries) {
        written.discard();
        return Err(e);
    }
    fault::point("job-written");
    let replaced = match (planned.kind, append) {
        (_, true) => target.replaced(Some(&[]))?,
        (Kind::Full, _) => target.replaced(None)?,
        _ => target.replaced(Some(&planned.touched))?,
    };
    outcome.rows = written.rows;
    outcome.files_removed = replaced.files();
    let (new, whole) = target.preview(&replaced, &written, queries.damage())?;
    queries.give(NEW, new);
    queries.give(&job.target, whole);
    outcome.checks = match checks::check(job, &queries, written.rows) {
        Ok(checks) => checks,
        Err(e) => {
            written.discard();
            return Err(e);
        }
    };
    if outcome.checks.iter().any(|check| !check.ok && !check.warns) {
        written.discard();
        outcome.blocked = true;
        return pause(lake, job, &outcome.checks);
    }
    fault::point("job-checked");
    let sources: BTreeMap<&str, u64> = outcome.planned.sources.iter().map(|source| (source.table.as_str(), source.to)).collect();
    let before: BTreeMap<&str, Option<u64>> = outcome.planned.sources.iter().map(|s| (s.table.as_str(), s.from)).collect();
    let checks: BTreeMap<&str, u64> = outcome.checks.iter().map(|check| (check.name.as_str(), check.failing)).collect();
    let about = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "job": {
            "name": job.target, "kind": outcome.planned.kind, "definition": job.version, "sources": sources, "from": before,
            "committed": span(&outcome.planned.sources), "partitions": outcome.planned.partitions, "rows": outcome.rows, "checks": checks,
        },
    });
    outcome.version = Some(target.publish(replaced, written, about)?);
    fault::point("job-published");
    Ok(())
}

/// The tables at the versions of a plan.
fn at_versions(lake: &Lake<'_>, sources: &[Source]) -> Result<Queries> {
    let queries = Queries::open(lake.lake, lake.threads, true)?;
    sources.iter().try_for_each(|source| queries.at_version(&source.table, &lake.lake.join(&source.table), source.to))?;
    Ok(queries)
}

/// Of the sources that have changed only what is new, the others whole.
fn only_new(lake: &Lake<'_>, sources: &[Source]) -> Result<Queries> {
    let queries = at_versions(lake, sources)?;
    for source in sources.iter().filter(|source| !source.changes.is_empty()) {
        queries.only_files(&source.table, &lake.lake.join(&source.table), source.to, source.changes.added.clone())?;
    }
    Ok(queries)
}

/// The partitions that changed rows touch: those of the job's own SQL over the changed rows of each source and the others whole, as they are; and,
/// where others have changed too, as they were, for what was there of two rows that have both gone.
fn touched(lake: &Lake<'_>, job: &Job, sql: &str, sources: &[Source]) -> Result<Vec<Partition>> {
    let changed: Vec<&Source> = sources.iter().filter(|source| !source.changes.is_empty()).collect();
    let mut found = BTreeMap::new();
    for source in &changed {
        let before = changed.len() > 1;
        for as_it_was in [false, true].into_iter().take(1 + usize::from(before)) {
            let queries = Queries::open(lake.lake, lake.threads, true)?;
            for other in sources.iter().filter(|other| other.table != source.table) {
                let version = other.from.filter(|_| as_it_was).unwrap_or(other.to);
                queries.at_version(&other.table, &lake.lake.join(&other.table), version)?;
            }
            let files = source.changes.added.iter().chain(&source.changes.removed).cloned().collect();
            queries.only_files(&source.table, &lake.lake.join(&source.table), source.to, files)?;
            partitions(&queries, job, sql, &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

/// The partitions of a query's rows.
fn partitions(queries: &Queries, job: &Job, sql: &str, found: &mut BTreeMap<Vec<Option<String>>, Partition>) -> Result<()> {
    let names = job.partition_by();
    let columns = names.iter().map(|name| format!("cast({0} as varchar) as {0}", quoted(name))).collect::<Vec<_>>().join(", ");
    let sql = format!("select distinct {columns} from ({sql}) as changed");
    for batch in queries.run(&sql).map_err(|e| e.context(job.file.clone()))? {
        let batch = batch?;
        let texts = batch.columns().iter().map(|column| arrow_cast::cast(column, &DataType::Utf8));
        let texts = texts.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| Error::internal(e.to_string()))?;
        for row in 0..batch.num_rows() {
            let value = |column: &arrow_array::ArrayRef| {
                let column = column.as_string::<i32>();
                (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row).to_string())
            };
            let values: Vec<Option<String>> = texts.iter().map(value).collect();
            let partition = names.iter().cloned().zip(values.iter().cloned()).collect();
            found.insert(values, partition);
        }
    }
    sound(queries)
}

/// The job's SQL, for some partitions.
fn restricted(
    queries: &Queries,
    sql: &str,
    schema: &arrow_schema::Schema,
    names: &[String],
    touched: &[Partition],
) -> Result<String> {
    if touched.len() > LISTED_MAX {
        let columns = names.iter().map(|name| -> arrow_array::ArrayRef {
            std::sync::Arc::new(touched.iter().map(|partition| partition[name].clone()).collect::<arrow_array::StringArray>())
        });
        let rows = RecordBatch::try_from_iter_with_nullable(names.iter().zip(columns).map(|(name, column)| (name, column, true)))
            .map_err(|e| Error::internal(e.to_string()))?;
        queries.give_rows("__touched", rows.schema(), vec![rows])?;
        let same: Vec<String> = names
            .iter()
            .map(|name| format!("(nullif(cast(made.{0} as varchar), '') is not distinct from touched.{0})", quoted(name)))
            .collect();
        return Ok(format!(
            "select made.* from ({sql}) as made where exists (select 1 from __touched as touched where {})",
            same.join(" and ")
        ));
    }
    let one = |partition: &Partition| -> Result<String> {
        let mut same = Vec::new();
        for name in names {
            let column = quoted(name);
            let of = schema
                .field_with_name(name)
                .map_err(|_| Error::config(format!("`partition_by` names `{name}`, which the SQL does not give")))?;
            same.push(match &partition[name] {
                None if matches!(of.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
                    format!("(made.{column} is null or made.{column} = '')")
                }
                None => format!("made.{column} is null"),
                Some(value) => format!("made.{column} = arrow_cast('{}', '{}')", value.replace('\'', "''"), of.data_type()),
            });
        }
        Ok(format!("({})", same.join(" and ")))
    };
    let any = touched.iter().map(one).collect::<Result<Vec<_>>>()?;
    let any = if any.is_empty() { "false".to_string() } else { any.join(" or ") };
    Ok(format!("select made.* from ({sql}) as made where {any}"))
}

/// Compares a table with what the job makes of its sources' versions that it was last made of: rows that are missing, and rows that are too many.
pub fn verify(lake: &Lake<'_>, job: &Job) -> Result<(u64, u64, u64)> {
    let Some(last) = audit::audit(lake.lake, &job.target, 1)?.into_iter().next() else {
        return Err(Error::config(format!("`{}` has not run yet", job.target)));
    };
    let queries = Queries::open(lake.lake, lake.threads, true)?;
    for table in &job.reads {
        let version = last.job["sources"][table].as_u64();
        let version =
            version.ok_or_else(|| Error::config(format!("the last run of `{}` did not read `{table}`: run it", job.target)))?;
        queries.at_version(table, &lake.lake.join(table), version)?;
    }
    let sql = rendered(job, &Given { this: &job.target, incremental: false, interval: None })?;
    let schema = queries.schema_of(&sql)?;
    let columns = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
    let (there, should) =
        (format!("select {columns} from {}", quoted(&job.target)), format!("select {columns} from ({sql}) as made"));
    let count = |sql: &str| -> Result<u64> {
        let rows = queries.all(&format!("select count(*) from ({sql}) as rows"))?;
        Ok(rows.first().map_or(0, |rows| rows.column(0).as_primitive::<arrow_array::types::Int64Type>().value(0) as u64))
    };
    let found =
        (count(&there)?, count(&format!("{should} except all {there}"))?, count(&format!("{there} except all {should}"))?);
    sound(&queries)?;
    Ok(found)
}

fn rendered(job: &Job, given: &Given<'_>) -> Result<String> {
    let rendered =
        render(&job.sql, given).map_err(|(line, why)| Error::config(format!("{}: line {line} of its SQL: {why}", job.file)))?;
    Ok(rendered.sql)
}

/// What was left out as damaged makes no table.
fn sound(queries: &Queries) -> Result<()> {
    match queries.damaged().as_slice() {
        [] => Ok(()),
        damaged => {
            let message = format!("{}. What is gone for good is passed over by `--full-refresh`", damaged.join("; "));
            Err(Error::new(ErrorKind::Changed, message))
        }
    }
}

fn span(sources: &[Source]) -> Option<(i64, i64)> {
    let spans = || sources.iter().filter_map(|source| source.committed);
    Some((spans().map(|(from, _)| from).min()?, spans().map(|(_, to)| to).max()?))
}

/// `day=2026-11-24/country=DE`
fn shown(job: &Job, partition: &Partition) -> String {
    let names = job.config.partition_by.0.iter().map(|name| name.value.as_str());
    let parts = names.map(|name| format!("{name}={}", partition.get(name).cloned().flatten().unwrap_or_else(|| "null".into())));
    parts.collect::<Vec<_>>().join("/")
}

/// The times between which what is new was committed.
fn interval(sources: &[Source]) -> Option<(String, String)> {
    span(sources).map(|(from, to)| (rfc3339(from), rfc3339(to)))
}

fn rfc3339(ms: i64) -> String {
    let time = arrow_array::TimestampMillisecondArray::from(vec![ms]).with_timezone("UTC");
    let text = arrow_cast::cast(&time, &DataType::Utf8).map(|text| text.as_string::<i32>().value(0).to_string());
    text.unwrap_or_default()
}

fn pause_file(lake: &Lake<'_>, target: &str) -> PathBuf {
    lake.state.join(target).join("paused.json")
}

/// Why a table is paused, if it is.
pub fn paused(lake: &Lake<'_>, target: &str) -> Result<Option<Value>> {
    let path = pause_file(lake, target);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::new(ErrorKind::Data, format!("`{}`: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing(|| format!("reading `{}`", path.display())),
    }
}

fn pause(lake: &Lake<'_>, job: &Job, checks: &[Checked]) -> Result<()> {
    let path = pause_file(lake, &job.target);
    let failed: Vec<&Checked> = checks.iter().filter(|check| !check.ok && !check.warns).collect();
    let about = json!({ "target": job.target, "owner": job.config.owner, "checks": failed });
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(lake.state))?;
        std::fs::write(&path, about.to_string())
    };
    write().doing(|| format!("writing `{}`", path.display()))
}

/// Lets a table go on, with who said so and why. False if it was not paused.
pub fn resume(lake: &Lake<'_>, target: &str, reason: &str) -> Result<bool> {
    let path = pause_file(lake, target);
    let Some(paused) = paused(lake, target)? else { return Ok(false) };
    let record = json!({ "paused": paused, "reason": reason }).to_string() + "\n";
    let log = path.with_file_name("resumed.ndjson");
    let write = || -> std::io::Result<()> {
        use std::io::Write as _;
        std::fs::File::options().create(true).append(true).open(&log)?.write_all(record.as_bytes())?;
        std::fs::remove_file(&path)
    };
    write().doing(|| format!("writing `{}`", log.display()))?;
    Ok(true)
}
