//! `ouzel init DIR --from FILE...`: looks at files, drafts a pipeline for each format among them, and tries it on them, so that what
//! is called much is what is much there.

use super::draft::{Draft, quoted};
use crate::cli::environment;
use crate::cli::terminal::{count, plural};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use ouzel_connect::sniff::{self, Found, Role};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result, Severity};
use ouzel_engine::{Control, Options, project, run};
use ouzel_lake::Queries;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Makes a project for the files. Gives what is to be told.
pub fn make(dir: &Path, files: &[PathBuf]) -> Result<String> {
    let mut groups: Vec<(Found, Vec<PathBuf>)> = Vec::new();
    let mut refused = Vec::new();
    for file in files {
        match sniff::look(file) {
            Ok(found) => match groups.iter_mut().find(|(other, _)| alike(other, &found)) {
                Some((_, files)) => files.push(file.clone()),
                None => groups.push((found, vec![file.clone()])),
            },
            Err(e) if e.kind == Kind::Data => refused.push(e.message().to_string()),
            Err(e) => return Err(e),
        }
    }
    if groups.is_empty() {
        return Err(Error::new(Kind::Data, refused.join("\n")));
    }
    let name = dir.file_name().map_or_else(|| "project".into(), |name| plain(&name.to_string_lossy()));
    let mut said = String::new();
    let mut drafts: Vec<Draft> = Vec::new();
    for (found, files) in groups {
        let mut pipeline = plain(&stem(&files[0]));
        let is_taken = |name: &str| {
            let clashes = |draft: &Draft| {
                draft.name == name || format!("{}_alerts", draft.name) == name || format!("{name}_alerts") == draft.name
            };
            drafts.iter().any(clashes)
        };
        while is_taken(&pipeline) {
            pipeline.push_str("_2");
        }
        let year = needs_year(&found).then(|| year_of(&files[0]));
        let mut paths = Vec::new();
        for file in &files {
            let path = file.canonicalize().doing(|| format!("opening `{}`", file.display()))?;
            paths.push(glob::Pattern::escape(&path.to_string_lossy()));
        }
        let mut draft = Draft::new(pipeline, found, paths, year);
        draft = settle(draft)?;
        tell(&mut said, &draft);
        drafts.push(draft);
    }
    write(dir, &name, &drafts, false)?;
    let (project, report) = project::load(dir, &environment);
    if project.is_none() {
        let text = report.render(|_, word| word.to_string());
        return Err(Error::internal(format!("the pipeline that was drafted is not valid; please report this:\n{text}")));
    }
    for problem in refused {
        let _ = writeln!(said, "left out: {problem}");
    }
    let dir = dir.display();
    let first = &drafts[0].name;
    let _ = write!(
        said,
        "\nnext:\n  ouzel run -p {dir}\n  ouzel query -p {dir} \"select decision, count(*) from {first} group by decision\"\n  then change pipelines/{first}.yaml to taste: \
         `ouzel validate -p {dir}` checks it, `ouzel run -p {dir} --fresh` starts anew"
    );
    Ok(said)
}

/// Two files that one pipeline reads.
fn alike(a: &Found, b: &Found) -> bool {
    let names = |found: &Found| found.columns.iter().map(|c| (c.name.clone(), c.kind.clone())).collect::<Vec<_>>();
    a.codec == b.codec && (a.knows_fields() || names(a) == names(b))
}

fn needs_year(found: &Found) -> bool {
    found.codec.pointer("/syslog/year").is_some()
}

/// The year in which a file was written last.
fn year_of(file: &Path) -> i32 {
    let modified = std::fs::metadata(file).and_then(|about| about.modified()).ok();
    let seconds = modified.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs());
    // Days to a civil year, after Howard Hinnant's `civil_from_days`.
    let z = (seconds / 86_400) as i64 + 719_468;
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let is_next = (5 * doy + 2) / 153 >= 10;
    (yoe + z.div_euclid(146_097) * 400 + i64::from(is_next)) as i32
}

fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut stem = name.as_str();
    for end in [".gz", ".zst", ".xz", ".bz2", ".log", ".txt", ".csv", ".tsv", ".json", ".ndjson", ".jsonl"] {
        stem = stem.strip_suffix(end).unwrap_or(stem);
    }
    stem.to_string()
}

/// A name for a project, a pipeline or a table.
fn plain(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let plain = plain.trim_matches('_').to_string();
    match plain.chars().next() {
        None => "events".into(),
        Some(c) if c.is_ascii_digit() => format!("log_{plain}"),
        Some(_) => plain,
    }
}

