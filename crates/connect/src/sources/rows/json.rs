//! Rows as lines of JSON. Columns that are null are left out. Times are ISO 8601 with all their digits, decimals are
//! numbers, bytes are base64, lists and records are JSON's, and of a union the value counts.

use super::damaged;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, UnionArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, WriterBuilder, make_encoder};
use arrow_schema::{ArrowError, DataType, FieldRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

pub(super) fn write(rows: &RecordBatch, out: &mut Vec<u8>) -> io::Result<()> {
    let builder = WriterBuilder::new().with_encoder_factory(Arc::new(Own));
    let mut writer = builder.build::<_, LineDelimited>(out);
    writer.write(rows).and_then(|()| writer.finish()).map_err(damaged)
}

/// The types that are written in another way than arrow does, at any depth.
#[derive(Debug)]
struct Own;

impl EncoderFactory for Own {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Timestamp(_, zone) => {
                let display = FormatOptions::new().with_display_error(true);
                // The instant is the same in every zone, and arrow knows no zone by name.
                Box::new(Time { array: without_zone(array)?, zone: if zone.is_some() { "Z" } else { "" }, display })
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                Box::new(Bytes(move |i| array.value(i)))
            }
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                Box::new(Bytes(move |i| array.value(i)))
            }
            DataType::BinaryView => {
                let array = array.as_binary_view();
                Box::new(Bytes(move |i| array.value(i)))
            }
            DataType::FixedSizeBinary(16) if field.metadata().values().any(|v| v.contains("uuid")) => {
                let array = array.as_fixed_size_binary();
                Box::new(Uuid(move |i| array.value(i)))
            }
            DataType::FixedSizeBinary(_) => {
                let array = array.as_fixed_size_binary();
                Box::new(Bytes(move |i| array.value(i)))
            }
            DataType::Union(fields, _) => {
                let array = array.as_any().downcast_ref::<UnionArray>().ok_or_else(|| ArrowError::CastError("a union".into()))?;
                let mut kinds = Vec::new();
                for (id, field) in fields.iter() {
                    kinds.push((id, make_encoder(field, array.child(id), options)?));
                }
                Box::new(Union { array, kinds })
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.logical_nulls())))
    }
}

fn without_zone(array: &dyn Array) -> Result<Arc<dyn Array>, ArrowError> {
    let DataType::Timestamp(unit, _) = array.data_type() else { return Err(ArrowError::CastError("no timestamp".into())) };
    let data = array.to_data().into_builder().data_type(DataType::Timestamp(*unit, None)).build()?;
    Ok(arrow_array::make_array(data))
}

struct Time {
    array: Arc<dyn Array>,
    zone: &'static str,
    display: FormatOptions<'static>,
}

impl Encoder for Time {
    fn encode(&mut self, i: usize, out: &mut Vec<u8>) {
        let text =
            ArrayFormatter::try_new(self.array.as_ref(), &self.display).map(|f| f.value(i).to_string()).unwrap_or_default();
        // What lies beyond the calendar is a message, with quotes perhaps.
        let text = text.replace(['"', '\\'], "'");
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(self.zone.as_bytes());
        out.push(b'"');
    }
}

struct Bytes<F>(F);

impl<'a, F: Fn(usize) -> &'a [u8]> Encoder for Bytes<F> {
    fn encode(&mut self, i: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode((self.0)(i)).as_bytes());
        out.push(b'"');
    }
}

struct Uuid<F>(F);

impl<'a, F: Fn(usize) -> &'a [u8]> Encoder for Uuid<F> {
    fn encode(&mut self, i: usize, out: &mut Vec<u8>) {
        let mut text = String::with_capacity(38);
        for (at, byte) in (self.0)(i).iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            let _ = write!(text, "{dash}{byte:02x}");
        }
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

struct Union<'a> {
    array: &'a UnionArray,
    kinds: Vec<(i8, NullableEncoder<'a>)>,
}

impl Encoder for Union<'_> {
    fn encode(&mut self, i: usize, out: &mut Vec<u8>) {
        let (id, at) = (self.array.type_id(i), self.array.value_offset(i));
        match self.kinds.iter_mut().find(|(kind, _)| *kind == id) {
            Some((_, encoder)) if !encoder.is_null(at) => encoder.encode(at, out),
            _ => out.extend_from_slice(b"null"),
        }
    }
}
