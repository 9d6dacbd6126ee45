//! Jobs: tables made of tables by SQL. A job takes the versions of its sources that no commit of it has taken, finds the partitions that their
//! rows touch, makes exactly those anew from the whole sources, has them checked, and puts them in the place of the old ones in one commit, which tells what it was made of.

mod aside;
mod audit;
mod checks;
mod config;
mod first;
mod landing;
mod lineage;
mod merge;
mod partitions;
mod pause;
mod plan;
mod progress;
mod rows;
mod run;
mod select;
mod sums;
mod template;
mod unpack;
mod verify;

pub use aside::folder as set_aside;
pub use audit::{Entry, audit};
pub use checks::{Checked, check_now};
pub use config::{CheckConfig, JobConfig};
pub use landing::Landing;
pub use lineage::lineage;
pub use pause::{hold, notify, paused, resume};
pub use plan::{Kind as RunKind, Planned, Source, plan, plan_again};
pub use progress::Progress;
pub use run::{Lake, Outcome, run, run_again};
pub use select::{is_selector, select};
pub use unpack::{Reading, Records};
pub use verify::verify;

use crate::plan::version;
use crate::runtime::RecordReader;
use config::{Load, Write};
use ouzel_core::yaml::{Node, Value, decode, parse};
use ouzel_core::{Error, OneOrMany, Report, Span, Spanned};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::Pattern;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use template::table_of_source;

/// A file of `jobs/`, read and checked as far as that goes without looking at tables.
#[derive(Debug, Clone)]
pub struct Job {
    /// The table it makes.
    pub target: String,
    /// Its file, relative to the project.
    pub file: String,
    pub config: JobConfig,
    /// With its templates.
    pub sql: String,
    /// Tables that it reads.
    pub reads: BTreeSet<String>,
    /// Sources of files that it names.
    files: BTreeSet<String>,
    /// The files that it takes.
    pub source: Option<Files>,
    /// Of what its rows depend on: a job that makes other rows makes its table anew.
    pub version: String,
}

/// A source of files.
#[derive(Debug, Clone)]
pub struct Files {
    pub name: String,
    pub pattern: Pattern,
    /// Where they lie, as commits tell it: to the project, if it is within.
    pub base: String,
    /// How their records are read; Parquet files are taken as they are without it.
    pub reading: Option<Arc<Reading>>,
}

/// What jobs take that is no table of the lake.
#[derive(Debug, Default)]
pub struct Sources {
    pub files: Vec<Files>,
    /// Tables that others make.
    pub tables: BTreeMap<String, Location>,
}

impl Sources {
    /// The tables, by the names that SQL has for them.
    pub fn in_sql(&self) -> BTreeMap<String, Location> {
        self.tables.iter().map(|(name, location)| (table_of_source(name), location.clone())).collect()
    }
}

impl Job {
    pub fn unique_key(&self) -> Vec<String> {
        self.config.unique_key.0.iter().map(|column| column.value.clone()).collect()
    }

    pub fn partition_by(&self) -> Vec<String> {
        self.config.partition_by.0.iter().map(|column| column.value.clone()).collect()
    }

    /// Opens what lies outside the project, as a run would, and closes it again: files and lookups.
    pub fn connect(&self) -> Vec<Error> {
        let Some(source) = &self.source else { return Vec::new() };
        let lookups = source.reading.as_ref().and_then(|reading| RecordReader::new(&reading.plan, &reading.root).err());
        source.pattern.list().err().into_iter().chain(lookups).collect()
    }
}

/// The line that front matter begins and ends with.
const FENCE: &str = "---";

/// The jobs of a project, each behind those whose tables it reads. Problems go to the report.
pub fn load(root: &Path, env: &dyn Fn(&str) -> Option<String>, report: &mut Report) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for file in files(root) {
        let Some(job) = read(root, &file, env, report) else { continue };
        if let Some(other) = jobs.iter().find(|other| other.target == job.target) {
            let at = report.file(file, "");
            report
                .error(
                    Span { file: at, ..Span::default() },
                    format!("the table `{}` is made by {} already", job.target, other.file),
                )
                .hint("give one of them another `target`");
            continue;
        }
        jobs.push(job);
    }
    in_order(jobs, report)
}

