//! `ouzel plan`, `audit`, `verify`, `check`, `resume`, and the jobs of `ouzel run`.

mod text;

pub use super::query::told;
use super::terminal::{count, errors_have_colour, output_has_colour, paint, plural, say};
use super::validate::load;
use super::{Exit, Format, junit};
use anstyle::AnsiColor;
use ouzel_core::Result;
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_engine::jobs::{self, Job, Lake, Progress, RunKind};
use ouzel_engine::{Place, Project};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use text::{check_text, outcome_text, planned_text, progress_text, why_paused};

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Jobs: `NAME`, `+NAME` with what it is made of, `NAME+` with what is made of it, `tag:TAG`; all if none is named.
    names: Vec<String>,
    /// As of a run with it.
    #[arg(long)]
    full_refresh: bool,
}

#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// Jobs: `NAME`, `+NAME` with what it is made of, `NAME+` with what is made of it, `tag:TAG`; all if none is named.
    names: Vec<String>,
    /// Commits of each, the latest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Jobs: `NAME`, `+NAME` with what it is made of, `NAME+` with what is made of it, `tag:TAG`; all if none is named.
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Jobs: `NAME`, `+NAME` with what it is made of, `NAME+` with what is made of it, `tag:TAG`; all if none is named.
    names: Vec<String>,
    /// Write what they give to a file that CI servers read: a test suite for each job, a test for each check.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct LineageArgs {
    /// Jobs: `NAME`, `+NAME` with what it is made of, `NAME+` with what is made of it, `tag:TAG`; all if none is named.
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Jobs: `NAME`, `+NAME`, `NAME+`, `tag:TAG`, `owner:NAME`; all if none is named.
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// The job's table.
    target: String,
    /// Why: told by every run until `ouzel resume`.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    /// The job's table.
    target: String,
    /// The first value of the first column of `partition_by`, as `2026-11-01`.
    #[arg(long)]
    from: String,
    /// The last one.
    #[arg(long)]
    to: String,
    /// Tell only what would be done.
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The job's table.
    target: String,
    /// Why it may go on: kept with what had stopped it.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// Write what jobs give to a file that CI servers read.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn opened<'p>(project: &'p Project, place: &'p Place) -> Lake<'p> {
    Lake {
        lake: &place.lake,
        elsewhere: &project.tables,
        threads: threads(),
        memory: project.job_memory,
        progress: Progress::default(),
    }
}

fn select<'p>(project: &'p Project, names: &[String]) -> std::result::Result<Vec<&'p Job>, Exit> {
    jobs::select(&project.jobs, names).map_err(|message| {
        eprintln!("error: {message}");
        Exit::Usage
    })
}

/// What a command tells of a job: for machines, for people, and how it ended.
type Told = (Value, String, Exit);

/// For each job of a project, also behind one that fails. It ends as the first that does not end well.
fn each(root: &Path, names: &[String], format: Format, about: &dyn Fn(&Lake<'_>, &Job) -> Result<Told>) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let jobs = match select(&project, names) {
        Ok(jobs) => jobs,
        Err(exit) => return exit,
    };
    let place = project.place();
    let lake = opened(&project, &place);
    let (mut all, mut exit) = (Map::new(), Exit::Ok);
    for job in jobs {
        match about(&lake, job) {
            Ok((value, text, its)) => {
                if format == Format::Text {
                    say(text.trim_end());
                }
                all.insert(job.target.clone(), value);
                exit = if exit == Exit::Ok { its } else { exit };
            }
            Err(e) => {
                all.insert(job.target.clone(), json!({ "error": e.to_string() }));
                let failed = told(&e);
                exit = if exit == Exit::Ok { failed } else { exit };
            }
        }
    }
    if format == Format::Json {
        say(&json!({ "jobs": all }).to_string());
    }
    exit
}

