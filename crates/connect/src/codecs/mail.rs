//! Mails: what their headers, bodies and attachments tell, as fields. Nothing is looked up: what servers found out about a
//! mail is read from the headers they added.

mod auth;
mod fields;
mod hosts;
mod links;
mod mbox;
#[cfg(test)]
mod tests;

use super::lines;
use super::table::Table;
use fields::{FIELDS, Mail};
use mail_parser::{Header, MessageParser};
use ouzel_core::{Chunk, Decode, Decoded, FieldType, Framing, Result, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Mails (RFC 5322, MIME): files that are one mail each, or mbox files.
///
/// ```yaml
/// mail: {}
/// mail: { format: mbox }
/// ```
///
/// | field | type | |
/// | --- | --- | --- |
/// | `message_id`, `subject` | text | |
/// | `date` | timestamp | |
/// | `from_address`, `from_name`, `from_domain` | text | of the first sender; addresses and domains in lower case |
/// | `reply_to_address`, `reply_to_domain`, `return_path` | text | |
/// | `to`, `to_count` | list<text>, int | addresses in `To` |
/// | `received_at` | timestamp | of the newest `Received` header that tells one: when the mail came, by one's own server |
/// | `received_count` | int | `Received` headers |
/// | `received_hops` | list<text> | the host or address that each of them is `from`, the newest first, null where it has none |
/// | `origin_ip` | ip | the oldest public address in them |
/// | `spf`, `dkim`, `dmarc` | text | `pass`, `fail`, `softfail`, `none`, ...: of the topmost `Authentication-Results` that has it; `spf` else of `Received-SPF` |
/// | `links` | list<text> | different web addresses in text and HTML, up to 1,000 |
/// | `link_domains` | list<text> | their different hosts, in lower case |
/// | `attachments`, `attachment_types` | list<text> | names, null where there is none, and types such as `application/pdf` |
/// | `is_html` | bool | whether a part is HTML |
/// | `list_id`, `mailer` | text | `List-Id`; `X-Mailer` or `User-Agent` |
/// | `size` | int, bytes | |
///
/// A file is one mail of up to 16 MiB, whatever it holds; a line `From ...` before the headers is passed over. In an mbox file a
/// mail begins with such a line, which has a time in it, at the beginning or behind a blank line. What has no headers is
/// undecodable. Of a mail with more than 500 parts only the headers are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MailCodec {
    /// How mails lie in files.
    pub format: MailFormat,
}

/// How mails lie in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailFormat {
    /// A file is one mail.
    #[default]
    Message,
    /// One after another, each behind a line that begins with `From `.
    Mbox,
}

/// Parts of a mail that are read. They may be nested, and what is nested is dropped recursively.
const PARTS_MAX: usize = 500;

impl MailCodec {
    pub(super) fn framing(&self) -> Box<dyn Framing> {
        match self.format {
            MailFormat::Message => Box::new(Whole),
            MailFormat::Mbox => Box::new(mbox::Mbox),
        }
    }

    pub(super) fn fields(&self) -> Vec<(String, FieldType)> {
        FIELDS.iter().map(|(name, of)| (name.to_string(), of.parse().unwrap_or(FieldType::Text))).collect()
    }

    pub(super) fn decoder(&self, wanted: Vec<Wanted>) -> MailDecoder {
        let table = Table::named(wanted, FIELDS.iter().map(|(name, _)| *name));
        MailDecoder { format: self.format, parser: MessageParser::default(), table }
    }
}

/// A file is one record.
struct Whole;

impl Framing for Whole {
    fn split(&mut self, _: &[u8]) -> usize {
        0
    }
    fn last_byte(&self) -> Option<u8> {
        None
    }
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        lines::byte_order_mark(data, at_end)
    }
}

pub(super) struct MailDecoder {
    format: MailFormat,
    parser: MessageParser,
    table: Table,
}

impl Decode for MailDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        if let Some(refused) = self.table.refuse(chunk) {
            return Ok(refused);
        }
        let data = chunk.data.as_slice();
        let mut start = 0;
        while start < data.len() {
            let end = match self.format {
                MailFormat::Message => data.len(),
                MailFormat::Mbox => mbox::next(data, start + 1).unwrap_or(data.len()),
            };
            let blank = data[start..end].iter().all(u8::is_ascii_whitespace);
            match if blank { None } else { Some(self.mail(data, start..end)) } {
                None => {}
                Some(Ok(())) => self.table.keep_row((start, end)),
                Some(Err(reason)) => self.table.drop_row((start, end), reason),
            }
            start = end;
        }
        Ok(self.table.finish(chunk))
    }
}

impl MailDecoder {
    fn mail(&mut self, data: &[u8], at: Range<usize>) -> std::result::Result<(), String> {
        let record = &data[at];
        let is_envelope = record.starts_with(b"From ") || record.starts_with(b">From ");
        if self.format == MailFormat::Mbox && !is_envelope {
            return Err("expected a line that begins with `From `".into());
        }
        let first = if is_envelope { memchr::memchr(b'\n', record).map_or(record.len(), |n| n + 1) } else { 0 };
        let bytes = &record[first..];
        let MailDecoder { parser, table, .. } = self;
        // Other mails of the file are not to suffer from one that shows a mistake of the parser.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let parts = memchr::memmem::find_iter(&bytes.to_ascii_lowercase(), b"content-type").count();
            let message = if parts > PARTS_MAX { parser.parse_headers(bytes) } else { parser.parse(bytes) };
            let message = message.filter(|m| !m.parts.is_empty() && m.headers().iter().any(|header| is_header(header, bytes)))?;
            let mail = Mail::new(&message, record.len());
            let wanted = FIELDS.iter().enumerate().filter(|(slot, _)| table.wants(*slot));
            Some(wanted.map(|(slot, (name, _))| (slot, mail.value(name))).collect::<Vec<_>>())
        }));
        let values = read.map_err(|_| "the mail makes its parser panic".to_string())?;
        let values = values.ok_or("a mail has headers first, such as `From: ...`: found none")?;
        table.row();
        for (slot, value) in values {
            if let Some(value) = value {
                let raw = table.aside(&value);
                table.set(slot, raw);
            }
        }
        Ok(())
    }
}

/// The parser also takes lines without a colon, and any bytes before one, for headers.
fn is_header(header: &Header<'_>, bytes: &[u8]) -> bool {
    let field = bytes.get(header.offset_field as usize..header.offset_start as usize).unwrap_or_default();
    let name = memchr::memchr(b':', field).map_or(&[][..], |colon| field[..colon].trim_ascii_end());
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}
