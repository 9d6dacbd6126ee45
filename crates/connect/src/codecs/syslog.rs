//! Lines of syslog, in the two standards and in the shape most daemons write to files.

mod header;

use super::lines;
use super::table::{Raw, Table};
use super::time;
use header::{Header, Value};
use ouzel_core::{Chunk, Decode, Decoded, FieldType, Report, Result, Span, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;

/// Syslog: RFC 5424, RFC 3164 (also without its `<priority>`, as in files), and RFC 3164 with ISO 8601 times. Which of
/// them a line is in is found line by line.
///
/// ```yaml
/// syslog: { year: 2015, utc_offset: "+02:00" }
/// ```
///
/// | field | type | |
/// | --- | --- | --- |
/// | `time` | timestamp | |
/// | `host` | text | |
/// | `app` | text | of `sshd(pam_unix)[19939]:` it is `sshd(pam_unix)`; null where nothing ends in a colon |
/// | `pid` | int | |
/// | `message` | text | what follows |
/// | `facility`, `severity` | int | of the priority, if there is one |
/// | `msgid` | text | RFC 5424 |
/// | `structured_data` | json | RFC 5424: `{"ID": {"NAME": "VALUE"}}` |
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogCodec {
    /// The year of lines that have none, as RFC 3164 has it. All lines get this year: split a log at New Year. Without
    /// it the `time` of such lines is malformed, for a guess from today's date would change with the day of the run.
    pub year: Option<u16>,
    /// The zone of times without one, such as `+02:00` (default: UTC).
    pub utc_offset: Option<String>,
}

const FIELDS: [(&str, FieldType); 9] = [
    ("time", FieldType::Timestamp),
    ("host", FieldType::Text),
    ("app", FieldType::Text),
    ("pid", FieldType::Int),
    ("message", FieldType::Text),
    ("facility", FieldType::Int),
    ("severity", FieldType::Int),
    ("msgid", FieldType::Text),
    ("structured_data", FieldType::Json),
];

impl SyslogCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        if let Some(year) = self.year
            && !(1..=9999).contains(&year)
        {
            report.error(span, format!("`year` is {year}")).hint("years are 1 to 9999");
        }
        if let Some(offset) = &self.utc_offset
            && time::zone(offset.as_bytes()).is_none()
        {
            report.error(span, format!("`{offset}` is no UTC offset")).hint("write it like `+02:00`");
        }
        if self.year.is_none() {
            report
                .warn(span, "lines of RFC 3164 have no year, so their `time` will be malformed")
                .hint("set `year`, unless all lines carry theirs");
        }
    }

    pub(super) fn fields(&self) -> Vec<(String, FieldType)> {
        FIELDS.into_iter().map(|(name, kind)| (name.to_string(), kind)).collect()
    }

    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> SyslogDecoder {
        let table = Table::named(wanted, FIELDS.iter().map(|(name, _)| *name));
        let wants = std::array::from_fn(|slot| table.wants(slot));
        SyslogDecoder { year: self.year, utc_offset: self.utc_offset.clone().unwrap_or_else(|| "Z".into()), wants, table }
    }
}

pub(super) struct SyslogDecoder {
    year: Option<u16>,
    utc_offset: String,
    wants: [bool; FIELDS.len()],
    table: Table,
}

impl Decode for SyslogDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let SyslogDecoder { year, utc_offset, wants, table } = self;
        Ok(lines::decode(table, chunk, |table, data, (start, end)| {
            let header = Header::parse(&data[..end], start)?;
            table.row();
            let values = header.values(data, *year, utc_offset, wants);
            for (slot, value) in values.into_iter().enumerate().filter(|(slot, _)| wants[*slot]) {
                let raw = match value {
                    Value::Null => Raw::NULL,
                    Value::Here(raw) => raw,
                    Value::Made(text) => table.aside(&text),
                };
                table.set(slot, raw);
            }
            Ok(())
        }))
    }
}