/// Runs the draft over its files, to know what is much.
fn settle(mut draft: Draft) -> Result<Draft> {
    let folder = std::env::temp_dir().join(format!("ouzel-init-{}-{}", std::process::id(), draft.name));
    let _gone = Scratch(folder.clone());
    write(&folder, "trial", std::slice::from_ref(&draft), true)?;
    let (project, report) = project::load(&folder, &environment);
    let Some(project) = project else {
        let text = report.render(|severity, word| if severity == Severity::Error { word.to_string() } else { String::new() });
        return Err(Error::internal(format!("the pipeline that was drafted is not valid; please report this:\n{text}")));
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options { threads, ..Options::default() };
    let ended = run(&project.pipelines[0].plan, &project.place(), &options, &Control::default(), &mut |_| {})?;
    if let Some(e) = ended.error {
        return Err(e);
    }
    let queries = Queries::open(&project.place().lake, threads, false)?;
    let all: Vec<String> = draft.entities.iter().flat_map(|e| &e.measures).map(|m| m.name.clone()).collect();
    if !all.is_empty() {
        let much: Vec<String> =
            all.iter().map(|name| format!("cast(approx_percentile_cont({}, 0.99) as double)", quoted(name))).collect();
        let row = numbers(&queries, &format!("select {} from trial", much.join(", ")))?;
        for (measure, much) in draft.entities.iter_mut().flat_map(|e| &mut e.measures).zip(row) {
            measure.much = Some(much.unwrap_or(10.0).max(3.0).round());
        }
    }
    // The scores with these numbers, over what was measured.
    let scores = draft.scores();
    if !scores.is_empty() {
        let cuts =
            |sql: &str| [0.99, 0.999].map(|part| format!("cast(approx_percentile_cont({sql}, {part}) as double)")).join(", ");
        let all: Vec<String> = scores.iter().map(|(_, sql)| cuts(sql)).collect();
        let row = numbers(&queries, &format!("select {} from trial", all.join(", ")))?;
        for (entity, cut) in draft.entities.iter_mut().zip(row.chunks(2)) {
            if let [Some(one), Some(tenth)] = cut {
                // What is at one of the marks is beyond it; where little happens, little is unusual.
                let down = |n: f64| ((n * 100.0).floor() / 100.0).max(1.0);
                entity.cuts = Some((down(*one), down(*tenth)));
            }
        }
    }
    Ok(draft)
}

/// The one row of an answer.
fn numbers(queries: &Queries, sql: &str) -> Result<Vec<Option<f64>>> {
    let batches = queries.all(sql)?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
    let number = |column: &arrow_array::ArrayRef| {
        let column = column.as_primitive_opt::<Float64Type>()?;
        (!column.is_null(0)).then(|| column.value(0))
    };
    Ok(batch.columns().iter().map(number).collect())
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(dir: &Path, name: &str, drafts: &[Draft], trial: bool) -> Result<()> {
    let put = |file: &str, text: &str| {
        let path = dir.join(file);
        let doing = || format!("writing `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(dir)).doing(doing)?;
        std::fs::write(&path, text).doing(doing)
    };
    let state = if trial {
        "stores: { state: { memory: {} } }\n"
    } else {
        "stores:\n  lake: { local: { path: lake } }       # Delta tables, readable by any engine\n"
    };
    put("ouzel.yaml", &format!("# yaml-language-server: $schema=.ouzel/schema/project.json\nname: {name}\n{state}"))?;
    drafts.iter().try_for_each(|draft| put(&format!("pipelines/{}.yaml", draft.name), &draft.pipeline(trial)))?;
    if !trial {
        put(".gitignore", "/.ouzel/\n/lake/\n")?;
        crate::cli::schema::write(dir).doing(|| "writing the schemas".into())?;
    }
    Ok(())
}

/// What was found in a file, for people.
fn tell(out: &mut String, draft: &Draft) {
    let found = &draft.found;
    let files = draft.files.len() as u64;
    let _ = writeln!(
        out,
        "pipelines/{}.yaml: {}, {} records of {files} file{} looked at",
        draft.name,
        found.what,
        count(found.records as u64),
        plural(files)
    );
    let filled: Vec<_> = found.columns.iter().filter(|column| column.filled > 0).collect();
    let wide = |of: &dyn Fn(&sniff::Column) -> usize| filled.iter().map(|c| of(c)).max().unwrap_or(0);
    let (names, kinds) = (wide(&|c| c.name.chars().count()), wide(&|c| c.kind.to_string().len()));
    for column in &filled {
        let role = column.role.map_or("", |role| match role {
            Role::Time => "time",
            Role::Identity => "identity",
            Role::Address => "address",
            Role::User => "user",
            Role::Session => "session",
            Role::Host => "host",
            Role::Agent => "user agent",
            Role::Resource => "resource",
            Role::Status => "status",
            Role::Action => "action",
            Role::Message => "message",
            Role::Label => "label, unused",
            Role::Sender => "sender",
            Role::Recipient => "recipient",
        });
        let example = column.examples.first().map_or("", String::as_str);
        let example: String = example.chars().map(|c| if c.is_control() { ' ' } else { c }).take(48).collect();
        let _ = writeln!(
            out,
            "  {:names$}  {:kinds$}  {role:<13}  {:>7} value{}  {example}",
            column.name,
            column.kind.to_string(),
            count(column.distinct as u64),
            if column.distinct == 1 { " " } else { "s" }
        );
    }
    let empty = found.columns.len() - filled.len();
    if empty > 0 {
        let _ = writeln!(out, "  ({empty} more have no value)");
    }
    for note in &draft.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    let by: Vec<&str> = draft.entities.iter().map(|e| e.column.as_str()).collect();
    if !by.is_empty() {
        let _ = writeln!(out, "  remembers, by {}: how often, how many different, how many failures", by.join(", by "));
    }
}
