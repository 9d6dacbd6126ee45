//! What a run would do.

use super::config::{Load, Write};
use super::landing::Landing;
use super::partitions::{shown, touched, within};
use super::run::{at_versions, rendered};
use super::template::Given;
use super::{Entry, Files, Job, Lake, audit};
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use ouzel_core::{Error, Kind as ErrorKind, Result};
use ouzel_lake::Queries;
use ouzel_lake::jobs::history::{self, Changes};
use ouzel_lake::jobs::target::Partition;
use serde::Serialize;

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
    /// A table that it reads is changed by the same run: what it would do is known then. Told by a plan of several jobs.
    Follows,
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
    pub changes: Changes,
    /// Of the table, whatever its name.
    #[serde(skip)]
    pub id: String,
}

/// What a run would do, with nothing touched.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    pub target: String,
    pub kind: Kind,
    /// Why, for people.
    pub why: String,
    pub sources: Vec<Source>,
    /// The files that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landing: Option<Landing>,
    /// `day=2026-11-24`; those that are made anew. Not told for a table that is made anew as a whole.
    pub partitions: Vec<String>,
    #[serde(skip)]
    pub touched: Vec<Partition>,
    /// The table's version then; none if there was no table.
    #[serde(skip)]
    pub seen: Option<u64>,
}

impl Source {
    fn new(table: &str, from: Option<u64>, to: u64) -> Source {
        let table = table.to_string();
        let changes = Changes::default();
        Source { table, from, to, files_added: 0, files_removed: 0, bytes: 0, committed: None, changes, id: String::new() }
    }
}

impl Planned {
    fn new(job: &Job, kind: Kind, why: impl Into<String>, sources: Vec<Source>) -> Planned {
        let (target, why) = (job.target.clone(), why.into());
        Planned { target, kind, why, sources, landing: None, partitions: Vec::new(), touched: Vec::new(), seen: None }
    }
}

/// Tells what a run would do.
pub fn plan(lake: &Lake<'_>, job: &Job, full: bool) -> Result<Planned> {
    // Before anything else is looked at: whoever writes to the table meanwhile is noticed.
    let seen = history::latest(&lake.lake.join(&job.target))?;
    let last = audit::audit(lake.lake, &job.target, 1)?.into_iter().next();
    let mut sources = Vec::new();
    for table in &job.reads {
        let Some(to) = history::latest(&lake.table(table))? else {
            let why = format!("the table `{table}`, which it reads, is not there yet");
            return Ok(Planned { seen, ..Planned::new(job, Kind::Nothing, why, Vec::new()) });
        };
        let mut from = last.as_ref().and_then(|last| last.job["sources"][table].as_u64());
        let id = history::id(&lake.table(table))?;
        let is_another = last.as_ref().and_then(|last| last.job["ids"][table].as_str()).is_some_and(|before| before != id);
        if is_another || from > Some(to) {
            from = None;
        }
        sources.push(Source { id, ..Source::new(table, from, to) });
    }
    let planned = match &job.source {
        Some(source) => plan_landing(lake, job, source, full, last, sources)?,
        None => plan_tables(lake, job, full, last, sources)?,
    };
    Ok(Planned { seen, ..planned })
}

/// Of a job that takes files: new ones make a run, whatever else it reads.
fn plan_landing(
    lake: &Lake<'_>,
    job: &Job,
    source: &Files,
    full: bool,
    last: Option<Entry>,
    sources: Vec<Source>,
) -> Result<Planned> {
    let changed = last.as_ref().is_some_and(|last| last.job["definition"] != job.version.as_str());
    let look = |anew| Landing::look(job, source, &lake.lake.join(&job.target), anew);
    let mut landing = look(full || changed || last.is_none())?;
    let everything =
        |landing: &Landing| job.config.load == Load::Full && (landing.files + landing.changed.len() + landing.gone) > 0;
    let (kind, why) = match (&last, full) {
        (None, _) => (Kind::Full, "it has not run yet".to_string()),
        (_, true) => (Kind::Full, "a full refresh was asked for".to_string()),
        _ if changed => {
            not_lost(job, &landing)?;
            (Kind::Full, "it says something else than when it last ran".to_string())
        }
        _ if everything(&landing) => {
            landing = look(true)?;
            (Kind::Full, "it loads everything".to_string())
        }
        _ => (Kind::Incremental, "new files".to_string()),
    };
    let nothing = match landing.files {
        0 if kind == Kind::Incremental => Some("no file is new"),
        // An empty folder takes nothing away.
        0 => Some("there is no file that it can take"),
        _ => None,
    };
    let (kind, why) = nothing.map_or((kind, why), |why| (Kind::Nothing, why.to_string()));
    Ok(Planned { landing: Some(landing), ..Planned::new(job, kind, why, sources) })
}

/// A table that is made anew because its definition has changed keeps its rows. [`ErrorKind::Changed`]: it would lose some.
pub fn not_lost(job: &Job, landing: &Landing) -> Result<()> {
    let (lost, gone) = (landing.lost(), landing.gone);
    if job.config.load == Load::Full || (gone == 0 && lost.is_empty()) {
        return Ok(());
    }
    let gone = if gone > 0 { format!("{gone} of the files that it took are gone") } else { String::new() };
    let lost = lost.first().map(|first| format!("{} of them cannot be taken again, as `{first}`", lost.len()));
    let what = [gone].into_iter().filter(|text| !text.is_empty()).chain(lost).collect::<Vec<_>>().join(", ");
    let message = format!(
        "{}: it says something else than when it last ran, and {what}: made anew, the table would lose their rows. \
         Set it back, or let them go with `--full-refresh`",
        job.file
    );
    Err(Error::new(ErrorKind::Changed, message))
}

