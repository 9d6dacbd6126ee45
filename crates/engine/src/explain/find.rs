//! Finds the row of an event: in the lake, where it was written; or by running the log again up to it.

use crate::plan::Plan;
use crate::project::{Project, load_with};
use crate::registry::{SinkConfig, SourceConfig};
use crate::runtime::{Control, Options, Place, run};
use arrow_array::RecordBatch;
use ouzel_core::yaml::{Node, Value};
use ouzel_core::{Error, Kind, Result, Span};
use ouzel_lake::{Location, Queries};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A row, and the pipeline that made it.
pub struct Found {
    pub plan: Arc<Plan>,
    pub row: RecordBatch,
    /// Where it was found, for people.
    pub place: String,
    /// The table that has it, unless the log was run again.
    pub table: Option<String>,
}

/// Which event is meant.
struct Wanted<'a> {
    id: &'a str,
    /// What the id of an output tells: pipeline and offset.
    output: Option<(&'a str, u64)>,
}

impl<'a> Wanted<'a> {
    fn of(id: &'a str) -> Wanted<'a> {
        let mut parts = id.rsplitn(5, '.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (ordinal, offset, partition, generation) = (number(), number(), number(), number());
        let name = parts.next();
        let output = ordinal.and(partition).and(generation).and(offset).and_then(|offset| Some((name?, offset)));
        Wanted { id, output }
    }

    /// The condition of its row.
    fn condition(&self, plan: &Plan) -> Option<String> {
        let quoted = self.id.replace('\'', "''");
        match (self.output, plan.event.id) {
            // An alert's id is that of its event, but for the ordinal.
            (Some((name, _)), _) if name == plan.name => {
                Some(format!("_id = '{}.0'", quoted.rsplit_once('.').map_or(quoted.as_str(), |(event, _)| event)))
            }
            (None, Some(column)) => {
                Some(format!("cast(\"{}\" as text) = '{quoted}'", plan.columns.field(column).name().replace('"', "\"\"")))
            }
            _ => None,
        }
    }
}

/// Finds the row of an event by the id of its output, or by the event's own. `replay`: run the log again up to it, which gives its raw
/// text too. [`Kind::Config`]: there is none.
pub fn find(root: &Path, project: &Project, env: &dyn Fn(&str) -> Option<String>, id: &str, replay: bool) -> Result<Found> {
    let wanted = Wanted::of(id);
    let candidates: Vec<&crate::Pipeline> = project.pipelines.iter().filter(|p| wanted.condition(&p.plan).is_some()).collect();
    if candidates.is_empty() {
        let message = match wanted.output {
            Some((name, _)) => format!("`{id}` is of a pipeline `{name}`, which this project does not have"),
            None => format!(
                "`{id}` is no `_id` of an output (PIPELINE.GENERATION.PARTITION.OFFSET.ORDINAL), and no pipeline says which field is its events' `id`"
            ),
        };
        return Err(Error::config(message));
    }
    if !replay {
        for pipeline in &candidates {
            if let Some(found) = in_lake(project, &pipeline.plan, &wanted)? {
                return Ok(found);
            }
        }
    }
    for pipeline in &candidates {
        if let Some(found) = by_replay(root, project, env, &pipeline.name, &wanted)? {
            return Ok(found);
        }
    }
    let names: Vec<&str> = candidates.iter().map(|p| p.name.as_str()).collect();
    let message = format!(
        "there is no event `{id}` in what `{}` has delivered: it may have been set aside (`ouzel quarantine`, `ouzel deadletters`), filtered, or be a duplicate",
        names.join("`, `")
    );
    Err(Error::config(message))
}

fn in_lake(project: &Project, plan: &Arc<Plan>, wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let queries = Queries::open(&project.place().lake, threads, true)?;
    for sink in &plan.sinks {
        let SinkConfig::Lake(lake) = &sink.config else { continue };
        let has = |name: &str| sink.schema.index_of(name).is_ok();
        let own = wanted.output.is_none().then_some(plan.event.id).flatten().map(|id| plan.columns.field(id).name().as_str());
        let measures = plan.written.measures.iter().map(|(name, ..)| name.as_str());
        let scores = plan.written.scores.iter().map(|(name, _)| name.as_str());
        let needs: Vec<&str> = scores.chain(measures).chain(own).chain(["_id"]).collect();
        // A table without what the scores are made of explains nothing.
        if sink.of_alerts || !needs.into_iter().all(has) || !queries.tables().contains(&lake.table.value) {
            continue;
        }
        let Some(condition) = wanted.condition(plan) else { continue };
        let table = lake.table.value.replace('"', "\"\"");
        for row in queries.all(&format!("select * from \"{table}\" where {condition} limit 1"))? {
            if row.num_rows() == 1 {
                let table = lake.table.value.clone();
                return Ok(Some(Found { plan: plan.clone(), row, place: format!("table {table}"), table: Some(table) }));
            }
        }
    }
    Ok(None)
}

/// Runs the log from its beginning, in memory, until the event has come by.
fn by_replay(
    root: &Path,
    project: &Project,
    env: &dyn Fn(&str) -> Option<String>,
    pipeline: &str,
    wanted: &Wanted<'_>,
) -> Result<Option<Found>> {
    if project.pipelines.iter().any(|p| p.name == pipeline && matches!(p.plan.source, SourceConfig::Follow(_))) {
        // What has been rotated away cannot be run again, and what is there has no end.
        return Ok(None);
    }
    let scratch = std::env::temp_dir().join(format!("ouzel-explain-{}", std::process::id()));
    let _gone = Scratch(scratch.clone());
    let table = "explained";
    let condition = match wanted.output {
        // Of whatever generation: the log is the same.
        Some((_, offset)) => format!("_id like '%.{offset}.0'"),
        None => match project.pipelines.iter().find(|p| p.name == pipeline).and_then(|p| wanted.condition(&p.plan)) {
            Some(condition) => condition,
            None => return Ok(None),
        },
    };
    let rewrite = |node: &mut Node| {
        if named(node).is_none_or(|name| name == pipeline) {
            capture(node, table, &condition);
        }
    };
    let (loaded, report) = load_with(root, env, &rewrite);
    let Some(mut loaded) = loaded else {
        return Err(Error::new(Kind::Config, report.render(|_, word| word.to_string())));
    };
    let place = Place {
        lake: Location::Folder(scratch.join("lake")),
        state: scratch.join("state"),
        lasting: false,
        bucket: None,
        ..loaded.place()
    };
    let Some(found) = loaded.pipelines.iter_mut().find(|p| p.name == pipeline) else { return Ok(None) };
    if let Some(plan) = Arc::get_mut(&mut found.plan) {
        plan.keeps_raw = true;
        // Nothing else is written to.
        let last = plan.sinks.pop();
        plan.sinks = last.into_iter().collect();
    }
    let plan = found.plan.clone();
    let control = Control::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let until = wanted.output.map_or(u64::MAX, |(_, offset)| offset);
    let ended = run(&plan, &place, &Options { threads, ..Options::default() }, &control, &mut |progress| {
        if progress.delivered > until {
            control.stop.store(true, Relaxed);
        }
    })?;
    if let Some(e) = ended.error {
        return Err(e);
    }
    let queries = Queries::open(&place.lake, threads, false)?;
    if !queries.tables().iter().any(|t| t == table) {
        return Ok(None);
    }
    let rows = queries.all(&format!("select * from {table} limit 1"))?;
    let row = rows.into_iter().find(|row| row.num_rows() == 1);
    Ok(row.map(|row| Found { plan, row, place: "the log, run again".into(), table: None }))
}

struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.value, Value::Scalar { text, .. } if text == name)
}

/// The name that a pipeline gives itself.
fn named(pipeline: &Node) -> Option<&str> {
    let Value::Map(pairs) = &pipeline.value else { return None };
    match &pairs.iter().find(|(key, _)| is(key, "name"))?.1.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// Adds one table, for one row with all columns, to the sinks.
fn capture(pipeline: &mut Node, table: &str, condition: &str) {
    let span = pipeline.span;
    let Value::Map(pairs) = &mut pipeline.value else { return };
    let scalar = |text: &str| Node { span: Span::default(), value: Value::Scalar { text: text.into(), plain: false } };
    let map = |pairs: Vec<(Node, Node)>| Node { span: Span::default(), value: Value::Map(pairs) };
    let settings = map(vec![(scalar("table"), scalar(table)), (scalar("where"), scalar(condition))]);
    let sink = map(vec![(scalar("lake"), settings)]);
    // The others stay until all is planned: streams need somebody who writes to them.
    match pairs.iter_mut().find(|(key, _)| is(key, "sinks")).map(|(_, sinks)| &mut sinks.value) {
        Some(Value::List(sinks)) => sinks.push(sink),
        _ => pairs.push((scalar("sinks"), Node { span, value: Value::List(vec![sink]) })),
    }
}
