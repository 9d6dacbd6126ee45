//! Access logs of web servers, by the format they are written with.

mod apache;
mod format;
mod line;
mod nginx;

use super::lines;
use super::table::Table;
use format::Format;
use line::Slots;
use ouzel_core::{Chunk, Decode, Decoded, Error, FieldType, Report, Result, Span, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;

/// Access logs of Apache, nginx and whoever writes like them.
///
/// ```yaml
/// access_log: { format: combined }
/// ```
///
/// `format` is `combined`, `common`, `nginx`, or a format in Apache's or nginx's own notation, as it stands in their
/// configuration:
///
/// ```yaml
/// access_log: { format: '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D' }
/// ```
///
/// | field | type | from |
/// | --- | --- | --- |
/// | `ip`, `host` | ip, text | `%h`, `$remote_addr` (`host` also where it is a name); `%a` gives `ip` only |
/// | `ident`, `user` | text | `%l`, `%u`, `$remote_user` |
/// | `time` | timestamp | `%t`, `%{sec}t`, `%{msec}t`, `%{usec}t`, `$time_local`, `$time_iso8601`, `$msec` |
/// | `request` | text | `%r`, `$request` |
/// | `method`, `path`, `query`, `protocol` | text | of `request`, or `%m`, `%U`, `%q`, `%H`, `$request_method`, `$request_uri` |
/// | `status`, `bytes` | int | `%s`, `%>s`, `%b`, `%B`, `%O`, `$status`, `$body_bytes_sent`, `$bytes_sent` |
/// | `duration` | float, seconds | `%D`, `%T`, `%{ms}T`, `%{us}T`, `$request_time` |
/// | `referer`, `user_agent` | text | `%{Referer}i`, `%{User-Agent}i`, `$http_referer`, `$http_user_agent` |
/// | `server`, `port` | text, int | `%v`, `%V`, `$server_name`, `$host`; `%p`, `$server_port` |
/// | any other | text | headers by their name in lower snake case: `%{X-Forwarded-For}i`, `$http_x_forwarded_for` give `x_forwarded_for`; `%{NAME}o`, `%{NAME}C`, `%{NAME}e`, `%{NAME}n` and `$NAME` likewise |
///
/// `%{NAME}x` is text under a name of your choice, for parts that no directive stands for, and `%{-}x` skips one.
/// `path` is the whole target of the request with its query; `query` what follows the `?`. `-` is null. Escapes
/// (`\"`, `\x16`) are resolved unless that gives no text. A request that is no HTTP request, which is how attackers often
/// appear, is kept in `request`, with `method`, `path`, `query` and `protocol` null. Spaces at the end of a line are
/// ignored, and the last quote may be missing where a line was cut off.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessLogCodec {
    /// `combined`, `common`, `nginx`, or the format itself.
    #[serde(default = "combined")]
    pub format: String,
}

fn combined() -> String {
    "combined".into()
}

impl AccessLogCodec {
    pub(super) fn validate(&self, report: &mut Report, span: Span) {
        if let Err(problem) = Format::compile(&self.format) {
            report
                .error(span, problem)
                .hint("a format is `combined`, `common`, `nginx`, or for example '%h %l %u %t \"%r\" %>s %b'; name other parts with %{NAME}x");
        }
    }

    pub(super) fn fields(&self) -> Option<Vec<(String, FieldType)>> {
        Format::compile(&self.format).ok().map(|format| format.fields())
    }

    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> Result<AccessLogDecoder> {
        let format = Format::compile(&self.format).map_err(Error::config)?;
        let fields = format.fields();
        let table = Table::named(wanted, fields.iter().map(|(name, _)| name.as_str()));
        let slots = Slots::new(&format, |name| {
            let slot = fields.iter().position(|(field, _)| field == name)?;
            table.wants(slot).then_some(slot)
        });
        Ok(AccessLogDecoder { format, slots, table })
    }
}

pub(super) struct AccessLogDecoder {
    format: Format,
    slots: Slots,
    table: Table,
}

impl Decode for AccessLogDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        let AccessLogDecoder { format, slots, table } = self;
        Ok(lines::decode(table, chunk, |table, data, range| {
            table.row();
            format.cut(data, range, |part, value| slots.note(part, value, data, table))
        }))
    }
}
