//! What each codec makes of good, odd and bad bytes.

mod bad_input;
mod formats;

use super::CodecConfig;
use arrow_array::{Array, cast::AsArray, types::TimestampMicrosecondType};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use ouzel_core::{Chunk, Decoded, Origin, Path, Report, Span, Wanted, path::Step, yaml};

/// `name:type|type` as what a decoder is asked for; `name:any` is any value as text.
pub(crate) fn wanted(field: &str) -> Wanted {
    let (path, types) = field.split_once(':').unwrap_or((field, "text"));
    let step = |part: &str| part.parse().map_or_else(|_| Step::Key(part.into()), Step::Index);
    let any_text = types == "any";
    let types = if any_text { "text" } else { types };
    let types = types.split('|').map(|t| t.parse().expect("a type")).collect();
    Wanted { path: Path(path.split('.').map(step).collect()), types, any_text }
}

pub(crate) fn chunk(data: &[u8], header: Option<&str>) -> Chunk {
    let origin = Origin { name: "test".into(), position: 0, header: header.map(|h| h.as_bytes().into()) };
    Chunk { partition: 0, origin, data: data.to_vec().into(), ingested: Vec::new(), fault: None }
}

/// A codec as it stands in a file, or all that is wrong with it.
pub(crate) fn codec_of(text: &str) -> Result<CodecConfig, String> {
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let codec: Option<CodecConfig> = yaml::parse(&mut report, file, text, &|name| Some(format!("${{{name}}}")))
        .and_then(|node| yaml::decode(&mut report, &node));
    if let Some(codec) = &codec {
        codec.validate(&mut report, Span { file, line: 1, column: 1, len: 1 });
    }
    let said = report.render(|_, word| word.to_string());
    codec.filter(|_| !report.has_errors()).ok_or(said)
}

pub(crate) fn decode(codec: &str, fields: &[&str], chunk: &Chunk) -> Decoded {
    let codec = codec_of(codec).unwrap_or_else(|problems| panic!("{problems}"));
    let wanted: Vec<Wanted> = fields.iter().map(|field| wanted(field)).collect();
    let decoded = codec.decoder(wanted).and_then(|mut decoder| decoder.decode(chunk)).expect("a decoder");
    check_invariants(chunk, &decoded);
    decoded
}

/// What holds for every answer, whatever the bytes.
pub(crate) fn check_invariants(chunk: &Chunk, decoded: &Decoded) {
    let whole = |(start, end): (u32, u32)| start <= end && end as usize <= chunk.data.len();
    assert_eq!(decoded.raw.len(), decoded.rows);
    assert!(decoded.raw.iter().all(|range| whole(*range)));
    assert!(decoded.broken.iter().all(|b| whole(b.range) && b.before as usize <= decoded.rows));
    assert!(decoded.broken.is_sorted_by_key(|b| (b.before, b.range)));
    for column in &decoded.columns {
        assert_eq!(column.values.len(), decoded.rows);
        column.values.to_data().validate_full().expect("valid arrow data");
        if let Some(other) = &column.other {
            assert_eq!(other.len(), decoded.rows);
            other.to_data().validate_full().expect("valid arrow data");
        }
        assert!(column.malformed.is_sorted_by_key(|m| m.row));
        assert!(column.malformed.iter().all(|m| column.values.is_null(m.row as usize)));
    }
}

/// All that was found, for people: a line for each row (`value`, `~` for null, `value?` for other types, `!` with the
/// reason for malformed) and each broken record, in order.
pub(crate) fn show(decoded: &Decoded) -> String {
    let mut lines = Vec::new();
    let mut broken = decoded.broken.iter().peekable();
    for row in 0..=decoded.rows {
        while let Some(broken) = broken.next_if(|b| b.before as usize == row) {
            lines.push(format!("broken: {}", broken.reason));
        }
        if row < decoded.rows {
            let cells: Vec<String> = decoded.columns.iter().map(|column| cell(column, row)).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines.join("\n")
}

fn cell(column: &ouzel_core::Column, row: usize) -> String {
    let options = FormatOptions::new().with_null("~");
    let text = |array: &dyn Array| match array.as_primitive_opt::<TimestampMicrosecondType>() {
        // Arrow knows no zone by name without a database of them.
        Some(times) => {
            let times = times.clone().with_timezone_opt(None::<&str>);
            let zone = if times.is_null(row) { "" } else { "Z" };
            ArrayFormatter::try_new(&times, &options).expect("a formatter").value(row).to_string() + zone
        }
        None => ArrayFormatter::try_new(array, &options).expect("a formatter").value(row).to_string(),
    };
    if let Some(malformed) = column.malformed.iter().find(|m| m.row as usize == row) {
        return format!("! {}", malformed.reason);
    }
    match &column.other {
        Some(other) if other.is_valid(row) => text(other.as_ref()) + "?",
        _ => text(column.values.as_ref()),
    }
}
