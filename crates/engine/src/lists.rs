//! Allow and deny lists: who is decided on before any rule is tried.
//!
//! A list is a lookup and a rule in front of the others; there is nothing more to it, so its precedence and what it says stand in every
//! explanation as any rule's do.

use crate::config::PipelineConfig;
use crate::registry::LookupConfig;
use ouzel_connect::lookups::{OnDuplicate, TableLookup};
use ouzel_core::{FieldType, Lenient, Ordered, Report, Spanned, TextOr};
use ouzel_detect::decision::RuleConfig;
use schemars::JsonSchema;
use serde::Deserialize;

/// One list, under the decision that it makes: `lists: [{ allow: .. }, { deny: .. }]`.
///
/// ```yaml
/// { of: ip, file: lists/friends.csv }
/// ```
///
/// The file is CSV with the columns `value,until,reason,author`: a time behind which the entry counts no more, or nothing, and who put it there and
/// why. Lists come before all rules, in their order: the first that has the value decides, by a rule `list_OF_DECISION`. The columns `OF_DECISION_until`,
/// `OF_DECISION_reason` and `OF_DECISION_author` are there for expressions and sinks. The file is read again when it changes, as every lookup's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The field whose values are listed.
    pub of: Spanned<String>,
    /// Relative to the project.
    pub file: Spanned<String>,
}

/// Entries of `lists`.
pub type ListsConfig = Vec<Lenient<Ordered<Spanned<ListConfig>>>>;

/// Makes lookups and rules of a pipeline's lists.
pub fn spell_out(config: &mut PipelineConfig, report: &mut Report) {
    let lists = std::mem::take(&mut config.lists);
    let mut rules = Vec::new();
    for entry in lists.iter().filter_map(|list| list.0.as_ref()) {
        let [(decision, list)] = entry.0.as_slice() else {
            if let Some((name, _)) = entry.0.get(1) {
                report.error(name.span, "an entry of `lists` holds one list").hint("begin a new entry with `- `");
            }
            continue;
        };
        let at = |text: String| Spanned { value: text, span: list.span };
        let prefix = format!("{}_{}", list.value.of.value, decision.value);
        let column = |name: &str| (at(name.into()), Spanned { value: FieldType::Text, span: list.span });
        config.lookups.push(Lenient(Some(Spanned {
            value: LookupConfig::Table(TableLookup {
                of: list.value.of.clone(),
                prefix: Some(at(prefix.clone())),
                file: list.value.file.clone(),
                key: Some(at("value".into())),
                take: Ordered(vec![column("value"), column("until"), column("reason"), column("author")]),
                columns: None,
                on_duplicate: OnDuplicate::Last,
            }),
            span: list.span,
        })));
        let time = config.event.0.as_ref().map_or("time", |event| event.value.time.value.as_str());
        // Every cell of an entry may be empty but the value.
        let when = format!(
            "{prefix}_value is not null and ({prefix}_until is null or \"{time}\" < try_cast({prefix}_until as timestamp))"
        );
        let rule = RuleConfig { rule: at(format!("list_{prefix}")), when: at(when) };
        rules.push(Lenient(Some(Ordered(vec![(decision.clone(), Spanned { value: TextOr::Full(rule), span: list.span })]))));
    }
    if !rules.is_empty() {
        rules.append(&mut config.decision);
        config.decision = rules;
    }
}
