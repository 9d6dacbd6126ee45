//! The decision: rules in order, the first whose condition is true wins. There is always one: the last rule's condition
//! must be `true`.

use crate::expressions::{Expression, Failed, Planner};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StringViewArray};
use arrow_schema::DataType;
use ouzel_core::{Error, Lenient, Ordered, Report, Spanned, TextOr};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// One entry of `decision`: the decision to its rule. The short form is the condition alone.
pub type DecisionConfig = Vec<Lenient<Ordered<Spanned<TextOr<RuleConfig>>>>>;

/// A named rule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Stored with each decision it makes. The default is the decision and the position.
    pub rule: Spanned<String>,
    /// SQL condition; null counts as false.
    pub when: Spanned<String>,
}

/// Decision, rule and condition of each entry, as they are written.
pub fn written(config: &DecisionConfig) -> Vec<(String, String, String)> {
    let entries = config.iter().enumerate().filter_map(|(position, entry)| Some((position, entry.0.as_ref()?.0.first()?)));
    entries
        .map(|(position, (decision, rule))| match &rule.value {
            TextOr::Text(when) => (decision.value.clone(), format!("{}_{position}", decision.value), when.clone()),
            TextOr::Full(rule) => (decision.value.clone(), rule.rule.value.clone(), rule.when.value.clone()),
        })
        .collect()
}

/// The rules as planned.
pub struct Decision {
    rules: Vec<Rule>,
    decisions: StringViewArray,
    names: StringViewArray,
}

struct Rule {
    decision: String,
    name: String,
    when: Expression,
}

impl Decision {
    /// Plans the rules. `can_be_unknown`: features that are null while there is not enough history. Problems go to the
    /// report; `None` if there are any errors.
    pub fn compile(
        config: &DecisionConfig,
        planner: &Planner,
        can_be_unknown: &dyn Fn(&str) -> bool,
        report: &mut Report,
        sql_error: &mut dyn FnMut(&mut Report, &str, ouzel_core::Span, crate::expressions::SqlError),
    ) -> Option<Decision> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut last: Option<ouzel_core::Span> = None;
        let mut decided = false;
        let mut complete = true;
        for (position, entry) in config.iter().enumerate() {
            let Some(entry) = &entry.0 else {
                complete = false;
                continue;
            };
            let [(decision, rule)] = entry.0.as_slice() else {
                complete = false;
                if let Some((name, _)) = entry.0.get(1) {
                    report.error(name.span, "an entry of `decision` holds one decision").hint("begin a new entry with `- `");
                }
                continue;
            };
            let (name, when, span) = match &rule.value {
                TextOr::Text(when) => (format!("{}_{position}", decision.value), when.clone(), rule.span),
                TextOr::Full(rule) => (rule.rule.value.clone(), rule.when.value.clone(), rule.when.span),
            };
            if rules.iter().any(|r| r.name == name) {
                report.error(span, format!("two rules are named `{name}`"));
            }
            let text = when;
            let when = match planner.plan(&text, None) {
                Ok(e) if matches!(e.data_type(), DataType::Boolean | DataType::Null) => e,
                Ok(e) => {
                    report.error(
                        span,
                        format!("the condition of `{name}` is {}, expected true or false", crate::describe(e.data_type())),
                    );
                    complete = false;
                    continue;
                }
                Err(e) => {
                    sql_error(report, &text, span, e);
                    complete = false;
                    continue;
                }
            };
            let always = when.to_string() == "true";
            if decided {
                report.warn(span, format!("rule `{name}` is never reached: one before it is always true"));
            }
            for unknown in when.reads.iter().filter(|r| can_be_unknown(r) && !when.asks_known.contains(*r)) {
                report
                    .warn(span, format!("rule `{name}` falls through while `{unknown}` is not known"))
                    .hint(format!("say what is meant: `known({unknown}) and ...`, or `not known({unknown}) or ...`, or `coalesce({unknown}, ...)`"));
            }
            decided |= always;
            last = Some(span);
            rules.push(Rule { decision: decision.value.clone(), name, when });
        }
        if let (Some(span), false) = (last, decided)
            && complete
        {
            report
                .error(span, "an event may match no rule: the last condition is not `true`")
                .hint("end with a decision for all others, for example `- allow: \"true\"`");
            complete = false;
        }
        let decisions = StringViewArray::from_iter_values(rules.iter().map(|r| &r.decision));
        let names = StringViewArray::from_iter_values(rules.iter().map(|r| &r.name));
        (complete && !rules.is_empty()).then_some(Decision { rules, decisions, names })
    }

    /// Positions of the columns it reads.
    pub fn reads(&self) -> Vec<usize> {
        self.rules.iter().flat_map(|r| r.when.inputs().iter().copied()).collect()
    }

    /// The decisions and the names of the rules that made them. On a row where a condition fails, both are null.
    pub fn decide(&self, columns: &[ArrayRef], rows: usize, failed: &mut Vec<Failed>) -> Result<(ArrayRef, ArrayRef), Error> {
        const UNDECIDED: u32 = u32::MAX;
        const FAILED: u32 = u32::MAX - 1;
        let mut chosen = vec![UNDECIDED; rows];
        let mut left = rows;
        let mut failures = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            if left == 0 {
                break;
            }
            let array = rule.when.evaluate(columns, rows, &mut failures)?;
            // A condition that fails matters only to rows that no rule before it decided.
            for failure in failures.drain(..) {
                let choice = &mut chosen[failure.row as usize];
                if *choice == UNDECIDED {
                    *choice = FAILED;
                    left -= 1;
                    failed.push(failure);
                }
            }
            let Some(met) = array.as_boolean_opt() else { continue };
            for (row, choice) in chosen.iter_mut().enumerate() {
                if *choice == UNDECIDED && is_true(met, row) {
                    *choice = number as u32;
                    left -= 1;
                }
            }
        }
        let take = |texts: &StringViewArray| -> ArrayRef {
            let views: Vec<u128> = chosen.iter().map(|c| texts.views().get(*c as usize).copied().unwrap_or(0)).collect();
            let decided = |c: &u32| *c < FAILED;
            let nulls = (!chosen.iter().all(decided)).then(|| chosen.iter().map(decided).collect::<Vec<bool>>().into());
            // SAFETY: the views come from this very array, so they fit its buffers; 0 is the empty inline text.
            Arc::new(unsafe { StringViewArray::new_unchecked(views.into(), texts.data_buffers().to_vec(), nulls) })
        };
        Ok((take(&self.decisions), take(&self.names)))
    }
}

#[inline]
fn is_true(array: &BooleanArray, row: usize) -> bool {
    array.is_valid(row) && array.value(row)
}
