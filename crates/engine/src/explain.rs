//! Why an event was decided as it was: its row taken apart by the pipeline's definitions, from the raw text to the rule.

mod find;
mod text;

pub use find::{Found, find};
pub use text::{Paint, Tone};

use crate::plan::Plan;
use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::Schema;
use ouzel_connect::sinks::objects;
use ouzel_core::{Error, Result};
use ouzel_detect::expressions::{Planner, conjuncts, summands};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The way of one event.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    pub id: String,
    pub pipeline: String,
    /// Where its row was found.
    pub found_in: String,
    /// The record as it came, where it was kept.
    pub raw: Option<String>,
    /// Definitions that made the row, if they are not those of now: what is said of terms and rules is of those of now.
    pub other_version: Option<String>,
    pub late: bool,
    pub fields: Vec<Field>,
    pub lookups: Vec<Field>,
    pub features: Vec<Feature>,
    pub scores: Vec<Score>,
    pub decision: Option<String>,
    pub rule: Option<String>,
    /// In their order; those behind the one that decided were not tried.
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Field {
    pub name: String,
    pub value: Value,
    /// `malformed`, or `implausible`, and why.
    pub quality: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Feature {
    pub name: String,
    pub value: Value,
    pub by: String,
    /// The key's values, in the order of `by`.
    pub key: Vec<Value>,
    pub definition: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Score {
    pub name: String,
    pub value: Value,
    pub sql: String,
    /// What it adds up, if it is a sum.
    pub terms: Vec<Part>,
}

/// A part of an expression, and what it reads.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub sql: String,
    pub value: Value,
    pub reads: Vec<(String, Value)>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    pub decision: String,
    pub name: String,
    pub sql: String,
    /// Null: a value it needs is not known.
    pub holds: Option<bool>,
    /// It came after the rule that decided.
    pub untried: bool,
    /// The conditions that all must hold.
    pub parts: Vec<Part>,
}

impl Rule {
    /// The conditions that do not hold.
    pub fn missing(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.value != Value::Bool(true))
    }
}

/// Explains a row that was found. Columns of the pipeline that it does not have are null.
pub fn explain(found: &Found) -> Result<Explanation> {
    let plan = &found.plan;
    let row = Row::new(plan, &found.row)?;
    let named = |position: usize| plan.columns.field(position).name().as_str();
    let text = |name: &str| row.value(name).as_str().map(str::to_string);
    let reasons = row.value("_reasons").as_array().cloned().unwrap_or_default();
    let quality = |name: &str| {
        let list = |of: &str| row.value(of).as_array().is_some_and(|names| names.iter().any(|n| n == name));
        let what = if list("_malformed") {
            "malformed"
        } else if list("_implausible") {
            "implausible"
        } else {
            return None;
        };
        let why = reasons.iter().filter_map(Value::as_str).find_map(|reason| reason.strip_prefix(name)?.strip_prefix(": "));
        Some(format!("{what}: {}", why.unwrap_or("no reason was kept")))
    };
    let field = |name: &str| Field { name: name.to_string(), value: row.value(name), quality: quality(name) };
    let mut fields: Vec<Field> = plan.fields.iter().map(|f| field(&f.spec.name)).collect();
    fields.extend(plan.conditions.iter().filter(|(name, _)| quality(name).is_some()).map(|(name, _)| field(name)));
    let lookups = plan.lookup_columns.iter().map(|column| field(named(*column))).collect();
    let features = plan.written.measures.iter().map(|(name, by, definition)| Feature {
        name: name.clone(),
        value: row.value(name),
        by: by.clone(),
        key: by.split(", ").map(|column| row.value(column)).collect(),
        definition: definition.clone(),
    });
    let mut scores = Vec::new();
    for (name, sql) in &plan.written.scores {
        let terms = summands(sql).unwrap_or_else(|_| vec![sql.clone()]);
        let terms = terms.iter().map(|term| row.part(term)).collect::<Result<Vec<_>>>()?;
        scores.push(Score { name: name.clone(), value: row.value(name), sql: sql.clone(), terms });
    }
    let rule = text("rule");
    let mut rules = Vec::new();
    let mut decided = false;
    for (decision, name, sql) in &plan.written.rules {
        let parts = conjuncts(sql).unwrap_or_else(|_| vec![sql.clone()]);
        let parts = parts.iter().map(|part| row.part(part)).collect::<Result<Vec<_>>>()?;
        let holds = row.part(sql)?.value.as_bool();
        rules.push(Rule { decision: decision.clone(), name: name.clone(), sql: sql.clone(), holds, untried: decided, parts });
        decided |= rule.as_deref() == Some(name);
    }
    let made_by = text("_version");
    Ok(Explanation {
        id: text("_id").unwrap_or_default(),
        pipeline: plan.name.clone(),
        found_in: found.place.clone(),
        raw: text("_raw"),
        other_version: made_by.filter(|version| version.split('-').next() != Some(plan.version.as_str())),
        late: row.value("_late") == Value::Bool(true),
        fields,
        lookups,
        features: features.collect(),
        scores,
        decision: text("decision"),
        rule,
        rules,
    })
}

/// A row as columns, to evaluate on, and as values, to show.
struct Row {
    planner: Planner,
    columns: Vec<ArrayRef>,
    values: Map<String, Value>,
}

impl Row {
    fn new(plan: &Plan, row: &RecordBatch) -> Result<Row> {
        if row.num_rows() != 1 {
            return Err(Error::internal("one row is explained at a time"));
        }
        let mut columns = Vec::new();
        for field in plan.columns.fields() {
            let column = row.column_by_name(field.name()).and_then(|column| arrow_cast::cast(column, field.data_type()).ok());
            columns.push(column.unwrap_or_else(|| new_null_array(field.data_type(), 1)));
        }
        let schema = Arc::new(Schema::clone(&plan.columns));
        let batch = RecordBatch::try_new(schema.clone(), columns.clone()).map_err(|e| Error::internal(e.to_string()))?;
        let values = objects(&batch)?.pop().unwrap_or_default();
        Ok(Row { planner: Planner::new(schema)?, columns, values })
    }

    fn value(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or(Value::Null)
    }

    /// Evaluates an expression over the row. What fails is told in place of its value.
    fn part(&self, sql: &str) -> Result<Part> {
        let expression = match self.planner.plan(sql, None) {
            Ok(expression) => expression,
            Err(e) => return Ok(Part { sql: sql.into(), value: Value::String(e.message), reads: Vec::new() }),
        };
        let mut failed = Vec::new();
        let values = expression.evaluate(&self.columns, 1, &mut failed)?;
        let value = match failed.first() {
            Some(failed) => Value::String(failed.reason.clone()),
            None => {
                let batch = RecordBatch::try_from_iter([("value", values)]).map_err(|e| Error::internal(e.to_string()))?;
                objects(&batch)?.pop().and_then(|mut object| object.remove("value")).unwrap_or_default()
            }
        };
        let reads = expression.reads.iter().map(|name| (name.clone(), self.value(name))).collect();
        Ok(Part { sql: sql.to_string(), value, reads })
    }
}
