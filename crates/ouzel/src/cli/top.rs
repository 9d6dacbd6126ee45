//! `ouzel top`: what stands out in what a project has written: decisions by rule, alerts by entity, entities by risk, the course of time.

use super::query::told;
use super::terminal::{count, output_has_colour, paint, say};
use super::validate::load;
use super::{Exit, Format};
use anstyle::AnsiColor;
use ouzel_connect::sinks::objects;
use ouzel_core::Result;
use ouzel_engine::Plan;
use ouzel_engine::registry::SinkConfig;
use ouzel_lake::{Queries, quoted};
use serde_json::{Map, Value};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines; all if none is named.
    names: Vec<String>,
    /// Lines of each list.
    #[arg(long, default_value_t = 10)]
    limit: usize,
}

/// Columns of a picture of time.
const BUCKETS: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let pipelines = match project.select(&args.names) {
        Ok(pipelines) => pipelines,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Usage;
        }
    };
    let shown = || -> Result<Value> {
        let queries = Queries::open(&project.place().lake, std::thread::available_parallelism().map_or(1, usize::from), true)?;
        let mut all = Map::new();
        for pipeline in pipelines {
            all.insert(pipeline.name.clone(), look(&queries, &pipeline.plan, args.limit)?);
        }
        queries
            .damaged()
            .iter()
            .for_each(|problem| eprintln!("{}: {problem}", paint("damaged", AnsiColor::Red, output_has_colour())));
        Ok(Value::Object(all))
    };
    match shown() {
        Err(e) => told(&e),
        Ok(all) => {
            match format {
                Format::Json => say(&all.to_string()),
                Format::Text => all.as_object().into_iter().flatten().for_each(|(name, about)| say(text(name, about).trim_end())),
            }
            Exit::Ok
        }
    }
}

/// What a pipeline's tables say.
fn look(queries: &Queries, plan: &Plan, limit: usize) -> Result<Value> {
    let tables = queries.tables();
    let mut about = Map::new();
    for sink in &plan.sinks {
        let SinkConfig::Lake(lake) = &sink.config else { continue };
        let has = |name: &str| sink.schema.index_of(name).is_ok();
        let table = quoted(&lake.table.value);
        if !tables.contains(&lake.table.value) {
            continue;
        }
        let time = plan.time_name();
        for (risk, by) in
            plan.risks.iter().filter(|(risk, by)| !sink.of_alerts && has(risk) && has(time) && by.iter().all(|field| has(field)))
        {
            let by = by.iter().map(|field| quoted(field)).collect::<Vec<_>>();
            // What the entity's latest event says.
            let sql = format!(
                "select concat_ws(' ', {by}) as entity, round({risk}, 2) as risk, {time} as at from (select *, row_number() over (partition by {by} order by {time} desc) as place from {table}) \
                 where place = 1 and {risk} > 0 order by {risk} desc, 1 limit {limit}",
                by = by.join(", "),
                risk = quoted(risk),
                time = quoted(time)
            );
            about.insert("risk".into(), rows(queries, &sql)?);
        }
        if sink.of_alerts && has("alert_name") && has("alert_entity") && has("alert_suppressed") && has("alert_closing") {
            let sql = format!(
                "select alert_name as alert, alert_entity as entity, count(*) filter (where not alert_closing) as raised, sum(alert_suppressed) as held_back, max(alert_time) as last \
                 from {table} group by 1, 2 order by 3 desc, 4 desc, 1, 2 limit {limit}"
            );
            about.insert("alerts".into(), rows(queries, &sql)?);
        } else if !sink.of_alerts && has("decision") && has("rule") {
            let sql = format!(
                "select decision, rule, count(*) as events from {table} group by 1, 2 order by 3 desc, 1, 2 limit {limit}"
            );
            about.insert("decisions".into(), rows(queries, &sql)?);
            if has(time) {
                let time = quoted(time);
                let sql = format!(
                    "with span as (select min({time}) as first, max({time}) as last from {table}), parts as (select least(cast(floor({BUCKETS} * (cast({time} as bigint) - cast(first as bigint)) / \
                     greatest(cast(last as bigint) - cast(first as bigint), 1)) as bigint), {}) as part, decision from {table}, span) \
                     select part, count(*) as events, decision from parts group by part, decision order by part",
                    BUCKETS - 1
                );
                about.insert(
                    "span".into(),
                    rows(queries, &format!("select min({time}) as first, max({time}) as last from {table}"))?,
                );
                about.insert("course".into(), rows(queries, &sql)?);
            }
        }
    }
    Ok(Value::Object(about))
}

