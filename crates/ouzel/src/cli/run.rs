//! `ouzel run`

use super::progress::ProgressLine;
use super::terminal::{self, bytes, count, errors_have_colour, output_has_colour, paint};
use super::validate::load;
use super::{Exit, Format};
use super::{jobs, junit, metrics};
use anstyle::AnsiColor;
use ouzel_core::Result;
use ouzel_engine::graph::joined;
use ouzel_engine::jobs::is_selector;
use ouzel_engine::{Control, Ended, Options, Pipeline, PipelineSummary, Project, RebuildFrom, run_joined};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines and jobs to run; all if none is named: the pipelines, then the jobs that are out of date. Jobs also as `+NAME`, `NAME+`, `tag:TAG`.
    names: Vec<String>,
    /// Threads that work on events; the default is the number of cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Make the tables of the jobs anew, beside the old ones, which are there until it is done.
    #[arg(long)]
    full_refresh: bool,
    /// Start anew instead of going on where the last run stopped: files are written over, tables get a new generation of rows.
    #[arg(long)]
    fresh: bool,
    /// Go on although another process holds the state: that process is fenced off and stops at its next commit.
    #[arg(long)]
    take_over: bool,
    /// Where definitions have changed under the state, or it is damaged: make it anew by running the events so far again, without writing them again:
    /// those of the source, or, with `--rebuild=lake`, the rows that were written to the pipeline's table.
    #[arg(long, conflicts_with = "fresh", value_name = "FROM", num_args = 0..=1, require_equals = true, default_missing_value = "source")]
    rebuild: Option<Rebuild>,
    /// Where a stream would end because nobody writes to it, wait for more, until told to stop.
    #[arg(long)]
    follow: bool,
    /// Serve what the run does, its queues and their limits to Prometheus: `GET /metrics`.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<String>,
    /// Write what the jobs and their checks have given to a file that CI servers read: a test suite for each job, a test for each check.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[arg(skip)]
    from: u64,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Rebuild {
    Source,
    Lake,
}

/// `ouzel replay`
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Pipelines to replay; all if none is named.
    names: Vec<String>,
    /// The event with which outputs begin: its offset in the log, or the `_id` of one of its outputs. 0 is the beginning of the log.
    #[arg(long, value_name = "EVENT", value_parser = offset)]
    from: u64,
    /// Threads that work on events; the default is the number of cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// `1234`, or the offset in `PIPELINE.GENERATION.PARTITION.OFFSET.ORDINAL`.
fn offset(text: &str) -> Result<u64, String> {
    let of_id = || text.rsplit('.').nth(1)?.parse().ok();
    text.parse().ok().or_else(of_id).ok_or_else(|| format!("`{text}` is neither an offset nor the `_id` of an output"))
}

/// Runs the past again, as a new generation.
pub fn replay(root: &Path, args: &ReplayArgs, format: Format) -> Exit {
    let args = Args {
        names: args.names.clone(),
        threads: args.threads,
        fresh: true,
        take_over: false,
        rebuild: None,
        full_refresh: false,
        follow: false,
        metrics: None,
        junit: None,
        from: args.from,
    };
    run(root, &args, format)
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let control = Arc::new(Control::default());
    if let Some(address) = &args.metrics
        && let Err(e) = metrics::serve(address, control.clone())
    {
        eprintln!("{}: cannot serve metrics at `{address}`: {e}", paint("error", AnsiColor::Red, errors_have_colour()));
        return Exit::Unavailable;
    }
    if let Err(e) = stop_on_signals(&control) {
        eprintln!("warning: Ctrl-C will not end the run cleanly: {e}");
    }
    let (mut summaries, mut outcomes) = (Map::new(), Map::new());
    let (jobs, names): (Vec<String>, Vec<String>) =
        args.names.iter().cloned().partition(|name| is_selector(name) || project.jobs.iter().any(|job| job.target == *name));
    let selected = match names.is_empty() && !jobs.is_empty() {
        true => Ok(Vec::new()),
        false => project.select(&names),
    };
    let mut exit = match selected {
        Ok(pipelines) => run_all(&project, &pipelines, args, format, &control, &mut summaries),
        Err(message) => {
            let jobs: Vec<&str> = project.jobs.iter().map(|job| job.target.as_str()).collect();
            let jobs = if jobs.is_empty() { String::new() } else { format!("; jobs are {}", jobs.join(", ")) };
            eprintln!("error: {message}{jobs}");
            Exit::Usage
        }
    };
    // Without names: the jobs that are out of date follow.
    let follow = args.names.is_empty() || !jobs.is_empty();
    if follow && exit != Exit::Ok && exit != Exit::Usage {
        jobs::put_off(&project, &jobs, args.full_refresh);
    }
    if follow && exit == Exit::Ok {
        exit = jobs::run(&project, &jobs, args.full_refresh, format, &mut outcomes);
    }
    if let Some(path) = &args.junit {
        exit = junit::write(path, &outcomes).map_or_else(|e| jobs::told(&e), |()| exit);
    }
    if format == Format::Json {
        let mut all = json!({ "pipelines": summaries });
        if !outcomes.is_empty() {
            all["jobs"] = json!(outcomes);
        }
        terminal::say(&all.to_string());
    }
    exit
}

