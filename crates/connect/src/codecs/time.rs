//! Instants out of text and numbers, as microseconds since 1970 in UTC.
//!
//! Read are ISO 8601 and RFC 3339 (`2026-11-18T07:30:00.123456Z`; a space for the `T`; seconds, fraction and zone
//! may be left out; a bare date is its midnight), access log times (`17/May/2015:10:05:03 +0000`), times in words as mail,
//! `ctime` and syslog write them (`Sun, 17 May 2015 10:05:03 +0000`, `Sun May 17 10:05:03 2015`), and numbers since 1970 whose size tells the unit: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
//! nanoseconds. Without a zone it is UTC. Years are 1 to 9999. Digits past the microsecond are cut off. A leap second
//! (`:60`) is the last microsecond before it, so that order is kept.

use super::scalar;
use super::table::{Blocks, Look, Raw};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;
const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

#[inline(always)]
pub(super) fn read(raw: Raw, blocks: &Blocks) -> Option<i64> {
    match raw.look() {
        Look::Plain | Look::Text => parse(blocks.bytes(raw)),
        Look::Number => epoch(blocks.bytes(raw)),
        Look::Escaped => parse(scalar::text(raw, blocks).as_bytes()),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    if let Some(micros) = usual(text) {
        return Some(micros);
    }
    unusual(text)
}

#[cold]
fn unusual(text: &[u8]) -> Option<i64> {
    iso(text).or_else(|| access_log(text)).or_else(|| epoch(text)).or_else(|| words(text))
}

/// The number of a month from its English name's first three letters, from 1.
pub(super) fn month(name: &[u8]) -> Option<u32> {
    Some(MONTHS.iter().position(|m| name.eq_ignore_ascii_case(*m))? as u32 + 1)
}

/// `+02:00`, `-0730`, `+02`, `Z` as seconds east of Greenwich.
pub(super) fn zone(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [a, b] => (two(&[*a, *b])?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (two(&[*a, *b])?, two(&[*c, *d])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours as i64 * 3600 + minutes as i64 * 60))
}

/// `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, eight bytes at a time; `None` is no verdict.
#[inline(always)]
fn usual(text: &[u8]) -> Option<i64> {
    const DATE: Pattern = Pattern::new(b"0000-00-");
    const CLOCK: Pattern = Pattern::new(b"00T00:00");
    const SECONDS: Pattern = Pattern::new(b"0:00:00Z");
    const SECONDS_GO_ON: Pattern = Pattern::new(b"0:00:00.");
    const FRACTION: Pattern = Pattern::new(b".000000Z");
    let (second, micros) = match text.len() {
        20 => (SECONDS.pairs(text, 12)? >> 40, 0),
        27 => {
            let pairs = FRACTION.pairs(text, 19)?;
            let micros = (pairs >> 8 & 0xff) * 10_000 + (pairs >> 24 & 0xff) * 100 + (pairs >> 40 & 0xff);
            (SECONDS_GO_ON.pairs(text, 12)? >> 40, micros)
        }
        _ => return None,
    };
    let (date, clock) = (DATE.pairs(text, 0)?, CLOCK.pairs(text, 8)?);
    let year = (date & 0xff) * 100 + (date >> 16 & 0xff);
    let (month, day) = (date >> 40 & 0xff, clock & 0xff);
    let (hour, minute, second) = (clock >> 24 & 0xff, clock >> 48 & 0xff, second & 0xff);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year as i64, month as u32, day as u32)?;
    Some((days * 86_400 + (hour * 3600 + minute * 60 + second) as i64) * 1_000_000 + micros as i64)
}

/// Eight bytes in which `0` stands for any digit.
struct Pattern {
    bytes: u64,
    /// What a byte can grow by and stay below 0x80: 0x76 for a digit's value, 0x7f for the 0 of a separator.
    room: u64,
}

impl Pattern {
    const fn new(pattern: &[u8; 8]) -> Pattern {
        let mut room = [0x7f; 8];
        let mut i = 0;
        while i < 8 {
            if pattern[i] == b'0' {
                room[i] = 0x76;
            }
            i += 1;
        }
        Pattern { bytes: u64::from_le_bytes(*pattern), room: u64::from_le_bytes(room) }
    }

    /// Byte `i` of the result is the number that the digits `i` and `i + 1` write.
    #[inline]
    fn pairs(&self, text: &[u8], at: usize) -> Option<u64> {
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let bytes = text.get(at..at + 8)?.try_into().ok()?;
        let x = u64::from_le_bytes(bytes) ^ self.bytes;
        if (x | x.wrapping_add(self.room)) & HIGH != 0 {
            return None;
        }
        Some(x.wrapping_mul(10).wrapping_add(x >> 8))
    }
}

