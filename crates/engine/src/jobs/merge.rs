//! `write: merge`: of rows with the same key the last that came, whether it is in the table or not.

use super::partitions::partitions;
use super::rows::{Failed, Followed, Made, Making};
use super::run::sound;
use super::{Job, Lake};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::Schema;
use ouzel_core::Error;
use ouzel_lake::jobs::numbered::{NUMBER, Numbered};
use ouzel_lake::jobs::target::Target;
use ouzel_lake::{Queries, quoted};
use std::collections::BTreeMap;

/// Rows that came, all and the last of each key, and the rows of the table's touched partitions, by the names that SQL has for them.
const CAME: &str = "__came";
pub const LAST: &str = "__last";
const OLD: &str = "__old";

/// Writes the rows of the partitions that the new rows' keys lie in, without those that are replaced, and the new ones. `anew`: there are no others.
pub fn write(making: &Making<'_>, followed: &Followed, anew: bool) -> Result<Made, Failed> {
    let Making { lake, job, queries, target, .. } = *making;
    let (last, duplicates) = last_of_each(lake, job, queries, making.sql, followed, target)?;
    let columns = names(target.schema());
    let new = format!("select {columns} from {LAST}");
    if anew {
        let written = target.write(lake.counted(queries.run(&new)?), lake.threads)?;
        return Ok(Made { duplicates, replaced: target.replaced(None)?, ..making.made(written)? });
    }
    let root = lake.lake.join(&job.target);
    queries.at_version(&job.target, &root, target.version())?;
    let same: Vec<String> = keys(job, target).iter().map(|key| format!("{} = {}", key.of("n"), key.of("o"))).collect();
    // What came is the side of the joins that is kept in memory: the table may be larger than that.
    let joined = |kind: &str, table: &str| format!("{LAST} as n right {kind} join {table} as o on {}", same.join(" and "));
    let replaced_rows = format!("select o.* from {}", joined("semi", &quoted(&job.target)));
    let replaced = match job.partition_by().is_empty() {
        true if number(queries, &format!("select count(*) from ({replaced_rows}) as r"))? > 0 => target.replaced(None)?,
        true => target.replaced(Some(&[]))?,
        false => {
            let mut touched = BTreeMap::new();
            partitions(queries, job, &replaced_rows, &mut touched)?;
            target.replaced(Some(&touched.into_values().collect::<Vec<_>>()))?
        }
    };
    queries.give(OLD, target.files(replaced.removed().to_vec(), queries.damage())?);
    let before = number(queries, &format!("select count(*) from {OLD}"))?;
    let sql = format!("select {columns} from {} union all {new}", joined("anti", OLD));
    let written = target.write(lake.counted(queries.run(&sql)?), lake.threads)?;
    let updated = (before + last.rows).saturating_sub(written.rows);
    Ok(Made { replaced, updated, duplicates, ..making.made(written)? })
}

/// The last row of each key, which is the table [`LAST`] of `queries` from here on, and how many came before others. A key that is null anywhere is like no other.
pub fn last_of_each(
    lake: &Lake<'_>,
    job: &Job,
    queries: &Queries,
    sql: &str,
    followed: &Followed,
    target: &Target,
) -> Result<(Numbered, u64), Failed> {
    if let Some(name) = job.unique_key().iter().find(|name| target.schema().field_with_name(name).is_err()) {
        return Err(Error::config(format!("`unique_key` names `{name}`, which the SQL does not give")).into());
    }
    let beside = lake.lake.join(&job.target).beside()?;
    let mut in_order = queries.in_order(sql, &followed.table, &followed.files, lake.threads);
    let came = Numbered::write(&beside, target, in_order.by_ref());
    let came = came.map_err(|e| Failed { e, suspects: in_order.files().to_vec(), keys_lost: false })?;
    sound(queries)?;
    queries.give(CAME, came.table());
    let columns = names(target.schema());
    let keys: Vec<String> = keys(job, target).iter().map(|key| key.of("c")).collect();
    let none: Vec<String> = keys.iter().map(|key| format!("{key} is null")).collect();
    let sql = format!(
        "select {columns} from (select c.*, {} as __none, row_number() over (partition by {} order by {NUMBER} desc) as __place from {CAME} as c) as placed
         where __place = 1 or __none",
        none.join(" or "),
        keys.join(", ")
    );
    let last = Numbered::write(&beside, target, queries.run(&sql)?)?;
    queries.give(LAST, last.table());
    let dropped = came.rows - last.rows;
    Ok((last, dropped))
}

/// A column of the key. As a partition's value an empty text is null.
struct KeyColumn {
    name: String,
    empty_is_null: bool,
}

impl KeyColumn {
    /// As SQL has it of a table.
    fn of(&self, table: &str) -> String {
        let column = format!("{table}.{}", quoted(&self.name));
        if self.empty_is_null { format!("nullif({column}, '')") } else { column }
    }
}

fn keys(job: &Job, target: &Target) -> Vec<KeyColumn> {
    let partition_by = job.partition_by();
    let is_text = |name: &str| target.schema().field_with_name(name).is_ok_and(|field| field.data_type().is_string());
    let key = |name: String| KeyColumn { empty_is_null: partition_by.contains(&name) && is_text(&name), name };
    job.unique_key().into_iter().map(key).collect()
}

/// Columns as SQL lists them.
fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ")
}

fn number(queries: &Queries, sql: &str) -> ouzel_core::Result<u64> {
    let rows = queries.all(sql)?;
    let first = rows.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| Error::internal("a count without a row"))?;
    Ok(first.column(0).as_primitive::<Int64Type>().value(0) as u64)
}
