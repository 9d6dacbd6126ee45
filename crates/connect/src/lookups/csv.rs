//! Comma-separated values (RFC 4180), or with another separator: quoted cells may hold it, line ends and doubled quotes.

use std::borrow::Cow;

/// The lines of a file.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    separator: u8,
    /// Line in the file where the last record began, from 1.
    pub line: usize,
    next_line: usize,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a [u8], separator: u8) -> Lines<'a> {
        Lines { rest: text, separator, line: 0, next_line: 1 }
    }

    /// Reads the cells of the next line that is not blank; false at the end.
    pub fn read(&mut self, cells: &mut Vec<Cow<'a, [u8]>>) -> Result<bool, &'static str> {
        loop {
            cells.clear();
            self.line = self.next_line;
            if self.rest.is_empty() {
                return Ok(false);
            }
            while self.cell(cells)? {}
            if !matches!(cells.as_slice(), [only] if only.trim_ascii().is_empty()) {
                return Ok(true);
            }
        }
    }

    /// Reads one cell and what ends it; false if that is the line's end.
    fn cell(&mut self, cells: &mut Vec<Cow<'a, [u8]>>) -> Result<bool, &'static str> {
        if self.rest.first() == Some(&b'"') {
            let cell = self.quoted()?;
            cells.push(cell);
        } else {
            let end = memchr::memchr2(self.separator, b'\n', self.rest).unwrap_or(self.rest.len());
            let cell = &self.rest[..end];
            // A line may end with CR LF.
            let at_line_end = self.rest.get(end) != Some(&self.separator);
            cells.push(Cow::Borrowed(if at_line_end { cell.strip_suffix(b"\r").unwrap_or(cell) } else { cell }));
            self.rest = &self.rest[end..];
        }
        match self.rest {
            [separator, rest @ ..] if *separator == self.separator => {
                self.rest = rest;
                return Ok(true);
            }
            [] => {}
            [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => self.rest = rest,
            _ => return Err("text after a closing quote"),
        }
        self.next_line += 1;
        Ok(false)
    }

    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, &'static str> {
        let text = &self.rest[1..];
        let mut unescaped: Option<Vec<u8>> = None;
        let mut from = 0;
        loop {
            let Some(quote) = memchr::memchr(b'"', &text[from..]).map(|n| from + n) else {
                return Err("a quote that is not closed");
            };
            let doubled = text.get(quote + 1) == Some(&b'"');
            let piece = &text[from..quote + doubled as usize];
            self.next_line += memchr::memchr_iter(b'\n', piece).count();
            if !doubled {
                self.rest = &text[quote + 1..];
                return Ok(match unescaped {
                    None => Cow::Borrowed(piece),
                    Some(mut start) => {
                        start.extend_from_slice(piece);
                        Cow::Owned(start)
                    }
                });
            }
            unescaped.get_or_insert_default().extend_from_slice(piece);
            from = quote + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_lines() {
        let text = b"a,b,\"c, \"\"d\"\"\"\r\n\n\"two\nlines\",,\"\"\r\n  \nlast,\xff";
        let mut lines = Lines::new(text, b',');
        let mut cells = Vec::new();
        let mut read = Vec::new();
        while lines.read(&mut cells).expect("sound") {
            let texts: Vec<String> = cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
            read.push((lines.line, texts.join("|")));
        }
        let expected = [(1, "a|b|c, \"d\""), (3, "two\nlines||"), (6, "last|\u{fffd}")];
        assert_eq!(read, expected.map(|(line, cells)| (line, cells.to_string())));
    }

    #[test]
    fn broken_quotes() {
        for (text, expected) in [
            ("\"a", "a quote that is not closed"),
            ("\"a\"b,c\n", "text after a closing quote"),
            ("\"", "a quote that is not closed"),
        ] {
            assert_eq!(Lines::new(text.as_bytes(), b',').read(&mut Vec::new()), Err(expected), "{text}");
        }
    }
}