pub fn plan(root: &Path, args: &PlanArgs, format: Format) -> Exit {
    // Tables that a run would change: what follows from them is not known before it has.
    let changing: RefCell<BTreeSet<String>> = RefCell::default();
    each(root, &args.names, format, &|lake, job| {
        let mut planned = jobs::plan(lake, job, args.full_refresh)?;
        let paused = jobs::paused(lake, &job.target)?;
        let before = job.reads.intersection(&changing.borrow()).next().cloned();
        if let (RunKind::Nothing, Some(table)) = (planned.kind, &before) {
            planned.kind = RunKind::Follows;
            planned.why = format!("it reads `{table}`, which changes before");
        }
        if paused.is_none() && planned.kind != RunKind::Nothing {
            changing.borrow_mut().insert(job.target.clone());
        }
        let mut text = planned_text(&planned, output_has_colour());
        if let Some(paused) = &paused {
            let _ = writeln!(text, "  paused     {}: `ouzel resume`", why_paused(paused));
        }
        Ok((json!(planned), text, if paused.is_some() { Exit::Paused } else { Exit::Ok }))
    })
}

pub fn audit(root: &Path, args: &AuditArgs, format: Format) -> Exit {
    each(root, &args.names, format, &|lake, job| {
        let entries = jobs::audit(lake.lake, &job.target, args.limit)?;
        let mut text = format!("{}\n", paint(&job.target, AnsiColor::Cyan, output_has_colour()));
        for entry in &entries {
            let told = &entry.job;
            let sources: Vec<String> = told["sources"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, to)| {
                    format!("{name} {} to {to}", told["from"][name].as_u64().map_or("-".to_string(), |from| from.to_string()))
                })
                .collect();
            let partitions = told["partitions"].as_array().map_or(0, Vec::len);
            let what = if told["kind"] == "full" {
                "anew".to_string()
            } else {
                format!("{partitions} partition{}", plural(partitions as u64))
            };
            let _ = writeln!(
                text,
                "  version {:>5}  {:<14}  {:>12} rows  {}",
                entry.version,
                what,
                count(told["rows"].as_u64().unwrap_or(0)),
                sources.join(", ")
            );
        }
        Ok((json!(entries), text, Exit::Ok))
    })
}

pub fn verify(root: &Path, args: &VerifyArgs, format: Format) -> Exit {
    each(root, &args.names, format, &|lake, job| {
        let (rows, missing, surplus) = jobs::verify(lake, job)?;
        let same = missing + surplus == 0;
        let text = format!(
            "{}: {} rows, {} missing, {} too many: {}\n",
            paint(&job.target, AnsiColor::Cyan, output_has_colour()),
            count(rows),
            count(missing),
            count(surplus),
            if same { "as made anew" } else { "NOT as made anew" }
        );
        let exit = if same { Exit::Ok } else { Exit::Failed };
        Ok((json!({ "rows": rows, "missing": missing, "surplus": surplus }), text, exit))
    })
}

/// Runs the checks of jobs on their tables as they are.
pub fn check(root: &Path, args: &CheckArgs, format: Format) -> Exit {
    let outcomes = RefCell::new(Map::new());
    let exit = each(root, &args.names, format, &|lake, job| {
        let checks = jobs::check_now(lake, job).inspect_err(|e| {
            outcomes.borrow_mut().insert(job.target.clone(), json!({ "error": e.to_string() }));
        })?;
        let fails = checks.iter().any(|check| !check.ok && !check.warns);
        let colour = output_has_colour();
        let lines: String = checks.iter().map(|check| check_text(check, colour)).collect();
        let none = if checks.is_empty() { "  has no checks\n" } else { "" };
        let value = json!({ "checks": checks });
        outcomes.borrow_mut().insert(job.target.clone(), value.clone());
        let text = format!("{}\n{lines}{none}", paint(&job.target, AnsiColor::Cyan, colour));
        Ok((value, text, if fails { Exit::CheckFailed } else { Exit::Ok }))
    });
    let written = args.junit.as_ref().map_or(Ok(()), |path| junit::write(path, &outcomes.borrow()));
    written.map_or_else(|e| told(&e), |()| exit)
}

