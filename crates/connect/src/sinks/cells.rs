//! Columns as text, cell by cell: the type is looked at once per batch, not once per cell.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, StringArray, StringViewArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use ouzel_core::{Error, Result};

/// One column, ready to be written.
pub(super) struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    Int64(ScalarBuffer<i64>),
    Int32(ScalarBuffer<i32>),
    UInt64(ScalarBuffer<u64>),
    Float64(ScalarBuffer<f64>),
    Float32(ScalarBuffer<f32>),
    Decimal(PrimitiveArray<Decimal128Type>),
    /// Microseconds; `true` if they are UTC (any zone: the instant is UTC), `false` for wall-clock times without zone.
    Timestamp(ScalarBuffer<i64>, bool),
    Date(ScalarBuffer<i32>),
    View(StringViewArray),
    Text(StringArray),
    LargeText(LargeStringArray),
    List(OffsetBuffer<i32>, Box<Cells>),
    /// Each field with `{"name":` or `,"name":` before it.
    Struct(Vec<(Prefix, Cells)>),
}

impl Cells {
    pub(super) fn new(array: &ArrayRef) -> Result<Cells> {
        let bad = |e: ArrowError| {
            Error::internal(format!("cannot write a column of type `{}` as text", array.data_type())).caused_by(e)
        };
        let cast = |to: DataType| Cells::new(&arrow_cast::cast(array, &to).map_err(bad)?);
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values().clone()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values().clone()),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => return cast(DataType::Int32),
            DataType::UInt32 => return cast(DataType::Int64),
            DataType::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values().clone()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values().clone()),
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values().clone()),
            DataType::Float16 => return cast(DataType::Float32),
            DataType::Decimal128(..) => Values::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values().clone(), zone.is_some())
            }
            DataType::Timestamp(_, zone) => return cast(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values().clone()),
            DataType::Utf8View => Values::View(array.as_string_view().clone()),
            DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Values::LargeText(array.as_string::<i64>().clone()),
            DataType::Dictionary(_, of) => return cast(of.as_ref().clone()),
            DataType::LargeList(of) | DataType::FixedSizeList(of, _) => return cast(DataType::List(of.clone())),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Values::List(list.offsets().clone(), Box::new(Cells::new(list.values())?))
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let named = fields.iter().zip(columns).enumerate();
                Values::Struct(named.map(|(i, (f, c))| Ok((Prefix::new(i, f.name()), Cells::new(c)?))).collect::<Result<_>>()?)
            }
            _ => Values::Text(formatted(array).map_err(bad)?),
        };
        Ok(Cells { nulls: array.nulls().cloned(), values })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// As a JSON value. NaN and the infinities, which JSON does not have, become null.
    #[inline]
    pub(super) fn json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::View(texts) => json_text(texts.value(row), out),
            Values::Text(texts) => json_text(texts.value(row), out),
            Values::LargeText(texts) => json_text(texts.value(row), out),
            Values::Float64(n) if !n[row].is_finite() => out.extend_from_slice(b"null"),
            Values::Float32(n) if !n[row].is_finite() => out.extend_from_slice(b"null"),
            Values::Timestamp(..) | Values::Date(_) => {
                out.push(b'"');
                self.bare(row, out);
                out.push(b'"');
            }
            _ => self.bare(row, out),
        }
    }

    /// As text without quotes or escapes. Lists and structs are JSON.
    #[inline]
    pub(super) fn bare(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &self.values {
            Values::Null => {}
            Values::Boolean(b) => out.extend_from_slice(if b.value(row) { b"true" } else { b"false" }),
            Values::Int64(n) => integer(n[row], out),
            Values::Int32(n) => integer(n[row].into(), out),
            Values::UInt64(n) => out.extend_from_slice(itoa::Buffer::new().format(n[row]).as_bytes()),
            Values::Float64(n) => float(n[row], out),
            Values::Float32(n) => out.extend_from_slice(ryu::Buffer::new().format(n[row]).as_bytes()),
            Values::Decimal(n) => out.extend_from_slice(n.value_as_string(row).as_bytes()),
            Values::Timestamp(us, utc) => timestamp(us[row], *utc, out),
            Values::Date(days) => date(i64::from(days[row]), out),
            Values::View(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::Text(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::LargeText(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Values::List(offsets, items) => {
                out.push(b'[');
                for item in offsets[row] as usize..offsets[row + 1] as usize {
                    if item > offsets[row] as usize {
                        out.push(b',');
                    }
                    items.json(item, out);
                }
                out.push(b']');
            }
            Values::Struct(fields) if fields.is_empty() => out.extend_from_slice(b"{}"),
            Values::Struct(fields) => {
                for (prefix, field) in fields {
                    prefix.write(out);
                    field.json(row, out);
                }
                out.push(b'}');
            }
        }
    }

    /// Whether [`Cells::bare`] may hold any character at all.
    pub(super) fn is_free_text(&self) -> bool {
        matches!(self.values, Values::View(_) | Values::Text(_) | Values::LargeText(_) | Values::List(..) | Values::Struct(_))
    }

    pub(super) fn is_number(&self) -> bool {
        use Values::*;
        matches!(self.values, Int64(_) | Int32(_) | UInt64(_) | Float64(_) | Float32(_) | Decimal(_))
    }
}

/// `{"name":` for the first field, `,"name":` for the others.
pub(super) struct Prefix {
    text: Vec<u8>,
    /// The same, filled up.
    short: [u8; PREFIX_BYTES],
}

const PREFIX_BYTES: usize = 32;

impl Prefix {
    pub(super) fn new(position: usize, name: &str) -> Prefix {
        let mut text = vec![if position == 0 { b'{' } else { b',' }];
        json_text(name, &mut text);
        text.push(b':');
        let mut short = [0; PREFIX_BYTES];
        let shown = text.len().min(PREFIX_BYTES);
        short[..shown].copy_from_slice(&text[..shown]);
        Prefix { text, short }
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match PREFIX_BYTES.checked_sub(self.text.len()) {
            Some(unused) => padded(&self.short, unused, out),
            None => out.extend_from_slice(&self.text),
        }
    }
}

/// Appends all but the last bytes. Copies of a length known to the compiler are a few instructions, others a call: this
/// halves the time of short pieces.
#[inline]
fn padded<const N: usize>(bytes: &[u8; N], unused: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.truncate(out.len() - unused);
}

#[inline]
fn integer(n: i64, out: &mut Vec<u8>) {
    match n {
        0..10 => out.push(b'0' + n as u8),
        10..10_000 => {
            let mut text = [0; 4];
            two_digits(&mut text, n as u64 / 100);
            two_digits(&mut text[2..], n as u64 % 100);
            let unused = 4 - n.ilog10() as usize - 1;
            let digits = u32::from_le_bytes(text) >> (unused * 8);
            padded(&digits.to_le_bytes(), unused, out);
        }
        _ => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
    }
}

/// The shortest text that reads back as `n`. Most numbers people score with have six decimals at most; for these it is
/// the decimal itself (no two decimals of up to 15 digits are the same float), found without the general algorithm.
#[inline]
fn float(n: f64, out: &mut Vec<u8>) {
    let millionths = (n * 1e6) as i64;
    if !(0.0001..1.0).contains(&n) || millionths as f64 / 1e6 != n {
        return out.extend_from_slice(ryu::Buffer::new().format(n).as_bytes());
    }
    let mut text = *b"0.000000";
    let millionths = millionths as u64;
    two_digits(&mut text[2..], millionths / 10_000);
    two_digits(&mut text[4..], millionths / 100 % 100);
    two_digits(&mut text[6..], millionths % 100);
    let unused = text.iter().rev().take_while(|&&b| b == b'0').count();
    padded(&text, unused, out);
}

fn formatted(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default().with_display_error(false);
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let texts =
        (0..array.len()).map(|row| if array.is_null(row) { Ok(None) } else { formatter.value(row).try_to_string().map(Some) });
    texts.collect()
}

/// A JSON string. Most texts need no escape: they are found so eight bytes at a time and copied whole.
#[inline]
fn json_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if needs_escape(bytes) {
        escaped(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

#[inline]
fn needs_escape(bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(8);
    let mut found = 0;
    for word in &mut words {
        found |= escapes_in(u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    found != 0 || words.remainder().iter().any(|&b| b < 0x20 || b == b'"' || b == b'\\')
}

/// Not zero if a byte is below 0x20, a quote or a backslash (each test: does the subtraction borrow in an ASCII byte).
#[inline]
fn escapes_in(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & HIGHS
}

#[cold]
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &b in bytes {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x00..0x20 => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[(b >> 4) as usize], HEX[(b & 15) as usize]]),
            _ => out.push(b),
        }
    }
}

const DAY_US: i64 = 86_400_000_000;

/// RFC 3339 with microseconds; `Z` if it is UTC.
fn timestamp(us: i64, utc: bool, out: &mut Vec<u8>) {
    date(us.div_euclid(DAY_US), out);
    let of_day = us.rem_euclid(DAY_US) as u64;
    let seconds = of_day / 1_000_000;
    let mut text = *b"T00:00:00.000000Z";
    two_digits(&mut text[1..], seconds / 3600);
    two_digits(&mut text[4..], seconds / 60 % 60);
    two_digits(&mut text[7..], seconds % 60);
    let micros = of_day % 1_000_000;
    two_digits(&mut text[10..], micros / 10_000);
    two_digits(&mut text[12..], micros / 100 % 100);
    two_digits(&mut text[14..], micros % 100);
    out.extend_from_slice(if utc { &text } else { &text[..16] });
}

/// `YYYY-MM-DD`; years beyond 0 to 9999 with a sign, as in ISO 8601.
fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00";
    two_digits(&mut text[5..], month);
    two_digits(&mut text[8..], day);
    if (0..=9999).contains(&year) {
        two_digits(&mut text, year as u64 / 100);
        two_digits(&mut text[2..], year as u64 % 100);
        out.extend_from_slice(&text);
    } else {
        let sign = if year < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("{sign}{:04}", year.unsigned_abs()).as_bytes());
        out.extend_from_slice(&text[4..]);
    }
}

