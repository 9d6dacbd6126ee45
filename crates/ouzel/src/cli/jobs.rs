//! `ouzel plan`, `audit`, `verify`, `check`, `resume`, and the jobs of `ouzel run`.

pub use super::query::told;
use super::terminal::{bytes, count, errors_have_colour, output_has_colour, paint, plural, say};
use super::validate::load;
use super::{Exit, Format, junit};
use anstyle::AnsiColor;
use ouzel_core::Result;
use ouzel_core::clock::Stopwatch;
use ouzel_engine::Project;
use ouzel_engine::jobs::{self, Checked, Job, Lake, Landing, Outcome, Planned, RunKind};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

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

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn select<'p>(project: &'p Project, names: &[String]) -> std::result::Result<Vec<&'p Job>, Exit> {
    jobs::select(&project.jobs, names).map_err(|message| {
        eprintln!("error: {message}");
        Exit::Usage
    })
}

/// What a command tells of a job: for machines, for people, and how it ended.
type Told = (Value, String, Exit);

/// For each job of a project.
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
    let lake = Lake { lake: &place.lake, threads: threads(), memory: project.job_memory, made: AtomicU64::new(0) };
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
            Err(e) => return told(&e),
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
            let _ = writeln!(text, "  {name:<width$}  {}", if origins.is_empty() { "(rows)".into() } else { origins.join(", ") });
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
            "owner": job.config.owner, "description": job.config.description, "version": last.map(|last| last.version), "paused": paused,
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

/// Runs jobs, each behind those whose tables it reads. What reads a table that a check has stopped is held.
pub fn run(project: &Project, names: &[String], full: bool, format: Format, outcomes: &mut Map<String, Value>) -> Exit {
    let place = project.place();
    let lake = Lake { lake: &place.lake, threads: threads(), memory: project.job_memory, made: AtomicU64::new(0) };
    let mut held: BTreeSet<String> = BTreeSet::new();
    let mut exit = Exit::Ok;
    let selected = match select(project, names) {
        Ok(selected) => selected,
        Err(exit) => return exit,
    };
    for job in selected {
        if let Some(table) = job.reads.iter().find(|table| held.contains(*table)) {
            eprintln!(
                "{}: held: `{table}`, which it reads, is paused",
                paint(&job.target, AnsiColor::Yellow, errors_have_colour())
            );
            outcomes.insert(job.target.clone(), json!({ "held": format!("`{table}`, which it reads, is paused") }));
            held.insert(job.target.clone());
            continue;
        }
        let done = jobs::paused(&lake, &job.target).and_then(|paused| match paused {
            Some(paused) => Ok(Err(why_paused(&paused))),
            None => watched(&job.target, &lake.made, || jobs::run(&lake, job, full)).map(Ok),
        });
        match done {
            Err(e) => {
                outcomes.insert(job.target.clone(), json!({ "error": e.to_string() }));
                return told(&e);
            }
            Ok(Err(why)) => {
                notify(project, &lake, job);
                outcomes.insert(job.target.clone(), json!({ "paused": why }));
                eprintln!(
                    "{}: paused: {why}; the old data are there. `ouzel resume {} --reason ..` lets it go on",
                    paint(&job.target, AnsiColor::Yellow, errors_have_colour()),
                    job.target
                );
                held.insert(job.target.clone());
                exit = Exit::Paused;
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
                    held.insert(job.target.clone());
                    exit = Exit::Paused;
                }
                outcomes.insert(job.target.clone(), json!(outcome));
            }
        }
    }
    exit
}

/// Tells who is to be told that a table is stopped. What does not arrive is tried again by the next run.
fn notify(project: &Project, lake: &Lake<'_>, job: &Job) {
    if let Some(whom) = &project.notify
        && let Err(e) = jobs::notify(lake, &project.name, whom, &job.target)
    {
        eprintln!("{}: {}: nobody could be told: {e}", paint("warning", AnsiColor::Yellow, errors_have_colour()), job.target);
    }
}