fn run_all(
    project: &Project,
    pipelines: &[&Pipeline],
    args: &Args,
    format: Format,
    control: &Control,
    summaries: &mut Map<String, serde_json::Value>,
) -> Exit {
    let threads = args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let options = Options {
        threads,
        colour: output_has_colour(),
        fresh: args.fresh,
        take_over: args.take_over,
        follow: args.follow,
        rebuild: args.rebuild.map(|from| match from {
            Rebuild::Source => RebuildFrom::Source,
            Rebuild::Lake => RebuildFrom::Lake,
        }),
        from: args.from,
        ..Options::default()
    };
    let line = Mutex::new(ProgressLine::new(format == Format::Text));
    let ends = Mutex::new((summaries, Exit::Ok));
    for set in joined(pipelines) {
        let watch = |pipeline: &Pipeline, progress| {
            for news in lock(&control.news).drain(..) {
                lock(&line).clear();
                eprintln!("{}: {news}", paint("warning", AnsiColor::Yellow, errors_have_colour()));
            }
            lock(&line).show(&pipeline.name, progress)
        };
        let ended = |pipeline: &Pipeline, result: Result<Ended>| {
            lock(&line).ended(&pipeline.name);
            let exit = told(&pipeline.name, &result, format);
            let (summaries, first) = &mut *lock(&ends);
            if let Ok(Ended { summary, .. }) = result {
                summaries.insert(pipeline.name.clone(), json!(summary));
            }
            if *first == Exit::Ok {
                *first = exit;
            }
        };
        if let Err(e) = run_joined(&set, &project.place(), &options, control, &watch, &ended) {
            eprintln!("{}: {e}", paint("error", AnsiColor::Red, errors_have_colour()));
            return Exit::from(&e);
        }
        let exit = lock(&ends).1;
        if exit != Exit::Ok {
            return exit;
        }
    }
    Exit::Ok
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells how a pipeline has ended.
fn told(name: &str, result: &Result<Ended>, format: Format) -> Exit {
    let (ended, error) = match result {
        Ok(ended) => (Some(ended), ended.error.as_ref()),
        Err(e) => (None, Some(e)),
    };
    if let Some(Ended { summary, .. }) = ended.filter(|_| format == Format::Text) {
        eprint!("{}", describe(name, summary, errors_have_colour()));
    }
    match error {
        Some(e) => {
            eprintln!("{}: {name}: {e}", paint("error", AnsiColor::Red, errors_have_colour()));
            Exit::from(e)
        }
        None if ended.is_some_and(|ended| ended.summary.interrupted) => Exit::Interrupted,
        None => Exit::Ok,
    }
}

fn stop_on_signals(control: &Control) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        // A second Ctrl-C ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, control.stop.clone())?;
        signal_hook::flag::register(signal, control.stop.clone())?;
    }
    Ok(())
}

