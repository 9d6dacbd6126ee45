//! `ouzel evaluate`: how well a score tells what labels say.

mod labels;
mod picture;

use super::query::told;
use super::terminal::{count, output_has_colour, paint, plural, say};
use super::validate::load;
use super::{Exit, Format};
use anstyle::AnsiColor;
use labels::{KnownBy, Labels};
use ouzel_core::{Error, Result};
use ouzel_detect::evaluation::{Curve, Figures, Labelled, bootstrap, interval};
use ouzel_lake::Queries;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The table with the scores.
    #[arg(long, value_name = "NAME")]
    table: String,
    /// What is judged: a column, or SQL over the table's columns. The higher, the more positive.
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    score: String,
    /// Another score to compare it with.
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    baseline: Option<String>,
    /// A CSV file with a header, perhaps compressed: a key and its label in each line.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// The key: a column of the labels, and SQL over the table's, by default of the same name.
    #[arg(long, value_name = "COLUMN[=SQL]")]
    key: String,
    /// The column of the labels that holds them.
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// The labels that are positive; all others are negative.
    #[arg(long, value_name = "LABEL", required = true, num_args = 1..)]
    positive: Vec<String>,
    /// Labels that do not count.
    #[arg(long, value_name = "LABEL", num_args = 1..)]
    without: Vec<String>,
    /// Only labels that were known by this time, as of `--label-time`: a label comes later than what it is of, and what has none yet is not negative.
    #[arg(long, value_name = "TIME", value_parser = labelled_by)]
    known_by: Option<i64>,
    /// The column of the labels that tells when each became known.
    #[arg(long, value_name = "COLUMN", default_value = "known_at")]
    label_time: String,
    /// How the scores of one key become one.
    #[arg(long, value_enum, default_value_t = Aggregate::Max)]
    aggregate: Aggregate,
    /// SQL whose value tells whom a key is of; intervals are over these. By default each key is one.
    #[arg(long, value_name = "SQL")]
    entity: Option<String>,
    /// SQL whose values are judged each by itself, too.
    #[arg(long, value_name = "SQL")]
    segment: Option<String>,
    /// False-positive rates at which recall is told.
    #[arg(long, value_delimiter = ',', default_values_t = [0.001, 0.01, 0.05])]
    rates: Vec<f64>,
    /// Thresholds at which precision and recall are told.
    #[arg(long, value_delimiter = ',', value_name = "SCORE")]
    thresholds: Vec<f64>,
    /// Resamplings of the intervals; 0 for none.
    #[arg(long, default_value_t = 500)]
    resample: usize,
    /// Draw the curves into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Aggregate {
    Max,
    Mean,
    Sum,
}

/// A key of the table.
struct Scored {
    key: String,
    score: f64,
    baseline: f64,
    entity: String,
    segment: String,
}

fn labelled_by(text: &str) -> std::result::Result<i64, String> {
    labels::time(text).ok_or_else(|| format!("`{text}` is no time: expected for example `2026-01-31T12:00:00Z`"))
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let evaluated = || -> Result<Value> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let queries = Queries::open(&project.place().lake, threads, true)?;
        let about = evaluate(&queries, args)?;
        match queries.damaged().as_slice() {
            [] => Ok(about),
            damaged => Err(Error::new(ouzel_core::Kind::Changed, damaged.join("; "))),
        }
    };
    match evaluated() {
        Err(e) => told(&e),
        Ok(about) => {
            match format {
                Format::Json => say(&about.to_string()),
                Format::Text => say(text(&about, args).trim_end()),
            }
            Exit::Ok
        }
    }
}

