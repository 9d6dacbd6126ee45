//! The parts of one line.

use super::FIELDS;
use crate::codecs::table::{Look, Raw};
use crate::codecs::time;
use std::fmt::Write;
use std::ops::Range;

/// Where the parts of a line lie; what is not there is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    priority: Option<u32>,
    time: Option<Time>,
    host: Option<Range<usize>>,
    app: Option<Range<usize>>,
    pid: Option<Range<usize>>,
    msgid: Option<Range<usize>>,
    structured_data: Option<Range<usize>>,
    message: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Time {
    Iso(Range<usize>),
    /// `Mar 27 [2015] 13:06:56[.123]`
    Words {
        whole: Range<usize>,
        month: u32,
        day: u32,
        year: Option<Range<usize>>,
        clock: Range<usize>,
    },
}

/// The value of a field.
pub(super) enum Value {
    Null,
    Here(Raw),
    Made(String),
}

impl Header {
    /// The parts of the line from `start` to the end of `data`, or why it is none.
    pub fn parse(data: &[u8], start: usize) -> Result<Header, String> {
        let mut line = Line { data, start, at: start };
        let priority = line.priority()?;
        if line.eat(b"1 ") {
            return line.rfc5424(priority);
        }
        let time = match line.words_time() {
            Some(time) => time,
            None => line.iso_time().ok_or_else(|| line.expected("a time such as `Mar 27 13:06:56` or `2015-03-27T13:06:56Z`"))?,
        };
        let host = line.word().ok_or_else(|| line.expected("a host"))?;
        let tag = line.tag();
        let (app, pid) = tag.map_or((None, None), |(app, pid)| (Some(app), pid));
        Ok(Header { priority, time: Some(time), host: Some(host), app, pid, message: line.at..data.len(), ..Header::default() })
    }

    /// The values in the order of the fields.
    pub fn values(&self, data: &[u8], year: Option<u16>, utc_offset: &str, wants: &[bool]) -> [Value; FIELDS.len()] {
        let here = |at: &Option<Range<usize>>| match at {
            Some(at) => Value::Here(Raw::new(Look::Text, at.start, at.end)),
            None => Value::Null,
        };
        let made = |number: Option<u32>| number.map_or(Value::Null, |n| Value::Made(n.to_string()));
        let structured = match &self.structured_data {
            Some(at) if wants[8] => Value::Made(structured_json(&data[at.clone()])),
            _ => Value::Null,
        };
        [
            self.time.as_ref().map_or(Value::Null, |time| time.value(data, year, utc_offset)),
            here(&self.host),
            here(&self.app),
            here(&self.pid),
            Value::Here(Raw::new(Look::Text, self.message.start, self.message.end)),
            made(self.priority.map(|p| p / 8)),
            made(self.priority.map(|p| p % 8)),
            here(&self.msgid),
            structured,
        ]
    }
}

impl Time {
    fn value(&self, data: &[u8], year: Option<u16>, utc_offset: &str) -> Value {
        let text = |at: &Range<usize>| String::from_utf8_lossy(&data[at.clone()]);
        match self {
            Time::Iso(at) => Value::Here(Raw::new(Look::Text, at.start, at.end)),
            Time::Words { whole, month, day, year: own, clock } => {
                let year = own.as_ref().map(|own| text(own).into_owned()).or(year.map(|year| format!("{year:04}")));
                match year {
                    Some(year) => Value::Made(format!("{year}-{month:02}-{day:02}T{}{utc_offset}", text(clock))),
                    // Nobody knows the year; reading it as a time will say that it is none.
                    None => Value::Here(Raw::new(Look::Text, whole.start, whole.end)),
                }
            }
        }
    }
}

struct Line<'a> {
    data: &'a [u8],
    start: usize,
    at: usize,
}

