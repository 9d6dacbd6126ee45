//! One pass over the bytes of a record.

use super::scan;
use super::shape::{BEFORE, Node, ROOT, Shape, Target, clear};
use super::strings;
use crate::codecs::table::{Blocks, Look, Raw};
use ouzel_core::limits::DEPTH_MAX;

/// What should have stood where the parser is, for people.
pub(super) type Expected = &'static str;
type Parsed<T> = Result<T, Expected>;

const VALUE: Expected = "expected a value";
const KEY: Expected = "expected a key in quotes";
const DEPTH: Expected = "nested deeper than 128";

/// Whether bytes are one JSON value.
pub(in crate::codecs) fn is_value(text: &[u8]) -> bool {
    let mut parser = Parser::over_lines(text, 0);
    parser.blank();
    parser.value().is_ok() && {
        parser.blank();
        parser.at == text.len()
    }
}

/// The elements of an array; `None` if the value is no array.
pub(in crate::codecs) fn elements(raw: Raw, blocks: &Blocks) -> Option<Vec<Raw>> {
    let array = match raw.look() {
        Look::Container => true,
        Look::Text => is_value(blocks.bytes(raw)),
        _ => false,
    };
    let mut parser = Parser::over_lines(&blocks.of(raw)[..raw.start() + raw.len()], raw.start());
    parser.blank();
    if !array || parser.peek() != b'[' {
        return None;
    }
    let mut found = Vec::new();
    parser.at += 1;
    parser.blank();
    while parser.peek() != b']' {
        let item = parser.value().ok()?;
        found.push(raw.within(item.look(), item.start(), item.start() + item.len()));
        parser.blank();
        if parser.peek() == b',' {
            parser.at += 1;
            parser.blank();
        }
    }
    Some(found)
}

pub(super) struct Parser<'a> {
    data: &'a [u8],
    at: usize,
    depth: usize,
    /// A blank besides space, tab and carriage return.
    feed: u8,
}

impl<'a> Parser<'a> {
    /// A parser of values that end with their line.
    pub fn new(data: &'a [u8], at: usize) -> Parser<'a> {
        Parser { data, at, depth: 0, feed: b' ' }
    }

    /// A parser of values that may have line feeds between their parts.
    fn over_lines(data: &'a [u8], at: usize) -> Parser<'a> {
        Parser { data, at, depth: 0, feed: b'\n' }
    }

    /// After an error: where it is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads an object that fills its line into the row and returns where it ends.
    #[inline]
    pub fn record(&mut self, shape: &mut Shape, row: &mut [Raw]) -> Parsed<usize> {
        if self.peek() != b'{' {
            return Err("expected `{`: a record is an object");
        }
        let start = self.at;
        self.object(shape, ROOT, row)?;
        let end = self.at;
        row[shape.nodes[ROOT].slot] = Raw::new(Look::Container, start, end);
        self.blank();
        match self.peek() {
            b'\n' | 0 if self.at == self.data.len() || self.data[self.at] == b'\n' => Ok(end),
            _ => Err("expected the end of the line"),
        }
    }

    /// An error as a sentence; `start` is where the record starts.
    #[cold]
    pub fn complaint(&self, start: usize, expected: Expected) -> String {
        let place = self.at - start + 1;
        match self.data.get(self.at) {
            None | Some(b'\n') if expected != DEPTH => format!("{expected}, but the line ends at byte {place}"),
            _ => format!("{expected} at byte {place}"),
        }
    }

    /// An object on a wanted path. The parser is at its brace.
    fn object(&mut self, shape: &mut Shape, node: usize, row: &mut [Raw]) -> Parsed<()> {
        self.enter()?;
        let mut entry = BEFORE;
        loop {
            let it = &mut shape.nodes[node];
            match it.guess(entry, self.data, self.at) {
                Some((next, length)) => {
                    entry = next;
                    self.at += length;
                    self.blank();
                }
                None => match self.key(it, entry)? {
                    Some(next) => entry = next,
                    None => break,
                },
            }
            match it.target(entry) {
                Target::Slot(slot) => row[slot] = self.value()?,
                Target::Node(part) => self.part(shape, part, row)?,
            }
            if self.peek() == b'}' {
                self.at += 1;
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A key that was not guessed, with the separator before it; `None` if the object ends here.
    #[cold]
    fn key(&mut self, node: &mut Node, previous: usize) -> Parsed<Option<usize>> {
        let lead = self.at;
        let first = previous == BEFORE;
        if !first {
            self.blank();
        }
        match self.peek() {
            b'{' if first => self.at += 1,
            b',' if !first => self.at += 1,
            b'}' if !first => {
                self.at += 1;
                return Ok(None);
            }
            _ => return Err("expected `,` or `}`"),
        }
        self.blank();
        if first && self.peek() == b'}' {
            self.at += 1;
            return Ok(None);
        }
        let key = self.key_text()?;
        let bytes = &self.data[key.start()..key.start() + key.len()];
        let lead = lead..self.at;
        if key.look() == Look::Plain {
            return Ok(Some(node.learn(previous, bytes, &self.data[lead])));
        }
        let mut text = String::new();
        strings::unescape(bytes, &mut text);
        Ok(Some(node.learn(previous, text.as_bytes(), &self.data[lead])))
    }

    /// A key, its colon, and the blanks around that.
    fn key_text(&mut self) -> Parsed<Raw> {
        if self.peek() != b'"' {
            return Err(KEY);
        }
        let key = self.string()?;
        self.blank();
        if self.peek() != b':' {
            return Err("expected `:`");
        }
        self.at += 1;
        self.blank();
        Ok(key)
    }

    /// A value of which parts are wanted.
    fn part(&mut self, shape: &mut Shape, node: usize, row: &mut [Raw]) -> Parsed<()> {
        let it = &shape.nodes[node];
        let (start, slot) = (self.at, it.slot);
        clear(row, it.slots.clone());
        row[slot] = match self.peek() {
            b'{' if !it.keys.is_empty() => {
                self.object(shape, node, row)?;
                Raw::new(Look::Container, start, self.at)
            }
            b'[' if !it.indices.is_empty() => {
                self.array(shape, node, row)?;
                Raw::new(Look::Container, start, self.at)
            }
            _ => self.value()?,
        };
        Ok(())
    }

    /// An array on a wanted path. The parser is at its bracket.
    fn array(&mut self, shape: &mut Shape, node: usize, row: &mut [Raw]) -> Parsed<()> {
        self.enter()?;
        self.at += 1;
        self.blank();
        let mut index = 0;
        while self.peek() != b']' || index > 0 {
            let part = shape.nodes[node].indices.iter().find(|(i, _)| *i == index).map(|(_, part)| shape.target(*part));
            match part {
                Some(Target::Slot(slot)) => row[slot] = self.value()?,
                Some(Target::Node(part)) => self.part(shape, part, row)?,
                None => {
                    self.value()?;
                }
            }
            index += 1;
            self.blank();
            match self.peek() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err("expected `,` or `]`"),
            }
            self.blank();
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Any value, checked to its end.
    #[inline(always)]
    fn value(&mut self) -> Parsed<Raw> {
        match self.peek() {
            b'"' => self.string(),
            b'0'..=b'9' | b'-' => self.number(),
            b't' => self.word(b"true", Look::True),
            b'f' => self.word(b"false", Look::False),
            b'n' => self.word(b"null", Look::Null),
            b'{' | b'[' => self.container(),
            _ => Err(VALUE),
        }
    }

    #[inline(always)]
    fn string(&mut self) -> Parsed<Raw> {
        let start = self.at + 1;
        let end = scan::special(self.data, start);
        if self.data.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(Raw::new(Look::Plain, start, end));
        }
        self.escaped_string(start, end)
    }

    /// The rest of a string that is not plain from `at` on.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Parsed<Raw> {
        loop {
            self.at = at;
            match self.data.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Raw::new(Look::Escaped, start, at));
                }
                Some(b'\\') => at = strings::skip_escape(self.data, at).ok_or("expected a valid escape")?,
                None | Some(b'\n') => return Err("expected `\"`"),
                Some(_) => return Err("control character in a string"),
            }
            at = scan::special(self.data, at);
        }
    }

    #[inline]
    fn number(&mut self) -> Parsed<Raw> {
        let start = self.at;
        self.at += (self.peek() == b'-') as usize;
        let leading = self.peek();
        if self.digits()? > 1 && leading == b'0' {
            self.at = start;
            return Err("expected a number without leading zeros");
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if self.peek() | 0x20 == b'e' {
            self.at += 1;
            self.at += matches!(self.peek(), b'+' | b'-') as usize;
            self.digits()?;
        }
        Ok(Raw::new(Look::Number, start, self.at))
    }

    /// One digit or more; returns how many.
    #[inline]
    fn digits(&mut self) -> Parsed<usize> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err("expected a digit") } else { Ok(self.at - start) }
    }

