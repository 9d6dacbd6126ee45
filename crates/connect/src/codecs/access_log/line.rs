//! What the parts of a line say.

use super::format::{Format, Meaning};
use crate::codecs::table::{Look, Raw, Table};
use std::ops::Range;

/// Where the values of a format's parts go. `None`: nobody wants it.
pub(super) struct Slots(Vec<Take>);

enum Take {
    Nothing,
    /// One value for each of these slots.
    Value(Vec<usize>),
    Request {
        whole: Option<usize>,
        method: Option<usize>,
        target: Target,
        protocol: Option<usize>,
    },
    Target(Target),
    Query(usize),
    Duration(usize, usize),
}

#[derive(Clone, Copy)]
struct Target {
    path: Option<usize>,
    query: Option<usize>,
}

impl Slots {
    pub fn new(format: &Format, slot: impl Fn(&str) -> Option<usize>) -> Slots {
        let target = || Target { path: slot("path"), query: slot("query") };
        let take = |meaning: &Meaning| match meaning {
            Meaning::Skip => Take::Nothing,
            Meaning::Field(name, _) => slot(name).map_or(Take::Nothing, |slot| Take::Value(vec![slot])),
            Meaning::Host => Take::Value([slot("ip"), slot("host")].into_iter().flatten().collect()),
            Meaning::Request => {
                Take::Request { whole: slot("request"), method: slot("method"), target: target(), protocol: slot("protocol") }
            }
            Meaning::Target => Take::Target(target()),
            Meaning::Query => slot("query").map_or(Take::Nothing, Take::Query),
            Meaning::Duration(digits) => slot("duration").map_or(Take::Nothing, |slot| Take::Duration(slot, *digits)),
        };
        Slots(format.parts().iter().map(|part| take(&part.meaning)).collect())
    }

    /// Notes the value of a part, which lies at `at`.
    pub fn note(&self, part: usize, at: Range<usize>, data: &[u8], table: &mut Table) {
        if &data[at.clone()] == b"-" {
            return;
        }
        match &self.0[part] {
            Take::Nothing => {}
            Take::Value(slots) => slots.iter().for_each(|slot| put(table, Some(*slot), at.clone(), data)),
            Take::Request { whole, method, target, protocol } => {
                put(table, *whole, at.clone(), data);
                if let Some((first, middle, last)) = request(data, at) {
                    put(table, *method, first, data);
                    target.put(middle, data, table);
                    put(table, *protocol, last, data);
                }
            }
            Take::Target(target) => target.put(at, data, table),
            Take::Query(slot) => {
                let mark = data[at.clone()].starts_with(b"?") as usize;
                if at.len() > mark {
                    put(table, Some(*slot), at.start + mark..at.end, data);
                }
            }
            Take::Duration(slot, digits) => match seconds(&data[at.clone()], *digits) {
                Some(text) => {
                    let raw = table.aside(&text);
                    table.set(*slot, raw);
                }
                None => put(table, Some(*slot), at, data),
            },
        }
    }
}

impl Target {
    fn put(self, at: Range<usize>, data: &[u8], table: &mut Table) {
        put(table, self.path, at.clone(), data);
        if let Some(mark) = memchr::memchr(b'?', &data[at.clone()]) {
            put(table, self.query, at.start + mark + 1..at.end, data);
        }
    }
}

fn put(table: &mut Table, slot: Option<usize>, at: Range<usize>, data: &[u8]) {
    let Some(slot) = slot else { return };
    let raw = match unescaped(&data[at.clone()]) {
        None => Raw::new(Look::Text, at.start, at.end),
        Some(text) => table.aside(&text),
    };
    table.set(slot, raw);
}

/// Method, target and protocol of a request line; `None` if it is none.
fn request(data: &[u8], at: Range<usize>) -> Option<(Range<usize>, Range<usize>, Range<usize>)> {
    let text = &data[at.clone()];
    let first = memchr::memchr(b' ', text)?;
    let last = memchr::memrchr(b' ', text)?;
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let (method, protocol) = (&text[..first], &text[last + 1..]);
    let (name, version) = protocol.split_at(memchr::memchr(b'/', protocol)?);
    let good = first + 1 < last
        && !method.is_empty()
        && method.iter().all(is_token)
        && !name.is_empty()
        && name.iter().all(u8::is_ascii_uppercase)
        && version.len() > 1
        && version[1..].iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let from = at.start;
    good.then(|| (from..from + first, from + first + 1..from + last, from + last + 1..at.end))
}

/// Whole units as seconds, by moving the decimal point: 1234 with 3 digits is 1.234.
fn seconds(units: &[u8], digits: usize) -> Option<String> {
    if digits == 0 || units.is_empty() || !units.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = format!("{:0>1$}", String::from_utf8_lossy(units), digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    Some(format!("{whole}.{fraction}"))
}

/// The text that the escapes stand for; `None` if there are none, or it would be no text.
fn unescaped(text: &[u8]) -> Option<String> {
    memchr::memchr(b'\\', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (byte, length) = match &rest[at + 1..] {
            [b'x', a, b, ..] => match ((*a as char).to_digit(16), (*b as char).to_digit(16)) {
                (Some(a), Some(b)) => ((a << 4 | b) as u8, 4),
                _ => (b'\\', 1),
            },
            [b'n', ..] => (b'\n', 2),
            [b'r', ..] => (b'\r', 2),
            [b't', ..] => (b'\t', 2),
            [b'b', ..] => (0x08, 2),
            [b'v', ..] => (0x0b, 2),
            [c @ (b'"' | b'\\'), ..] => (*c, 2),
            _ => (b'\\', 1),
        };
        out.push(byte);
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_if_that_gives_text() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(unescaped(text.as_bytes()).as_deref(), expected, "{text}");
        check("plain", None);
        check(r#"a\"b\\c\x20d\te"#, Some("a\"b\\c d\te"));
        check(r"\xc3\xa9", Some("é"));
        check(r"\x16\x03\x01", Some("\x16\x03\x01"));
        check(r"\xff\xfe", None);
        check(r"C:\Windows", Some(r"C:\Windows"));
        check(r"\x1", Some(r"\x1"));
        check("\\", Some("\\"));
    }

    #[test]
    fn units_become_seconds() {
        let check =
            |units: &str, digits, expected: Option<&str>| assert_eq!(seconds(units.as_bytes(), digits).as_deref(), expected);
        check("1234", 3, Some("1.234"));
        check("7", 6, Some("0.000007"));
        check("0.25", 0, None);
        check("x", 6, None);
    }
}
