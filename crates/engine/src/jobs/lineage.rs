//! Which columns of its sources each column of a job's table is made of, from its SQL.

use super::landing::Landing;
use super::run::rendered;
use super::template::{Given, table_of_source};
use super::{Job, Lake};
use ouzel_core::Result;
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
    lake.give_elsewhere(job, &queries)?;
    let sql = rendered(job, &Given { this: &job.target, incremental: false, interval: None })?;
    queries.lineage(&sql).map_err(|e| e.context(job.file.clone()))
}
