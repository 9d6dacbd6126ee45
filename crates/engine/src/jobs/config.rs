//! A job's front matter.

use ouzel_core::units::TimeSpan;
use ouzel_core::{Lenient, OneOrMany, Ordered, Report, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// The settings of a file of `jobs/`, between two lines `---` before its SQL.
///
/// ```yaml
/// partition_by: [day]
/// checks:
///   - not_empty
///   - unique: [day, customer]
///   - not_null: { columns: [customer], severity: warn, at_most: "0.1%" }
///   - sql: { name: denied_at_most_all, query: "select * from {{ this }} where denied > total" }
/// owner: data@example.org
/// columns: { denied: "Requests that a rule has denied." }
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobConfig {
    /// The table that it makes; the file's name if nothing is said.
    pub target: Option<Spanned<String>>,
    /// What a run takes of its sources.
    pub load: Load,
    /// How a run changes the table.
    pub write: Write,
    /// Columns of the result whose values make partitions: what a run makes anew.
    pub partition_by: OneOrMany<Spanned<String>>,
    /// Columns whose values a row has for its own. With `write: append`, of rows with the same values the first that came is kept, the others are dropped and
    /// counted: what a producer sends again. With `write: merge` the last that came is: what a producer corrects. A row with a null there is like no other.
    pub unique_key: OneOrMany<Spanned<String>>,
    /// What has to hold before anybody sees a run's rows.
    pub checks: Vec<Lenient<Spanned<CheckConfig>>>,
    /// Whom it concerns when a check stops it.
    pub owner: Option<String>,
    pub tags: Vec<String>,
    pub description: Option<String>,
    /// What columns are, in words. They are in the table's schema, where other engines show them.
    pub columns: Ordered<Spanned<String>>,
}

/// What a run takes of its sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// The versions that no run has taken.
    #[default]
    Incremental,
    /// Everything, each time that a source has changed.
    Full,
}

/// How a run changes the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// The partitions that changed rows touch are made anew from the whole sources, and put in the place of the old ones.
    #[default]
    Purgesert,
    /// The result over the new rows alone is added. Corrected or deleted rows of a source are refused.
    Append,
    /// As `append`, and a row takes the place of the one with the same `unique_key`.
    Merge,
}

/// Something that has to hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckConfig {
    /// The run has rows.
    NotEmpty(Limits),
    /// No two rows of the table have the same values.
    Unique(ColumnsCheck),
    /// None of the run's rows is null there.
    NotNull(ColumnsCheck),
    /// Values that a column may have, or null.
    Accepted(AcceptedCheck),
    /// Between which a column lies, or null.
    Range(RangeCheck),
    /// Each value is one of another table's column.
    Relationships(RelationshipsCheck),
    /// The newest time of a column, in the table as it will be, is not further back than this when the run is.
    Freshness(FreshnessCheck),
    /// The run has about as many rows as it should.
    RowCount(RowCountCheck),
    /// No row has a value that could not be read, as `_malformed` tells, and no record of the run's files was set aside: a fault of ours, or of who sends.
    Malformed(MarkedCheck),
    /// No row has a value that cannot be true, as `_implausible` tells: a signal. It warns if nothing is said.
    Implausible(MarkedCheck),
    /// A query that finds what is wrong; `{{ this }}` is the table as it will be.
    Sql(SqlCheck),
}

/// What follows where a check fails.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub severity: Severity,
    /// Rows that may fail, or a part of the run's rows, as `0.1%`.
    pub at_most: Option<String>,
}

/// A check of what reading a record has told.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkedCheck {
    pub severity: Option<Severity>,
    /// As of every check; a part is one of the records.
    pub at_most: Option<String>,
}