fn evaluate(queries: &Queries, args: &Args) -> Result<Value> {
    let (column, key) =
        args.key.split_once('=').map_or_else(|| (args.key.as_str(), format!("\"{}\"", args.key)), |(c, sql)| (c, sql.into()));
    let known = args.known_by.map(|time| KnownBy { column: &args.label_time, time });
    let labels = Labels::read(&args.labels, column, &args.label, known)?;
    for positive in args.positive.iter().chain(&args.without) {
        if !labels.counts.contains_key(positive) {
            let known: Vec<&str> = labels.counts.keys().map(String::as_str).collect();
            return Err(Error::config(format!("no label is `{positive}`: they are {}", known.join(", "))));
        }
    }
    let scored = scored(queries, args, &key)?;
    let mut rows: Vec<(Labelled, Labelled, &str)> = Vec::new();
    let (mut unlabelled, mut left_out, mut unscored) = (0u64, 0u64, 0u64);
    let mut entities: BTreeMap<&str, u32> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for row in &scored {
        seen.insert(row.key.as_str());
        let Some(label) = labels.of(&row.key) else {
            unlabelled += 1;
            continue;
        };
        if args.without.iter().any(|without| without == label) {
            left_out += 1;
            continue;
        }
        unscored += u64::from(row.score.is_nan());
        let next = entities.len() as u32;
        let entity = *entities.entry(row.entity.as_str()).or_insert(next);
        let positive = args.positive.iter().any(|p| p == label);
        rows.push((
            Labelled { score: row.score, positive, entity },
            Labelled { score: row.baseline, positive, entity },
            &row.segment,
        ));
    }
    let unknown = labels.keys().filter(|key| !seen.contains(key)).count() as u64;
    let main: Vec<Labelled> = rows.iter().map(|(row, ..)| *row).collect();
    let Some(curve) = Curve::of(&main) else {
        let positives = main.iter().filter(|row| row.positive).count() as u64;
        return Err(Error::new(
            ouzel_core::Kind::Data,
            format!(
                "of {} keys with a label and a score {} are positive: there is nothing to tell apart. {unknown} labels are of keys that the table does not have, {unlabelled} of its keys have no label",
                main.len(),
                positives
            ),
        ));
    };
    let mut about = json!({
        "keys": main.len(), "positives": curve.positives, "entities": entities.len(),
        "labels_of_unknown_keys": unknown, "keys_without_label": unlabelled, "left_out": left_out, "null_scores": unscored,
        "labels_not_known_yet": labels.unknown_yet,
        "labels": labels.counts, "spellings": labels.spellings(),
        "figures": figures(&main, &curve, args),
    });
    if !args.thresholds.is_empty() {
        about["thresholds"] = args.thresholds.iter().map(|t| at_threshold(&curve, *t)).collect();
    }
    about["rates"] = args
        .rates
        .iter()
        .map(|rate| match curve.at_rate(*rate) {
            None => json!({ "rate": rate, "recall": 0.0 }),
            Some(p) => json!({
                "rate": rate, "threshold": p.threshold, "recall": p.true_positives / curve.positives,
                "precision": p.true_positives / (p.true_positives + p.false_positives), "false_positives": p.false_positives,
            }),
        })
        .collect();
    let mut curves = vec![(args.score.clone(), curve)];
    if args.baseline.is_some() {
        let other: Vec<Labelled> = rows.iter().map(|(_, other, _)| *other).collect();
        if let Some(curve) = Curve::of(&other) {
            about["baseline"] = figures(&other, &curve, args);
            // The same entities are drawn for both.
            let (a, b) = (bootstrap(&main, &[], args.resample, 1), bootstrap(&other, &[], args.resample, 1));
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.auc - b.auc).collect();
            about["auc_beyond_baseline"] = json!(interval(differences));
            curves.push((args.baseline.clone().unwrap_or_default(), curve));
        }
    }
    if args.segment.is_some() {
        let mut segments: BTreeMap<&str, Vec<Labelled>> = BTreeMap::new();
        rows.iter().for_each(|(row, _, segment)| segments.entry(segment).or_default().push(*row));
        let judged = segments.into_iter().map(|(segment, rows)| {
            let figures = Curve::of(&rows).map(|curve| figures(&rows, &curve, args));
            json!({ "segment": segment, "keys": rows.len(), "positives": rows.iter().filter(|r| r.positive).count(), "figures": figures })
        });
        about["segments"] = judged.collect();
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, picture::svg(&curves))
            .map_err(|e| Error::unavailable(format!("writing `{}`: {e}", path.display())))?;
    }
    Ok(about)
}

fn figures(rows: &[Labelled], curve: &Curve, args: &Args) -> Value {
    let at = curve.figures(&args.rates);
    let drawn = bootstrap(rows, &args.rates, args.resample, 1);
    let within = |of: &dyn Fn(&Figures) -> f64| json!(interval(drawn.iter().map(of).collect()));
    json!({
        "auc": at.auc, "auc_interval": within(&|f| f.auc),
        "average_precision": at.average_precision, "average_precision_interval": within(&|f| f.average_precision),
        "recall_at": args.rates.iter().enumerate().map(|(i, rate)| json!({
            "rate": rate, "recall": at.recall_at[i], "interval": within(&|f| f.recall_at[i]),
        })).collect::<Vec<_>>(),
    })
}

fn at_threshold(curve: &Curve, threshold: f64) -> Value {
    let (tp, fp) = curve.at(threshold).map_or((0.0, 0.0), |p| (p.true_positives, p.false_positives));
    let precision = if tp + fp > 0.0 { json!(tp / (tp + fp)) } else { Value::Null };
    json!({ "threshold": threshold, "precision": precision, "recall": tp / curve.positives, "false_positive_rate": fp / curve.negatives })
}

