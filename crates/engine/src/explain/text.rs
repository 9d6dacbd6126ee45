//! An explanation for an analyst.

use super::{Explanation, Part, Rule};
use crate::plan::ALL;
use serde_json::Value;
use std::fmt::Write as _;

/// What parts of the text are, so that a terminal may colour them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Title,
    Good,
    Bad,
    Quiet,
}

/// Colours a text, or leaves it.
pub type Paint<'a> = &'a dyn Fn(&str, Tone) -> String;

impl Explanation {
    /// The whole way. Control characters of what an attacker sent are not shown.
    pub fn text(&self, paint: Paint<'_>) -> String {
        let mut out = String::new();
        let o = &mut out;
        let _ = writeln!(o, "{}", paint(&self.id, Tone::Title));
        match (&self.decision, &self.rule) {
            (Some(decision), Some(rule)) => {
                let _ = writeln!(o, "{} by rule {}", paint(decision, Tone::Title), paint(rule, Tone::Title));
            }
            _ => {
                let _ = writeln!(o, "no decision");
            }
        }
        let _ = writeln!(o, "{}", paint(&format!("found in {}", self.found_in), Tone::Quiet));
        if self.late {
            let _ = writeln!(o, "{}", paint("later than the event's `lateness`: its features are null", Tone::Bad));
        }
        if let Some(version) = &self.other_version {
            let _ = writeln!(
                o,
                "{}",
                paint(
                    &format!(
                        "made by definitions {version}, which are not those of now: terms and rules are shown as they are now"
                    ),
                    Tone::Bad
                )
            );
        }
        match &self.raw {
            Some(raw) => {
                let _ = writeln!(o, "\n{}\n  {}", paint("raw", Tone::Title), clean(raw));
            }
            None => {
                let _ = writeln!(
                    o,
                    "\n{} {}",
                    paint("raw", Tone::Title),
                    paint("not kept with the row; `--replay` gets it from the source", Tone::Quiet)
                );
            }
        }
        self.write_fields(o, paint);
        if !self.features.is_empty() {
            let _ = writeln!(o, "\n{}", paint("features", Tone::Title));
        }
        let (names, values) = widths(self.features.iter().map(|f| (f.name.as_str(), &f.value)));
        for feature in &self.features {
            let key: Vec<String> = feature.key.iter().map(shown).collect();
            let whose = match feature.by.as_str() {
                ALL => "of all events".to_string(),
                by => format!("by {by} {}", key.join(", ")),
            };
            let about = format!("{}, {whose}", feature.definition);
            let _ = writeln!(
                o,
                "  {:names$}  {:>values$}  {}",
                feature.name,
                shown(&feature.value),
                paint(&clean(&about), Tone::Quiet)
            );
        }
        if !self.scores.is_empty() {
            let _ = writeln!(o, "\n{}", paint("scores", Tone::Title));
        }
        for score in &self.scores {
            let _ = writeln!(o, "  {} = {}", paint(&score.name, Tone::Title), shown(&score.value));
            let (_, values) = widths(score.terms.iter().map(|t| ("", &t.value)));
            for (i, term) in score.terms.iter().enumerate() {
                let sign = if i == 0 { ' ' } else { '+' };
                let _ = writeln!(
                    o,
                    "    {sign} {:>values$}  {}  {}",
                    shown(&term.value),
                    clean(&term.sql),
                    paint(&reads(term), Tone::Quiet)
                );
            }
        }
        if !self.rules.is_empty() {
            let _ = writeln!(o, "\n{}", paint("rules, in their order", Tone::Title));
        }
        for rule in &self.rules {
            self.write_rule(o, rule, paint);
        }
        out
    }

    fn write_fields(&self, o: &mut String, paint: Paint<'_>) {
        for (title, fields) in [("fields", &self.fields), ("lookups", &self.lookups)] {
            let fields: Vec<_> = fields.iter().filter(|f| !f.value.is_null() || f.quality.is_some()).collect();
            if fields.is_empty() {
                continue;
            }
            let _ = writeln!(o, "\n{}", paint(title, Tone::Title));
            let (names, _) = widths(fields.iter().map(|f| (f.name.as_str(), &f.value)));
            for field in fields {
                let quality = field.quality.as_ref().map_or(String::new(), |q| format!("  {}", paint(&clean(q), Tone::Bad)));
                let _ = writeln!(o, "  {:names$}  {}{quality}", field.name, shown(&field.value));
            }
        }
    }

