//! The columns a row has on its way, in the order in which they come to be.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use ouzel_core::field::timestamp_type;
use ouzel_core::{Report, Span};
use std::sync::Arc;

/// Grows while a pipeline is planned.
#[derive(Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
}

impl Columns {
    /// Adds a column; gives its position. A name that is taken is a problem.
    pub fn add(&mut self, name: &str, of: DataType, span: Span, report: &mut Report) -> usize {
        if self.position(name).is_some() {
            report
                .error(span, format!("the name `{name}` is taken already"))
                .hint("fields, lookups, features and scores share one set of names");
        }
        self.fields.push(Field::new(name, of, true));
        self.fields.len() - 1
    }
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name() == name)
    }
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name().as_str())
    }
    pub fn field(&self, position: usize) -> &Field {
        &self.fields[position]
    }
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.clone()))
    }
    pub fn len(&self) -> usize {
        self.fields.len()
    }
}

/// Positions of the columns every pipeline has.
#[derive(Debug, Clone, Copy)]
pub struct Standard {
    /// Names of the malformed fields: list of text.
    pub malformed: usize,
    /// Names of the implausible fields and of the conditions that do not hold.
    pub implausible: usize,
    /// Per malformed or implausible field, `NAME: why`.
    pub reasons: usize,
    /// The raw text of an event with a malformed field.
    pub raw: usize,
    /// `PIPELINE.GENERATION.PARTITION.OFFSET.ORDINAL`
    pub id: usize,
    /// Later than `lateness`.
    pub late: usize,
    /// The day of the event's time, UTC.
    pub date: usize,
    /// Version of the definitions.
    pub version: usize,
}

impl Standard {
    pub(super) fn add(columns: &mut Columns, report: &mut Report) -> Standard {
        let names = DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)));
        let mut add = |name: &str, of: DataType| columns.add(name, of, Span::default(), report);
        Standard {
            malformed: add("_malformed", names.clone()),
            implausible: add("_implausible", names.clone()),
            reasons: add("_reasons", names),
            raw: add("_raw", DataType::Utf8View),
            id: add("_id", DataType::Utf8View),
            late: add("_late", DataType::Boolean),
            date: add("_date", DataType::Date32),
            version: add("_version", DataType::Utf8View),
        }
    }
}

/// Positions of the columns that only rows of alerts have.
#[derive(Debug, Clone, Copy)]
pub struct AlertColumns {
    pub name: usize,
    pub severity: usize,
    pub entity: usize,
    pub message: usize,
    /// List of text.
    pub tags: usize,
    /// Held back since the one before.
    pub suppressed: usize,
    /// Tells what was held back; no event called for it.
    pub closing: usize,
    /// Of the event; of a closing, the end of its time.
    pub time: usize,
    /// `_id` of the event's output.
    pub event: usize,
}

impl AlertColumns {
    pub(super) fn add(columns: &mut Columns, report: &mut Report) -> AlertColumns {
        let names = DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)));
        let mut add = |name: &str, of: DataType| columns.add(name, of, Span::default(), report);
        AlertColumns {
            name: add("alert_name", DataType::Utf8View),
            severity: add("alert_severity", DataType::Utf8View),
            entity: add("alert_entity", DataType::Utf8View),
            message: add("alert_message", DataType::Utf8View),
            tags: add("alert_tags", names),
            suppressed: add("alert_suppressed", DataType::Int64),
            closing: add("alert_closing", DataType::Boolean),
            time: add("alert_time", timestamp_type()),
            event: add("alert_event", DataType::Utf8View),
        }
    }

    /// All of them follow one another.
    pub fn all(&self) -> std::ops::RangeInclusive<usize> {
        self.name..=self.event
    }
}
