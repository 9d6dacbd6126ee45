//! A log format, compiled: literals, and what stands between them.

use super::{apache, nginx};
use memchr::{memchr, memmem};
use ouzel_core::FieldType;
use std::ops::Range;

const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;
const NGINX: &str =
    r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

pub(super) struct Format {
    lead: Vec<u8>,
    parts: Vec<Part>,
}

/// A part of the line and the literal that ends it.
pub(super) struct Part {
    /// As the format has it, for messages.
    pub directive: String,
    pub meaning: Meaning,
    pub after: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Skip,
    Field(String, FieldType),
    /// An address or a host name.
    Host,
    Request,
    /// Target of a request.
    Target,
    /// A query with its `?`, or none.
    Query,
    /// Whole units of which 10 to this power make a second.
    Duration(usize),
}

/// What a format is made of, before its literals are joined.
pub(super) enum Token {
    Literal(String),
    Directive(String, Meaning),
}

impl Format {
    pub fn compile(text: &str) -> Result<Format, String> {
        let text = match text {
            "common" => COMMON,
            "combined" => COMBINED,
            "nginx" => NGINX,
            other => other.trim(),
        };
        let tokens = if nginx::is_nginx(text) { nginx::tokens(text)? } else { apache::tokens(text)? };
        let mut format = Format { lead: Vec::new(), parts: Vec::new() };
        for token in tokens {
            match (token, format.parts.last_mut()) {
                (Token::Literal(text), None) => format.lead.extend_from_slice(text.as_bytes()),
                (Token::Literal(text), Some(part)) => part.after.extend_from_slice(text.as_bytes()),
                (Token::Directive(directive, _), Some(part)) if part.after.is_empty() => {
                    return Err(format!("nothing stands between `{}` and `{directive}`", part.directive));
                }
                (Token::Directive(directive, meaning), _) => format.parts.push(Part { directive, meaning, after: Vec::new() }),
            }
        }
        if format.parts.is_empty() {
            return Err(format!("`{text}` is no log format: it has no directive"));
        }
        Ok(format)
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The fields of a line, each once.
    pub fn fields(&self) -> Vec<(String, FieldType)> {
        let mut fields: Vec<(String, FieldType)> = Vec::new();
        for part in &self.parts {
            for (name, kind) in part.meaning.fields() {
                if !fields.iter().any(|(n, _)| *n == name) {
                    fields.push((name, kind));
                }
            }
        }
        fields
    }

    /// Calls `each` with the number and place of every part of the line, or tells where the line does not fit.
    pub fn cut(&self, data: &[u8], line: (usize, usize), mut each: impl FnMut(usize, Range<usize>)) -> Result<(), String> {
        let (start, mut end) = line;
        while end > start && matches!(data[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        let data = &data[..end];
        let mut at = start + self.lead.len();
        if data.get(start..at) != Some(&self.lead) {
            return Err(format!("expected `{}` at the start", String::from_utf8_lossy(&self.lead)));
        }
        for (i, part) in self.parts.iter().enumerate() {
            let last = i + 1 == self.parts.len();
            let value = if last { part.last_end(data, at) } else { part.end(data, at) };
            let value_end = value.ok_or_else(|| part.complaint(data, at, start, last))?;
            each(i, at..value_end);
            at = value_end + part.after.len();
        }
        Ok(())
    }
}

impl Part {
    fn is_quoted(&self) -> bool {
        self.after.starts_with(b"\"")
    }

    /// Where the value that starts at `at` ends: before the literal that follows it.
    fn end(&self, data: &[u8], at: usize) -> Option<usize> {
        let mut from = at;
        loop {
            let found = from + memmem::find(data.get(from..)?, &self.after)?;
            if !self.is_quoted() {
                return Some(found);
            }
            match escape_before(data, from, found) {
                None => return Some(found),
                Some(behind) => from = behind,
            }
        }
    }

    /// The same for the last value of a line.
    fn last_end(&self, data: &[u8], at: usize) -> Option<usize> {
        if self.after.is_empty() {
            return (at <= data.len()).then_some(data.len());
        }
        match self.end(data, at) {
            Some(end) => (end + self.after.len() == data.len()).then_some(end),
            // Cut off within the last quotes.
            None => (self.is_quoted() && at <= data.len()).then_some(data.len()),
        }
    }

    #[cold]
    fn complaint(&self, data: &[u8], at: usize, start: usize, last: bool) -> String {
        let (directive, after) = (&self.directive, String::from_utf8_lossy(&self.after));
        let column = at.min(data.len()) - start + 1;
        match self.end(data, at) {
            Some(end) if last => {
                let column = end + self.after.len() - start + 1;
                format!("expected the end of the line behind `{directive}`, at column {column}")
            }
            _ => format!("`{directive}` starts at column {column}, but no `{after}` ends it"),
        }
    }
}

/// If the byte at `found` is escaped: the position behind it. Escapes are read from `from` on.
fn escape_before(data: &[u8], mut from: usize, found: usize) -> Option<usize> {
    while let Some(at) = memchr(b'\\', &data[from..found]) {
        from += at + 2;
        if from > found {
            return Some(from);
        }
    }
    None
}

impl Meaning {
    pub fn text(name: impl Into<String>) -> Meaning {
        Meaning::Field(name.into(), FieldType::Text)
    }

    /// The field of a header, cookie or variable: its name in lower snake case.
    pub fn named(name: &str) -> Meaning {
        let snake = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        Meaning::text(snake.collect::<String>())
    }

    fn fields(&self) -> Vec<(String, FieldType)> {
        let texts = |names: &[&str]| names.iter().map(|name| (name.to_string(), FieldType::Text)).collect();
        match self {
            Meaning::Skip => Vec::new(),
            Meaning::Field(name, kind) => vec![(name.clone(), kind.clone())],
            Meaning::Host => vec![("ip".into(), FieldType::Ip), ("host".into(), FieldType::Text)],
            Meaning::Request => texts(&["request", "method", "path", "query", "protocol"]),
            Meaning::Target => texts(&["path", "query"]),
            Meaning::Query => texts(&["query"]),
            Meaning::Duration(_) => vec![("duration".into(), FieldType::Float)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(format: &str, line: &str) -> Result<Vec<String>, String> {
        let format = Format::compile(format)?;
        let mut found = Vec::new();
        format.cut(line.as_bytes(), (0, line.len()), |_, at| found.push(line[at].to_string()))?;
        Ok(found)
    }

    #[test]
    fn lines_are_cut_by_their_literals() {
        let check = |format: &str, line: &str, expected: &[&str]| {
            assert_eq!(
                cut(format, line).as_deref(),
                Ok(expected.iter().map(|s| s.to_string()).collect::<Vec<_>>().as_slice()),
                "{line}"
            );
        };
        check("%h %l", "a b", &["a", "b"]);
        check("%h %l", "a b  ", &["a", "b"]);
        check("- - %t", "- - [now]", &["now"]);
        check(r#""%r" %s"#, r#""GET /a\" 7 HTTP/1.1" 200"#, &[r#"GET /a\" 7 HTTP/1.1"#, "200"]);
        check(r#""%r" %s"#, r#""\\" 200"#, &[r"\\", "200"]);
        check(r#""%r" %s"#, r#""a"b" 200"#, &[r#"a"b"#, "200"]);
        check(r#"%s "%r""#, r#"200 "cut o"#, &["200", "cut o"]);
        check(r#"%s "%r""#, r#"200 ""#, &["200", ""]);
        check("%%%s%%", "%200%", &["200"]);
        check("%h %u %t", "a two words [t]", &["a", "two words", "t"]);
    }

    #[test]
    fn misfits_tell_where() {
        let check = |format: &str, line: &str, expected: &str| assert_eq!(cut(format, line), Err(expected.into()), "{line}");
        check("%h %l", "a", "`%h` starts at column 1, but no ` ` ends it");
        check("- %l", "x", "expected `- ` at the start");
        check(r#"%s "%r" %b"#, r#"200 "GET / HTTP/1.1 17"#, r#"`%r` starts at column 6, but no `" ` ends it"#);
        check(r#"%s "%r""#, r#"200 "a" "b""#, "expected the end of the line behind `%r`, at column 8");
        check("%h%l", "", "nothing stands between `%h` and `%l`");
        check("plain", "", "`plain` is no log format: it has no directive");
        check("%y", "", "unknown directive `%y`");
        check("%{%Y}t", "", "`%{%Y}t`: of times only `%t`, `%{sec}t`, `%{msec}t` and `%{usec}t` are read");
    }
}