/// Gives jobs the files, and the tables of others, that they name. `known`: all sources.
pub fn check_sources(jobs: &mut [Job], known: &Sources, report: &mut Report) {
    for job in jobs {
        let (tables, files) = std::mem::take(&mut job.files).into_iter().partition(|name| known.tables.contains_key(name));
        job.files = files;
        job.reads.extend(tables.iter().map(|name| table_of_source(name)));
        let at = report.file(job.file.clone(), "");
        let mut wrong = |why: String, hint: &str| _ = report.error(Span { file: at, ..Span::default() }, why).hint(hint);
        if job.files.len() > 1 {
            wrong(
                "it takes files of several sources".into(),
                "let a job of its own take the files of each, and read their tables with `ref`",
            );
            continue;
        }
        if let Some(name) = job.files.first() {
            if !job.config.write.takes_new_rows() && job.config.load != Load::Full {
                wrong(
                    format!("it takes the files of `{name}`, which may go again, and makes partitions anew"),
                    "let a job with `write: append` take the files, and read its table with `ref`; or say `load: full` if all files are always there",
                );
            }
            match known.files.iter().find(|known| known.name == *name) {
                Some(files) => {
                    if let Some(reading) = &files.reading {
                        // Other rows come of the same files.
                        job.version = version(&[&job.version, &reading.plan.version]);
                    }
                    job.source = Some(files.clone());
                }
                None => {
                    let known = known.files.iter().map(|files| &files.name).chain(known.tables.keys()).map(String::as_str);
                    report
                        .error(Span { file: at, ..Span::default() }, format!("there is no source `{name}` in `ouzel.yaml`"))
                        .did_you_mean(name, known.collect::<Vec<_>>());
                }
            }
        } else if !job.unique_key().is_empty() && job.reads.len() > 1 {
            wrong(
                "`unique_key` keeps the row that came first, or last, and it reads several tables".into(),
                "read one table, and join the others in another job",
            );
        }
    }
}

/// Tells of tables that a job reads and nobody makes. `made`: the tables that pipelines make; those of the lake are there already.
pub fn check_reads(jobs: &[Job], made: &BTreeSet<String>, sources: &Sources, lake: &Location, report: &mut Report) {
    let others = sources.in_sql();
    let targets: BTreeSet<&str> = jobs.iter().map(|job| job.target.as_str()).collect();
    let mut in_lake: Option<Option<Vec<String>>> = None;
    for job in jobs {
        if made.contains(&job.target) {
            let at = report.file(job.file.clone(), "");
            report
                .error(Span { file: at, ..Span::default() }, format!("the table `{}` is written by a pipeline", job.target))
                .hint("a job makes a table of its own: give it another `target`");
        }
        let is_known = |table: &str| made.contains(table) || targets.contains(table) || others.contains_key(table);
        if job.reads.iter().all(|table| is_known(table)) {
            continue;
        }
        // Where the lake does not answer it is told when the job runs.
        let Some(in_lake) = in_lake.get_or_insert_with(|| lake.tables().ok()) else { return };
        let is_there = |table: &str| is_known(table) || in_lake.iter().any(|there| there == table);
        for table in job.reads.iter().filter(|table| !is_there(table)) {
            let at = report.file(job.file.clone(), "");
            let known: Vec<&str> = made.iter().map(String::as_str).chain(targets.iter().copied()).collect();
            report
                .error(
                    Span { file: at, ..Span::default() },
                    format!("it reads the table `{table}`, which no pipeline and no job makes, and which is not in the lake"),
                )
                .did_you_mean(table, known);
        }
    }
}

fn files(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("jobs")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(".sql") && !name.starts_with('.')).map(|name| format!("jobs/{name}")).collect();
    files.sort();
    files
}

