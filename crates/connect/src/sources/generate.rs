//! Synthetic events with labelled attacks, the same for the same seed on every machine, faster than any pipeline.

mod random;
mod web;

use ouzel_core::{Chunk, Error, Kind, Origin, Report, Result, Source, Spanned, limits::CHUNK_BYTES_MAX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::Arc;
use web::Web;

/// Synthetic traffic, as JSON lines, seeded: to try things out, and for benchmarks.
///
/// ```yaml
/// generate: { kind: web, events: 1000000, rate: 5000, seed: 1, start: "2026-03-01T00:00:00Z" }
/// ```
///
/// The text field `label` names the attack an event belongs to, or is null: `credential_stuffing` (one address and session
/// tries passwords with changing user agents), `login_burst` (the same with one agent) or `scraper` (one address
/// walks through the products). About 4 % of the events are attacks. About 0.1 % have an implausible `color_depth` of -100, about
/// 0.1 % a malformed `fonts` that is a number. The first events of a run are the same however many follow.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateSource {
    pub kind: Traffic,
    /// How many.
    pub events: u64,
    /// Events per second of event time, on average.
    pub rate: Spanned<f64>,
    pub seed: u64,
    /// Event time of the first event, ISO 8601.
    pub start: StartTime,
}

/// What is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// Requests to a shop: sessions, customers, addresses, user agents.
    #[default]
    Web,
}

/// Event times are microseconds and all different.
const RATE_MAX: f64 = 500_000.0;
const RATE_MIN: f64 = 0.01;

impl Default for GenerateSource {
    fn default() -> GenerateSource {
        let start = StartTime(1_772_323_200_000_000);
        GenerateSource { kind: Traffic::Web, events: 1_000_000, rate: Spanned::nowhere(5000.0), seed: 1, start }
    }
}

impl GenerateSource {
    /// Web traffic from the default start on.
    pub fn of_web(events: u64, rate: f64, seed: u64) -> GenerateSource {
        GenerateSource { events, rate: Spanned::nowhere(rate), seed, ..GenerateSource::default() }
    }

    pub fn validate(&self, report: &mut Report) {
        if !(RATE_MIN..=RATE_MAX).contains(&self.rate.value) {
            report.error(self.rate.span, format!("the rate must lie between {RATE_MIN} and {RATE_MAX} events per second"));
        }
    }

    pub fn open(self) -> Result<Box<dyn Source>> {
        let name = Arc::from(format!("generate, seed {}", self.seed));
        let made = Made { kind: "web".into(), seed: self.seed, rate: *self.rate, start: self.start.0, events: 0 };
        Ok(Box::new(Generator { web: self.web(), events_left: self.events, position: 0, name, made }))
    }

    /// Writes all events.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut web = self.web();
        let mut events_left = self.events;
        let mut lines = Vec::with_capacity(CHUNK_BYTES_MAX);
        while fill(&mut web, &mut events_left, &mut lines) {
            out.write_all(&lines)?;
            lines.clear();
        }
        out.flush()
    }

    fn web(&self) -> Web {
        let rate = if self.rate.is_nan() { RATE_MIN } else { self.rate.clamp(RATE_MIN, RATE_MAX) };
        Web::new(self.seed, rate, self.start.0)
    }
}

struct Generator {
    web: Web,
    events_left: u64,
    position: u64,
    name: Arc<str>,
    made: Made,
}

/// What has been made. The same settings make the same events, however many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Made {
    kind: String,
    seed: u64,
    rate: f64,
    start: i64,
    events: u64,
}

impl Source for Generator {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let mut lines = Vec::with_capacity(CHUNK_BYTES_MAX);
        let before = self.events_left;
        if !fill(&mut self.web, &mut self.events_left, &mut lines) {
            return Ok(None);
        }
        self.made.events += before - self.events_left;
        let origin = Origin { name: self.name.clone(), position: self.position, header: None };
        self.position += lines.len() as u64;
        Ok(Some(Chunk { partition: 0, origin, data: lines.into(), ingested: Vec::new(), fault: None }))
    }

    fn position(&self) -> Option<String> {
        serde_json::to_string(&self.made).ok()
    }

    fn rewind(&mut self, position: &str) -> Result<()> {
        self.same(position).map(drop)
    }

    /// Makes the same events again and passes over them.
    fn resume(&mut self, position: &str) -> Result<()> {
        let changed = |what: String| Error::new(Kind::Changed, what);
        let then = self.same(position)?;
        if then.events > self.made.events + self.events_left {
            return Err(changed(format!("{} events have been made already, more than `events` now says", then.events)));
        }
        let mut lines = Vec::with_capacity(CHUNK_BYTES_MAX);
        while self.made.events < then.events {
            lines.clear();
            self.web.event(&mut lines);
            self.position += lines.len() as u64;
            self.made.events += 1;
            self.events_left -= 1;
        }
        Ok(())
    }
}

impl Generator {
    /// What was made before, by the same settings.
    fn same(&self, position: &str) -> Result<Made> {
        let changed = |what: String| Error::new(Kind::Changed, what);
        let then: Made =
            serde_json::from_str(position).map_err(|e| changed(format!("the state is of another kind of source ({e})")))?;
        match then == (Made { events: then.events, ..self.made.clone() }) {
            true => Ok(then),
            false => Err(changed("`kind`, `seed`, `rate` or `start` of the generated traffic is another than before".into())),
        }
    }
}

/// As many events as a chunk holds; false if none are left.
fn fill(web: &mut Web, events_left: &mut u64, lines: &mut Vec<u8>) -> bool {
    while *events_left > 0 && lines.len() + web::LINE_BYTES_MAX <= CHUNK_BYTES_MAX {
        web.event(lines);
        *events_left -= 1;
    }
    !lines.is_empty()
}

/// Microseconds since 1970, written as ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTime(pub i64);

impl<'de> Deserialize<'de> for StartTime {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<StartTime, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(d)?;
        let expected = || D::Error::custom(format!("`{text}` is no time: expected for example `2026-03-01T00:00:00Z`"));
        let nanos = arrow_cast::parse::string_to_timestamp_nanos(text.trim()).map_err(|_| expected())?;
        // Years of four digits, whatever the number of events.
        if !(0..=4_102_444_800_000_000_000).contains(&nanos) {
            return Err(D::Error::custom(format!("`{text}` does not lie between the years 1970 and 2100")));
        }
        Ok(StartTime(nanos / 1000))
    }
}

impl JsonSchema for StartTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StartTime".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests;
