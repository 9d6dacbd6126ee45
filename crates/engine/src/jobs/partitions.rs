//! Which partitions changed rows touch, and a job's SQL for these alone.

use super::plan::Source;
use super::run::sound;
use super::{Job, Lake};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use ouzel_core::{Error, Result};
use ouzel_lake::jobs::target::Partition;
use ouzel_lake::{Queries, quoted};
use std::collections::BTreeMap;

/// More partitions than this are told apart by a join.
const LISTED_MAX: usize = 200;

/// The partitions that changed rows touch: those of the job's own SQL over the changed rows of each source and the others whole, as they are; and,
/// where others have changed too, as they were, for what was there of two rows that have both gone.
pub fn touched(lake: &Lake<'_>, job: &Job, sql: &str, sources: &[Source]) -> Result<Vec<Partition>> {
    let changed: Vec<&Source> = sources.iter().filter(|source| !source.changes.is_empty()).collect();
    let mut found = BTreeMap::new();
    for source in &changed {
        let before = changed.len() > 1;
        for as_it_was in [false, true].into_iter().take(1 + usize::from(before)) {
            let queries = lake.queries()?;
            for other in sources.iter().filter(|other| other.table != source.table) {
                let version = other.from.filter(|_| as_it_was).unwrap_or(other.to);
                queries.at_version(&other.table, &lake.table(&other.table), version)?;
            }
            let files = source.changes.added.iter().chain(&source.changes.removed).cloned().collect();
            queries.only_files(&source.table, &lake.table(&source.table), source.to, files)?;
            partitions(&queries, job, sql, &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

/// The partitions, of what a job's SQL gives and of what its table has, whose first column lies from one value to another.
pub fn within(queries: &Queries, job: &Job, sql: &str, from: &str, to: &str) -> Result<Vec<Partition>> {
    let names = job.partition_by();
    let schema = queries.schema_of(sql).map_err(|e| e.context(job.file.clone()))?;
    let first = names.first().and_then(|name| schema.field_with_name(name).ok());
    let first =
        first.ok_or_else(|| Error::config(format!("{}: `partition_by` names a column that the SQL does not give", job.file)))?;
    let value = |text: &str| format!("arrow_cast('{}', '{}')", text.replace('\'', "''"), first.data_type());
    for text in [from, to] {
        let wrong =
            |_| Error::config(format!("`{text}` is no value of `{}`, which is of type {}", first.name(), first.data_type()));
        queries.all(&format!("select {}", value(text))).map_err(wrong)?;
    }
    let columns = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let mut found = BTreeMap::new();
    for rows in [format!("({sql})"), quoted(&job.target)] {
        let range = format!("{0} >= {1} and {0} <= {2}", quoted(first.name()), value(from), value(to));
        partitions(queries, job, &format!("select {columns} from {rows} as made where {range}"), &mut found)?;
    }
    Ok(found.into_values().collect())
}

/// The partitions of a query's rows.
pub fn partitions(queries: &Queries, job: &Job, sql: &str, found: &mut BTreeMap<Vec<Option<String>>, Partition>) -> Result<()> {
    let names = job.partition_by();
    let columns = names.iter().map(|name| format!("cast({0} as varchar) as {0}", quoted(name))).collect::<Vec<_>>().join(", ");
    let sql = format!("select distinct {columns} from ({sql}) as changed");
    for batch in queries.run(&sql).map_err(|e| e.context(job.file.clone()))? {
        let batch = batch?;
        let texts = batch.columns().iter().map(|column| arrow_cast::cast(column, &DataType::Utf8));
        let texts = texts.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| Error::internal(e.to_string()))?;
        for row in 0..batch.num_rows() {
            let value = |column: &arrow_array::ArrayRef| {
                let column = column.as_string::<i32>();
                (column.is_valid(row) && !column.value(row).is_empty()).then(|| column.value(row).to_string())
            };
            let values: Vec<Option<String>> = texts.iter().map(value).collect();
            let partition = names.iter().cloned().zip(values.iter().cloned()).collect();
            found.insert(values, partition);
        }
    }
    sound(queries)
}

/// The job's SQL, for some partitions.
pub fn restricted(
    queries: &Queries,
    sql: &str,
    schema: &arrow_schema::Schema,
    names: &[String],
    touched: &[Partition],
) -> Result<String> {
    if touched.len() > LISTED_MAX {
        let columns = names.iter().map(|name| -> arrow_array::ArrayRef {
            std::sync::Arc::new(touched.iter().map(|partition| partition[name].clone()).collect::<arrow_array::StringArray>())
        });
        let rows = RecordBatch::try_from_iter_with_nullable(names.iter().zip(columns).map(|(name, column)| (name, column, true)))
            .map_err(|e| Error::internal(e.to_string()))?;
        queries.give_rows("__touched", rows.schema(), vec![rows])?;
        let same: Vec<String> = names
            .iter()
            .map(|name| format!("(nullif(cast(made.{0} as varchar), '') is not distinct from touched.{0})", quoted(name)))
            .collect();
        return Ok(format!(
            "select made.* from ({sql}) as made where exists (select 1 from __touched as touched where {})",
            same.join(" and ")
        ));
    }
    let one = |partition: &Partition| -> Result<String> {
        let mut same = Vec::new();
        for name in names {
            let column = quoted(name);
            let of = schema
                .field_with_name(name)
                .map_err(|_| Error::config(format!("`partition_by` names `{name}`, which the SQL does not give")))?;
            same.push(match &partition[name] {
                None if matches!(of.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
                    format!("(made.{column} is null or made.{column} = '')")
                }
                None => format!("made.{column} is null"),
                Some(value) => format!("made.{column} = arrow_cast('{}', '{}')", value.replace('\'', "''"), of.data_type()),
            });
        }
        Ok(format!("({})", same.join(" and ")))
    };
    let any = touched.iter().map(one).collect::<Result<Vec<_>>>()?;
    let any = if any.is_empty() { "false".to_string() } else { any.join(" or ") };
    Ok(format!("select made.* from ({sql}) as made where {any}"))
}

/// `day=2026-11-24/country=DE`
pub fn shown(job: &Job, partition: &Partition) -> String {
    let names = job.config.partition_by.0.iter().map(|name| name.value.as_str());
    let parts = names.map(|name| format!("{name}={}", partition.get(name).cloned().flatten().unwrap_or_else(|| "null".into())));
    parts.collect::<Vec<_>>().join("/")
}
