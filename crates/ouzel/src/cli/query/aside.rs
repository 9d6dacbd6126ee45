//! What was set aside, as tables: `dead_letters` and `quarantine`. `pipeline` is the job's table where a job has set it aside.

use super::super::aside::{SetAside, journals};
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use ouzel_core::{Error, Result};
use ouzel_engine::Project;
use ouzel_engine::journal::{Entry, Fate};
use ouzel_lake::Queries;
use std::sync::Arc;

/// Tables with the columns `pipeline, id, reason, file, byte, raw`: what has not been dropped or tried again.
pub fn offer(queries: &Queries, project: &Project) {
    for (table, fate) in [("dead_letters", Fate::DeadLettered), ("quarantine", Fate::Quarantined)] {
        let all = journals(project);
        queries.offer(table, move || rows(&all, fate));
    }
}

fn rows(all: &[SetAside], fate: Fate) -> Result<RecordBatch> {
    let mut found: Vec<(&str, Entry)> = Vec::new();
    for journal in all {
        found.extend(journal.open(fate)?.entries()?.map(|entry| (journal.name.as_str(), entry)));
    }
    let text =
        |of: &dyn Fn(&(&str, Entry)) -> String| -> ArrayRef { Arc::new(StringArray::from_iter_values(found.iter().map(of))) };
    let bytes: ArrayRef = Arc::new(UInt64Array::from_iter_values(found.iter().map(|(_, entry)| entry.origin.1)));
    RecordBatch::try_from_iter([
        ("pipeline", text(&|(pipeline, _)| pipeline.to_string())),
        ("id", text(&|(_, entry)| entry.id.clone())),
        ("reason", text(&|(_, entry)| entry.reason.clone())),
        ("file", text(&|(_, entry)| entry.origin.0.clone())),
        ("byte", bytes),
        ("raw", text(&|(_, entry)| entry.text())),
    ])
    .map_err(|e| Error::internal(e.to_string()))
}
