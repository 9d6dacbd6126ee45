//! Runs a case and compares.

use super::cut::Cuts;
use super::markdown::{Block, Case};
use crate::plan::Plan;
use crate::project::{Project, load_with};
use crate::registry::SinkConfig;
use crate::runtime::{Control, Options, Place, STOPPED_DEAD, run_recut};
use crate::summary::PipelineSummary;
use ouzel_core::Span;
use ouzel_core::yaml::{Node, Value as Yaml};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What came of a case.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What does not hold, for people; empty if the case passes.
    pub failures: Vec<String>,
    /// What came instead, as text for the file: for `bless`.
    pub output: Option<String>,
    pub counts: Option<String>,
    pub problems: Option<String>,
}

/// How a case is run, how its log is cut, and on how many threads.
const RUNS: [(&str, Cuts, usize); 5] = [
    ("straight", Cuts::Straight, 1),
    ("one event at a time", Cuts::Single, 2),
    ("cut at random, seed 1", Cuts::OneOf(4, 1), 3),
    ("cut at random, seed 2", Cuts::OneOf(4, 2), 2),
    ("cut at random, seed 3", Cuts::OneOf(4, 3), 4),
];

/// The same, killed after every so many commits and gone on with until it is through; a commit with each batch. Last: how much of the
/// state may stay in memory.
const KILLED: [(&str, Cuts, usize, u64, Option<u64>); 3] = [
    ("killed at every commit, one event at a time", Cuts::Single, 2, 1, None),
    ("killed at every third commit, cut at random", Cuts::OneOf(4, 4), 3, 3, None),
    ("killed at every second commit, with no key in memory over a commit", Cuts::OneOf(3, 5), 2, 2, Some(0)),
];

/// Runs a case of a project (or of no project, if the case brings all files itself). `scratch` is an empty folder.
pub fn run_case(project: &Path, case: &Case, scratch: &Path) -> Outcome {
    match try_case(project, case, scratch) {
        Ok(outcome) => outcome,
        Err(failure) => Outcome { failures: vec![failure], ..Outcome::default() },
    }
}

fn try_case(project: &Path, case: &Case, scratch: &Path) -> Result<Outcome, String> {
    lay_out(project, case, scratch).map_err(|e| format!("laying out the project: {e}"))?;
    let input = scratch.join("spec-input");
    // Each pipeline has one of its own, though only one of them runs.
    let pipelines = Cell::new(0);
    std::fs::write(&input, case.input.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
    let asks_problems = case.problems.is_some();
    let rewrite = |node: &mut Node| {
        if !asks_problems {
            pipelines.set(pipelines.get() + 1);
            replace_ends(node, &input, &scratch.join(format!("spec-output-{}.ndjson", pipelines.get())));
        }
    };
    // Variables that only name the ends of a pipeline need no value here.
    let with_default = with_default(scratch).map_err(|e| format!("looking for variables: {e}"))?;
    let env = |name: &str| {
        let stands_in = || (!asks_problems && !with_default.contains(name)).then(|| format!("spec-{name}"));
        std::env::var(name).ok().or_else(stands_in)
    };
    let (loaded, report) = load_with(scratch, &env, &rewrite);
    let mut outcome = Outcome::default();
    if let Some(expected) = &case.problems {
        let text = report.render(|_, word| word.to_string());
        if text.trim_end() != expected.text.trim_end() {
            outcome.failures.push(format!("problems differ\n{}", diff_lines(&expected.text, &text)));
        }
        outcome.problems = Some(text);
        return Ok(outcome);
    }
    let loaded = loaded.ok_or_else(|| format!("the project is not valid\n{}", report.render(|_, word| word.to_string())))?;
    let pipeline = pick(&loaded, case)?;
    let output = match pipeline.plan.sinks.first().map(|sink| &sink.config) {
        Some(SinkConfig::File(file)) => PathBuf::from(&file.path.value),
        _ => return Err("the pipeline has no sink to look at".into()),
    };

    let mut first: Option<(PipelineSummary, String)> = None;
    let place = Place { lasting: true, ..loaded.place() };
    let plain = RUNS.iter().map(|(how, cuts, threads)| (*how, *cuts, Options { threads: *threads, ..Options::default() }, None));
    let killed = KILLED.iter().map(|(how, cuts, threads, commits, memory)| {
        let options =
            Options { threads: *threads, commit_each_batch: true, die_after_commits: Some(*commits), ..Options::default() };
        (*how, *cuts, options, *memory)
    });
    for (how, cuts, options, memory) in plain.chain(killed) {
        // Each run is the first of its project, so that ids are the same.
        let _ = std::fs::remove_dir_all(&place.state);
        let place = Place { memory, ..place.clone() };
        let summary = until_through(&pipeline.plan, &place, &options, cuts).map_err(|e| format!("run {how}: {e}"))?;
        let rows = std::fs::read_to_string(&output).map_err(|e| format!("run {how}: {e}"))?;
        if !summary.adds_up() {
            outcome.failures.push(format!("run {how}: the counts do not add up: {summary:?}"));
        }
        match &first {
            None => first = Some((summary, rows)),
            Some((_, straight)) if *straight != rows => {
                outcome.failures.push(format!("run {how}: other rows than straight\n{}", diff_lines(straight, &rows)))
            }
            Some((straight, _)) if counts(straight) != counts(&summary) => {
                let (a, b) = (counts(straight), counts(&summary));
                outcome.failures.push(format!("run {how}: other counts than straight\n    - {a:?}\n    + {b:?}"));
            }
            Some(_) => {}
        }
    }
    let (summary, rows) = first.ok_or("nothing ran")?;
    if let Some(expected) = &case.output {
        compare_rows(expected, &rows, &mut outcome)?;
    }
    if let Some(expected) = &case.counts {
        compare_counts(expected, &summary, &mut outcome)?;
    }
    Ok(outcome)
}

/// Runs a pipeline, again and again if it is killed, until its source has ended.
fn until_through(plan: &Plan, place: &Place, options: &Options, cuts: Cuts) -> ouzel_core::Result<PipelineSummary> {
    let recut = |source, framing| cuts.apply(source, framing);
    loop {
        match run_recut(plan, place, options, &Control::default(), &recut) {
            Err(e) if e.message() == STOPPED_DEAD => {}
            ended => return ended,
        }
    }
}

/// What does not depend on how it was run.
fn counts(summary: &PipelineSummary) -> PipelineSummary {
    PipelineSummary {
        keys: Default::default(),
        state_bytes: 0,
        evicted_bytes: 0,
        seconds: 0.0,
        commits: 0,
        resumed: None,
        ..summary.clone()
    }
}

fn pick<'p>(project: &'p Project, case: &Case) -> Result<&'p crate::project::Pipeline, String> {
    match &case.pipeline {
        Some(name) => project.select(std::slice::from_ref(name)).map(|found| found[0]),
        None if project.pipelines.len() == 1 => Ok(&project.pipelines[0]),
        None => Err("the project has several pipelines: name one, as in `ndjson input NAME`".into()),
    }
}

