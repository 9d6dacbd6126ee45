//! Numbers, truth values and addresses out of bytes.

use super::json;
use super::table::{Blocks, Look, Raw};
use std::borrow::Cow;

/// The text of a string value.
pub(super) fn text<'a>(raw: Raw, blocks: &'a Blocks) -> Cow<'a, str> {
    let bytes = blocks.bytes(raw);
    if raw.look() == Look::Escaped {
        let mut out = String::with_capacity(bytes.len());
        json::unescape(bytes, &mut out);
        return Cow::Owned(out);
    }
    String::from_utf8_lossy(bytes)
}

#[inline]
pub(super) fn int(raw: Raw, blocks: &Blocks) -> Option<i64> {
    match raw.look() {
        Look::Number => parse_int(blocks.bytes(raw)),
        Look::Text => {
            let bytes = blocks.bytes(raw);
            parse_int(bytes.strip_prefix(b"+").filter(|rest| !rest.starts_with(b"-")).unwrap_or(bytes))
        }
        _ => None,
    }
}

/// Finite numbers only: an overflow is no value of the field.
pub(super) fn float(raw: Raw, blocks: &Blocks) -> Option<f64> {
    if !matches!(raw.look(), Look::Number | Look::Text) {
        return None;
    }
    let text = std::str::from_utf8(blocks.bytes(raw)).ok()?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

pub(super) fn bool(raw: Raw, blocks: &Blocks) -> Option<bool> {
    match raw.look() {
        Look::True => Some(true),
        Look::False => Some(false),
        Look::Text => match blocks.bytes(raw) {
            b"1" => Some(true),
            b"0" => Some(false),
            word if word.eq_ignore_ascii_case(b"true") => Some(true),
            word if word.eq_ignore_ascii_case(b"false") => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Whether these bytes are nothing but a sign and digits.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// A whole number of 64 bits, also where it is written with a fraction or exponent.
#[inline]
fn parse_int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    // 18 digits cannot overflow.
    if digits.is_empty() || digits.len() > 18 {
        return parse_decimal(bytes);
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return parse_decimal(bytes);
        }
        value = value * 10 + digit as i64;
    }
    Some(if digits.len() == bytes.len() { value } else { -value })
}

/// `12.0`, `1.5e1`, `9223372036854775807`: exact, without floating point.
#[cold]
fn parse_decimal(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.starts_with(b"-");
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (mantissa, exponent) = match bytes.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(e) => (&bytes[..e], std::str::from_utf8(&bytes[e + 1..]).ok()?.parse::<i32>().ok()?),
        None => (bytes, 0),
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let fraction = mantissa.get(point + 1..).unwrap_or_default();
    let whole = &mantissa[..point];
    if whole.is_empty() || (point < mantissa.len() && fraction.is_empty()) {
        return None;
    }
    let mut exponent = exponent as i64 - fraction.len() as i64;
    let mut digits = whole.iter().chain(fraction).copied();
    if !digits.clone().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let zeros = digits.clone().rev().take_while(|b| *b == b'0').count();
    let count = whole.len() + fraction.len() - zeros;
    if count == 0 {
        return Some(0);
    }
    exponent += zeros as i64;
    if !(0..=18).contains(&exponent) {
        return None;
    }
    let mut value = 0i128;
    for digit in digits.by_ref().take(count) {
        value = value * 10 + (digit - b'0') as i128;
        if value > 1 << 64 {
            return None;
        }
    }
    value *= 10i128.pow(exponent as u32);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Four decimals from 0 to 255 without leading zeros, which some systems take for octal.
#[inline]
pub(super) fn is_ipv4(bytes: &[u8]) -> bool {
    if !(7..=15).contains(&bytes.len()) {
        return false;
    }
    let (mut parts, mut digits, mut value) = (1, 0, 0u32);
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            if digits > 0 && value == 0 {
                return false;
            }
            value = value * 10 + digit as u32;
            digits += 1;
        } else if *byte == b'.' && digits > 0 && value <= 255 {
            (parts, digits, value) = (parts + 1, 0, 0);
        } else {
            return false;
        }
    }
    parts == 4 && digits > 0 && value <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse_int(text.as_bytes()), expected, "{text}");
        check("0", Some(0));
        check("-0", Some(0));
        check("-17", Some(-17));
        check("12.0", Some(12));
        check("12.5", None);
        check("1.25e2", Some(125));
        check("1e3", Some(1000));
        check("1000e-3", Some(1));
        check("0e999999999", Some(0));
        check("1e99999999999", None);
        check("9223372036854775807", Some(i64::MAX));
        check("9223372036854775808", None);
        check("-9223372036854775808", Some(i64::MIN));
        check("99999999999999999999999999999999999999999999", None);
        check("9007199254740993.0", Some(9007199254740993));
        for bad in ["", "-", "1.", ".5", "1e", "12ms", "0x1f", "--1", "1 "] {
            check(bad, None);
        }
    }

    #[test]
    fn ipv4_agrees_with_std() {
        for text in [
            "1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1..3.4", ".1.2.3.4", "1.2.3.4.",
            "1.2.3.0", "1.2.3.00", "a.b.c.d", "1234.1.1.1", "", "1.2.3.4 ",
        ] {
            assert_eq!(is_ipv4(text.as_bytes()), text.parse::<std::net::Ipv4Addr>().is_ok(), "{text}");
        }
    }
}