pub fn lineage(root: &Path, args: &LineageArgs, format: Format) -> Exit {
    each(root, &args.names, format, &|lake, job| {
        let columns = jobs::lineage(lake, job)?;
        let width = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n", paint(&job.target, AnsiColor::Cyan, output_has_colour()));
        let mut value = Map::new();
        for (name, origins) in columns {
            let origins: Vec<String> = origins.iter().map(|(table, column)| format!("{table}.{column}")).collect();
            let said = job.config.columns.0.iter().find(|(column, _)| column.value == name);
            let said = said.map_or(String::new(), |(_, text)| format!("  ({})", text.value));
            let _ =
                writeln!(text, "  {name:<width$}  {}{said}", if origins.is_empty() { "-".into() } else { origins.join(", ") });
            value.insert(name, json!(origins));
        }
        Ok((json!({ "columns": value }), text, Exit::Ok))
    })
}

pub fn ls(root: &Path, args: &LsArgs, format: Format) -> Exit {
    each(root, &args.names, format, &|lake, job| {
        let paused = jobs::paused(lake, &job.target)?;
        let last = jobs::audit(lake.lake, &job.target, 1)?.into_iter().next();
        let files = job.source.iter().map(|source| format!("files of {}", source.name));
        let reads = files.chain(job.reads.iter().cloned()).collect::<Vec<_>>().join(", ");
        let version = last.as_ref().map_or("has not run".to_string(), |last| format!("version {}", last.version));
        let state = if paused.is_some() { paint("paused", AnsiColor::Yellow, output_has_colour()) } else { version };
        let about = job
            .config
            .description
            .iter()
            .chain(&job.config.owner)
            .cloned()
            .chain(job.config.tags.iter().map(|tag| format!("#{tag}")));
        let about = about.collect::<Vec<_>>().join("  ");
        let value = json!({
            "file": job.file, "reads": job.reads, "source": job.source.as_ref().map(|source| &source.name), "tags": job.config.tags,
            "owner": job.config.owner, "description": job.config.description,
            "columns": job.config.columns.0.iter().map(|(name, text)| (name.value.clone(), json!(text.value))).collect::<Map<_, _>>(),
            "version": last.map(|last| last.version), "paused": paused,
        });
        Ok((value, format!("{:<24} {state:<14} from {reads:<30} {about}\n", job.target), Exit::Ok))
    })
}

pub fn pause(root: &Path, args: &PauseArgs, format: Format) -> Exit {
    each(root, std::slice::from_ref(&args.target), format, &|lake, job| {
        jobs::hold(lake, job, &args.reason)?;
        Ok((json!({ "paused": true }), format!("{}: runs pass it over until `ouzel resume`\n", job.target), Exit::Ok))
    })
}

pub fn backfill(root: &Path, args: &BackfillArgs, format: Format) -> Exit {
    each(root, std::slice::from_ref(&args.target), format, &|lake, job| {
        if args.plan {
            let planned = jobs::plan_again(lake, job, &args.from, &args.to)?;
            return Ok((json!(planned), planned_text(&planned, output_has_colour()), Exit::Ok));
        }
        if jobs::paused(lake, &job.target)?.is_some() {
            return Ok((json!({ "paused": true }), format!("{}: paused: `ouzel resume`\n", job.target), Exit::Paused));
        }
        let outcome = jobs::run_again(lake, job, &args.from, &args.to)?;
        let exit = if outcome.blocked { Exit::Paused } else { Exit::Ok };
        Ok((json!(outcome), outcome_text(&outcome, output_has_colour()), exit))
    })
}

