//! Sources of jobs: files, and tables that others make.

use super::{PipelineConfig, Secret, given, settings};
use crate::registry::{CodecConfig, LookupConfig, SourceConfig};
use ouzel_connect::sources::{Compression, FileSource};
use ouzel_core::{Lenient, OneOrMany, Ordered, Report, Span, Spanned, TextOr};
use ouzel_detect::schema::FieldConfig;
use ouzel_lake::BucketSettings;
use schemars::JsonSchema;
use serde::Deserialize;

/// Files that others put into a folder or a bucket; each appears there whole, by being renamed or linked. Or a Delta table that others write, which is followed by its versions.
///
/// ```yaml
/// sources:
///   landing: { files: "landing/**/*.parquet" }
///   visits:
///     files: "s3://incoming/site=*/**/*.log.gz"
///     codec: { access_log: { format: combined } }
///     lookups:
///       - ranges: { of: ip, file: data/networks.csv, take: { name: text } }
///   orders: { delta: "s3://warehouse/orders" }
/// ```
///
/// Without `codec` they are Parquet files with the columns that they have. With one their records are read as a pipeline reads them, and a job is given fields, lookups, `_malformed`,
/// `_implausible`, `_reasons` and `_raw`, with `_file`, to the project if it lies there, and `_row`, the record's number in it from 1. What the names of folders say, `site=shop`, is a column of text, unless the records have
/// one of that name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// A pattern, relative to the project or `s3://BUCKET/..`: `*`, `?` and `[..]` within a name, `**` for any number of folders.
    pub files: Option<Spanned<String>>,
    /// Instead of files: the folder of a Delta table, relative to the project or `s3://BUCKET/..`.
    pub delta: Option<Spanned<String>>,
    /// The format of their records. Compression is found out from each file's first bytes.
    #[serde(default)]
    pub codec: Option<Lenient<Spanned<CodecConfig>>>,
    /// As of a pipeline: name to SQL expression over fields and the raw record.
    #[serde(default)]
    pub select: Ordered<Spanned<String>>,
    /// As of a pipeline: only records for which this SQL condition is true go on; the others are counted as filtered.
    #[serde(default, rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// What a record is. Some codecs know their fields; then it may be left out.
    #[serde(default)]
    pub event: Option<Lenient<Spanned<RecordConfig>>>,
    /// As of a pipeline: columns looked up by the value of a field.
    #[serde(default)]
    pub lookups: Vec<Lenient<Spanned<LookupConfig>>>,
    /// Of a bucket; `AWS_REGION`, or `us-east-1`, if nothing is said.
    pub region: Option<String>,
    /// URL of a store other than AWS, as `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    /// With `secret_key`: who reads. What the environment has if nothing is said, as of a store.
    pub access_key: Option<String>,
    pub secret_key: Option<Secret>,
}

/// What a record of a file is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// File with the record's fields, relative to the project.
    pub schema: Option<Spanned<String>>,
    /// The fields right here, instead of in a file.
    pub fields: Option<Ordered<TextOr<FieldConfig>>>,
    /// The field that holds the record's time, a timestamp. A record without a readable time is then quarantined.
    pub time: Option<Spanned<String>>,
}

impl FilesConfig {
    /// Where it lies: a pattern of files, or a table's folder. `None`, and a problem, if that is not said.
    pub fn place(&self, name: Span, report: &mut Report) -> Option<&Spanned<String>> {
        let place = match (&self.files, &self.delta) {
            (Some(place), None) | (None, Some(place)) => place,
            _ => {
                report
                    .error(name, "a source has either `files` or `delta`")
                    .hint("for example `files: \"landing/**/*.parquet\"`, or `delta: \"../shop/lake/orders\"`");
                return None;
            }
        };
        let of_bucket =
            self.region.is_some() || self.endpoint.is_some() || self.access_key.is_some() || self.secret_key.is_some();
        match self.bucket(place) {
            Some((settings, within)) if settings.bucket.is_empty() || within.is_empty() => {
                report
                    .error(place.span, format!("`{}` names nothing in a bucket", place.value))
                    .hint("for example `s3://incoming/day=*/*.parquet`");
            }
            None if of_bucket => {
                report
                    .error(place.span, "`region`, `endpoint` and keys are of a bucket, and this is a folder")
                    .hint("for what lies in a bucket: `s3://BUCKET/..`");
            }
            _ => {}
        }
        let reads = !self.select.0.is_empty() || self.condition.is_some() || self.event.is_some() || !self.lookups.is_empty();
        if self.delta.is_some() && (reads || self.codec.is_some()) {
            report
                .error(place.span, "a table has columns already: `codec`, `select`, `where`, `event` and `lookups` are of files");
        } else if self.codec.is_none() && reads {
            report
                .error(place.span, "`select`, `where`, `event` and `lookups` are of records, which need a `codec`")
                .hint("for example `codec: json`; also `codec: parquet`");
        }
        Some(place)
    }

    /// Which bucket, and what in it.
    pub fn bucket<'p>(&self, place: &'p Spanned<String>) -> Option<(BucketSettings, &'p str)> {
        let there = place.strip_prefix("s3://")?;
        let (bucket, within) = there.split_once('/').unwrap_or((there, ""));
        Some((settings(bucket, &self.region, &self.endpoint, &self.access_key, &self.secret_key), within))
    }

    /// What of a pipeline says how records are read.
    pub fn reading(&self, files: &Spanned<String>) -> PipelineConfig {
        let source = FileSource { path: OneOrMany(vec![files.clone()]), compression: Compression::Auto };
        PipelineConfig {
            name: None,
            source: Lenient(Some(Spanned { value: SourceConfig::File(source), span: files.span })),
            codec: self.codec.clone(),
            select: self.select.clone(),
            condition: self.condition.clone(),
            event: Lenient(None),
            lookups: self.lookups.clone(),
            features: Vec::new(),
            scores: Ordered::default(),
            risk: OneOrMany(Vec::new()),
            decision: Default::default(),
            lists: Default::default(),
            alerts: Vec::new(),
            sinks: Vec::new(),
        }
    }

    /// What a record is, as far as it is said.
    pub fn record(&self) -> RecordConfig {
        given(&self.event).map(|event| event.value.clone()).unwrap_or_default()
    }
}
