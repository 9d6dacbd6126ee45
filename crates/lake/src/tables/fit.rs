//! Whether a sink's columns fit a table that is already there.

use super::columns::{COMMENT, Columns};
use deltalake_core::kernel::{DataType, EagerSnapshot, Metadata, MetadataExt, StructType};
use ouzel_core::{Error, Result};
use serde_json::{Value, json};

/// The table's metadata with our new columns; `None` if there are none.
pub fn grown(snapshot: &EagerSnapshot, ours: &Columns) -> Result<Option<Metadata>> {
    let metadata = snapshot.metadata();
    if metadata.partition_columns().iter().ne(ours.partition_names().iter()) {
        let (theirs, ours) = (metadata.partition_columns().join(", "), ours.partition_names().join(", "));
        return Err(Error::config(format!("the table is partitioned by [{theirs}], the sink by [{ours}]")));
    }
    let schema = snapshot.schema();
    let mut fields: Vec<_> = schema.fields().cloned().collect();
    let mut changes = false;
    for field in &ours.delta {
        match fields.iter_mut().find(|old| old.name().to_lowercase() == field.name().to_lowercase()) {
            None => {
                fields.push(field.clone());
                changes = true;
            }
            Some(old) if old.name() != field.name() => {
                return Err(Error::config(format!("column `{}` is called `{}` in the table", field.name(), old.name())));
            }
            Some(old) if !same_type(old.data_type(), field.data_type()) => {
                return Err(Error::config(format!(
                    "column `{}` is `{}` in the table and `{}` now: give it another name, or write to another table",
                    field.name(),
                    old.data_type(),
                    field.data_type()
                )));
            }
            Some(old) => {
                // What was said of a column stays where nothing is said.
                let said = field.metadata().get(COMMENT);
                if said.is_some() && old.metadata().get(COMMENT) != said {
                    old.metadata.extend(said.map(|said| (COMMENT.to_string(), said.clone())));
                    changes = true;
                }
            }
        }
    }
    let ours: Vec<&String> = ours.delta.iter().map(|field| field.name()).collect();
    if let Some(missing) = fields.iter().find(|old| !old.is_nullable() && !ours.contains(&old.name())) {
        return Err(Error::config(format!(
            "the table needs column `{}`, which may not be null and is not written here",
            missing.name()
        )));
    }
    if !changes {
        return Ok(None);
    }
    let schema = StructType::try_new(fields).map_err(|e| Error::config(e.to_string()))?;
    metadata.clone().with_schema(&schema).map(Some).map_err(|e| Error::internal(e.to_string()))
}

/// Types as readers see them: whether items of a list may be null does not count.
fn same_type(a: &DataType, b: &DataType) -> bool {
    a.to_string() == b.to_string()
}

/// Refuses tables whose rules we would break: we check no constraints, compute no columns and map no names.
pub fn check_writable(snapshot: &EagerSnapshot) -> Result<()> {
    const KNOWN: [&str; 10] = [
        "appendOnly",
        "invariants",
        "checkConstraints",
        "changeDataFeed",
        "generatedColumns",
        "timestampNtz",
        "deletionVectors",
        "v2Checkpoint",
        "domainMetadata",
        "vacuumProtocolCheck",
    ];
    let refuse = |what: String| Err(Error::config(format!("the table uses {what}, which cannot be written yet")));
    let protocol = json!(snapshot.protocol());
    for feature in protocol["writerFeatures"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !KNOWN.contains(&feature) {
            return refuse(format!("the feature `{feature}`"));
        }
    }
    for (key, value) in snapshot.metadata().configuration() {
        if key.starts_with("delta.constraints.") || (key == "delta.columnMapping.mode" && value != "none") {
            return refuse(format!("`{key}`"));
        }
    }
    for field in snapshot.schema().fields() {
        if let Some(rule) = ["delta.invariants", "delta.generationExpression", "delta.identity.start"]
            .iter()
            .find(|rule| field.metadata.contains_key(**rule))
        {
            return refuse(format!("`{rule}` in column `{}`", field.name()));
        }
    }
    Ok(())
}
