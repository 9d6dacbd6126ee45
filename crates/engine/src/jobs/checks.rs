//! Checks of a run's rows, before anybody sees them. Each is a query that finds what is wrong.

use super::config::{Allowed, CheckConfig, RowCountCheck, Severity};
use super::run::sound;
use super::template::{Given, render};
use super::{Job, Lake, Records, audit, lineage};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use ouzel_connect::sinks::objects;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::{Error, Result};
use ouzel_lake::{Queries, quoted};
use serde::Serialize;
use serde_json::{Value, json};

/// The run's rows, as checks name them.
pub const NEW: &str = "__new";
/// Failing rows that are kept to be looked at.
const KEPT: usize = 100;

/// What a check has found.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    pub name: String,
    pub failing: u64,
    pub ok: bool,
    /// It does not stop the run.
    pub warns: bool,
    /// Some of the failing rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Value>,
}

/// How a check looks.
struct Look {
    /// Finds what is wrong.
    sql: Option<String>,
    /// Rows that it looks at.
    of: u64,
    /// What is known to be wrong before.
    failing: u64,
    kept: Vec<Value>,
}

impl Look {
    fn for_rows(sql: String, of: u64) -> Look {
        Look { sql: Some(sql), of, failing: 0, kept: Vec::new() }
    }

    /// At the run itself: what is wrong with it.
    fn at_run(wrong: Option<Value>, of: u64) -> Look {
        Look { sql: None, of, failing: u64::from(wrong.is_some()), kept: wrong.into_iter().collect() }
    }
}

/// The run that is looked at.
#[derive(Default)]
pub struct Run<'a> {
    /// Rows that it made.
    pub made: u64,
    /// Rows of the latest runs of its kind.
    pub before: Vec<u64>,
    /// Columns that it gives; the table may have others, of earlier ones.
    pub columns: Vec<String>,
    /// What has become of the records that it read, if it did.
    pub records: Option<Records>,
    /// Why some of them were set aside.
    pub reasons: &'a [String],
}

/// Runs a job's checks. In `queries` the table `__new` has the rows, so many, that are looked at, and the target's name stands for the table as it will be.
pub fn check(job: &Job, queries: &Queries, rows: u64, run: &Run<'_>) -> Result<Vec<Checked>> {
    let mut found = Vec::new();
    for check in job.config.checks.iter().filter_map(|check| check.0.as_ref()) {
        let (name, Look { sql, of, mut failing, mut kept }) = look(job, &check.value, rows, run)?;
        let found_by = sql.map(|sql| queries.run(&sql)).transpose().map_err(|e| e.context(format!("the check `{name}`")))?;
        for batch in found_by.into_iter().flatten() {
            let batch: RecordBatch = batch?;
            failing += batch.num_rows() as u64;
            if kept.len() < KEPT {
                let some = batch.slice(0, batch.num_rows().min(KEPT - kept.len()));
                kept.extend(objects(&some)?.into_iter().map(Value::Object));
            }
        }
        let allowed = check.value.at_most().and_then(Allowed::read).unwrap_or(Allowed::Rows(0));
        let ok = allowed.holds(failing, of);
        let warns = check.value.severity() == Severity::Warn;
        found.push(Checked { name, failing, ok, warns, rows: if ok { Vec::new() } else { kept } });
    }
    Ok(found)
}

/// Runs a job's checks on its table as it is: all of it stands for the run's rows, and `row_count` looks at the last run. [`ouzel_core::Kind::Config`]: there is no table yet.
pub fn check_now(lake: &Lake<'_>, job: &Job) -> Result<Vec<Checked>> {
    let told = audit::audit(lake.lake, &job.target, COMPARED + 1)?;
    let Some(last) = told.first() else { return Err(Error::config(format!("`{}` has not run yet", job.target))) };
    let queries = lake.queries()?;
    lake.give_elsewhere(job, &queries)?;
    let root = lake.lake.join(&job.target);
    queries.give(NEW, queries.version(&root, last.version)?);
    let rows = queries.all(&format!("select count(*) from {}", quoted(NEW)))?;
    let rows = rows.first().map_or(0, |batch| batch.column(0).as_primitive::<Int64Type>().value(0) as u64);
    let of_its_kind = told[1..].iter().filter(|entry| entry.job["kind"] == last.job["kind"]);
    let before: Vec<u64> = of_its_kind.filter_map(|entry| entry.job["rows"].as_u64()).collect();
    let records = serde_json::from_value(last.job["records"].clone()).ok();
    // Only who asks for it looks at the sources, which may be gone by now.
    let asks = |check: &CheckConfig| matches!(check, CheckConfig::Malformed(_) | CheckConfig::Implausible(_));
    let columns = match job.config.checks.iter().filter_map(|check| check.0.as_ref()).any(|check| asks(&check.value)) {
        true => lineage(lake, job)?.into_iter().map(|(name, _)| name).collect(),
        false => Vec::new(),
    };
    let run = Run { made: last.job["rows"].as_u64().unwrap_or(rows), before, columns, records, reasons: &[] };
    let checked = check(job, &queries, rows, &run)?;
    sound(&queries)?;
    Ok(checked)
}

/// Runs whose median is compared with.
pub const COMPARED: usize = 10;
const COMPARED_MIN: usize = 3;