/// Whether a failing check stops a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The old data stay, and the table is paused.
    #[default]
    Block,
    /// Told, no more.
    Warn,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnsCheck {
    pub columns: OneOrMany<Spanned<String>>,
    #[serde(default)]
    pub severity: Severity,
    /// As of every check.
    pub at_most: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptedCheck {
    pub column: Spanned<String>,
    pub values: Vec<String>,
    #[serde(default)]
    pub severity: Severity,
    /// As of every check.
    pub at_most: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeCheck {
    pub column: Spanned<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    #[serde(default)]
    pub severity: Severity,
    /// As of every check.
    pub at_most: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationshipsCheck {
    pub column: Spanned<String>,
    /// A table of the lake.
    pub to: Spanned<String>,
    /// Its column.
    pub field: Spanned<String>,
    #[serde(default)]
    pub severity: Severity,
    /// As of every check.
    pub at_most: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshnessCheck {
    /// Times or dates.
    pub column: Spanned<String>,
    pub within: Spanned<TimeSpan>,
    #[serde(default)]
    pub severity: Severity,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowCountCheck {
    pub min: Option<u64>,
    pub max: Option<u64>,
    /// How far the run's rows may be from the median of the last ten runs of its kind, as `50%`. With less than three of them nothing is said.
    pub around: Option<Spanned<String>>,
    #[serde(default)]
    pub severity: Severity,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlCheck {
    pub name: Spanned<String>,
    pub query: Spanned<String>,
    #[serde(default)]
    pub severity: Severity,
    /// As of every check.
    pub at_most: Option<String>,
}

impl Write {
    /// A run takes its sources' new rows alone.
    pub fn takes_new_rows(self) -> bool {
        matches!(self, Write::Append | Write::Merge)
    }

    pub fn name(self) -> &'static str {
        match self {
            Write::Purgesert => "purgesert",
            Write::Append => "append",
            Write::Merge => "merge",
        }
    }
}

impl JobConfig {
    pub fn validate(&self, report: &mut Report) {
        for check in self.checks.iter().filter_map(|check| check.0.as_ref()) {
            if let Some(text) = check.value.at_most()
                && Allowed::read(text).is_none()
            {
                report
                    .error(check.span, format!("`at_most: {text}` is neither a number of rows nor a part of them"))
                    .hint("for example `5` or `0.1%`");
            }
            if let CheckConfig::RowCount(RowCountCheck { around: Some(around), .. }) = &check.value
                && !matches!(Allowed::read(around), Some(Allowed::Part(_)))
            {
                report.error(around.span, format!("`around: {}` is no part of a number", around.value)).hint("for example `50%`");
            }
        }
    }
}

impl CheckConfig {
    pub fn at_most(&self) -> Option<&str> {
        match self {
            CheckConfig::NotEmpty(c) => c.at_most.as_deref(),
            CheckConfig::Unique(c) | CheckConfig::NotNull(c) => c.at_most.as_deref(),
            CheckConfig::Accepted(c) => c.at_most.as_deref(),
            CheckConfig::Range(c) => c.at_most.as_deref(),
            CheckConfig::Relationships(c) => c.at_most.as_deref(),
            CheckConfig::Malformed(c) | CheckConfig::Implausible(c) => c.at_most.as_deref(),
            CheckConfig::Sql(c) => c.at_most.as_deref(),
            CheckConfig::Freshness(_) | CheckConfig::RowCount(_) => None,
        }
    }

    pub fn severity(&self) -> Severity {
        match self {
            CheckConfig::NotEmpty(c) => c.severity,
            CheckConfig::Unique(c) | CheckConfig::NotNull(c) => c.severity,
            CheckConfig::Accepted(c) => c.severity,
            CheckConfig::Range(c) => c.severity,
            CheckConfig::Relationships(c) => c.severity,
            CheckConfig::Malformed(c) => c.severity.unwrap_or(Severity::Block),
            CheckConfig::Implausible(c) => c.severity.unwrap_or(Severity::Warn),
            CheckConfig::Sql(c) => c.severity,
            CheckConfig::Freshness(c) => c.severity,
            CheckConfig::RowCount(c) => c.severity,
        }
    }
}

/// How much may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    Rows(u64),
    Part(f64),
}

impl Allowed {
    pub fn read(text: &str) -> Option<Allowed> {
        match text.trim().strip_suffix('%') {
            Some(percent) => {
                percent.trim().parse().ok().filter(|p| (0.0..=100.0).contains(p)).map(|p: f64| Allowed::Part(p / 100.0))
            }
            None => text.trim().parse().ok().map(Allowed::Rows),
        }
    }

    pub fn holds(self, failing: u64, rows: u64) -> bool {
        match self {
            Allowed::Rows(most) => failing <= most,
            Allowed::Part(part) => failing as f64 <= part * rows as f64,
        }
    }
}