fn iso(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = two(&[*y1, *y2])? * 100 + two(&[*y3, *y4])?;
    let (month, day) = (two(&[*m1, *m2])?, two(&[*d1, *d2])?);
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return if rest.is_empty() { instant((year, month, day), (0, 0, 0), 0, 0) } else { None };
    };
    let [h1, h2, b':', i1, i2, rest @ ..] = rest else { return None };
    let (hour, minute) = (two(&[*h1, *h2])?, two(&[*i1, *i2])?);
    let (second, micros, rest) = match rest {
        [b':', s1, s2, b'.' | b',', rest @ ..] => {
            let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            (two(&[*s1, *s2])?, scaled(&rest[..count], 6), &rest[count..])
        }
        [b':', s1, s2, rest @ ..] => (two(&[*s1, *s2])?, 0, rest),
        rest => (0, 0, rest),
    };
    let offset = match rest {
        [] => 0,
        [b' ', rest @ ..] => zone(rest)?,
        rest => zone(rest)?,
    };
    instant((year, month, day), (hour, minute, second), micros, offset)
}

/// `17/May/2015:10:05:03 +0000`.
fn access_log(text: &[u8]) -> Option<i64> {
    let [d1, d2, b'/', m1, m2, m3, b'/', y1, y2, y3, y4, b':', h1, h2, b':', i1, i2, b':', s1, s2, rest @ ..] = text else {
        return None;
    };
    let date = (two(&[*y1, *y2])? * 100 + two(&[*y3, *y4])?, month(&[*m1, *m2, *m3])?, two(&[*d1, *d2])?);
    let clock = (two(&[*h1, *h2])?, two(&[*i1, *i2])?, two(&[*s1, *s2])?);
    let offset = match rest {
        [] => 0,
        [b' ', rest @ ..] => zone(rest)?,
        _ => return None,
    };
    instant(date, clock, 0, offset)
}

/// `[Sun[,]] May 17 [2015] 10:05:03[.123456] [+0000] [2015] [+0000]`, or with the day before the month. There must be a year.
fn words(text: &[u8]) -> Option<i64> {
    const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    if text.len() > 64 {
        return None;
    }
    let mut parts = text.split(|b| *b == b' ').filter(|part| !part.is_empty()).peekable();
    let weekday = |part: &&[u8]| WEEKDAYS.iter().any(|day| part.strip_suffix(b",").unwrap_or(part).eq_ignore_ascii_case(day));
    parts.next_if(weekday);
    let (one, other) = (parts.next()?, parts.next()?);
    let (name, day) = if one.first()?.is_ascii_digit() { (other, one) } else { (one, other) };
    let day = match day {
        [d] => two(&[b'0', *d])?,
        [d1, d2] => two(&[*d1, *d2])?,
        _ => return None,
    };
    let year_of = |part: &[u8]| match part {
        [y1, y2, y3, y4] => Some(two(&[*y1, *y2])? * 100 + two(&[*y3, *y4])?),
        _ => None,
    };
    let mut year = parts.peek().and_then(|part| year_of(part));
    if year.is_some() {
        parts.next();
    }
    let [h1, h2, b':', i1, i2, b':', s1, s2, rest @ ..] = parts.next()? else { return None };
    let micros = match rest {
        [] => 0,
        [b'.' | b',', fraction @ ..] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => scaled(fraction, 6),
        _ => return None,
    };
    let mut offset = None;
    for part in parts {
        if let (None, Some(found)) = (year, year_of(part)) {
            year = Some(found);
        } else if offset.is_none() {
            offset = Some(if part == b"GMT" { 0 } else { zone(part)? });
        } else {
            return None;
        }
    }
    let clock = (two(&[*h1, *h2])?, two(&[*i1, *i2])?, two(&[*s1, *s2])?);
    instant((year?, month(name)?, day), clock, micros, offset.unwrap_or(0))
}

/// A number since 1970: digits, perhaps a sign, a fraction, an exponent.
fn epoch(text: &[u8]) -> Option<i64> {
    let negative = text.starts_with(b"-");
    let bytes = text.strip_prefix(b"-").unwrap_or(text);
    let point = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    let (whole, rest) = bytes.split_at(point);
    if !(1..=19).contains(&whole.len()) {
        return None;
    }
    let fraction = match rest {
        [] => rest,
        [b'.', fraction @ ..] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => fraction,
        _ => return epoch_scientific(text),
    };
    let number: i64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
    let micros = match number {
        0..100_000_000_000 => number * 1_000_000 + scaled(fraction, 6),
        100_000_000_000..100_000_000_000_000 => number * 1_000 + scaled(fraction, 3),
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    };
    in_range(if negative { -micros } else { micros })
}

#[cold]
fn epoch_scientific(text: &[u8]) -> Option<i64> {
    if !text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let scale = match number.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        _ => 1e-3,
    };
    // `as` saturates, and what saturates is out of range.
    in_range((number * scale).round() as i64)
}