/// What is odd about a number of rows.
fn odd_count(check: &RowCountCheck, rows: u64, before: &[u64]) -> Option<Value> {
    let mut before = before.to_vec();
    before.sort_unstable();
    let around = check.around.as_ref().filter(|_| before.len() >= COMPARED_MIN).and_then(|around| Allowed::read(around));
    let median = before.get(before.len() / 2).copied().unwrap_or(0);
    let far = match around {
        Some(Allowed::Part(part)) => rows.abs_diff(median) as f64 > part * median as f64,
        _ => false,
    };
    let odd = far || check.min.is_some_and(|min| rows < min) || check.max.is_some_and(|max| rows > max);
    odd.then(|| json!({ "rows": rows, "min": check.min, "max": check.max, "median": around.map(|_| median) }))
}

/// A check's name, and how it looks.
fn look(job: &Job, check: &CheckConfig, rows: u64, run: &Run<'_>) -> Result<(String, Look)> {
    let list = |columns: &[String]| columns.iter().map(|c| quoted(c)).collect::<Vec<_>>();
    let new = quoted(NEW);
    Ok(match check {
        CheckConfig::NotEmpty(_) => ("not_empty".into(), Look::at_run((rows == 0).then(|| json!({ "rows": 0 })), rows)),
        CheckConfig::Unique(c) => {
            let names: Vec<String> = c.columns.0.iter().map(|c| c.value.clone()).collect();
            let by = list(&names).join(", ");
            let sql = format!("select {by}, count(*) as rows from {} group by {by} having count(*) > 1", quoted(&job.target));
            (format!("unique {}", names.join(", ")), Look::for_rows(sql, rows))
        }
        CheckConfig::NotNull(c) => {
            let names: Vec<String> = c.columns.0.iter().map(|c| c.value.clone()).collect();
            let any = list(&names).iter().map(|c| format!("{c} is null")).collect::<Vec<_>>().join(" or ");
            (format!("not_null {}", names.join(", ")), Look::for_rows(format!("select * from {new} where {any}"), rows))
        }
        CheckConfig::Accepted(c) => {
            let values = c.values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect::<Vec<_>>().join(", ");
            let column = quoted(&c.column.value);
            let sql = format!("select * from {new} where {column} is not null and cast({column} as varchar) not in ({values})");
            (format!("accepted {}", c.column.value), Look::for_rows(sql, rows))
        }
        CheckConfig::Range(c) => {
            let column = quoted(&c.column.value);
            let below = c.min.map(|min| format!("{column} < {min}"));
            let above = c.max.map(|max| format!("{column} > {max}"));
            let any = below.into_iter().chain(above).collect::<Vec<_>>().join(" or ");
            let any = if any.is_empty() { "false".into() } else { any };
            (format!("range {}", c.column.value), Look::for_rows(format!("select * from {new} where {any}"), rows))
        }
        CheckConfig::Relationships(c) => {
            let (column, field) = (quoted(&c.column.value), quoted(&c.field.value));
            let sql = format!(
                "select n.* from {new} n where n.{column} is not null and not exists (select 1 from {} t where t.{field} = n.{column})",
                quoted(&c.to.value)
            );
            (format!("relationships {}", c.column.value), Look::for_rows(sql, rows))
        }
        CheckConfig::Freshness(c) => {
            let (column, table) = (quoted(&c.column.value), quoted(&job.target));
            let oldest = WallClock.now_us() - c.within.value.micros();
            let sql = format!(
                "select newest from (select max({column}) as newest from {table}) as times \
                 where newest is null or arrow_cast(newest, 'Timestamp(Microsecond, None)') < arrow_cast({oldest}, 'Timestamp(Microsecond, None)')"
            );
            (format!("freshness {}", c.column.value), Look::for_rows(sql, rows))
        }
        CheckConfig::RowCount(c) => ("row_count".into(), Look::at_run(odd_count(c, run.made, &run.before), rows)),
        CheckConfig::Malformed(_) => {
            let aside = run.records.map_or(0, |records| records.quarantined + records.dead_lettered);
            let look = marked(run, "malformed", |records| records.malformed, rows)?;
            let reasons = run.reasons.iter().map(|reason| json!({ "set_aside": reason }));
            let kept = look.kept.into_iter().chain(reasons.filter(|_| aside > 0)).collect();
            ("malformed".into(), Look { of: look.of + aside, failing: look.failing + aside, kept, ..look })
        }
        CheckConfig::Implausible(_) => ("implausible".into(), marked(run, "implausible", |records| records.implausible, rows)?),
        CheckConfig::Sql(c) => {
            let given = Given { this: &job.target, incremental: false, interval: None };
            let rendered = render(&c.query.value, &given)
                .map_err(|(_, why)| Error::config(format!("the check `{}`: {why}", c.name.value)))?;
            (c.name.value.clone(), Look::for_rows(rendered.sql, rows))
        }
    })
}

/// The column that says what is malformed and implausible, and why.
const REASONS: &str = "_reasons";

/// Looks for rows that name something in a column of what reading them has told; where the run gives none, at how many of the run's records did.
fn marked(run: &Run<'_>, what: &str, told: fn(&Records) -> u64, rows: u64) -> Result<Look> {
    let column = format!("_{what}");
    if run.columns.contains(&column) {
        // Why is what somebody wants to know first.
        let columns = if run.columns.iter().any(|name| name == REASONS) { "_reasons, * exclude (_reasons)" } else { "*" };
        let sql = format!("select {columns} from {} where cardinality({}) > 0", quoted(NEW), quoted(&column));
        return Ok(Look::for_rows(sql, rows));
    }
    let missing =
        || Error::config(format!("the check `{what}` looks at the column `{column}`, which the job does not give: select it"));
    let records = run.records.as_ref().ok_or_else(missing)?;
    Ok(Look { sql: None, of: records.rows(), failing: told(records), kept: Vec::new() })
}