/// The project's configuration and data, and over it the case's files.
fn lay_out(project: &Path, case: &Case, scratch: &Path) -> std::io::Result<()> {
    for part in ["ouzel.yaml", "pipelines", "schemas", "data", "models"] {
        copy(&project.join(part), &scratch.join(part))?;
    }
    if case.files.iter().any(|(path, _)| path.starts_with("pipelines/")) {
        // A case that brings a pipeline brings all of them.
        let _ = std::fs::remove_dir_all(scratch.join("pipelines"));
    }
    for (path, text) in &case.files {
        let target = scratch.join(path);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(target, text)?;
    }
    if !scratch.join("ouzel.yaml").exists() {
        std::fs::write(scratch.join("ouzel.yaml"), "name: spec\n")?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_dir() {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.is_file() {
        std::fs::copy(from, to)?;
    }
    Ok(())
}

/// Variables that have a value of their own, `${NAME:-VALUE}`, anywhere in the project's files.
fn with_default(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(with_default(&path)?);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let names = text.split("${").skip(1).filter_map(|rest| Some(rest.split_once(":-")?.0));
            found.extend(names.filter(|name| !name.contains('}')).map(String::from));
        }
    }
    Ok(found)
}

/// Puts the case's events in place of the source and one file with all columns in place of the sinks.
fn replace_ends(pipeline: &mut Node, input: &Path, output: &Path) {
    let span = pipeline.span;
    let Yaml::Map(pairs) = &mut pipeline.value else { return };
    let has = |pairs: &[(Node, Node)], key: &str| pairs.iter().any(|(k, _)| is(k, key));
    let generates = pairs.iter().any(|(k, v)| {
        is(k, "source") && matches!(&v.value, Yaml::Map(kinds) if kinds.iter().any(|(kind, _)| is(kind, "generate")))
    });
    if generates && !has(pairs, "codec") {
        pairs.push((word("codec", span), word("json", span)));
    }
    pairs.retain(|(k, _)| !is(k, "sinks") && !is(k, "source"));
    let file = |path: &Path, span: Span| {
        let mut settings = vec![(word("path", span), quoted(&path.display().to_string(), span))];
        if path.extension().is_some_and(|e| e == "ndjson") {
            settings.push((word("format", span), word("ndjson", span)));
        }
        map(vec![(word("file", span), map(settings, span))], span)
    };
    pairs.push((word("source", span), file(input, span)));
    pairs.push((word("sinks", span), Node { span, value: Yaml::List(vec![file(output, span)]) }));
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.value, Yaml::Scalar { text, .. } if text == name)
}
fn word(text: &str, span: Span) -> Node {
    Node { span, value: Yaml::Scalar { text: text.into(), plain: true } }
}
fn quoted(text: &str, span: Span) -> Node {
    Node { span, value: Yaml::Scalar { text: text.into(), plain: false } }
}
fn map(pairs: Vec<(Node, Node)>, span: Span) -> Node {
    Node { span, value: Yaml::Map(pairs) }
}