pub fn resume(root: &Path, args: &ResumeArgs, format: Format) -> Exit {
    each(root, std::slice::from_ref(&args.target), format, &|lake, job| {
        let was = jobs::resume(lake, &job.target, &args.reason)?;
        let text = format!("{}: {}\n", job.target, if was { "goes on with its next run" } else { "was not paused" });
        Ok((json!({ "was_paused": was }), text, Exit::Ok))
    })
}

/// Runs jobs, each behind those whose tables it reads. What reads a table that a check has stopped, or whose job has failed, is held; the others go on.
pub fn run(project: &Project, names: &[String], full: bool, format: Format, outcomes: &mut Map<String, Value>) -> Exit {
    let place = project.place();
    let lake = opened(project, &place);
    let mut held: BTreeMap<&str, &str> = BTreeMap::new();
    let mut exit = Exit::Ok;
    let selected = match select(project, names) {
        Ok(selected) => selected,
        Err(exit) => return exit,
    };
    if selected.is_empty() {
        return Exit::Ok;
    }
    unknown_to_retry(Undone::begin(project, &selected, full));
    for job in selected {
        if let Some((table, why)) = job.reads.iter().find_map(|table| held.get_key_value(table.as_str())) {
            let why = format!("`{table}`, which it reads, {why}");
            eprintln!("{}: held: {why}", paint(&job.target, AnsiColor::Yellow, errors_have_colour()));
            outcomes.insert(job.target.clone(), json!({ "held": why }));
            held.insert(&job.target, "is held");
            continue;
        }
        let done = jobs::paused(&lake, &job.target).and_then(|paused| match paused {
            Some(paused) => Ok(Err(why_paused(&paused))),
            None => watched(&job.target, &lake.progress, || jobs::run(&lake, job, full)).map(Ok),
        });
        match done {
            Err(e) => {
                outcomes.insert(job.target.clone(), json!({ "error": e.to_string() }));
                held.insert(&job.target, "has failed");
                let failed = told(&e);
                exit = if matches!(exit, Exit::Ok | Exit::Paused) { failed } else { exit };
            }
            Ok(Err(why)) => {
                notify(project, &lake, job);
                outcomes.insert(job.target.clone(), json!({ "paused": why }));
                eprintln!(
                    "{}: paused: {why}; the old data are there. `ouzel resume {} --reason ..` lets it go on",
                    paint(&job.target, AnsiColor::Yellow, errors_have_colour()),
                    job.target
                );
                held.insert(&job.target, "is paused");
                exit = if exit == Exit::Ok { Exit::Paused } else { exit };
            }
            Ok(Ok(outcome)) => {
                if format == Format::Text {
                    eprint!("{}", outcome_text(&outcome, errors_have_colour()));
                }
                if outcome.blocked {
                    let owner = job.config.owner.as_ref().map_or(String::new(), |owner| format!(" Tell {owner}."));
                    eprintln!(
                        "{}: {}: a check has stopped it; the old data stay, and the table is paused.{owner}",
                        paint("error", AnsiColor::Red, errors_have_colour()),
                        job.target
                    );
                    notify(project, &lake, job);
                    held.insert(&job.target, "is paused");
                    exit = if exit == Exit::Ok { Exit::Paused } else { exit };
                }
                outcomes.insert(job.target.clone(), json!(outcome));
            }
        }
    }
    unknown_to_retry(Undone::keep(project, outcomes, full));
    exit
}

/// A run of which that cannot be kept is run nonetheless.
fn unknown_to_retry(kept: Result<()>) {
    if let Err(e) = kept {
        eprintln!("{}: `ouzel retry` will not know of this run: {e}", paint("warning", AnsiColor::Yellow, errors_have_colour()));
    }
}

/// What the last run of jobs has left undone: those that failed, were stopped or held.
struct Undone {
    jobs: Vec<String>,
    full_refresh: bool,
}

impl Undone {
    /// In the project's folder.
    const FILE: &str = ".ouzel/undone.json";

