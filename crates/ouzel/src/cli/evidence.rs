//! `ouzel evidence`: what the entity of an alert, or of an event, had done until then, from the lake.

use super::query::{self, told};
use super::validate::load;
use super::{Exit, Format, environment};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Error, Result};
use ouzel_engine::explain::{Found, find};
use ouzel_engine::registry::SinkConfig;
use ouzel_engine::{Plan, Project};
use ouzel_lake::{Queries, quoted};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `_id` of an alert or of another output, or the event's own id where the pipeline says which field that is.
    id: String,
    /// Whose events: fields; by default those that the alert is `per`, or that the first features are by.
    #[arg(long, value_name = "FIELD", num_args = 1..)]
    by: Vec<String>,
    /// How long before the event.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    within: TimeSpan,
    /// The latest so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// All columns, not only fields and decision.
    #[arg(long)]
    all: bool,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let opened = || -> Result<(Queries, String)> {
        let found = find(root, &project, &environment, &args.id, false)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let queries = Queries::open(&project.place().lake, threads, true)?;
        let sql = sql(&project, &queries, &found, args)?;
        Ok((queries, sql))
    };
    match opened() {
        Ok((queries, sql)) => query::show(&queries, &sql, format),
        Err(e) => told(&e),
    }
}

/// The events of the same entity in the window that ends with this one, the latest first.
fn sql(project: &Project, queries: &Queries, found: &Found, args: &Args) -> Result<String> {
    let plan = &found.plan;
    let Some(table) = &found.table else {
        return Err(Error::config(format!(
            "`{}` is in no table with all its columns: evidence is what lies in the lake. Give the pipeline `sinks: [{{ lake: {{ table: .. }} }}]`",
            args.id
        )));
    };
    let by = match args.by.is_empty() {
        true => entity(project, queries, plan, &args.id)?,
        false => args.by.clone(),
    };
    let time = quoted(plan.time_name());
    let mut same = Vec::new();
    for field in &by {
        let Some(column) = found.row.column_by_name(field) else {
            return Err(Error::config(format!("the table `{table}` has no column `{field}`")));
        };
        let column = arrow_cast::cast(column, &DataType::Utf8).map_err(|e| Error::internal(e.to_string()))?;
        let value = column.as_string::<i32>();
        same.push(match value.is_null(0) {
            true => return Err(Error::config(format!("`{field}` of this event is null: there is nobody to look for"))),
            false => format!("cast({} as text) = '{}'", quoted(field), value.value(0).replace('\'', "''")),
        });
    }
    let at = found.row.column_by_name(plan.time_name());
    let at = at.map(|at| arrow_cast::cast(at, &DataType::Int64)).transpose().map_err(|e| Error::internal(e.to_string()))?;
    let at = at.ok_or_else(|| Error::config(format!("the table `{table}` lacks the event's time")))?;
    let at = at.as_primitive::<arrow_array::types::Int64Type>().value(0);
    let from = at.saturating_sub(args.within.micros());
    let fields = plan.fields.iter().map(|field| field.spec.name.as_str()).filter(|f| found.row.column_by_name(f).is_some());
    let decided = ["_id", "decision", "rule"].into_iter().filter(|name| found.row.column_by_name(name).is_some());
    let columns = match args.all {
        true => "*".to_string(),
        false => decided.chain(fields).map(quoted).collect::<Vec<_>>().join(", "),
    };
    Ok(format!(
        "select {columns} from {} where {} and cast({time} as bigint) > {from} and cast({time} as bigint) <= {at} order by {time} desc, \
         cast(split_part(_id, '.', -2) as bigint) desc limit {}",
        quoted(table),
        same.join(" and "),
        args.limit
    ))
}

/// Whom an alert is about; of another event, whom the pipeline's first alert with an entity would be, or its first features.
fn entity(project: &Project, queries: &Queries, plan: &Plan, id: &str) -> Result<Vec<String>> {
    let mut named = None;
    for sink in project.pipelines.iter().flat_map(|pipeline| &pipeline.plan.sinks).filter(|sink| sink.of_alerts) {
        let SinkConfig::Lake(lake) = &sink.config else { continue };
        let has = |name: &str| sink.schema.index_of(name).is_ok();
        if !(has("_id") && has("alert_name") && queries.tables().contains(&lake.table.value)) {
            continue;
        }
        let found = queries.all(&format!(
            "select alert_name from {} where _id = '{}' limit 1",
            quoted(&lake.table.value),
            id.replace('\'', "''")
        ))?;
        let name = found.iter().find(|rows| rows.num_rows() > 0).map(|rows| arrow_cast::cast(rows.column(0), &DataType::Utf8));
        if let Some(Ok(name)) = name {
            named = Some(name.as_string::<i32>().value(0).to_string());
        }
    }
    let alerts = || plan.alerts.iter().filter(|alert| !alert.entity().is_empty());
    let alert = alerts().find(|alert| named.as_ref() == Some(&alert.name)).or_else(|| alerts().next());
    let by_features = || plan.groups.first().map(|group| group.group.name.split(", ").map(String::from).collect());
    let by =
        alert.map(|alert| alert.entity()).or_else(by_features).filter(|by: &Vec<String>| !by.iter().all(|name| name == "all"));
    by.ok_or_else(|| Error::config("the pipeline says not whom its events are about: name fields with `--by`"))
}