/// The summary, for people.
fn describe(name: &str, s: &PipelineSummary, colour: bool) -> String {
    let events = s.received - s.resumed.as_ref().map_or(0, |r| r.events);
    let rate = if s.seconds > 0.0 { events as f64 / s.seconds } else { 0.0 };
    let title = paint(name, AnsiColor::Cyan, colour);
    let stopped = if s.interrupted { ", stopped before the source ended" } else { "" };
    let mut out = format!("{title}: {} events in {:.1} s, {}/s{stopped}\n", count(events), s.seconds, count(rate as u64));
    if let Some(r) = &s.resumed {
        let at = if r.source.is_empty() { String::new() } else { format!(" ({})", r.source) };
        line(
            &mut out,
            "resumed",
            &format!("behind event {}{at}, commit {}; counts are of all its runs together", count(r.events), r.commit),
        );
    }
    s.notes.iter().for_each(|note| line(&mut out, "note", note));
    let fates = [
        ("delivered", s.delivered),
        ("filtered", s.filtered),
        ("duplicate", s.duplicate),
        ("quarantined", s.quarantined),
        ("dead-lettered", s.dead_lettered),
        ("in flight", s.in_flight),
    ];
    let shown: Vec<String> = fates
        .iter()
        .filter(|(what, n)| *n > 0 || *what == "delivered")
        .map(|(what, n)| format!("{} {what}", count(*n)))
        .collect();
    let sign = if s.adds_up() { "=" } else { "IS NOT" };
    line(&mut out, "received", &format!("{} {sign} {}", count(s.received), shown.join(" + ")));
    let noted: Vec<String> = [("late", s.late), ("malformed", s.malformed), ("implausible", s.implausible)]
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{} {what}", count(*n)))
        .collect();
    if !noted.is_empty() {
        line(&mut out, "of these", &noted.join(", "));
    }
    if !s.decisions.is_empty() {
        let decisions: Vec<String> = s
            .decisions
            .iter()
            .map(|(d, n)| {
                let shade = match d.as_str() {
                    "deny" | "block" => AnsiColor::Red,
                    "allow" => AnsiColor::Green,
                    _ => AnsiColor::Yellow,
                };
                format!("{} {} ({:.2} %)", paint(d, shade, colour), count(*n), 100.0 * *n as f64 / s.delivered.max(1) as f64)
            })
            .collect();
        line(&mut out, "decisions", &decisions.join(", "));
    }
    if !s.alerts.is_empty() {
        let held = |n: u64| if n > 0 { format!(" ({} held back)", count(n)) } else { String::new() };
        let alerts: Vec<String> =
            s.alerts.iter().map(|(name, n)| format!("{name} {}{}", count(n.raised), held(n.suppressed))).collect();
        line(&mut out, "alerts", &alerts.join(", "));
    }
    for sink in &s.sinks {
        let mut text = format!("{} rows in {}", count(sink.delivered), sink.location);
        for (what, n) in
            [("filtered", sink.filtered), ("dead-lettered", sink.dead_lettered), ("waiting to be sent", sink.waiting)]
        {
            if n > 0 {
                text.push_str(&format!(", {} {what}", count(n)));
            }
        }
        line(&mut out, &sink.kind, &text);
    }
    if !s.keys.is_empty() {
        let keys: Vec<String> = s.keys.iter().map(|(by, n)| format!("{} by {by}", count(*n))).collect();
        let on_disk = match s.evicted_bytes {
            0 => String::new(),
            evicted => format!(", others on disk ({})", bytes(evicted)),
        };
        line(&mut out, "keys", &format!("{} ({}){on_disk}", keys.join(", "), bytes(s.state_bytes)));
    }
    for file in &s.set_aside {
        line(&mut out, "set aside", file);
    }
    line(&mut out, "version", &format!("{}, generation {}", s.version, s.generation));
    out
}

fn line(out: &mut String, what: &str, text: &str) {
    out.push_str(&format!("  {what:<10} {text}\n"));
}