fn compare_rows(expected: &Block, rows: &str, outcome: &mut Outcome) -> Result<(), String> {
    let actual: Vec<Map<String, Value>> =
        rows.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|e| format!("the output is no NDJSON: {e}"))?;
    let wanted: Vec<Map<String, Value>> = expected
        .text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
        .map(|(i, l)| {
            serde_json::from_str(l).map_err(|e| format!("line {} of the spec is no JSON object: {e}", expected.first + i + 1))
        })
        .collect::<Result<_, _>>()?;
    // What is written for `bless`: the keys the line had, or the row before had.
    let mut blessed = String::new();
    let mut keys: Vec<String> = ["request_id", "decision", "rule"].map(String::from).to_vec();
    for (i, row) in actual.iter().enumerate() {
        if let Some(w) = wanted.get(i) {
            keys = w.keys().cloned().collect();
        }
        let shown: Map<String, Value> = keys.iter().filter_map(|k| Some((k.clone(), row.get(k)?.clone()))).collect();
        blessed.push_str(&Value::Object(shown).to_string());
        blessed.push('\n');
    }
    outcome.output = Some(blessed);
    for (i, want) in wanted.iter().enumerate() {
        let Some(row) = actual.get(i) else { continue };
        for (key, value) in want {
            match row.get(key) {
                None => outcome.failures.push(format!(
                    "row {}: there is no column `{key}`; columns are {}",
                    i + 1,
                    row.keys().cloned().collect::<Vec<_>>().join(", ")
                )),
                Some(found) if !same(found, value) => {
                    outcome.failures.push(format!("row {}: {key}\n    - expected {value}\n    + found    {found}", i + 1))
                }
                Some(_) => {}
            }
        }
    }
    if actual.len() != wanted.len() {
        outcome.failures.push(format!("expected {} rows, found {}", wanted.len(), actual.len()));
        for row in actual.iter().skip(wanted.len()).take(3) {
            outcome.failures.push(format!("    + {}", Value::Object(row.clone())));
        }
    }
    Ok(())
}

/// Numbers are the same if they are within 1e-9 of one another, relatively; all else exactly.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if x.is_f64() || y.is_f64() => {
            let (x, y) = (x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN));
            (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        _ => a == b,
    }
}

fn compare_counts(expected: &Block, summary: &PipelineSummary, outcome: &mut Outcome) -> Result<(), String> {
    let actual = serde_json::to_value(summary).map_err(|e| e.to_string())?;
    let mut blessed = String::new();
    for (i, line) in expected.text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let place = expected.first + i + 1;
        let (key, value) = line.split_once(':').ok_or_else(|| format!("line {place}: expected `name: number`"))?;
        let (key, value) = (key.trim(), value.trim());
        let found = &actual[key];
        if found.is_null() {
            return Err(format!("line {place}: there is no count `{key}`"));
        }
        let found = found.to_string();
        if found != value {
            outcome.failures.push(format!("{key}: expected {value}, found {found}"));
        }
        blessed.push_str(&format!("{key}: {found}\n"));
    }
    outcome.counts = Some(blessed);
    Ok(())
}

fn diff_lines(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let mut out = String::new();
    let differing = (0..a.len().max(b.len())).filter(|i| a.get(*i) != b.get(*i));
    for i in differing.take(8) {
        for (sign, line) in [('-', a.get(i)), ('+', b.get(i))] {
            if let Some(line) = line {
                out.push_str(&format!("    {sign} {line}\n"));
            }
        }
    }
    out
}

/// The file's text with the expectations of its cases replaced by what came.
pub fn bless(text: &str, outcomes: &[(&Case, &Outcome)]) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let mut edits: Vec<(&Block, &String)> = Vec::new();
    for (case, outcome) in outcomes {
        let pairs = [(&case.output, &outcome.output), (&case.counts, &outcome.counts), (&case.problems, &outcome.problems)];
        edits.extend(pairs.into_iter().filter_map(|(block, new)| Some((block.as_ref()?, new.as_ref()?))));
    }
    edits.sort_by_key(|(block, _)| std::cmp::Reverse(block.first));
    for (block, new) in edits {
        lines.splice(block.first..block.first + block.lines, new.lines().map(String::from));
    }
    lines.join("\n") + "\n"
}

/// Where the specs of a project lie.
pub fn files(project: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = project.join("specs");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    files.sort();
    Ok(files)
}