    /// Before anything has been done: all of it.
    fn begin(project: &Project, jobs: &[&Job], full_refresh: bool) -> Result<()> {
        Undone::write(project, &jobs.iter().map(|job| &job.target).collect::<Vec<_>>(), full_refresh)
    }

    fn keep(project: &Project, outcomes: &Map<String, Value>, full_refresh: bool) -> Result<()> {
        let failed = |outcome: &Value| {
            ["error", "held", "paused"].iter().any(|key| outcome.get(key).is_some()) || outcome["blocked"] == true
        };
        // In the order in which they run.
        let jobs = project.jobs.iter().map(|job| &job.target);
        let jobs: Vec<&String> = jobs.filter(|target| outcomes.get(*target).is_some_and(failed)).collect();
        Undone::write(project, &jobs, full_refresh)
    }

    fn write(project: &Project, jobs: &[&String], full_refresh: bool) -> Result<()> {
        let path = project.root.join(Undone::FILE);
        let write = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&path, json!({ "jobs": jobs, "full_refresh": full_refresh }).to_string())
        };
        write().doing(|| format!("writing `{}`", path.display()))
    }

    /// `None`: nothing has run.
    fn read(project: &Project) -> Option<Undone> {
        let told: Value = serde_json::from_slice(&std::fs::read(project.root.join(Undone::FILE)).ok()?).ok()?;
        let jobs = told["jobs"].as_array()?.iter().filter_map(|target| target.as_str().map(String::from)).collect();
        Some(Undone { jobs, full_refresh: told["full_refresh"] == true })
    }
}

/// Jobs that did not come to run, since pipelines before them failed.
pub fn put_off(project: &Project, names: &[String], full_refresh: bool) {
    if let Ok(selected) = jobs::select(&project.jobs, names)
        && !selected.is_empty()
    {
        unknown_to_retry(Undone::begin(project, &selected, full_refresh));
    }
}

/// Runs again what the last run has left undone, as it was asked to.
pub fn retry(root: &Path, args: &RetryArgs, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let mut outcomes = Map::new();
    let exit = match Undone::read(&project) {
        Some(Undone { mut jobs, full_refresh }) => {
            jobs.retain(|target| project.jobs.iter().any(|job| job.target == *target));
            match jobs.is_empty() {
                true => Exit::Ok,
                false => run(&project, &jobs, full_refresh, format, &mut outcomes),
            }
        }
        None => Exit::Ok,
    };
    match format {
        Format::Json => say(&json!({ "jobs": outcomes }).to_string()),
        Format::Text if outcomes.is_empty() => say("nothing to try again: the last run has left nothing undone"),
        Format::Text => {}
    }
    let written = args.junit.as_ref().map_or(Ok(()), |path| junit::write(path, &outcomes));
    written.map_or_else(|e| told(&e), |()| exit)
}

/// Tells who is to be told that a table is stopped. What does not arrive is tried again by the next run.
fn notify(project: &Project, lake: &Lake<'_>, job: &Job) {
    if let Some(whom) = &project.notify
        && let Err(e) = jobs::notify(lake, &project.name, whom, &job.target)
    {
        eprintln!("{}: {}: nobody could be told: {e}", paint("warning", AnsiColor::Yellow, errors_have_colour()), job.target);
    }
}

/// Tells on a terminal, from two seconds on, how far a job is.
fn watched<T>(name: &str, progress: &Progress, work: impl FnOnce() -> T) -> T {
    progress.begin();
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (watch, done) = (Stopwatch::start(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let line = scope.spawn(|| {
            while !done.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                if watch.seconds() > 2.0 {
                    eprint!("\r\x1b[K{name}: {}", progress_text(progress, watch.seconds()));
                }
            }
            eprint!("\r\x1b[K");
        });
        let result = work();
        done.store(true, Relaxed);
        line.thread().unpark();
        result
    })
}