fn read(root: &Path, file: &str, env: &dyn Fn(&str) -> Option<String>, report: &mut Report) -> Option<Job> {
    let text = match std::fs::read_to_string(root.join(file)) {
        Ok(text) => text,
        Err(e) => {
            let at = report.file(file, "");
            report.error(Span { file: at, ..Span::default() }, format!("cannot read it: {e}"));
            return None;
        }
    };
    let at = report.file(file, text.clone());
    let start = Span { file: at, line: 1, column: 1, len: 3 };
    let rest = text.strip_prefix(FENCE).and_then(|rest| rest.strip_prefix('\n'));
    let parts = rest.and_then(|rest| rest.split_once("\n---\n").or_else(|| rest.strip_prefix("---\n").map(|sql| ("", sql))));
    let Some((front, sql)) = parts else {
        report
            .error(start, "a job begins with its settings between two lines `---`, then comes its SQL")
            .hint("for example `---`, `partition_by: [day]`, `---`, `select ..`");
        return None;
    };
    // One line for the fence, so that places are those of the file.
    let mut node = match front.trim().is_empty() {
        true => Node { span: start, value: Value::Map(Vec::new()) },
        false => parse(report, at, &format!("\n{front}\n"), env)?,
    };
    spell_out(&mut node);
    let config: JobConfig = decode(report, &node)?;
    config.validate(report);
    let stem = file.trim_start_matches("jobs/").trim_end_matches(".sql").to_string();
    let target = config.target.as_ref().map_or(stem, |target| target.value.clone());
    let rendered = template::render(sql, &template::Given { this: &target, incremental: false, interval: None });
    let (reads, files) = match rendered {
        Ok(rendered) => (rendered.reads, rendered.files),
        Err((line, why)) => {
            // Lines before the SQL: two fences and what is between them.
            let before = front.lines().count() as u32 + 2;
            report.error(Span { file: at, line: before + line, column: 1, len: 0 }, why);
            return None;
        }
    };
    if !config.unique_key.0.is_empty() && !config.write.takes_new_rows() {
        report
            .error(
                config.unique_key.0[0].span,
                "`unique_key` keeps one of the rows that came, and `write: purgesert` makes rows anew",
            )
            .hint("say `write: append` to keep the first, `write: merge` to keep the last");
        return None;
    }
    if config.unique_key.0.is_empty() && config.write == Write::Merge {
        report.error(start, "`write: merge` needs to know which rows are the same").hint("for example `unique_key: id`");
        return None;
    }
    let names = |columns: &OneOrMany<Spanned<String>>| columns.0.iter().map(|c| c.value.clone()).collect::<Vec<_>>().join("\n");
    let mut parts = vec![sql.to_string(), format!("{:?} {:?}", config.load, config.write), names(&config.partition_by)];
    parts.extend(Some(names(&config.unique_key)).filter(|key| !key.is_empty()));
    let version = version(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    Some(Job { target, file: file.to_string(), version, sql: sql.to_string(), reads, files, source: None, config })
}

/// `unique: [a, b]` is short for `unique: { columns: [a, b] }`.
fn spell_out(front: &mut Node) {
    let Value::Map(pairs) = &mut front.value else { return };
    let is = |key: &Node, name: &str| matches!(&key.value, Value::Scalar { text, .. } if text == name);
    let Some((_, Node { value: Value::List(checks), .. })) = pairs.iter_mut().find(|(key, _)| is(key, "checks")) else { return };
    for check in checks {
        let Value::Map(kinds) = &mut check.value else { continue };
        for (_, of) in kinds {
            if let Value::List(_) = of.value {
                let span = of.span;
                let key = Node { span, value: Value::Scalar { text: "columns".into(), plain: true } };
                let list = std::mem::replace(&mut of.value, Value::Map(Vec::new()));
                of.value = Value::Map(vec![(key, Node { span, value: list })]);
            }
        }
    }
}

/// Each behind those whose tables it reads. A circle is a problem.
fn in_order(mut jobs: Vec<Job>, report: &mut Report) -> Vec<Job> {
    let mut ordered: Vec<Job> = Vec::new();
    while !jobs.is_empty() {
        let waits: BTreeSet<String> = jobs.iter().map(|job| job.target.clone()).collect();
        let (ready, rest): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.reads.iter().all(|table| !waits.contains(table)));
        if ready.is_empty() {
            let names: Vec<&str> = rest.iter().map(|job| job.target.as_str()).collect();
            let at = report.file(rest[0].file.clone(), "");
            report.error(
                Span { file: at, ..Span::default() },
                format!("these jobs read one another in a circle: {}", names.join(", ")),
            );
            return ordered;
        }
        ordered.extend(ready);
        jobs = rest;
    }
    ordered
}
