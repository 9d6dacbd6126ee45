//! Where cells and records end.

use memchr::{memchr, memchr2};
use std::ops::Range;

#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub trim: bool,
}

const UNCLOSED: &str = "a quote is not closed";

/// A cell of a record.
pub(super) enum Found {
    /// Its bytes as they stand.
    Plain(Range<usize>),
    /// It had doubled quotes.
    Doubled(String),
}

impl Dialect {
    /// Position of the line feed that ends the record at `start`; `None` if it is not there yet.
    pub fn record_end(&self, data: &[u8], start: usize) -> Option<usize> {
        let Some(quote) = self.quote else {
            return memchr(b'\n', data.get(start..)?).map(|at| start + at);
        };
        let mut at = start;
        loop {
            at += memchr2(b'\n', quote, data.get(at..)?)?;
            if data[at] == b'\n' {
                return Some(at);
            }
            at = match self.opens(data, start, at) {
                true => self.closing(data, at + 1, quote)? + 1,
                false => at + 1,
            };
        }
    }

    /// Whether the last of some records has a quote that is not closed.
    pub fn is_open_at_end(&self, data: &[u8]) -> bool {
        let mut at = 0;
        while let Some(feed) = self.record_end(data, at) {
            at = feed + 1;
        }
        self.cells(&data[at..], |_| {}) == Err(UNCLOSED.into())
    }

    /// Calls `each` for every cell of a record without its line end.
    pub fn cells(&self, record: &[u8], mut each: impl FnMut(Found)) -> Result<(), String> {
        let mut at = 0;
        loop {
            let open = self.skip_spaces(record, at);
            at = match self.quote {
                Some(quote) if record.get(open) == Some(&quote) => {
                    let close = self.closing(record, open + 1, quote).ok_or(UNCLOSED)?;
                    each(unquoted(record, open + 1..close, quote));
                    self.skip_spaces(record, close + 1)
                }
                _ => {
                    let end = memchr(self.delimiter, &record[at..]).map_or(record.len(), |found| at + found);
                    each(Found::Plain(self.trimmed(record, at..end)));
                    end
                }
            };
            match record.get(at) {
                None => return Ok(()),
                Some(byte) if *byte == self.delimiter => at += 1,
                Some(_) => return Err(format!("expected the end of the cell behind its quote at byte {}", at + 1)),
            }
        }
    }

    /// The cells of a line, however bad: a header has no second chance.
    pub fn texts(&self, line: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let verdict = self.cells(line, |cell| {
            names.push(match cell {
                Found::Plain(cell) => String::from_utf8_lossy(&line[cell]).into_owned(),
                Found::Doubled(text) => text,
            });
        });
        if verdict.is_err() {
            names = String::from_utf8_lossy(line).split(self.delimiter as char).map(str::to_string).collect();
        }
        names
    }

    /// Whether the quote at `at` starts a cell of the record at `start`.
    fn opens(&self, data: &[u8], start: usize, mut at: usize) -> bool {
        while self.trim && at > start && self.is_space(data[at - 1]) {
            at -= 1;
        }
        at == start || data[at - 1] == self.delimiter
    }

    /// The quote that ends the cell; doubled ones are passed over.
    fn closing(&self, data: &[u8], mut at: usize, quote: u8) -> Option<usize> {
        loop {
            at += memchr(quote, data.get(at..)?)?;
            if data.get(at + 1) != Some(&quote) {
                return Some(at);
            }
            at += 2;
        }
    }

    fn skip_spaces(&self, record: &[u8], mut at: usize) -> usize {
        while self.trim && record.get(at).is_some_and(|b| self.is_space(*b)) {
            at += 1;
        }
        at
    }

    fn trimmed(&self, record: &[u8], cell: Range<usize>) -> Range<usize> {
        let start = self.skip_spaces(record, cell.start).min(cell.end);
        let mut end = cell.end;
        while self.trim && end > start && self.is_space(record[end - 1]) {
            end -= 1;
        }
        start..end
    }

    fn is_space(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t') && byte != self.delimiter
    }
}

fn unquoted(record: &[u8], cell: Range<usize>, quote: u8) -> Found {
    let bytes = &record[cell.clone()];
    if memchr(quote, bytes).is_none() {
        return Found::Plain(cell);
    }
    let quote = (quote as char).to_string();
    Found::Doubled(String::from_utf8_lossy(bytes).replace(&quote.repeat(2), &quote))
}
