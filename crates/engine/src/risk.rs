//! Risk: points that an entity gathers and loses again by half-life.
//!
//! A risk is a measure for each contribution and a score that adds them up; there is nothing more to it, so each contribution is a
//! column, and the sum stands in every explanation with its terms.

use crate::config::PipelineConfig;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Lenient, OneOrMany, Ordered, Report, Spanned, TextOr};
use ouzel_detect::features::{GroupConfig, MeasureConfig};
use schemars::JsonSchema;
use serde::Deserialize;

/// The risk of an entity, from fields, features and scores.
///
/// ```yaml
/// by: user
/// half_life: 24h
/// add:
///   commands: "odd_command"
///   logins:   { points: "case when failed then 5.0 end", at_most: 40 }
/// ```
///
/// Gives the column `risk`, 0 and more, and `risk_NAME` for each contribution: what is left of its points. Rules, alerts and other
/// scores may read them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskConfig {
    /// Of the columns; `risk` if nothing is said.
    pub name: Option<Spanned<String>>,
    /// One field or several: whose risk it is.
    pub by: OneOrMany<Spanned<String>>,
    /// After this time points count half.
    pub half_life: Spanned<TimeSpan>,
    /// SQL of the points that an event adds (null adds none), or several, by name.
    pub add: Spanned<TextOr<Ordered<Spanned<TextOr<Contribution>>>>>,
}

/// Points by one reason.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// SQL: points that the event adds.
    pub points: Spanned<String>,
    /// No more than this of it at any time.
    pub at_most: Option<Spanned<f64>>,
}

/// The one contribution that has no name.
const POINTS: &str = "points";

/// The scores that are risks, and the fields that tell whose.
pub fn all(config: &PipelineConfig) -> Vec<(String, Vec<String>)> {
    let risks = config.risk.0.iter().filter_map(|risk| risk.0.as_ref());
    let named = |risk: &Spanned<RiskConfig>| risk.value.name.as_ref().map_or("risk".to_string(), |name| name.value.clone());
    risks.map(|risk| (named(risk), risk.value.by.0.iter().map(|field| field.value.clone()).collect())).collect()
}

/// Makes measures and a score of each risk of a pipeline.
pub fn spell_out(config: &mut PipelineConfig, report: &mut Report) {
    let mut scores = Vec::new();
    for risk in config.risk.0.iter().filter_map(|risk| risk.0.as_ref()) {
        let own = Spanned { value: "risk".to_string(), span: risk.span };
        let name = risk.value.name.clone().unwrap_or(own);
        let plain = |points: Spanned<String>| Contribution { points, at_most: None };
        let contributions: Vec<(Spanned<String>, Contribution)> = match &risk.value.add.value {
            TextOr::Text(sql) => {
                let at = |value: String| Spanned { value, span: risk.value.add.span };
                vec![(at(POINTS.into()), plain(at(sql.clone())))]
            }
            TextOr::Full(named) => named
                .0
                .iter()
                .map(|(name, of)| match &of.value {
                    TextOr::Text(sql) => (name.clone(), plain(Spanned { value: sql.clone(), span: of.span })),
                    TextOr::Full(full) => (name.clone(), full.clone()),
                })
                .collect(),
        };
        if contributions.is_empty() {
            report
                .error(risk.value.add.span, "a risk to which nothing adds")
                .hint("for example `add: { commands: \"odd_command\" }`");
            continue;
        }
        let column = |of: &Spanned<String>| format!("{}_{}", name.value, of.value);
        let terms: Vec<String> = contributions.iter().map(|(of, ..)| format!("coalesce(\"{}\", 0.0)", column(of))).collect();
        let measure = contributions.into_iter().map(|(of, Contribution { points, at_most })| {
            let measure = MeasureConfig {
                decayed_sum: Some(points.clone()),
                half_life: Some(risk.value.half_life.clone()),
                at_most,
                ..MeasureConfig::default()
            };
            (Spanned { value: column(&of), span: of.span }, Spanned { value: measure, span: points.span })
        });
        config.features.push(Lenient(Some(GroupConfig { by: risk.value.by.clone(), measure: Ordered(measure.collect()) })));
        scores.push((name, Spanned { value: terms.join(" + "), span: risk.value.add.span }));
    }
    // A score reads those above it.
    scores.append(&mut config.scores.0);
    config.scores.0 = scores;
}
