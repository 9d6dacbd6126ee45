//! Lines by regular expressions: what a named group matches is a field.

mod grok;
mod names;
#[cfg(test)]
mod tests;

use super::table::{Look, Raw, Table};
use super::{lines, time};
use grok::{Expanded, Grok, Trouble};
use ouzel_core::{Chunk, Decode, Decoded, Error, FieldType, Ordered, Report, Result, Span, Spanned, Wanted};
use regex::{CaptureLocations, Regex};
use schemars::JsonSchema;
use serde::Deserialize;

/// Lines that a regular expression takes apart, with grok's names for common parts.
///
/// ```yaml
/// pattern: { pattern: '^(?<time>\S+) (?<user>\S+) (?<text>.*)$' }
/// ```
///
/// A named group, `(?<name>...)` or `(?P<name>...)`, is a field of type `text`; `%{NAME:field}` is a group of a common
/// shape, and `%{NAME:field:type}` also says its type. The event's `fields` may say another. A group that takes no part
/// in the match, or matches nothing, is null. A pattern may match anywhere in its line: write `^` and `$` to bind it to
/// the line's ends. Of several patterns the first that matches counts; a line that none matches is undecodable.
///
/// ```yaml
/// pattern:
///   patterns:
///     - '^%{TIMESTAMP_ISO8601:time:timestamp} %{IP:client:ip} %{WORD:method} %{NUMBER:ms:int}$'
///     - '^%{TIMESTAMP_ISO8601:time:timestamp} %{ORDER:order} %{GREEDYDATA:text}$'
///   definitions: { ORDER: '[A-Z]{2}-%{INT}' }
/// ```
///
/// The syntax is that of Rust's `regex`: no look-around, no back-references, and time linear in the line. Names there are
/// `IP`, `IPV4`, `IPV6`, `IPORHOST`, `HOSTNAME`, `HOSTPORT`, `WORD`, `NOTSPACE`, `SPACE`, `DATA`, `GREEDYDATA`, `INT`,
/// `NUMBER`, `POSINT`, `NONNEGINT`, `BASE16NUM`, `USER`, `USERNAME`, `EMAILADDRESS`, `UUID`, `MAC`, `PATH`, `UNIXPATH`,
/// `WINPATH`, `URI`, `URIPATH`, `URIPARAM`, `URIPATHPARAM`, `URIHOST`, `QS`, `QUOTEDSTRING`, `LOGLEVEL`, `MONTH`,
/// `MONTHNUM`, `MONTHDAY`, `DAY`, `YEAR`, `HOUR`, `MINUTE`, `SECOND`, `TIME`, `DATE`, `TIMESTAMP_ISO8601`, `HTTPDATE`,
/// `DATESTAMP_RFC2822`, `SYSLOGTIMESTAMP`, `SYSLOGHOST`, `SYSLOGPROG`, `SYSLOGBASE`, `COMMONAPACHELOG`,
/// `COMBINEDAPACHELOG`, and parts of these.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PatternCodec {
    /// The expression.
    pub pattern: Option<Spanned<String>>,
    /// Several of them: the first that matches a line counts.
    pub patterns: Option<Vec<Spanned<String>>>,
    /// Names of your own for `%{NAME}`; they come before grok's.
    pub definitions: Ordered<Spanned<String>>,
    /// The text that means null, besides none at all.
    pub null: Option<String>,
    /// The year of times that have none (`Mar 27 13:06:56`), in fields of type `timestamp`.
    pub year: Option<u16>,
    /// The zone of times without one, such as `+02:00` (default: UTC), in fields of type `timestamp`.
    pub utc_offset: Option<String>,
}