#[inline]
fn two_digits(at: &mut [u8], n: u64) {
    at[0] = b'0' + (n / 10) as u8;
    at[1] = b'0' + (n % 10) as u8;
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
#[inline]
fn civil(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097) as u64;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era as i64 + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let check = |us: i64, expected: &str| {
            let mut out = Vec::new();
            timestamp(us, true, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(1_795_564_799_123_456, "2026-11-24T23:59:59.123456Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z");
        check(253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z");
        check(253_402_300_800_000_000, "+10000-01-01T00:00:00.000000Z");
        check(-62_167_219_200_000_001, "-0001-12-31T23:59:59.999999Z");
    }

    #[test]
    fn numbers_are_those_of_itoa_and_ryu() {
        let mut out = Vec::new();
        let integers = (0..30_000).chain([-1, -10, i64::MIN, i64::MAX]);
        for n in integers {
            out.clear();
            integer(n, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), n.to_string());
        }
        let millionths = (0..=1_000_000).map(|n| f64::from(n) / 1e6);
        let others = [-0.5, 1.5, 1e16, 5e-324, 0.1 + 0.2, 1.0 / 3.0, f64::MAX].into_iter();
        for n in millionths.flat_map(|n| [n, n.next_up(), n.next_down()]).chain(others) {
            out.clear();
            float(n, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), ryu::Buffer::new().format(n));
        }
    }

    #[test]
    fn the_fast_scan_finds_what_the_slow_one_finds() {
        for position in 0..20 {
            for byte in 0..=255u8 {
                let mut bytes = vec![b'a'; 20];
                bytes[position] = byte;
                assert_eq!(needs_escape(&bytes), byte < 0x20 || byte == b'"' || byte == b'\\', "{byte} at {position}");
            }
        }
    }
}
