//! What a user agent says it is: crawler or not, family, operating system. Each distinct text is worked out once.

mod parsed;
mod regexes;
mod rules;
#[cfg(test)]
mod tests;

use super::Files;
use super::columns::{NO_ROW, Unwanted, Values};
use super::seen::Seen;
use arrow_array::{Array, ArrayRef, BooleanArray, StringViewArray};
use ouzel_core::{FieldType, Lookup, Report, Result, Spanned};
use parsed::ByRegexes;
use regexes::Regexes;
use rules::Rules;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// Crawler, family and operating system of a user agent.
///
/// ```yaml
/// user_agent: { of: user_agent, as: ua, substrings: data/crawlers.txt }
/// ```
///
/// Adds `ua_is_crawler` (true if one of the substrings or patterns occurs), `ua_family` (`Chrome`, `Safari`, `curl`,
/// `Googlebot`, ...) and `ua_os` (`Windows`, `macOS`, `Linux`, `Android`, `iOS`, ...). Family and system are `Other` where nothing is
/// recognised. All are null where the user agent is.
///
/// Without `substrings` and `patterns` a built-in list of common crawlers and tools is used.
///
/// ```yaml
/// user_agent: { of: user_agent, as: ua, regexes: data/regexes.yaml }
/// ```
///
/// With `regexes`, family and system are what uap-core's expressions make of the user agent (`Chrome Mobile`, `Mac OS X`, ...), and
/// `ua_device` is added (`iPhone`, `Samsung SM-A546B`, `Spider`, ...); each is `Other` where no expression matches.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserAgentLookup {
    /// The field that holds the user agent.
    pub of: Spanned<String>,
    /// Prefix of the new columns; by default the field's name.
    #[serde(rename = "as")]
    pub prefix: Option<Spanned<String>>,
    /// A file of substrings of crawlers, one a line, relative to the project. ASCII letters match in either case. Blank
    /// lines and those that start with `#` are passed over.
    pub substrings: Option<Spanned<String>>,
    /// A JSON file of regular expressions of crawlers, as in crawler-user-agents.json: `[{ "pattern": "Googlebot\\/" }, ...]`.
    pub patterns: Option<Spanned<String>>,
    /// A YAML file of regular expressions of families, systems and devices, as uap-core's regexes.yaml.
    pub regexes: Option<Spanned<String>>,
}

impl UserAgentLookup {
    pub fn validate(&self, report: &mut Report) {
        for file in [&self.substrings, &self.patterns, &self.regexes].into_iter().flatten() {
            if file.is_empty() {
                report.error(file.span, "an empty path");
            }
        }
    }

    pub fn columns(&self) -> Vec<(String, FieldType)> {
        let prefix = self.prefix.as_ref().unwrap_or(&self.of);
        let named = |name: &str, kind| (format!("{}_{name}", prefix.value), kind);
        let mut columns =
            vec![named("is_crawler", FieldType::Bool), named("family", FieldType::Text), named("os", FieldType::Text)];
        columns.extend(self.regexes.as_ref().map(|_| named("device", FieldType::Text)));
        columns
    }

    pub fn open(&self, files: Files<'_>, wanted: &[bool]) -> Result<Box<dyn Lookup>> {
        let rules = Rules::load(self, files)?;
        let is_wanted = |i: usize| wanted.get(i).copied().unwrap_or(true);
        if let Some(name) = &self.regexes {
            let regexes = Regexes::load(files, name, [1, 2, 3].map(is_wanted))?;
            let shared = parsed::Shared::new(rules, regexes, [0, 1, 2, 3].map(is_wanted));
            return Ok(Box::new(ByRegexes::new(Arc::new(shared))));
        }
        let wanted = [0, 1, 2].map(is_wanted);
        Ok(Box::new(UserAgents::new(Arc::new(Shared { values: values(), rules, wanted }))))
    }
}

/// Rows in the three columns' [`values`].
#[derive(Debug, Clone, Copy)]
struct Class {
    is_crawler: u32,
    family: u32,
    os: u32,
}

struct Shared {
    rules: Rules,
    values: [Values; 3],
    wanted: [bool; 3],
}

fn values() -> [Values; 3] {
    [
        Values::Bool(BooleanArray::from(vec![false, true])),
        Values::texts(rules::FAMILIES.iter().map(|(_, family)| Some(*family))),
        Values::texts(rules::SYSTEMS.iter().map(|(_, os)| Some(*os))),
    ]
}

/// One thread's view of the rules.
struct UserAgents {
    shared: Arc<Shared>,
    seen: Seen<Class>,
    rows: [Vec<u32>; 3],
    unwanted: [Unwanted; 3],
}

impl UserAgents {
    fn new(shared: Arc<Shared>) -> UserAgents {
        let unwanted = [FieldType::Bool, FieldType::Text, FieldType::Text].map(|kind| Unwanted::new(&kind.arrow()));
        UserAgents { shared, seen: Seen::new(), rows: Default::default(), unwanted }
    }
}

impl Lookup for UserAgents {
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>> {
        const NULL: Class = Class { is_crawler: NO_ROW, family: NO_ROW, os: NO_ROW };
        let mut rows = std::mem::take(&mut self.rows);
        rows.iter_mut().for_each(Vec::clear);
        for key in keys {
            let class = key.map_or(NULL, |text| self.seen.with(text, |text| self.shared.rules.class(text), |class| *class));
            rows[0].push(class.is_crawler);
            rows[1].push(class.family);
            rows[2].push(class.os);
        }
        let mut columns = Vec::with_capacity(3);
        for (i, rows) in rows.iter().enumerate() {
            columns.push(match self.shared.wanted[i] {
                true => self.shared.values[i].pick(rows),
                false => self.unwanted[i].column(keys.len()),
            });
        }
        self.rows = rows;
        Ok(columns)
    }

    fn fork(&self) -> Box<dyn Lookup> {
        Box::new(UserAgents::new(self.shared.clone()))
    }
}
