//! What a table's commits tell of the jobs that made them.

use ouzel_core::Result;
use ouzel_lake::Location;
use ouzel_lake::jobs::history;
use serde::Serialize;
use serde_json::Value;

/// One commit of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub version: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// What it told: `kind`, `sources`, `partitions`, `rows`, `checks`.
    pub job: Value,
}

/// The latest so many, the latest first, as far back as the table's log reaches.
pub fn audit(lake: &Location, target: &str, most: usize) -> Result<Vec<Entry>> {
    let told = history::told(&lake.join(target), most)?;
    Ok(told.into_iter().map(|(version, at, about)| Entry { version, at, job: about["job"].clone() }).collect())
}