fn instant(
    (year, month, day): (u32, u32, u32),
    (hour, minute, second): (u32, u32, u32),
    micros: i64,
    offset: i64,
) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (second, micros) = if second == 60 { (59, 999_999) } else { (second, micros) };
    let seconds = days(year as i64, month, day)? * 86_400 + (hour * 3600 + minute * 60 + second) as i64 - offset;
    in_range(seconds * 1_000_000 + micros)
}

fn in_range(micros: i64) -> Option<i64> {
    (FIRST..=LAST).contains(&micros).then_some(micros)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` if there is no such date.
/// The formula is Howard Hinnant's `days_from_civil`.
#[inline]
fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    const LENGTHS: [u8; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
    let leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = *LENGTHS.get(month as usize)? as u32 + leap as u32;
    if day == 0 || day > length || !(1..=9999).contains(&year) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year as i64 - 719_468)
}

fn two(digits: &[u8; 2]) -> Option<u32> {
    let (a, b) = (digits[0].wrapping_sub(b'0'), digits[1].wrapping_sub(b'0'));
    (a <= 9 && b <= 9).then_some(a as u32 * 10 + b as u32)
}

/// The digits after a point as a whole number of `places` digits; further ones are cut off.
fn scaled(fraction: &[u8], places: usize) -> i64 {
    (0..places).fold(0, |value, i| value * 10 + fraction.get(i).map_or(0, |b| (b - b'0') as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse(text.as_bytes()), expected, "{text}");
        const T: i64 = 1_431_857_103_000_000;
        check("2015-05-17T10:05:03Z", Some(T));
        check("2015-05-17T10:05:03.000001Z", Some(T + 1));
        check("2015-05-17T10:05:03.987654Z", Some(T + 987_654));
        check("2015-05-17T10:05:03.987654999Z", Some(T + 987_654));
        check("2015-05-17 10:05:03", Some(T));
        check("2015-05-17t10:05:03.5z", Some(T + 500_000));
        check("2015-05-17T12:05:03+02:00", Some(T));
        check("2015-05-17T12:05:03+0200", Some(T));
        check("2015-05-17T03:05:03 -0700", Some(T));
        check("2015-05-17 10:05:03 UTC", Some(T));
        check("2015-05-17T10:05Z", Some(T - 3_000_000));
        check("2015-05-17", Some(T - 36_303_000_000));
        check("17/May/2015:10:05:03 +0000", Some(T));
        check("17/may/2015:03:05:03 -0700", Some(T));
        check("Sun, 17 May 2015 10:05:03 +0000", Some(T));
        check("17 May 2015 12:05:03 +0200", Some(T));
        check("Sun May 17 10:05:03 2015", Some(T));
        check("Sun May 17 10:05:03.987654 2015", Some(T + 987_654));
        check("May 17 10:05:03 2015 +00:00", Some(T));
        check("may  17 2015 10:05:03 GMT", Some(T));
        check("1431857103", Some(T));
        check("1431857103.25", Some(T + 250_000));
        check("1431857103123", Some(T + 123_000));
        check("1431857103123456", Some(T + 123_456));
        check("1431857103123456789", Some(T + 123_456));
        check("1.431857103e9", Some(T));
        check("-1.5", Some(-1_500_000));
        check("2016-12-31T23:59:60Z", Some(1_483_228_799_999_999));
        check("0001-01-01T00:00:00Z", Some(FIRST));
        check("9999-12-31T23:59:59.999999Z", Some(LAST));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000));
        for bad in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0001-01-01T00:00:00+01:00",
            "2023-02-29T00:00:00Z",
            "2023-02-30T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01",
            "2023-01-00",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:61Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00+24:00",
            "2023-01-01T00:00:00X",
            "2023-1-1",
            "",
            "now",
            "99999999999999999999",
            "1e300",
            "1e",
            "17/Foo/2015:10:05:03 +0000",
            "2023:01-01T00:00:00Z",
            "2023-01-01T00:00:00:000000Z",
            "-",
            "2023-01-01T0a:00:00Z",
            "\u{e9}\u{e9}23-01-01T00:00:00Z",
            "May 17 10:05:03",
            "Sun, 32 May 2015 10:05:03 +0000",
            "17 Foo 2015 10:05:03",
            "17 May 2015 10:05",
            "17 May 2015 10:05:03 2015",
            "17 May 2015 10:05:03 +0000 +0000",
            "17 May 2015 10:05:03 +0000 and more, which goes on beyond what any time is long",
            " ",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_usual_form_agrees_with_the_general_one() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..20_000 {
            let mut text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                random(10_000),
                random(14),
                random(33),
                random(25),
                random(61),
                random(61)
            );
            if random(2) == 0 {
                text += &format!(".{:06}", random(1_000_000));
            }
            text.push('Z');
            let mut bytes = text.into_bytes();
            if random(4) == 0 {
                let at = random(bytes.len() as u64) as usize;
                bytes[at] = random(256) as u8;
            }
            if let Some(micros) = usual(&bytes) {
                assert_eq!(Some(micros), iso(&bytes), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
