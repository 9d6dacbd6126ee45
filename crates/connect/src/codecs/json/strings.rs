//! Escapes in strings: checked while parsing, resolved only for values that are read.

/// Checks the escape whose backslash is at `at`, and returns the position behind it.
pub(super) fn skip_escape(data: &[u8], at: usize) -> Option<usize> {
    match data.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => hex(data, at + 2).map(|_| at + 6),
        _ => None,
    }
}

/// Appends the text of a string whose escapes were checked. A surrogate without its other half becomes U+FFFD.
pub(in crate::codecs) fn unescape(mut text: &[u8], out: &mut String) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        push(&text[..at], out);
        let (c, next) = escaped(text, at);
        out.push(c);
        text = text.get(next..).unwrap_or_default();
    }
    push(text, out);
}

fn push(plain: &[u8], out: &mut String) {
    match std::str::from_utf8(plain) {
        Ok(plain) => out.push_str(plain),
        Err(_) => out.push_str(&String::from_utf8_lossy(plain)),
    }
}

/// The character of the escape at `at`, and the position behind it.
fn escaped(text: &[u8], at: usize) -> (char, usize) {
    let c = match text.get(at + 1) {
        Some(b'u') => return unicode(text, at),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(c) => *c as char,
        None => char::REPLACEMENT_CHARACTER,
    };
    (c, at + 2)
}

fn unicode(text: &[u8], at: usize) -> (char, usize) {
    let Some(high) = hex(text, at + 2) else { return (char::REPLACEMENT_CHARACTER, at + 2) };
    if let Some(c) = char::from_u32(high) {
        return (c, at + 6);
    }
    if high < 0xdc00
        && text.get(at + 6..at + 8) == Some(b"\\u")
        && let Some(low) = hex(text, at + 8)
        && (0xdc00..0xe000).contains(&low)
        && let Some(c) = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    {
        return (c, at + 12);
    }
    (char::REPLACEMENT_CHARACTER, at + 6)
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, b| Some(value << 4 | (*b as char).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let check = |text: &str, expected: &str| {
            let mut out = String::new();
            unescape(text.as_bytes(), &mut out);
            assert_eq!(out, expected, "{text}");
        };
        check(r"", "");
        check(r"plain", "plain");
        check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
        check(r"\u0041\u00e9\u20AC", "Aé€");
        check(r"\ud83d\ude00!", "😀!");
        check(r"\ud83d", "\u{fffd}");
        check(r"\ud83dx", "\u{fffd}x");
        check(r"\ude00\ud83d", "\u{fffd}\u{fffd}");
        check(r"\ud83d\ud83d\ude00", "\u{fffd}😀");
        check(r"\ud83d\n", "\u{fffd}\n");
        check(r"a\u0000b", "a\0b");
    }
}