    #[inline]
    fn word(&mut self, word: &[u8], look: Look) -> Parsed<Raw> {
        let end = self.at + word.len();
        if self.data.get(self.at..end) != Some(word) {
            return Err(VALUE);
        }
        let raw = Raw::new(look, self.at, end);
        self.at = end;
        Ok(raw)
    }

    /// An array or object nobody looks into. Not recursive: the kinds of the open brackets are the bits of a word.
    fn container(&mut self) -> Parsed<Raw> {
        let (start, outer) = (self.at, self.depth);
        let mut objects = 0u128;
        loop {
            // At a value.
            let opened = self.peek();
            if matches!(opened, b'{' | b'[') {
                self.enter()?;
                objects = objects << 1 | (opened == b'{') as u128;
                self.at += 1;
                self.blank();
                if self.peek() != opened + 2 {
                    if opened == b'{' {
                        self.key_text()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
                self.blank();
            }
            // Behind a value, or at the bracket that ends an empty container.
            loop {
                let object = objects & 1 == 1;
                match self.peek() {
                    b',' => {
                        self.at += 1;
                        self.blank();
                        if object {
                            self.key_text()?;
                        }
                        break;
                    }
                    b'}' if object => self.at += 1,
                    b']' if !object => self.at += 1,
                    _ => return Err(if object { "expected `,` or `}`" } else { "expected `,` or `]`" }),
                }
                objects >>= 1;
                self.depth -= 1;
                if self.depth == outer {
                    return Ok(Raw::new(Look::Container, start, self.at));
                }
                self.blank();
            }
        }
    }

    fn scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            b'"' => self.string()?,
            b'0'..=b'9' | b'-' => self.number()?,
            b't' => self.word(b"true", Look::True)?,
            b'f' => self.word(b"false", Look::False)?,
            b'n' => self.word(b"null", Look::Null)?,
            _ => return Err(VALUE),
        };
        Ok(())
    }

    #[inline]
    fn enter(&mut self) -> Parsed<()> {
        if self.depth == DEPTH_MAX {
            return Err(DEPTH);
        }
        self.depth += 1;
        Ok(())
    }

    /// The byte in hand; 0, which starts nothing in JSON, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.data.get(self.at).copied().unwrap_or(0)
    }

    /// Skips blanks.
    #[inline(always)]
    fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') || self.peek() == self.feed {
            self.at += 1;
        }
    }
}