fn rows(queries: &Queries, sql: &str) -> Result<Value> {
    let mut found = Vec::new();
    for batch in queries.all(sql)? {
        found.extend(objects(&batch)?.into_iter().map(Value::Object));
    }
    Ok(Value::Array(found))
}

fn text(name: &str, about: &Value) -> String {
    let colour = output_has_colour();
    let mut out = format!("{}\n", paint(name, AnsiColor::Cyan, colour));
    let list = |key: &str| about[key].as_array().cloned().unwrap_or_default();
    if about.as_object().is_none_or(Map::is_empty) {
        out.push_str("  no table with its decisions or alerts: give it `sinks: [{ lake: { table: .. } }]`, and run it\n");
    }
    out.push_str(&table("decisions", &list("decisions"), &["decision", "rule", "events"]));
    out.push_str(&table("alerts", &list("alerts"), &["alert", "entity", "raised", "held_back", "last"]));
    out.push_str(&table("by risk", &list("risk"), &["entity", "risk", "at"]));
    let course = list("course");
    if !course.is_empty() {
        let span = &about["span"][0];
        out.push_str(&format!("  from {} to {}\n", shown(&span["first"]), shown(&span["last"])));
        let mut decisions: Vec<String> = course.iter().map(|row| shown(&row["decision"])).collect();
        decisions.sort();
        decisions.dedup();
        let width = decisions.iter().map(|d| d.chars().count()).max().unwrap_or(0);
        for decision in decisions {
            let mut parts = [0u64; BUCKETS];
            for row in course.iter().filter(|row| shown(&row["decision"]) == decision) {
                let part = row["part"].as_u64().unwrap_or(0) as usize;
                parts[part.min(BUCKETS - 1)] += row["events"].as_u64().unwrap_or(0);
            }
            let most = parts.iter().copied().max().unwrap_or(0).max(1);
            let bar = |n: &u64| if *n == 0 { ' ' } else { BARS[((*n * 8).div_ceil(most) as usize).clamp(1, 8) - 1] };
            let line: String = parts.iter().map(bar).collect();
            out.push_str(&format!("    {decision:width$}  {line}  at most {}\n", count(most)));
        }
    }
    out
}

/// Lines up; numbers stand right.
fn table(title: &str, rows: &[Value], columns: &[&str]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|c| shown(&row[*c])).collect()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| cells.iter().map(|row| row[i].chars().count()).max().unwrap_or(0).max(columns[i].len()))
        .collect();
    let line = |of: &dyn Fn(usize) -> String| {
        let parts: Vec<String> = (0..columns.len())
            .map(|i| {
                if rows[0][columns[i]].is_number() {
                    format!("{:>w$}", of(i), w = widths[i])
                } else {
                    format!("{:w$}", of(i), w = widths[i])
                }
            })
            .collect();
        format!("    {}\n", parts.join("  ").trim_end())
    };
    let mut out =
        format!("  {}\n{}", paint(title, AnsiColor::Cyan, output_has_colour()), line(&|i| columns[i].replace('_', " ")));
    cells.iter().for_each(|row| out.push_str(&line(&|i| row[i].clone())));
    out
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".into(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
        Value::Number(n) => n.as_u64().map_or_else(|| n.to_string(), count),
        other => other.to_string(),
    };
    match text.chars().count() {
        n if n <= 48 => text,
        _ => text.chars().take(47).chain(['…']).collect(),
    }
}
