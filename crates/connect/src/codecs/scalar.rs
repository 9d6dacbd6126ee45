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

#[inline(always)]
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
#[inline(always)]
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

/// Four decimals from 0 to 255 without leading zeros, which some systems take for octal. Without branches on the
/// bytes: addresses are different each time, and a wrong guess costs more than the rest.
#[inline(always)]
pub(super) fn is_ipv4(bytes: &[u8]) -> bool {
    let Some(window) = window(bytes) else { return false };
    let (mut dots, mut digits) = (0u32, 0u32);
    for (i, byte) in window.to_le_bytes().into_iter().enumerate() {
        dots |= ((byte == b'.') as u32) << i;
        digits |= (byte.is_ascii_digit() as u32) << i;
    }
    if dots.count_ones() != 3 || dots | digits != (1 << bytes.len()) - 1 {
        return false;
    }
    let (mut good, mut start, mut ends) = (true, 0, dots | 1 << bytes.len());
    for _ in 0..4 {
        let end = ends.trailing_zeros();
        ends &= ends - 1;
        let length = end.wrapping_sub(start);
        // The part's digits as one number in base 256, which is in the order of what they write.
        let text = ((window >> (8 * start)) as u32).swap_bytes() >> (32 - 8 * length.clamp(1, 3));
        let leading = (window >> (8 * start)) as u8;
        good &= (1..=3).contains(&length) & (text <= 0x0032_3535) & ((length == 1) | (leading != b'0'));
        start = end + 1;
    }
    good
}

/// 7 to 15 bytes as a word.
#[inline(always)]
fn window(bytes: &[u8]) -> Option<u128> {
    // Two reads that overlap: the bytes in both are the same in both.
    let shift = 8 * bytes.len();
    match bytes.len() {
        8..=15 => {
            let (low, high) = (bytes.first_chunk()?, bytes.last_chunk()?);
            Some(u64::from_le_bytes(*low) as u128 | (u64::from_le_bytes(*high) as u128) << (shift - 64))
        }
        7 => {
            let (low, high) = (bytes.first_chunk()?, bytes.last_chunk()?);
            Some(u32::from_le_bytes(*low) as u128 | (u32::from_le_bytes(*high) as u128) << (shift - 32))
        }
        _ => None,
    }
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
            "1.2.3.4",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "01.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "1..3.4",
            ".1.2.3.4",
            "1.2.3.4.",
            "1.2.3.0",
            "1.2.3.00",
            "255.255.255.256",
            "1.2.300.4",
            "99.98.97.96",
            "1.2.3.099",
            "1.2.3.4/8",
            "0.0.0.00",
            "1...1.1",
            "192.168.100.200",
            "1.22.333.4",
            "....1.1",
            "1.1.1.1a",
            "a.b.c.d",
            "1234.1.1.1",
            "",
            "1.2.3.4 ",
        ] {
            assert_eq!(is_ipv4(text.as_bytes()), text.parse::<std::net::Ipv4Addr>().is_ok(), "{text}");
        }
    }
}
