//! What an alert is, and which rows call for one.

use crate::expressions::{Expression, Failed, Planner, SqlError};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use ouzel_core::units::TimeSpan;
use ouzel_core::wire::put_bytes;
use ouzel_core::{OneOrMany, Report, Result, Span, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

/// An alert: raised for an event for which `when` is true.
///
/// ```yaml
/// name: credential_stuffing
/// when: "errors_5m > 20 and path = '/login'"
/// severity: high
/// message: "{errors_5m} failed logins from {ip} in five minutes"
/// per: ip
/// at_most: { count: 1, every: 10m }
/// tags: [attack.t1110]
/// ```
///
/// Alerts are rows of their own, for sinks with `only: alerts`. Past `at_most` they are held back and counted: the next alert of the same
/// entity tells how many (`alert_suppressed`); if none comes within `every` of the last, a closing row does (`alert_closing`), with the
/// first event behind it by the partition's clock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    pub name: Spanned<String>,
    /// SQL condition over everything that is known of an event, scores and decision included.
    pub when: Spanned<String>,
    /// `info`, `low`, `medium`, `high` or `critical`.
    #[serde(default)]
    pub severity: Severity,
    /// What it says: text with `{SQL}` in braces; `{{` is a brace. The default is the name and the entity.
    pub message: Option<Spanned<String>>,
    /// Whom it is about: a field, or several.
    pub per: Option<OneOrMany<Spanned<String>>>,
    /// No more for one entity in so much event time.
    pub at_most: Option<AtMost>,
    /// Whatever sorts alerts: MITRE ATT&CK techniques, teams.
    #[serde(default)]
    pub tags: Vec<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtMost {
    #[serde(default = "one")]
    pub count: Spanned<u32>,
    pub every: Spanned<TimeSpan>,
}

fn one() -> Spanned<u32> {
    Spanned::nowhere(1)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// An alert as planned.
pub struct Alert {
    pub name: String,
    pub severity: Severity,
    pub tags: Vec<String>,
    when: Expression,
    message: Vec<Piece>,
    /// Names and positions of the columns of its entity.
    per: Vec<(String, usize)>,
    /// How many, in how many microseconds.
    pub at_most: Option<(u32, i64)>,
}

enum Piece {
    Text(String),
    Value(Expression),
}

/// A row that calls for an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    pub row: usize,
    /// Which of the pipeline's alerts.
    pub alert: usize,
    /// `ip=1.2.3.4`; empty where the alert is about nobody.
    pub entity: String,
    /// Tells entities apart, also those that are shown alike.
    pub key: String,
    pub message: String,
}

impl Raised {
    /// The entity, as it is shown, of a key.
    pub fn shown(key: &str) -> String {
        key.split('\0').next().unwrap_or_default().to_string()
    }
}

/// Tells a problem of SQL at its place.
pub type TellSql<'a> = &'a mut dyn FnMut(&mut Report, &str, Span, SqlError);

impl Alert {
    /// Names of the columns that tell whom it is about.
    pub fn entity(&self) -> Vec<String> {
        self.per.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Plans an alert. Problems go to the report; `None` if there are any.
    pub fn compile(config: &AlertConfig, planner: &Planner, report: &mut Report, tell: TellSql<'_>) -> Option<Alert> {
        let mut is_good = true;
        let when = match planner.plan(&config.when, None) {
            Ok(when) if matches!(when.data_type(), DataType::Boolean | DataType::Null) => Some(when),
            Ok(when) => {
                let found = crate::describe(when.data_type());
                report.error(config.when.span, format!("the condition of `{}` is {found}, expected true or false", *config.name));
                None
            }
            Err(e) => {
                tell(report, &config.when, config.when.span, e);
                None
            }
        };
        let mut per = Vec::new();
        for name in config.per.iter().flat_map(|per| &per.0) {
            match planner.schema().index_of(name) {
                Ok(column) => per.push((name.value.clone(), column)),
                Err(_) => {
                    let names: Vec<String> = planner.schema().fields().iter().map(|f| f.name().clone()).collect();
                    report
                        .error(name.span, format!("unknown field `{}`", name.value))
                        .did_you_mean(name, names.iter().map(String::as_str));
                    is_good = false;
                }
            }
        }
        let mut message = Vec::new();
        if let Some(text) = &config.message {
            match pieces(text) {
                Err(problem) => {
                    report
                        .error(text.span, problem)
                        .hint("write `{NAME}` or `{SQL}` where a value belongs, and `{{` for a brace");
                    is_good = false;
                }
                Ok(found) => {
                    for (is_value, piece) in found {
                        if !is_value {
                            message.push(Piece::Text(piece));
                            continue;
                        }
                        match planner.plan(&piece, None) {
                            Ok(value) => message.push(Piece::Value(value)),
                            Err(e) => {
                                tell(report, &piece, text.span, e);
                                is_good = false;
                            }
                        }
                    }
                }
            }
        }
        if let Some(at_most) = &config.at_most {
            if at_most.count.value == 0 {
                report.error(at_most.count.span, "`at_most` must let at least 1 through");
                is_good = false;
            }
            if at_most.count.value > COUNT_MAX {
                report.error(at_most.count.span, format!("`count` is at most {COUNT_MAX}: more alerts help nobody"));
                is_good = false;
            }
            if at_most.every.value.micros() <= 0 {
                report.error(at_most.every.span, "`every` must be longer than 0");
                is_good = false;
            }
        }
        let when = when.filter(|_| is_good)?;
        Some(Alert {
            name: config.name.value.clone(),
            severity: config.severity,
            tags: config.tags.iter().map(|tag| tag.value.clone()).collect(),
            when,
            message,
            per,
            at_most: config.at_most.as_ref().map(|at_most| (at_most.count.value, at_most.every.value.micros())),
        })
    }

    /// Positions of the columns it reads.
    pub fn reads(&self) -> Vec<usize> {
        let values = self.message.iter().filter_map(|piece| match piece {
            Piece::Value(value) => Some(value.inputs().iter().copied()),
            Piece::Text(_) => None,
        });
        self.when.inputs().iter().copied().chain(values.flatten()).chain(self.per.iter().map(|(_, column)| *column)).collect()
    }

    /// The rows that call for it, in order. `alert`: which of the pipeline's it is. A row on which its condition fails calls for none and
    /// is among `failed`.
    pub fn rows(&self, alert: usize, columns: &[ArrayRef], rows: usize, failed: &mut Vec<Failed>) -> Result<Vec<Raised>> {
        let met = self.when.evaluate(columns, rows, failed)?;
        let Some(met) = met.as_boolean_opt() else { return Ok(Vec::new()) };
        let hits: Vec<usize> = (0..rows).filter(|row| met.is_valid(*row) && met.value(*row)).collect();
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        // A value that cannot be computed is left out of the message: the alert is not.
        let mut lost = Vec::new();
        let values = |piece: &Piece, lost: &mut Vec<Failed>| match piece {
            Piece::Text(_) => Ok(None),
            Piece::Value(value) => value.evaluate(columns, rows, lost).map(Some),
        };
        let values = self.message.iter().map(|piece| values(piece, &mut lost)).collect::<Result<Vec<_>>>()?;
        let mut raised = Vec::new();
        for row in hits {
            let entity: Vec<String> =
                self.per.iter().map(|(name, column)| format!("{name}={}", shown(&columns[*column], row))).collect();
            let entity = entity.join(" ");
            let mut whole = Vec::new();
            for (_, column) in &self.per {
                match whole_value(&columns[*column], row) {
                    None => whole.push(0),
                    Some(text) => {
                        whole.push(1);
                        put_bytes(text.as_bytes(), &mut whole);
                    }
                }
            }
            let key = format!("{entity}\0{:016x}", xxh3_64(&whole));
            let mut message = String::new();
            for (piece, values) in self.message.iter().zip(&values) {
                match (piece, values) {
                    (Piece::Text(text), _) => message.push_str(text),
                    (Piece::Value(_), Some(values)) => message.push_str(&shown(values, row)),
                    (Piece::Value(_), None) => {}
                }
            }
            if self.message.is_empty() {
                message = if entity.is_empty() { self.name.clone() } else { format!("{}: {entity}", self.name) };
            }
            raised.push(Raised { row, alert, entity, key, message });
        }
        Ok(raised)
    }
}

/// Times that are remembered of one entity.
const COUNT_MAX: u32 = 1000;
/// Longer values are cut in messages and entities.
const SHOWN_BYTES_MAX: usize = 256;

fn whole_value(values: &ArrayRef, row: usize) -> Option<String> {
    if values.is_null(row) {
        return None;
    }
    let options = FormatOptions::new().with_display_error(true);
    Some(ArrayFormatter::try_new(values, &options).map_or_else(|_| "?".into(), |format| format.value(row).to_string()))
}

fn shown(values: &ArrayRef, row: usize) -> String {
    let Some(text) = whole_value(values, row) else { return "-".into() };
    // What separates a key's parts is no part of what is shown.
    let text = text.replace('\0', "\u{fffd}");
    match text.len() {
        n if n <= SHOWN_BYTES_MAX => text,
        _ => text.chars().take(SHOWN_BYTES_MAX / 4).chain(['…']).collect(),
    }
}

/// Text and `{SQL}` by turns: true for SQL.
fn pieces(text: &str) -> std::result::Result<Vec<(bool, String)>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' if rest.next_if_eq(&'{').is_some() => plain.push('{'),
            '}' if rest.next_if_eq(&'}').is_some() => plain.push('}'),
            '}' => return Err("a `}` without its `{`".into()),
            '{' => {
                let mut sql = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some(c) => sql.push(c),
                        None => return Err("a `{` without its `}`".into()),
                    }
                }
                if sql.trim().is_empty() {
                    return Err("nothing between `{` and `}`".into());
                }
                if !plain.is_empty() {
                    pieces.push((false, std::mem::take(&mut plain)));
                }
                pieces.push((true, sql));
            }
            c => plain.push(c),
        }
    }
    if !plain.is_empty() {
        pieces.push((false, plain));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_text_and_values_by_turns() {
        let text = |p: &str| (false, p.to_string());
        let value = |p: &str| (true, p.to_string());
        assert_eq!(pieces("{n} from {ip}!").unwrap(), [value("n"), text(" from "), value("ip"), text("!")]);
        assert_eq!(pieces("{{n}} of {round(x, 2)}").unwrap(), [text("{n} of "), value("round(x, 2)")]);
        assert_eq!(pieces("").unwrap(), []);
        for wrong in ["{n", "n}", "{}", "{ }"] {
            assert!(pieces(wrong).is_err(), "{wrong}");
        }
    }
}