impl Line<'_> {
    fn rest(&self) -> &[u8] {
        &self.data[self.at..]
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what} at column {}", self.at - self.start + 1)
    }

    fn eat(&mut self, text: &[u8]) -> bool {
        let here = self.rest().starts_with(text);
        self.at += if here { text.len() } else { 0 };
        here
    }

    /// The bytes up to the next space, which is passed over.
    fn word(&mut self) -> Option<Range<usize>> {
        let length = self.rest().iter().position(|b| *b == b' ').unwrap_or(self.rest().len());
        let word = self.at..self.at + length;
        self.at = word.end;
        self.eat(b" ");
        (length > 0).then_some(word)
    }

    fn number(&mut self, digits: Range<usize>) -> Option<Range<usize>> {
        let count = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        let number = self.at..self.at + count;
        self.at = number.end;
        digits.contains(&count).then_some(number)
    }

    fn value(&self, at: &Range<usize>) -> Option<u32> {
        std::str::from_utf8(&self.data[at.clone()]).ok()?.parse().ok()
    }

    /// `<34>`
    fn priority(&mut self) -> Result<Option<u32>, String> {
        if !self.eat(b"<") {
            return Ok(None);
        }
        let number = self.number(1..4).and_then(|at| self.value(&at)).filter(|n| *n < 192);
        match number {
            Some(number) if self.eat(b">") => Ok(Some(number)),
            _ => Err(self.expected("a priority from 0 to 191 and `>`")),
        }
    }

    /// `Mar 27 13:06:56 `, with a blank before a day of one digit; perhaps with a year.
    fn words_time(&mut self) -> Option<Time> {
        let before = self.at;
        let time = self.try_words_time();
        if time.is_none() {
            self.at = before;
        }
        time
    }

    fn try_words_time(&mut self) -> Option<Time> {
        let from = self.at;
        let month = time::month(self.rest().get(..3)?)?;
        self.at += 3;
        let _ = self.eat(b"  ") || self.eat(b" ");
        let day = self.number(1..3)?;
        let mut year = None;
        self.eat(b" ").then_some(())?;
        let mut clock = self.number(1..5)?;
        if clock.len() == 4 {
            year = Some(clock);
            self.eat(b" ").then_some(())?;
            clock = self.number(1..3)?;
        }
        let length = self.rest().iter().take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.')).count();
        // Some systems put a colon behind the time.
        let colon = self.rest()[..length].ends_with(b":") as usize;
        let clock = clock.start..self.at + length - colon;
        self.at = clock.end;
        let whole = from..clock.end;
        let _ = self.eat(b":");
        self.eat(b" ").then_some(())?;
        Some(Time::Words { month, day: self.value(&day)?, year, clock, whole })
    }

    fn iso_time(&mut self) -> Option<Time> {
        let before = self.at;
        let word = self.word().filter(|word| time::parse(&self.data[word.clone()]).is_some() && word.len() >= 16);
        if word.is_none() {
            self.at = before;
        }
        word.map(Time::Iso)
    }

    /// `sshd[1291]: `: the name, and what is in the brackets.
    fn tag(&mut self) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let rest = self.rest();
        let length = rest.iter().position(|b| matches!(b, b' ' | b'[' | b':'))?;
        let app = self.at..self.at + length;
        let mut behind = app.end;
        let mut pid = None;
        if rest[length] == b'[' {
            let close = rest[length..].iter().position(|b| matches!(b, b' ' | b']')).filter(|i| rest[length + i] == b']')?;
            pid = Some(behind + 1..behind + close).filter(|pid| !pid.is_empty());
            behind += close + 1;
        }
        if length == 0 || self.data.get(behind) != Some(&b':') {
            return None;
        }
        self.at = behind + 1;
        self.eat(b" ");
        Some((app, pid))
    }

    /// Behind `<34>1 `: `TIME HOST APP PID MSGID DATA MESSAGE`, where `-` is nothing.
    fn rfc5424(&mut self, priority: Option<u32>) -> Result<Header, String> {
        let mut part = |what: &str| -> Result<Option<Range<usize>>, String> {
            let word = self.word().ok_or_else(|| self.expected(what))?;
            Ok(Some(word).filter(|word| &self.data[word.clone()] != b"-"))
        };
        let time = part("a time or `-`")?.map(Time::Iso);
        let (host, app) = (part("a host or `-`")?, part("an application or `-`")?);
        let (pid, msgid) = (part("a process id or `-`")?, part("a message id or `-`")?);
        let data = self.structured_data()?;
        let _ = self.eat(b" ");
        let _ = self.eat(b"\xef\xbb\xbf");
        let message = self.at..self.data.len();
        Ok(Header { priority, time, host, app, pid, msgid, structured_data: data, message })
    }

    /// `[id name="value" ...]...` or `-`.
    fn structured_data(&mut self) -> Result<Option<Range<usize>>, String> {
        let from = self.at;
        if self.eat(b"-") {
            return Ok(None);
        }
        while self.eat(b"[") {
            let mut quoted = false;
            loop {
                match self.rest().first() {
                    Some(b'\\') if quoted => self.at += 1,
                    Some(b'"') => quoted = !quoted,
                    Some(b']') if !quoted => break,
                    Some(_) => {}
                    None => return Err(self.expected("`]`")),
                }
                self.at = (self.at + 1).min(self.data.len());
            }
            self.at += 1;
        }
        if self.at == from { Err(self.expected("structured data or `-`")) } else { Ok(Some(from..self.at)) }
    }
}

/// `[a x="1"][b]` as `{"a":{"x":"1"},"b":{}}`.
fn structured_json(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let mut out = String::from("{");
    let mut rest = text.as_ref();
    while let Some(element) = rest.strip_prefix('[') {
        let id = element.find([' ', ']']).unwrap_or(element.len());
        let comma = if out.len() > 1 { "," } else { "" };
        let _ = write!(out, "{comma}{}:{{", quoted(&element[..id]));
        rest = &element[id..];
        let mut first = true;
        while let Some((name, value)) = rest.strip_prefix(' ').and_then(|rest| rest.split_once("=\"")) {
            let end = value_end(value);
            let comma = if first { "" } else { "," };
            let _ = write!(out, "{comma}{}:{}", quoted(name.trim()), quoted(&unescaped(&value[..end])));
            rest = value.get(end + 1..).unwrap_or_default();
            first = false;
        }
        out.push('}');
        rest = rest.find(']').map_or("", |at| &rest[at + 1..]);
    }
    out.push('}');
    out
}

fn value_end(value: &str) -> usize {
    let mut escaped = false;
    let end = value.bytes().position(|b| {
        let found = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        found
    });
    end.unwrap_or(value.len())
}

/// RFC 5424 escapes quotes, backslashes and closing brackets; another backslash is itself.
fn unescaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = rest.next_if(|next| c == '\\' && matches!(next, '"' | '\\' | ']'));
        out.push(escaped.unwrap_or(c));
    }
    out
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
