//! A pipeline, planned: every name resolved, every expression typed, every column that nobody needs left out. A plan has no
//! state and is shared by all threads.

mod columns;
mod compile;
mod prune;
mod sql;

pub use columns::{AlertColumns, Standard};
pub(crate) use compile::{ALL, version};

use crate::config::TooLate;
use crate::registry::{CodecConfig, LookupConfig, SinkConfig, SourceConfig};
use crate::runtime::{Options, Place};
use arrow_schema::SchemaRef;
use ouzel_core::Wanted;
use ouzel_detect::alerts::Alert;
use ouzel_detect::decision::Decision;
use ouzel_detect::expressions::Expression;
use ouzel_detect::features::Group;
use ouzel_detect::schema::FieldSpec;
use std::collections::BTreeMap;
use std::ops::Range;

pub struct Plan {
    pub name: String,
    /// Of the definitions: changes when the pipeline's file or its schema does.
    pub version: String,
    /// What state depends on besides the log: a part of the definitions and its hash.
    pub definitions: BTreeMap<String, String>,
    pub source: SourceConfig,
    pub codec: CodecConfig,
    /// What the decoder is asked for.
    pub wanted: Vec<Wanted>,
    /// All columns of a row. The first are the fields.
    pub columns: SchemaRef,
    /// By column: somebody reads it.
    pub needed: Vec<bool>,
    pub fields: Vec<FieldPlan>,
    pub select: Select,
    /// Conditions over several fields, by name.
    pub conditions: Vec<(String, Expression)>,
    /// The pipeline's `where`.
    pub condition: Option<Expression>,
    pub lookups: Vec<LookupPlan>,
    /// All columns that lookups add, needed or not.
    pub lookup_columns: Vec<usize>,
    pub event: EventPlan,
    pub standard: Standard,
    pub groups: Vec<GroupPlan>,
    /// Column and expression, in order.
    pub scores: Vec<(usize, Expression)>,
    /// Which of them come together. Those of a round read what came in rounds before.
    pub rounds: Vec<Round>,
    pub decision: Option<DecisionPlan>,
    pub alerts: Vec<Alert>,
    /// The columns of alerts; there are none without alerts.
    pub alert_columns: Option<AlertColumns>,
    pub sinks: Vec<SinkPlan>,
    /// Scores that are risks, and the fields that tell whose.
    pub risks: Vec<(String, Vec<String>)>,
    /// Definitions as they are written, to explain results by.
    pub written: Written,
    /// Rows keep their raw text also where nothing is malformed: to explain them.
    pub keeps_raw: bool,
}

/// Groups, and the scores that read them.
#[derive(Debug, Clone)]
pub struct Round {
    pub groups: Range<usize>,
    pub scores: Range<usize>,
}

/// Definitions as they are written.
#[derive(Default)]
pub struct Written {
    /// Measure, its key, its definition.
    pub measures: Vec<(String, String, String)>,
    /// Score and its SQL.
    pub scores: Vec<(String, String)>,
    /// Decision, rule, condition.
    pub rules: Vec<(String, String, String)>,
}

/// A field of the event; its position is its column.
pub struct FieldPlan {
    pub spec: FieldSpec,
    /// Index into `wanted`; `None` if `select` makes it or nobody needs it.
    pub decoded: Option<usize>,
    /// Column of `NAME_other`, where the field has several types.
    pub other: Option<usize>,
}

/// Expressions over the raw record. They have columns of their own: those wanted from the decoder.
#[derive(Default)]
pub struct Select {
    /// Which of `wanted` each input column is.
    pub inputs: Vec<usize>,
    /// Field and its expression.
    pub made: Vec<(usize, Expression)>,
}

pub struct LookupPlan {
    pub config: LookupConfig,
    /// Column that is looked up.
    pub of: usize,
    /// Columns that are added.
    pub outputs: Vec<usize>,
    /// Which of them are needed.
    pub wanted: Vec<bool>,
}

pub struct EventPlan {
    /// Column of the time; only records of files, which no state is made of, may have none.
    pub time: Option<usize>,
    pub id: Option<usize>,
    /// Microseconds.
    pub lateness: i64,
    pub too_late: TooLate,
    /// Microseconds; where the source records ingestion times.
    pub ahead: Option<i64>,
    /// Microseconds.
    pub duplicates_within: Option<i64>,
}

pub struct GroupPlan {
    pub group: Group,
    /// Column of its first output; the others follow.
    pub first: usize,
}

pub struct DecisionPlan {
    pub decision: Decision,
    pub decision_column: usize,
    pub rule_column: usize,
}

pub struct SinkPlan {
    pub config: SinkConfig,
    pub schema: SchemaRef,
    pub columns: Vec<Expression>,
    pub condition: Option<Expression>,
    /// Its rows are alerts.
    pub of_alerts: bool,
}

impl Plan {
    /// Groups that read fields only.
    pub fn first_groups(&self) -> Range<usize> {
        self.rounds.first().map_or(0..0, |round| round.groups.clone())
    }

    /// Features read other features or scores.
    pub fn has_later_groups(&self) -> bool {
        self.first_groups().len() < self.groups.len()
    }

    /// The name of the column of the event's time.
    pub fn time_name(&self) -> &str {
        self.event.time.map_or("", |time| self.columns.field(time).name())
    }

    pub fn is_needed(&self, column: usize) -> bool {
        self.needed[column]
    }

    /// Which sink each is, across changes of the others: its key, and how many before it have the same.
    pub fn sink_keys(&self) -> Vec<(String, usize)> {
        let keys: Vec<String> = self.sinks.iter().map(|sink| sink.config.key()).collect();
        keys.iter().enumerate().map(|(i, key)| (key.clone(), keys[..i].iter().filter(|k| *k == key).count())).collect()
    }
}

impl Plan {
    /// Opens what lies outside the project, as a run would, and closes it again: sources and lookups. Sinks are not touched.
    pub fn connect(&self, place: &Place) -> Vec<ouzel_core::Error> {
        let framing = self.codec.clone();
        let source = self.source.clone().open(&place.around(&Options::default()), Box::new(move || framing.framing())).err();
        let lookups = self.lookups.iter().filter_map(|l| l.config.open(&|name| place.root.join(name), &l.wanted).err());
        source.into_iter().chain(lookups).collect()
    }
}