/// The table's keys, each with one score.
fn scored(queries: &Queries, args: &Args, key: &str) -> Result<Vec<Scored>> {
    let aggregate = match args.aggregate {
        Aggregate::Max => "max",
        Aggregate::Mean => "avg",
        Aggregate::Sum => "sum",
    };
    let whole = |sql: &Option<String>, otherwise: &str| {
        sql.as_ref().map_or_else(|| otherwise.to_string(), |sql| format!("max(cast({sql} as text))"))
    };
    let of = |sql: &str| format!("cast({aggregate}(cast({sql} as double)) as double)");
    let sql = format!(
        "select cast({key} as text) as key, {} as score, {} as baseline, {} as entity, {} as segment from \"{}\" group by 1 order by 1",
        of(&args.score),
        args.baseline.as_ref().map_or("cast(null as double)".into(), |sql| of(sql)),
        whole(&args.entity, "cast(null as text)"),
        whole(&args.segment, "cast(null as text)"),
        args.table.replace('"', "\"\"")
    );
    let mut scored = Vec::new();
    for batch in queries.all(&sql)? {
        let text = |i: usize| {
            arrow_cast::cast(batch.column(i), &arrow_schema::DataType::Utf8).map_err(|e| Error::internal(e.to_string()))
        };
        let (keys, entities, segments) = (text(0)?, text(3)?, text(4)?);
        let number = |i: usize| batch.column(i).as_any().downcast_ref::<arrow_array::Float64Array>().cloned();
        let (Some(scores), Some(baselines)) = (number(1), number(2)) else { return Err(Error::internal("scores are numbers")) };
        let string = |array: &arrow_array::ArrayRef, row: usize| {
            use arrow_array::cast::AsArray;
            let texts = array.as_string::<i32>();
            arrow_array::Array::is_valid(texts, row).then(|| texts.value(row).to_string())
        };
        let value = |array: &arrow_array::Float64Array, row: usize| {
            if arrow_array::Array::is_valid(array, row) { array.value(row) } else { f64::NAN }
        };
        for row in 0..batch.num_rows() {
            let Some(key) = string(&keys, row) else { continue };
            let entity = string(&entities, row).unwrap_or_else(|| key.clone());
            let segment = string(&segments, row).unwrap_or_else(|| "-".into());
            scored.push(Scored { score: value(&scores, row), baseline: value(&baselines, row), entity, segment, key });
        }
    }
    Ok(scored)
}

fn text(about: &Value, args: &Args) -> String {
    let colour = output_has_colour();
    let n = |key: &str| about[key].as_f64().unwrap_or(0.0) as u64;
    let mut out = format!(
        "{}: {} keys, {} positive, {} entit{}\n",
        paint(&args.score, AnsiColor::Cyan, colour),
        count(n("keys")),
        count(n("positives")),
        count(n("entities")),
        if n("entities") == 1 { "y" } else { "ies" }
    );
    for (key, says) in [
        ("labels_of_unknown_keys", "label{} of keys that the table does not have"),
        ("keys_without_label", "key{} without a label, not judged"),
        ("left_out", "key{} left out by `--without`"),
        ("labels_not_known_yet", "label{} not known by then"),
        ("null_scores", "key{} without a score: ranked below all others"),
    ] {
        if n(key) > 0 {
            out.push_str(&format!(
                "  {}: {} {}\n",
                paint("note", AnsiColor::Yellow, colour),
                count(n(key)),
                says.replace("{}", plural(n(key)))
            ));
        }
    }
    for spellings in about["spellings"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "  {}: labels that differ in spelling only: {spellings}\n",
            paint("note", AnsiColor::Yellow, colour)
        ));
    }
    out.push_str(&lines(&about["figures"]));
    for at in about["thresholds"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "  at {:<10} precision {}, recall {}, false positives {}\n",
            number(&at["threshold"]),
            number(&at["precision"]),
            number(&at["recall"]),
            number(&at["false_positive_rate"])
        ));
    }
    if !about["baseline"].is_null() {
        out.push_str(&format!(
            "{}\n{}",
            paint(args.baseline.as_deref().unwrap_or_default(), AnsiColor::Cyan, colour),
            lines(&about["baseline"])
        ));
        out.push_str(&format!(
            "  difference of AUC: {} to {}\n",
            number(&about["auc_beyond_baseline"][0]),
            number(&about["auc_beyond_baseline"][1])
        ));
    }
    for segment in about["segments"].as_array().into_iter().flatten() {
        let name = segment["segment"].as_str().unwrap_or_default();
        out.push_str(&format!(
            "{}: {} keys, {} positive\n",
            paint(name, AnsiColor::Cyan, colour),
            segment["keys"],
            segment["positives"]
        ));
        out.push_str(&if segment["figures"].is_null() { "  one class only\n".into() } else { lines(&segment["figures"]) });
    }
    out
}

fn lines(figures: &Value) -> String {
    let within = |of: &Value| if of.is_null() { String::new() } else { format!("  [{}, {}]", number(&of[0]), number(&of[1])) };
    let mut out = format!("  AUC               {}{}\n", number(&figures["auc"]), within(&figures["auc_interval"]));
    out += &format!(
        "  average precision {}{}\n",
        number(&figures["average_precision"]),
        within(&figures["average_precision_interval"])
    );
    for at in figures["recall_at"].as_array().into_iter().flatten() {
        let rate = format!("{} %", at["rate"].as_f64().unwrap_or(0.0) * 100.0);
        out += &format!("  recall at {rate:<7} {}{}\n", number(&at["recall"]), within(&at["interval"]));
    }
    out
}

fn number(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |n| format!("{n:.4}"))
}
