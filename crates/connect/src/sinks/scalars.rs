//! Single values as text, as fast as it goes.

/// A JSON string. Most texts need no escape: they are found so eight bytes at a time and copied whole.
#[inline]
pub(super) fn json_text(text: &str, out: &mut Vec<u8>) {
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

/// Appends all but the last bytes. Copies of a length known to the compiler are a few instructions, others a call: this
/// halves the time of short pieces.
#[inline]
pub(super) fn padded<const N: usize>(bytes: &[u8; N], unused: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.truncate(out.len() - unused);
}

#[inline]
pub(super) fn integer(n: i64, out: &mut Vec<u8>) {
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
pub(super) fn float(n: f64, out: &mut Vec<u8>) {
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

const DAY_US: i64 = 86_400_000_000;

/// RFC 3339 with microseconds; `Z` if it is UTC.
pub(super) fn timestamp(us: i64, utc: bool, out: &mut Vec<u8>) {
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
pub(super) fn date(days: i64, out: &mut Vec<u8>) {
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
