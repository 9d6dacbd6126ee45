//! How a pipeline reads what comes: the format of its records, and the fields of an event.

use crate::config::{PipelineConfig, inline_schema};
use crate::project::Reader;
use crate::registry::CodecConfig;
use ouzel_connect::codecs::JsonCodec;
use ouzel_core::{Ordered, Report, Span, Spanned, TextOr};
use ouzel_detect::schema::{FieldConfig, SchemaConfig};

/// The pipeline's codec, or that of its source.
pub fn codec(config: &PipelineConfig, report: &mut Report) -> Option<CodecConfig> {
    match &config.codec {
        Some(codec) => {
            let codec = codec.0.as_ref()?;
            codec.value.validate(report, codec.span);
            if let (true, Some(source)) = (codec.value.framing().packing().is_some(), &config.source.0)
                && let Some(reason) = source.value.no_rows()
            {
                report.error(source.span, reason);
            }
            Some(codec.value.clone())
        }
        None => {
            let source = config.source.0.as_ref()?;
            if source.value.default_codec().is_some() {
                return Some(CodecConfig::Json(JsonCodec::default()));
            }
            report.error(source.span, "this source needs a `codec`: the format of its records").hint(
                "for example `codec: json`, `codec: csv`, `codec: { access_log: { format: combined } }`, `codec: syslog`, `codec: parquet`, or `codec: { pattern: { pattern: '^(?<time>\\S+) (?<user>\\S+)' } }` for lines of any other shape",
            );
            None
        }
    }
}

/// The fields, from a file, from the pipeline itself or from the codec; and the hash of the file.
pub fn schema(
    (file, fields): (&Option<Spanned<String>>, &Option<Ordered<TextOr<FieldConfig>>>),
    span: Span,
    codec: Option<&CodecConfig>,
    reader: &mut Reader<'_>,
    report: &mut Report,
) -> Option<(SchemaConfig, String)> {
    match (file, fields) {
        (Some(file), None) => {
            let schema = reader.schema(&file.value, file.span, report)?;
            Some(((*schema.config).clone(), schema.hash))
        }
        (None, Some(fields)) => Some((inline_schema(fields), String::new())),
        (Some(file), Some(_)) => {
            report.error(file.span, "`schema` and `fields` are two ways to say the same").hint("keep one of them");
            None
        }
        (None, None) => {
            let own = codec?.fields();
            if own.is_none() {
                report
                    .error(span, "the event's fields are not known: this codec has none of its own")
                    .hint("name a file with `schema: schemas/NAME.yaml`, or give `fields:` right here");
            }
            let fields = own?.into_iter().map(|(value, of)| (Spanned { value, span }, TextOr::Text(of.to_string()))).collect();
            Some((SchemaConfig { fields: Ordered(fields), ..SchemaConfig::default() }, String::new()))
        }
    }
}
