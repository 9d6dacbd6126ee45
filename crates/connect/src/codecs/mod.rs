//! How bytes become columns. A codec knows where records end ([`Framing`]) and how to read them ([`Decode`]).
//!
//! Nothing in here fails because of what the bytes are: a record that is none is [`ouzel_core::Broken`], a value that
//! is none of its field's types is [`ouzel_core::Malformed`], and both say why. How values are read is in [`column`].

mod access_log;
mod column;
mod csv;
mod json;
mod lines;
mod mail;
mod pattern;
mod rows;
mod scalar;
mod syslog;
mod table;
mod time;
mod views;

#[cfg(test)]
pub(crate) mod tests;

pub use access_log::AccessLogCodec;
pub use column::read_text;
pub use csv::{Cell, CsvCodec, Delimiter, Quote, TsvCodec};
pub use json::{JsonCodec, Records};
pub use mail::{MailCodec, MailFormat};
pub use pattern::PatternCodec;
pub use rows::{AvroCodec, ParquetCodec};
pub use syslog::SyslogCodec;

use ouzel_core::{Chunk, Decode, FieldType, Framing, Packing, Report, Result, Span, Wanted};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The format of a source's records.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CodecConfig {
    Json(JsonCodec),
    Csv(CsvCodec),
    Tsv(TsvCodec),
    AccessLog(AccessLogCodec),
    Syslog(SyslogCodec),
    Pattern(PatternCodec),
    Parquet(ParquetCodec),
    Avro(AvroCodec),
    Mail(MailCodec),
}

impl CodecConfig {
    /// Tells all that is wrong with the configuration.
    pub fn validate(&self, report: &mut Report, span: Span) {
        match self {
            CodecConfig::Json(codec) => codec.validate(report, span),
            CodecConfig::Csv(codec) => codec.validate(report, span),
            CodecConfig::Tsv(codec) => codec.validate(report, span),
            CodecConfig::AccessLog(codec) => codec.validate(report, span),
            CodecConfig::Syslog(codec) => codec.validate(report, span),
            CodecConfig::Pattern(codec) => codec.validate(report, span),
            CodecConfig::Parquet(_) | CodecConfig::Avro(_) | CodecConfig::Mail(_) => {}
        }
    }

    /// Finds the ends of records. One per open file.
    pub fn framing(&self) -> Box<dyn Framing> {
        match self {
            CodecConfig::Csv(codec) => Box::new(codec.framing()),
            CodecConfig::Tsv(codec) => Box::new(codec.framing()),
            CodecConfig::Json(codec) => codec.framing(),
            CodecConfig::AccessLog(_) | CodecConfig::Syslog(_) | CodecConfig::Pattern(_) => Box::new(lines::Lines),
            CodecConfig::Parquet(_) => Box::new(rows::Unpacked(Packing::Parquet)),
            CodecConfig::Avro(_) => Box::new(rows::Unpacked(Packing::Avro)),
            CodecConfig::Mail(codec) => codec.framing(),
        }
    }

    /// Reads the wanted fields, in that order. One per thread.
    pub fn decoder(&self, wanted: Vec<Wanted>) -> Result<Box<dyn Decode>> {
        Ok(match self {
            CodecConfig::Json(codec) => codec.decoder(wanted),
            CodecConfig::Csv(codec) => Box::new(codec.decoder(wanted)),
            CodecConfig::Tsv(codec) => Box::new(codec.decoder(wanted)),
            CodecConfig::AccessLog(codec) => Box::new(codec.decoder(wanted)?),
            CodecConfig::Syslog(codec) => Box::new(codec.decoder(wanted)),
            CodecConfig::Pattern(codec) => Box::new(codec.decoder(wanted)?),
            CodecConfig::Parquet(_) | CodecConfig::Avro(_) => json::JsonCodec::rows(wanted),
            CodecConfig::Mail(codec) => Box::new(codec.decoder(wanted)),
        })
    }

    /// Files begin with a header that says what the values of records are called.
    pub fn has_header(&self) -> bool {
        match self {
            CodecConfig::Csv(codec) => codec.columns.is_none(),
            CodecConfig::Tsv(codec) => codec.columns.is_none(),
            _ => false,
        }
    }

    /// Whether a file that ends with this chunk ends in the middle of something that was opened: an array, an object, a quoted cell. A last line that is no record is for its decoder to tell.
    pub fn is_cut_off(&self, last: &Chunk) -> bool {
        match self {
            CodecConfig::Json(codec) => codec.is_cut_off(last),
            CodecConfig::Csv(codec) => codec.is_cut_off(&last.data),
            CodecConfig::Tsv(codec) => codec.is_cut_off(&last.data),
            CodecConfig::AccessLog(_) | CodecConfig::Syslog(_) | CodecConfig::Pattern(_) | CodecConfig::Mail(_) => false,
            CodecConfig::Parquet(_) | CodecConfig::Avro(_) => false,
        }
    }

    /// What the values of records are called where the data say so: by the header of their file, or by the keys of records, of which some are enough.
    /// Empty where the format, or the configuration, has the names.
    pub fn names<'a>(&self, header: Option<&[u8]>, records: impl Iterator<Item = &'a [u8]>) -> BTreeSet<String> {
        let header = header.filter(|_| self.has_header()).unwrap_or_default();
        match self {
            CodecConfig::Csv(codec) => codec.names(header).into_iter().collect(),
            CodecConfig::Tsv(codec) => codec.names(header).into_iter().collect(),
            CodecConfig::Json(_) | CodecConfig::Parquet(_) | CodecConfig::Avro(_) => records.flat_map(json::keys).collect(),
            CodecConfig::AccessLog(_) | CodecConfig::Syslog(_) | CodecConfig::Pattern(_) | CodecConfig::Mail(_) => {
                BTreeSet::new()
            }
        }
    }

    /// The fields the format has by itself; `None` if they depend on the data.
    pub fn fields(&self) -> Option<Vec<(String, FieldType)>> {
        match self {
            CodecConfig::Json(_) | CodecConfig::Csv(_) | CodecConfig::Tsv(_) => None,
            CodecConfig::Parquet(_) | CodecConfig::Avro(_) => None,
            CodecConfig::AccessLog(codec) => codec.fields(),
            CodecConfig::Syslog(codec) => Some(codec.fields()),
            CodecConfig::Pattern(codec) => codec.fields(),
            CodecConfig::Mail(codec) => Some(codec.fields()),
        }
    }
}