/// What making partitions of a range anew would do: those whose first column lies from one value to another, both included, at the versions that the last run
/// saw.
pub fn plan_again(lake: &Lake<'_>, job: &Job, from: &str, to: &str) -> Result<Planned> {
    let seen = history::latest(&lake.lake.join(&job.target))?;
    let Some(last) = audit::audit(lake.lake, &job.target, 1)?.into_iter().next() else {
        return Err(Error::config(format!("`{}` has not run yet", job.target)));
    };
    if job.config.write != Write::Purgesert || job.partition_by().is_empty() || job.source.is_some() {
        let message = format!(
            "{}: only partitions can be made anew: it adds or merges rows, takes files, or has no `partition_by`",
            job.file
        );
        return Err(Error::config(message));
    }
    if last.job["definition"] != job.version.as_str() {
        return Err(Error::config(format!(
            "{}: it says something else than when it last ran: run it, everything is made anew",
            job.file
        )));
    }
    let mut sources = Vec::new();
    for table in &job.reads {
        let version = last.job["sources"][table].as_u64();
        let version =
            version.ok_or_else(|| Error::config(format!("the last run of `{}` did not read `{table}`: run it", job.target)))?;
        sources.push(Source { id: history::id(&lake.table(table))?, ..Source::new(table, Some(version), version) });
    }
    let sql = rendered(job, &Given { this: &job.target, incremental: false, interval: None })?;
    let touched = within(&at_versions(lake, &sources)?, job, &sql, from, to)?;
    let partitions = touched.iter().map(|partition| shown(job, partition)).collect();
    let why = format!("partitions from {from} to {to} were asked for");
    Ok(Planned { partitions, touched, seen, ..Planned::new(job, Kind::Incremental, why, sources) })
}

/// Of a job that follows tables.
fn plan_tables(lake: &Lake<'_>, job: &Job, full: bool, last: Option<Entry>, mut sources: Vec<Source>) -> Result<Planned> {
    let made_anew = |why: &str, sources| Ok(Planned::new(job, Kind::Full, why, sources));
    let Some(last) = last else { return made_anew("it has not run yet", sources) };
    if full {
        return made_anew("a full refresh was asked for", sources);
    }
    if last.job["definition"] != job.version.as_str() {
        return made_anew("it says something else than when it last ran", sources);
    }
    for source in &mut sources {
        let root = lake.table(&source.table);
        let Some(from) = source.from else {
            let why = match last.job["sources"][&source.table].is_u64() {
                true => format!("the table `{}` is another than when it last ran", source.table),
                false => format!("the table `{}` is new to it", source.table),
            };
            return made_anew(&why, sources);
        };
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
    if job.config.write.takes_new_rows() {
        let sql = rendered(job, &Given { incremental: true, ..whole })?;
        check_append(&at_versions(lake, &sources)?, job, &sql, &changed)?;
        let why = if job.config.write == Write::Merge { "new rows are merged" } else { "new rows are added" };
        return Ok(Planned::new(job, Kind::Incremental, why, sources));
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
    let touched = match touched(lake, job, &sql, &sources) {
        // Files that came and went since the last run may have been removed. If one of now is damaged, making all anew tells it.
        Err(e) if e.kind == ErrorKind::Changed => {
            return made_anew(&format!("changed rows do not tell which partitions they touch: {e}"), sources);
        }
        touched => touched?,
    };
    let partitions = touched.iter().map(|partition| shown(job, partition)).collect();
    let planned = Planned::new(job, Kind::Incremental, "partitions that changed rows touch", sources);
    Ok(Planned { partitions, touched, ..planned })
}

/// Rows that are added follow one source that only grows, by SQL that makes rows of rows.
fn check_append(queries: &Queries, job: &Job, sql: &str, changed: &[&Source]) -> Result<()> {
    let write = job.config.write.name();
    let why = match changed {
        [source] if !source.changes.removed.is_empty() => {
            format!("rows of `{}` were corrected or deleted, which `write: {write}` cannot follow", source.table)
        }
        [source] => match queries.not_added(sql, &source.table).map_err(|e| e.context(job.file.clone()))? {
            Some(why) => format!("`write: {write}` cannot follow new rows of `{}` here: {why}", source.table),
            None => return Ok(()),
        },
        _ => {
            let tables: Vec<String> = changed.iter().map(|source| format!("`{}`", source.table)).collect();
            format!("{} have changed, and `write: {write}` follows one source at a time", tables.join(" and "))
        }
    };
    Err(Error::new(ErrorKind::Changed, format!("{}: {why}: use `write: purgesert`, or `--full-refresh`", job.file)))
}

pub fn span(sources: &[Source]) -> Option<(i64, i64)> {
    let spans = || sources.iter().filter_map(|source| source.committed);
    Some((spans().map(|(from, _)| from).min()?, spans().map(|(_, to)| to).max()?))
}

/// The times between which what is new was committed.
pub fn interval(sources: &[Source]) -> Option<(String, String)> {
    span(sources).map(|(from, to)| (rfc3339(from), rfc3339(to)))
}

fn rfc3339(ms: i64) -> String {
    let time = arrow_array::TimestampMillisecondArray::from(vec![ms]).with_timezone("UTC");
    let text = arrow_cast::cast(&time, &DataType::Utf8).map(|text| text.as_string::<i32>().value(0).to_string());
    text.unwrap_or_default()
}
