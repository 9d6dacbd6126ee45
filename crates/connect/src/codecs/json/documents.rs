//! JSON records that are not lines: elements of one array, or objects one after another. Framing and decoding share one
//! rule for where a record ends, which looks at brackets and quotes only; so a record that is wrong within its brackets
//! is one broken record, and the next is read.

use super::shape::Shape;
use super::value::Parser;
use super::{is_blank, lines};
use crate::codecs::table::Table;
use ouzel_core::{Chunk, Decode, Decoded, Framing, Result};
use std::ops::Range;

/// How the records lie in their file.
pub(super) enum Documents {
    Array {
        /// Keys to the array.
        path: Vec<String>,
    },
    Concatenated,
}

const OPENS: &[u8] = b"[{";

impl Documents {
    pub fn array(path: Vec<String>) -> Documents {
        Documents::Array { path }
    }

    fn is_array(&self) -> bool {
        matches!(self, Documents::Array { .. })
    }

    /// Where what lies between records ends.
    fn gap_end(&self, data: &[u8], at: usize) -> usize {
        let is_gap = |b: &u8| is_blank(b) || (self.is_array() && *b == b',');
        data[at..].iter().position(|b| !is_gap(b)).map_or(data.len(), |n| at + n)
    }

    /// Where the record ends that starts at `at`, if it does. What is no record ends where one may start.
    fn record_end(&self, data: &[u8], at: usize) -> Option<usize> {
        match data.get(at)? {
            b'{' | b'[' => closed(data, at, 0),
            b'"' => string_end(data, at),
            _ => {
                let ends = |b: &u8| matches!(b, b'\n' | b'{') || (self.is_array() && matches!(b, b',' | b']'));
                data[at + 1..].iter().position(ends).map(|n| at + 1 + n)
            }
        }
    }

    /// Whether a file that ends with this chunk is closed: each record, and what they lie in.
    pub fn is_closed(&self, last: &Chunk) -> bool {
        let data = last.data.as_slice();
        let mut at = self.gap_end(data, 0);
        while at < data.len() {
            if let (Documents::Array { path }, b']') = (self, data[at]) {
                return path.is_empty() || closed(data, at, path.len() + 1).is_some();
            }
            match self.record_end(data, at) {
                Some(end) => at = self.gap_end(data, end),
                // What is no record at all has nothing to be closed.
                None => return !OPENS.contains(&data[at]) && data[at] != b'"' && !self.is_array(),
            }
        }
        !self.is_array() || !has_array(last)
    }
}

/// Whether an array was found that the records are to lie in.
fn has_array(chunk: &Chunk) -> bool {
    chunk.origin.header.as_ref().is_some_and(|header| OPENS[..1] == header[header.len().saturating_sub(1)..])
}

/// Where the brackets that are open are closed: those behind `at`, and `open` more from before.
fn closed(data: &[u8], mut at: usize, mut open: usize) -> Option<usize> {
    loop {
        let here = at + data.get(at..)?.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'))?;
        at = here + 1;
        match data[here] {
            b'"' => at = string_end(data, here)?,
            b'{' | b'[' => open += 1,
            _ if open <= 1 => return Some(at),
            _ => open -= 1,
        }
    }
}