/// What has stopped a table.
fn why_paused(paused: &Value) -> String {
    if let Some(reason) = paused["reason"].as_str() {
        return format!("held by hand ({reason})");
    }
    let names = paused["checks"].as_array().into_iter().flatten().filter_map(|check| check["name"].as_str());
    format!("stopped by the check {}", names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

/// Tells on a terminal, from two seconds on, how far a job is.
fn watched<T>(name: &str, made: &AtomicU64, work: impl FnOnce() -> T) -> T {
    made.store(0, Relaxed);
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (watch, done) = (Stopwatch::start(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let line = scope.spawn(|| {
            while !done.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                if watch.seconds() > 2.0 {
                    let rows = match made.load(Relaxed) {
                        0 => String::new(),
                        rows => format!("{} rows, ", count(rows)),
                    };
                    eprint!("\r\x1b[K{name}: {rows}{:.0} s", watch.seconds());
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

fn planned_text(planned: &Planned, colour: bool) -> String {
    let what = match planned.kind {
        RunKind::Follows => "follows".to_string(),
        RunKind::Nothing => "nothing to do".to_string(),
        RunKind::Full => "is made anew".to_string(),
        RunKind::Incremental if planned.partitions.is_empty() => "gets new rows".to_string(),
        RunKind::Incremental => {
            let n = planned.partitions.len() as u64;
            format!("{} partition{} made anew", count(n), plural(n))
        }
    };
    let mut out = format!("{}: {what}: {}\n", paint(&planned.target, AnsiColor::Cyan, colour), planned.why);
    for source in &planned.sources {
        let from = source.from.map_or("the beginning".to_string(), |from| format!("version {from}"));
        let mut text = format!("{} from {from} to {}", source.table, source.to);
        if source.files_added + source.files_removed > 0 {
            let _ =
                write!(text, ", {} files added, {} removed, {}", source.files_added, source.files_removed, bytes(source.bytes));
        }
        let _ = writeln!(out, "  reads      {text}");
    }
    if let Some(landing) = &planned.landing {
        out.push_str(&landing_text(landing, colour));
    }
    if !planned.partitions.is_empty() {
        let shown: Vec<&str> = planned.partitions.iter().take(8).map(String::as_str).collect();
        let more = planned.partitions.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "  partitions {}{more}", shown.join(", "));
    }
    out
}

fn landing_text(landing: &Landing, colour: bool) -> String {
    let n = landing.files as u64;
    let mut out = format!("  takes      {} file{} of {}, {}\n", count(n), plural(n), landing.source, bytes(landing.bytes));
    let warn = |text: &str| paint(text, AnsiColor::Yellow, colour);
    for (file, aside) in landing.aside.iter().take(3) {
        let _ = writeln!(out, "  {}  {file}: {}", warn("set aside"), aside.why);
    }
    if landing.aside.len() > 3 {
        let _ = writeln!(out, "  {}  {} more", warn("set aside"), count(landing.aside.len() as u64 - 3));
    }
    if let Some(first) = landing.changed.first() {
        let others = landing.changed.len() as u64 - 1;
        let others = if others > 0 { format!(" and {} more", count(others)) } else { String::new() };
        let _ = writeln!(
            out,
            "  {}    {first}{others}: taken before, its rows are as they were; `--full-refresh` takes all anew",
            warn("changed")
        );
    }
    if !landing.new_columns.is_empty() {
        let names = landing.new_columns.join(", ");
        let _ = writeln!(out, "  {}  {names}: not taken; `--full-refresh` takes what the first file has", warn("new column"));
    }
    out
}

fn outcome_text(outcome: &Outcome, colour: bool) -> String {
    let mut out = planned_text(&outcome.planned, colour);
    if outcome.planned.kind != RunKind::Nothing {
        let version = outcome.version.map_or("not published".to_string(), |version| format!("version {version}"));
        let _ = writeln!(
            out,
            "  wrote      {} rows{}{}, in the place of {} file{}, {version}, {:.1} s",
            count(outcome.rows),
            if outcome.added { ", what is new added to what was there" } else { "" },
            match (outcome.updated, outcome.duplicates) {
                (0, 0) => String::new(),
                (0, n) => format!(" ({} dropped: their key was there)", count(n)),
                (updated, n) =>
                    format!(" ({} in the place of rows with their key, {} before them dropped)", count(updated), count(n)),
            },
            outcome.files_removed,
            plural(outcome.files_removed as u64),
            outcome.seconds
        );
    }
    for check in &outcome.checks {
        out.push_str(&check_text(check, colour));
    }
    out
}

fn check_text(check: &Checked, colour: bool) -> String {
    let (word, shade) = match (check.ok, check.warns) {
        (true, _) => ("ok", AnsiColor::Green),
        (false, true) => ("warns", AnsiColor::Yellow),
        (false, false) => ("FAILS", AnsiColor::Red),
    };
    let mut text = format!("  check      {}: {}", check.name, paint(word, shade, colour));
    if check.failing > 0 {
        let _ = write!(text, ", {} row{}", count(check.failing), plural(check.failing));
    }
    text.push('\n');
    for row in check.rows.iter().take(3) {
        let _ = writeln!(text, "             {row}");
    }
    text
}
