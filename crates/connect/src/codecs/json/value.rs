//! Values of JSON, checked to their last byte but not looked into.

use super::{scan, strings};
use crate::codecs::table::{Blocks, Look, Raw};
use ouzel_core::limits::DEPTH_MAX;

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

/// What should have stood where the parser is, for people.
pub(super) type Expected = &'static str;
pub(super) type Parsed<T> = Result<T, Expected>;

const VALUE: Expected = "expected a value";
const KEY: Expected = "expected a key in quotes";
pub(super) const DEPTH: Expected = "nested deeper than 128";

pub(super) struct Parser<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    pub(super) depth: usize,
    /// A blank besides space, tab and carriage return.
    feed: u8,
}

impl<'a> Parser<'a> {
    /// A parser of values that end with their line.
    pub fn new(data: &'a [u8], at: usize) -> Parser<'a> {
        Parser { data, at, depth: 0, feed: b' ' }
    }

    /// A parser of values that may have line feeds between their parts.
    pub(super) fn over_lines(data: &'a [u8], at: usize) -> Parser<'a> {
        Parser { data, at, depth: 0, feed: b'\n' }
    }

    pub(super) fn is_over_lines(&self) -> bool {
        self.feed == b'\n'
    }

    /// Any value, checked to its end.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Parsed<Raw> {
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
    pub(super) fn string(&mut self) -> Parsed<Raw> {
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
    pub(super) fn enter(&mut self) -> Parsed<()> {
        if self.depth == DEPTH_MAX {
            return Err(DEPTH);
        }
        self.depth += 1;
        Ok(())
    }

    /// The byte in hand; 0, which starts nothing in JSON, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.data.get(self.at).copied().unwrap_or(0)
    }

    /// Skips blanks.
    #[inline(always)]
    pub(super) fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') || self.peek() == self.feed {
            self.at += 1;
        }
    }

    /// A key, its colon, and the blanks around that.
    pub(super) fn key_text(&mut self) -> Parsed<Raw> {
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
}
