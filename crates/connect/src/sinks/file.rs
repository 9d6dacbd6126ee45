//! Writes rows to a file: NDJSON, CSV or Parquet.

use super::parquet_file::ParquetFile;
use super::text_file::{Keep, TextFile};
use arrow_schema::SchemaRef;
use ouzel_core::{Error, Report, Result, Sink, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::Path;

/// Rows in a file. What was there before is replaced.
///
/// ```yaml
/// file: { path: "${OUTPUT:-out/scored.ndjson.gz}" }
/// ```
///
/// NDJSON: one object per line, keys in column order; timestamps in RFC 3339 with microseconds, NaN and infinities as null.
/// CSV: RFC 4180 with a header line; an empty cell is null, `""` an empty text; lists are JSON.
/// Parquet: zstd, row groups of at most a million rows; written beside the path as `.partial-N`, one each commit, and made into one
/// at the end, because a Parquet file cannot be read before its last bytes are there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    /// Relative paths start at the project directory. Missing folders are made.
    pub path: Spanned<String>,
    /// From the ending of the path if left out: `.ndjson`, `.jsonl`, `.json`, `.csv` or `.parquet`.
    #[serde(default)]
    pub format: Option<FileFormat>,
    /// From the ending of the path if left out: `.gz` or `.zst`. For NDJSON and CSV.
    #[serde(default)]
    pub compression: Option<Spanned<Compression>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    Ndjson,
    Csv,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl FileSink {
    pub fn validate(&self, report: &mut Report) {
        if self.path.is_empty() {
            report.error(self.path.span, "the path is empty");
            return;
        }
        match self.resolved_format() {
            None => {
                report
                    .error(self.path.span, format!("the format of `{}` is not plain from its ending", *self.path))
                    .hint("add `format: ndjson`, `csv` or `parquet`");
            }
            Some(FileFormat::Parquet) if self.resolved_compression() != Compression::None => {
                let span = self.compression.as_ref().map_or(self.path.span, |c| c.span);
                report.error(span, "a Parquet file is compressed inside, with zstd").hint("leave out the compression");
            }
            Some(_) => {}
        }
    }

    /// `root`: the project directory. `position`: go on from where an earlier run of this sink was, instead of replacing
    /// what it wrote. `take_over`: that run may not have ended.
    pub fn open(self, root: &Path, schema: SchemaRef, position: Option<&str>, take_over: bool) -> Result<Box<dyn Sink>> {
        let path = root.join(self.path.as_str());
        let format =
            self.resolved_format().ok_or_else(|| Error::config(format!("the format of `{}` is not known", *self.path)))?;
        Ok(match format {
            FileFormat::Parquet => Box::new(ParquetFile::open(path, schema, position, take_over)?),
            FileFormat::Ndjson | FileFormat::Csv => {
                // A pipe or a device has no position.
                let length = |position: &str| serde_json::from_str::<serde_json::Value>(position).ok()?["length"].as_u64();
                let keep = match position.map(|position| length(position).unwrap_or(0)) {
                    None if take_over => Keep::BytesOfAnother(0),
                    None => Keep::Nothing,
                    Some(n) if take_over => Keep::BytesOfAnother(n),
                    Some(n) => Keep::Bytes(n),
                };
                Box::new(TextFile::open(path, schema, format == FileFormat::Csv, self.resolved_compression(), keep)?)
            }
        })
    }

    fn resolved_format(&self) -> Option<FileFormat> {
        self.format.or_else(|| match ending(without_compression(&self.path).0).as_str() {
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
            "csv" => Some(FileFormat::Csv),
            "parquet" => Some(FileFormat::Parquet),
            _ => None,
        })
    }

    fn resolved_compression(&self) -> Compression {
        self.compression.as_ref().map_or_else(|| without_compression(&self.path).1, |c| c.value)
    }
}

fn without_compression(path: &str) -> (&str, Compression) {
    let compression = match ending(path).as_str() {
        "gz" => Compression::Gzip,
        "zst" => Compression::Zstd,
        _ => return (path, Compression::None),
    };
    (path.rsplit_once('.').map_or(path, |(stem, _)| stem), compression)
}

fn ending(path: &str) -> String {
    path.rsplit(['/', '\\'])
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .map_or(String::new(), |(_, end)| end.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
