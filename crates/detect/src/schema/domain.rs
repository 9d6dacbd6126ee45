//! Which values of a field can be true.

use super::{FieldConfig, Policy};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use ouzel_core::{FieldType, Report};
use regex::Regex;
use std::collections::HashSet;

/// The domain of one field. Empty: every value can be true.
#[derive(Debug, Clone, Default)]
pub struct Domain {
    one_of: Option<HashSet<String>>,
    /// For messages.
    listed: String,
    range: Option<(f64, f64)>,
    matches: Option<Regex>,
    length: Option<(usize, usize)>,
}

/// What was found in one batch: per row the fields that are bad and why, and what becomes of the row.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// In order of discovery: row, name, reason.
    pub malformed: Vec<(u32, usize, String)>,
    pub implausible: Vec<(u32, usize, String)>,
    /// Rows that do not go on, with the strictest policy and its reason.
    pub set_aside: Vec<(u32, Policy, String)>,
}

/// A regular expression's program may take this much memory: one that explodes is refused.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Domain {
    pub(super) fn compile(config: &FieldConfig, of: &FieldType, report: &mut Report) -> Domain {
        let mut domain = Domain::default();
        let numeric = matches!(of, FieldType::Int | FieldType::Float);
        let textual = matches!(of, FieldType::Text | FieldType::Ip | FieldType::Json);
        if let (Some(values), FieldType::Timestamp | FieldType::List(_)) = (&config.one_of, of) {
            let span = values.first().map_or_else(Default::default, |v| v.span);
            report.error(span, format!("`one_of` is for text, numbers and bools, the field is {of}"));
        } else if let Some(values) = &config.one_of {
            let mut set = HashSet::new();
            for value in values {
                match canonical(of, &value.value) {
                    Some(text) => {
                        set.insert(text);
                    }
                    None => {
                        report.error(value.span, format!("`{}` is no {of}", value.value));
                    }
                }
            }
            domain.listed = values.iter().map(|v| v.value.as_str()).collect::<Vec<_>>().join(", ");
            domain.one_of = Some(set);
        }
        if let Some(range) = &config.range {
            let (low, high) = (range.value.0.unwrap_or(f64::NEG_INFINITY), range.value.1.unwrap_or(f64::INFINITY));
            if !numeric {
                report.error(range.span, format!("`range` is for numbers, the field is {of}"));
            } else if low > high {
                report.error(range.span, format!("the range [{low}, {high}] is empty"));
            } else {
                domain.range = Some((low, high));
            }
        }
        if let Some(pattern) = &config.matches {
            match regex::RegexBuilder::new(&pattern.value).size_limit(REGEX_BYTES_MAX).build() {
                Ok(regex) if textual => domain.matches = Some(regex),
                Ok(_) => {
                    report.error(pattern.span, format!("`matches` is for text, the field is {of}"));
                }
                Err(e) => {
                    let last = e.to_string().lines().last().unwrap_or_default().trim().to_string();
                    report.error(pattern.span, format!("invalid regular expression: {last}"));
                }
            }
        }
        if let Some(length) = &config.length {
            let (low, high) = length.value;
            if low.zip(high).is_some_and(|(low, high)| low > high) {
                report.error(length.span, "the least length is above the greatest");
            } else if textual || matches!(of, FieldType::List(_)) {
                domain.length = Some((length.value.0.unwrap_or(0) as usize, length.value.1.map_or(usize::MAX, |n| n as usize)));
            } else {
                report.error(length.span, format!("`length` is for text and lists, the field is {of}"));
            }
        }
        domain
    }

    pub fn is_empty(&self) -> bool {
        self.one_of.is_none() && self.range.is_none() && self.matches.is_none() && self.length.is_none()
    }

    /// Calls `found` with row and reason for each value that cannot be true. Nulls can.
    pub fn check(&self, values: &ArrayRef, mut found: impl FnMut(u32, String)) {
        use arrow_schema::DataType;
        if self.is_empty() {
            return;
        }
        let rows = (0..values.len()).filter(|i| values.is_valid(*i));
        match values.data_type() {
            DataType::Int64 => {
                let values = values.as_primitive::<Int64Type>();
                rows.for_each(|i| {
                    let value = values.value(i);
                    let inside = |(low, high): (f64, f64)| {
                        // As whole numbers, for a float does not tell 2^53 from 2^53 + 1. (The cast saturates.)
                        i128::from(value) >= low.ceil() as i128 && i128::from(value) <= high.floor() as i128
                    };
                    self.number(inside, || value.to_string(), |why| found(i as u32, why));
                });
            }
            DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>();
                rows.for_each(|i| {
                    let value = values.value(i);
                    self.number(|(low, high)| (low..=high).contains(&value), || value.to_string(), |why| found(i as u32, why));
                });
            }
            DataType::Utf8View => {
                let values = values.as_string_view();
                rows.for_each(|i| self.text(values.value(i), |why| found(i as u32, why)));
            }
            DataType::Boolean => {
                let values = values.as_boolean();
                rows.for_each(|i| self.listed(&values.value(i).to_string(), |why| found(i as u32, why)));
            }
            DataType::List(_) => {
                let values = values.as_list::<i32>();
                rows.for_each(|i| self.size(values.value_length(i) as usize, "items", |why| found(i as u32, why)));
            }
            _ => {}
        }
    }

    fn number(&self, inside: impl Fn((f64, f64)) -> bool, text: impl Fn() -> String, mut found: impl FnMut(String)) {
        if let Some((low, high)) = self.range
            && !inside((low, high))
        {
            found(format!("{} is not between {low} and {high}", text()));
        }
        if self.one_of.is_some() {
            self.listed(&text(), found);
        }
    }

    fn text(&self, value: &str, mut found: impl FnMut(String)) {
        self.listed(value, &mut found);
        if let Some(regex) = &self.matches
            && !regex.is_match(value)
        {
            found(format!("`{}` does not match `{regex}`", shorten(value)));
        }
        if self.length.is_some() {
            self.size(value.chars().count(), "characters", found);
        }
    }

    fn listed(&self, text: &str, mut found: impl FnMut(String)) {
        if let Some(set) = &self.one_of
            && !set.contains(text)
        {
            found(format!("{} is not one of {}", shorten(text), shorten(&self.listed)));
        }
    }

    fn size(&self, n: usize, of: &str, mut found: impl FnMut(String)) {
        if let Some((low, high)) = self.length
            && !(low..=high).contains(&n)
        {
            let upper = if high == usize::MAX { "or more".into() } else { format!("to {high}") };
            found(format!("{n} {of}, expected {low} {upper}"));
        }
    }
}

/// The text a listed value has once it was read as the field's type.
fn canonical(of: &FieldType, text: &str) -> Option<String> {
    match of {
        FieldType::Int => text.parse::<i64>().ok().map(|n| n.to_string()),
        FieldType::Float => text.parse::<f64>().ok().map(|x| x.to_string()),
        FieldType::Bool => text.parse::<bool>().ok().map(|b| b.to_string()),
        FieldType::Ip => text.parse::<std::net::IpAddr>().ok().map(|a| a.to_string()),
        _ => Some(text.to_string()),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_string(),
    }
}
