//! Which columns of its sources each column of a job's table is made of, from its SQL.

use super::landing::Landing;
use super::run::rendered;
use super::template::{Given, table_of_source};
use super::{Job, Lake};
use ouzel_core::{Error, Result};
use ouzel_lake::jobs::history;
use ouzel_lake::query::Origin;
use std::collections::BTreeSet;

/// By column, in the order of the SQL: tables and columns; those of a source of files under `source NAME`. [`ouzel_core::Kind::Config`]: a table that it reads is not there
/// yet.
pub fn lineage(lake: &Lake<'_>, job: &Job) -> Result<Vec<(String, BTreeSet<Origin>)>> {
    let queries = lake.queries()?;
    if let Some(source) = &job.source {
        let landing = Landing::look(job, source, &lake.lake.join(&job.target), false)?;
        queries.give(&table_of_source(&source.name), landing.table().empty());
    }
    for table in job.reads.iter().filter(|table| lake.elsewhere.contains_key(*table)) {
        let root = lake.table(table);
        let there = history::latest(&root)?.ok_or_else(|| Error::config(format!("there is no table at `{root}`")))?;
        queries.at_version(table, &root, there)?;
    }
    let sql = rendered(job, &Given { this: &job.target, incremental: false, interval: None })?;
    queries.lineage(&sql).map_err(|e| e.context(job.file.clone()))
}