    fn write_rule(&self, o: &mut String, rule: &Rule, paint: Paint<'_>) {
        let decided = self.rule.as_deref() == Some(rule.name.as_str());
        let (mark, tone) = match (decided, rule.untried, rule.holds) {
            (true, ..) => ("decided", Tone::Good),
            (_, true, Some(true)) => ("would hold, not tried", Tone::Quiet),
            (_, true, _) => ("not tried", Tone::Quiet),
            (_, _, Some(true)) => ("holds", Tone::Good),
            (_, _, Some(false)) => ("does not hold", Tone::Bad),
            (_, _, None) => ("not known, counts as false", Tone::Bad),
        };
        let _ = writeln!(o, "  {} -> {}: {}", rule.name, rule.decision, paint(mark, tone));
        for part in &rule.parts {
            let (sign, tone) = match part.value {
                Value::Bool(true) => ("yes", Tone::Good),
                Value::Bool(false) => ("no ", Tone::Bad),
                _ => ("?  ", Tone::Bad),
            };
            let _ = writeln!(o, "    {} {}  {}", paint(sign, tone), clean(&part.sql), paint(&reads(part), Tone::Quiet));
        }
    }

    /// Why a rule did not decide. `None`: there is no rule of this name.
    pub fn why_not(&self, name: &str, paint: Paint<'_>) -> Option<String> {
        let rule = self.rules.iter().find(|rule| rule.name == name)?;
        let mut out = String::new();
        let o = &mut out;
        let decided = self.rule.as_deref().unwrap_or("none");
        let _ = writeln!(o, "{}", paint(&self.id, Tone::Title));
        if decided == name {
            let _ = writeln!(o, "rule {name} did decide: {}", rule.decision);
        } else if rule.holds == Some(true) {
            let _ = writeln!(
                o,
                "all of rule {name} holds, but rule {} comes before it and decided: {}",
                paint(decided, Tone::Title),
                self.decision.as_deref().unwrap_or("-")
            );
        } else {
            let missing: Vec<&Part> = rule.missing().collect();
            let _ = writeln!(
                o,
                "rule {} did not decide: {} of its {} condition{} {} not hold",
                paint(name, Tone::Title),
                missing.len(),
                rule.parts.len(),
                if rule.parts.len() == 1 { "" } else { "s" },
                if missing.len() == 1 { "does" } else { "do" }
            );
        }
        self.write_rule(o, rule, paint);
        // What the missing parts read is worth its own terms, where it is a score.
        for score in &self.scores {
            if rule.missing().any(|part| part.reads.iter().any(|(read, _)| *read == score.name)) {
                let _ = writeln!(o, "  where {} = {}", score.name, shown(&score.value));
                for term in &score.terms {
                    let _ = writeln!(o, "    {}  {}  {}", shown(&term.value), clean(&term.sql), paint(&reads(term), Tone::Quiet));
                }
            }
        }
        if rule.holds != Some(true) && decided != name {
            let _ = writeln!(o, "{decided} decided instead: {}", self.decision.as_deref().unwrap_or("-"));
        }
        Some(out)
    }
}

/// Values behind a part, unless it says them itself.
fn reads(part: &Part) -> String {
    let values: Vec<String> = part.reads.iter().map(|(name, value)| format!("{name} = {}", shown(value))).collect();
    clean(&values.join(", "))
}

fn widths<'a>(of: impl Iterator<Item = (&'a str, &'a Value)>) -> (usize, usize) {
    of.fold((0, 0), |(names, values), (name, value)| (names.max(name.chars().count()), values.max(shown(value).chars().count())))
}

const SHOWN_MAX: usize = 160;

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".into(),
        Value::String(text) => clean(text),
        Value::Number(n) => match n.as_f64() {
            Some(f) if !n.is_i64() && !n.is_u64() && f.is_finite() => {
                let rounded = format!("{f:.4}");
                rounded.trim_end_matches('0').trim_end_matches('.').to_string()
            }
            _ => n.to_string(),
        },
        other => clean(&other.to_string()),
    };
    match text.chars().count() {
        n if n <= SHOWN_MAX => text,
        _ => text.chars().take(SHOWN_MAX - 1).chain(['…']).collect(),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
