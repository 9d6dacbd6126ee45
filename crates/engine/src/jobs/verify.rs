//! A table beside what its SQL makes of its sources as a whole.

use super::config::Write;
use super::first::FirstOfEach;
use super::merge::LAST;
use super::rows::Followed;
use super::run::{rendered, sound};
use super::template::{Given, table_of_source};
use super::{Job, Lake, audit, first, landing, merge, rows};
use ouzel_core::{Error, Result};
use ouzel_lake::jobs::history;
use ouzel_lake::jobs::keys::{Keys, Secret};
use ouzel_lake::jobs::target::{Target, Written};
use ouzel_lake::{Queries, quoted};
use std::collections::HashMap;

/// What stands for the rows that were made for comparison.
const MADE: &str = "__made";

/// Compares a table with what the job makes of its sources' versions that it was last made of, and of the files that it has taken: rows that are there, that
/// are missing, and that are too many.
pub fn verify(lake: &Lake<'_>, job: &Job) -> Result<(u64, u64, u64)> {
    let Some(last) = audit::audit(lake.lake, &job.target, 1)?.into_iter().next() else {
        return Err(Error::config(format!("`{}` has not run yet", job.target)));
    };
    let queries = lake.queries()?;
    for table in &job.reads {
        let version = last.job["sources"][table].as_u64();
        let version =
            version.ok_or_else(|| Error::config(format!("the last run of `{}` did not read `{table}`: run it", job.target)))?;
        queries.at_version(table, &lake.table(table), version)?;
    }
    let taken = job.source.as_ref().map(|source| landing::taken(lake, job, source)).transpose();
    let taken = taken.map_err(|e| e.context(job.file.clone()))?;
    let followed = match (&job.source, &taken) {
        (Some(source), Some(taken)) => {
            let (table, files) = (table_of_source(&source.name), taken.table());
            queries.give(&table, files.empty());
            Some(Followed { table, files })
        }
        _ if !job.unique_key().is_empty() => {
            let table = job.reads.first().ok_or_else(|| Error::internal("a job that follows no table"))?;
            let version = last.job["sources"][table].as_u64().unwrap_or(0);
            let files = first::in_order(&queries, &lake.table(table), version)?;
            Some(Followed { table: table.clone(), files })
        }
        _ => None,
    };
    let sql = rendered(job, &Given { this: &job.target, incremental: false, interval: None })?;
    let schema = queries.schema_of(&sql)?;
    let columns = schema.fields().iter().map(|field| quoted(field.name())).collect::<Vec<_>>().join(", ");
    let there = format!("select {columns} from {}", quoted(&job.target));
    let root = lake.lake.join(&job.target);
    let target = Target::open(&root, &job.target, &schema, &job.partition_by(), history::latest(&root)?)?;
    let compared = |should: &str| compare(lake, &queries, &target, &there, should);
    let partition_by = job.partition_by();
    let as_stored = |field: &arrow_schema::FieldRef| {
        let name = quoted(field.name());
        match field.data_type().is_string() && partition_by.contains(field.name()) {
            // As a partition's value an empty text is null.
            true => format!("nullif({name}, '') as {name}"),
            false => name,
        }
    };
    let stored = schema.fields().iter().map(as_stored).collect::<Vec<_>>().join(", ");
    let at_once = || compared(&format!("select {stored} from ({sql}) as made"));
    let Some(followed) = followed else { return at_once() };
    if !rows::in_order(job, &queries, &sql, &followed.table)? {
        queries.give(&followed.table, followed.files);
        return at_once();
    }
    if job.config.write == Write::Merge {
        let _last = merge::last_of_each(lake, job, &queries, &sql, &followed, &target).map_err(|failed| failed.e)?;
        return compared(&format!("select {stored} from {LAST}"));
    }
    // Rows that depend on their order are made as a run makes them, into files that no commit names.
    let keys = root.beside()?.join("verify");
    let made = || -> Result<Written> {
        let names = job.unique_key();
        let mut keys = match names.is_empty() {
            true => None,
            false => Some(Keys::open(&keys, &names, lake.memory)?),
        };
        if let Some(keys) = &mut keys {
            keys.clear();
        }
        let rows = FirstOfEach::new(
            queries.in_order(&sql, &followed.table, &followed.files, lake.threads),
            keys.as_mut(),
            &target,
            job,
        )?;
        target.write(rows, lake.threads)
    };
    let made = made();
    let _ = std::fs::remove_dir_all(&keys);
    let made = made?;
    let found = target.files(made.files(), queries.damage()).and_then(|files| {
        queries.give(MADE, files);
        compared(&format!("select {columns} from {}", quoted(MADE)))
    });
    made.discard();
    found
}

/// Bytes that a row's hash takes where it is looked for, at worst.
const BYTES_PER_ROW: u64 = 64;

/// How many rows one query gives, how many of another are not among them, and the other way round; each as often as it is there. Rows are told apart by
/// their 128-bit keyed hashes.
fn compare(lake: &Lake<'_>, queries: &Queries, target: &Target, there: &str, should: &str) -> Result<(u64, u64, u64)> {
    let secret = Secret::new();
    let names: Vec<String> = target.schema().fields().iter().map(|field| field.name().clone()).collect();
    let each = |sql: &str, take: &mut dyn FnMut(u128)| -> Result<u64> {
        let mut rows = 0;
        for batch in queries.run(sql)? {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            secret.hashes_with_nulls(&target.cast(batch.columns(), &names)?)?.into_iter().for_each(&mut *take);
        }
        sound(queries)?;
        Ok(rows)
    };
    // Sums that agree are of the same rows.
    let (mut sum, mut other) = (0_u128, 0_u128);
    let rows = each(there, &mut |hash| sum = sum.wrapping_add(hash))?;
    let others = each(should, &mut |hash| other = other.wrapping_add(hash))?;
    if (rows, sum) == (others, other) {
        return Ok((rows, 0, 0));
    }
    let passes = (rows.max(others) * BYTES_PER_ROW).div_ceil(lake.memory as u64).max(1);
    let (mut missing, mut surplus) = (0, 0);
    for pass in 0..passes {
        let mut found: HashMap<u128, i64> = HashMap::new();
        let is_mine = |hash: u128| hash % u128::from(passes) == u128::from(pass);
        each(there, &mut |hash| {
            if is_mine(hash) {
                *found.entry(hash).or_default() += 1
            }
        })?;
        each(should, &mut |hash| {
            if is_mine(hash) {
                *found.entry(hash).or_default() -= 1
            }
        })?;
        surplus += found.values().filter(|n| **n > 0).map(|n| n.unsigned_abs()).sum::<u64>();
        missing += found.values().filter(|n| **n < 0).map(|n| n.unsigned_abs()).sum::<u64>();
    }
    Ok((rows, missing, surplus))
}