/// Behind the quote that ends the string whose first quote is at `at`.
fn string_end(data: &[u8], mut at: usize) -> Option<usize> {
    at += 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', data.get(at..)?)?;
        match data[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Behind the bracket of the array that the keys lead to: `Ok(None)` if more bytes are needed, `Err` if there is none.
fn array_start(data: &[u8], mut at: usize, path: &[String]) -> std::result::Result<Option<usize>, ()> {
    let blank = |at: usize| data[at..].iter().position(|b| !is_blank(b)).map(|n| at + n);
    let Some(opening) = blank(at) else { return Ok(None) };
    let Some((key, deeper)) = path.split_first() else {
        return if data[opening] == b'[' { Ok(Some(opening + 1)) } else { Err(()) };
    };
    if data[opening] != b'{' {
        return Err(());
    }
    at = opening + 1;
    loop {
        // At a key, or at the comma before it.
        let Some(here) = blank(at) else { return Ok(None) };
        match data[here] {
            b',' => at = here + 1,
            b'"' => {
                let Some(end) = string_end(data, here) else { return Ok(None) };
                let Some(colon) = blank(end) else { return Ok(None) };
                if data[colon] != b':' {
                    return Err(());
                }
                // A key written with escapes is another key here.
                if data[here + 1..end - 1] == *key.as_bytes() {
                    return array_start(data, colon + 1, deeper);
                }
                let Some(value) = blank(colon + 1) else { return Ok(None) };
                let end = match data[value] {
                    b'{' | b'[' => closed(data, value, 0),
                    b'"' => string_end(data, value),
                    _ => data[value..].iter().position(|b| matches!(b, b',' | b'}')).map(|n| value + n),
                };
                let Some(end) = end else { return Ok(None) };
                at = end;
            }
            _ => return Err(()),
        }
    }
}

impl Framing for Documents {
    fn split(&mut self, data: &[u8]) -> usize {
        let mut whole = self.gap_end(data, 0);
        // The array's end comes with all that is behind it, at the end of the file.
        while !(self.is_array() && data.get(whole) == Some(&b']')) {
            match self.record_end(data, whole) {
                Some(end) => whole = self.gap_end(data, end),
                None => break,
            }
        }
        whole
    }

    fn last_byte(&self) -> Option<u8> {
        Some(b'}')
    }

    /// All up to the array's bracket. Without an array there is none, which the decoder sees.
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        let mark = lines::byte_order_mark(data, at_end)?;
        let Documents::Array { path } = self else { return Some(mark) };
        match array_start(data, mark, path) {
            Ok(Some(start)) => Some(start),
            Ok(None) if !at_end => None,
            Ok(None) | Err(()) => Some(mark),
        }
    }
}

pub(super) struct DocumentsDecoder {
    pub documents: Documents,
    pub shape: Shape,
    pub table: Table,
}

impl Decode for DocumentsDecoder {
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded> {
        if let Some(refused) = self.table.refuse(chunk) {
            return Ok(refused);
        }
        let data = chunk.data.as_slice();
        let missing = self.missing(chunk);
        let mut at = self.documents.gap_end(data, 0);
        while at < data.len() {
            if self.documents.is_array() && data[at] == b']' {
                self.tail(data, at);
                break;
            }
            let end = self.documents.record_end(data, at).unwrap_or(data.len());
            match missing.clone().or_else(|| lines::not_utf8(&data[at..end])) {
                Some(reason) => self.table.drop_row(trimmed(data, at..end), reason),
                None => self.record(&data[..end], at),
            }
            at = self.documents.gap_end(data, end);
        }
        Ok(self.table.finish(chunk))
    }
}

impl DocumentsDecoder {
    /// Why there are no records in this file, if there is no array.
    fn missing(&self, chunk: &Chunk) -> Option<String> {
        let Documents::Array { path } = &self.documents else { return None };
        match path.as_slice() {
            _ if has_array(chunk) => None,
            [] => Some("the file is no array: expected `[` at its beginning".into()),
            keys => Some(format!("the file has no array at `{}`", keys.join("."))),
        }
    }

    fn record(&mut self, data: &[u8], start: usize) {
        let mut parser = Parser::over_lines(data, start);
        match parser.record(&mut self.shape, self.table.row()) {
            Ok(end) => self.table.keep_row((start, end)),
            Err(expected) => {
                let reason = parser.complaint(start, expected);
                self.table.drop_row(trimmed(data, start..data.len()), reason);
            }
        }
    }

    /// The array's end, at `at`, and what follows it.
    fn tail(&mut self, data: &[u8], at: usize) {
        let Documents::Array { path } = &self.documents else { return };
        let end = if path.is_empty() { Some(at + 1) } else { closed(data, at, path.len() + 1) };
        let reason = match end {
            None => "the file ends before what the array lies in is closed",
            Some(end) if data[end..].iter().all(is_blank) => return,
            Some(_) => "expected the end of the file behind the array",
        };
        self.table.drop_row(trimmed(data, at..data.len()), reason.into());
    }
}

fn trimmed(data: &[u8], range: Range<usize>) -> (usize, usize) {
    (range.start, range.start + data[range].trim_ascii_end().len())
}