impl PatternCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        match (&self.pattern, &self.patterns) {
            (Some(_), Some(_)) => {
                report.error(span, "`pattern` and `patterns` are two ways to say the same").hint("keep one of them");
            }
            (None, None) => {
                report.error(span, "no `pattern`").hint("for example `pattern: '^(?<time>\\S+) (?<user>\\S+) (?<text>.*)$'`");
            }
            (None, Some(patterns)) if patterns.is_empty() => {
                report.error(span, "`patterns` is empty");
            }
            _ => {}
        }
        if self.year.is_some_and(|year| !(1..=9999).contains(&year)) {
            report.error(span, "`year` is none").hint("years are 1 to 9999");
        }
        if let Some(offset) = &self.utc_offset
            && time::zone(offset.as_bytes()).is_none()
        {
            report.error(span, format!("`{offset}` is no UTC offset")).hint("write it like `+02:00`");
        }
        let before = report.problems().len();
        let grok = Grok::new(&self.definitions);
        for (_, text) in &self.definitions.0 {
            let compiled = grok.expand(text).and_then(|expanded| compile(&expanded));
            compiled.unwrap_or_else(|trouble| grok.tell(trouble, text.span, report));
        }
        if report.problems().len() > before {
            return;
        }
        let mut known: Vec<(String, FieldType)> = Vec::new();
        for text in self.all() {
            let expanded = match grok.expand(text).and_then(|e| compile(&e).map(|()| e)) {
                Ok(expanded) => expanded,
                Err(trouble) => {
                    grok.tell(trouble, text.span, report);
                    continue;
                }
            };
            let fields = expanded.fields();
            if fields.is_empty() {
                report
                    .error(text.span, "a pattern without named groups gives no field")
                    .hint("name what you need: `(?<user>\\S+)` or `%{USER:user}`");
            }
            for (name, of) in fields {
                let Some(of) = of else { continue };
                match known.iter().find(|(n, _)| *n == name) {
                    Some((_, other)) if *other != of => {
                        report.error(text.span, format!("`{name}` is {of} here and {other} in a pattern before"));
                    }
                    Some(_) => {}
                    None => known.push((name, of)),
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.pattern.iter().chain(self.patterns.iter().flatten())
    }

    /// `None` if a pattern is none.
    pub(super) fn fields(&self) -> Option<Vec<(String, FieldType)>> {
        let grok = Grok::new(&self.definitions);
        let mut fields: Vec<(String, Option<FieldType>)> = Vec::new();
        for text in self.all() {
            for (name, of) in grok.expand(text).ok()?.fields() {
                match fields.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = known.take().or(of),
                    None => fields.push((name, of)),
                }
            }
        }
        Some(fields.into_iter().map(|(name, of)| (name, of.unwrap_or(FieldType::Text))).collect())
    }

    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> Result<PatternDecoder> {
        let grok = Grok::new(&self.definitions);
        let fields = self.fields().ok_or_else(|| Error::config("a pattern does not compile"))?;
        let of_time =
            |name: &str| wanted.iter().any(|w| w.path.as_key() == Some(name) && w.types.contains(&FieldType::Timestamp));
        let times: Vec<bool> = fields.iter().map(|(name, _)| of_time(name)).collect();
        let table = Table::named(wanted, fields.iter().map(|(name, _)| name.as_str()));
        let mut patterns = Vec::new();
        for text in self.all() {
            let expanded = grok.expand(text).map_err(|trouble| Error::config(trouble.message))?;
            let regex = Regex::new(&expanded.regex).map_err(|e| Error::config(e.to_string()))?;
            let mut groups = Vec::new();
            for (group, name) in regex.capture_names().enumerate() {
                let slot = fields.iter().position(|(field, _)| Some(field.as_str()) == name);
                if let Some(slot) = slot.filter(|slot| table.wants(*slot)) {
                    groups.push(Group { group, slot, is_time: times[slot] });
                }
            }
            patterns.push(Pattern { locations: regex.capture_locations(), regex, groups });
        }
        let completion = Completion { year: self.year, utc_offset: self.utc_offset.clone() };
        Ok(PatternDecoder { patterns, null: self.null.clone(), completion, table })
    }
}

/// Only whether it does: that an expression is sound is known once and for all.
fn compile(expanded: &Expanded) -> std::result::Result<(), Trouble> {
    Regex::new(&expanded.regex).map(drop).map_err(|e| Trouble::of_regex(&e, expanded))
}

pub(super) struct PatternDecoder {
    patterns: Vec<Pattern>,
    null: Option<String>,
    completion: Completion,
    table: Table,
}

struct Pattern {
    regex: Regex,
    locations: CaptureLocations,
    /// Those that are wanted.
    groups: Vec<Group>,
}

struct Group {
    group: usize,
    slot: usize,
    is_time: bool,
}

impl Decode for PatternDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let PatternDecoder { patterns, null, completion, table } = self;
        Ok(lines::decode(table, chunk, |table, data, (start, end)| {
            // Known to be UTF-8. Of text, a regular expression never matches a part of a character.
            let line = simdutf8::basic::from_utf8(&data[start..end]).map_err(|_| "invalid UTF-8")?;
            let matches = |p: &mut Pattern| p.regex.captures_read(&mut p.locations, line).is_some();
            let Some(pattern) = patterns.iter_mut().position(matches).map(|i| &patterns[i]) else {
                return Err("no pattern matches".into());
            };
            table.row();
            for Group { group, slot, is_time } in &pattern.groups {
                let Some((from, to)) = pattern.locations.get(*group) else { continue };
                let text = &line[from..to];
                if text.is_empty() || null.as_deref() == Some(text) {
                    continue;
                }
                let raw = match if *is_time { completion.complete(text) } else { None } {
                    Some(whole) => table.aside(&whole),
                    None => Raw::new(Look::Text, start + from, start + to),
                };
                table.set(*slot, raw);
            }
            Ok(())
        }))
    }
}

/// What times may lack.
struct Completion {
    year: Option<u16>,
    utc_offset: Option<String>,
}

impl Completion {
    /// A time with the year and the zone that it lacks; `None` if it lacks neither, or is no time.
    fn complete(&self, text: &str) -> Option<String> {
        let is_time = |text: &String| time::parse(text.as_bytes()).is_some();
        let zone = self.utc_offset.as_ref().map(|zone| format!("{text} {zone}")).filter(is_time);
        zone.or_else(|| {
            let year = self.year?;
            let whole = time::parse(text.as_bytes()).is_some();
            let with_year = Some(format!("{text} {year:04}")).filter(|text| !whole && is_time(text))?;
            let with_both = self.utc_offset.as_ref().map(|zone| format!("{with_year} {zone}")).filter(is_time);
            Some(with_both.unwrap_or(with_year))
        })
    }
}
