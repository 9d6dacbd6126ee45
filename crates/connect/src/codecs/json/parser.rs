//! One pass over the bytes of a record: what lies on the wanted paths goes to its slot.

use super::shape::{BEFORE, Node, ROOT, Shape, Target, clear};
use super::strings;
use super::value::{DEPTH, Expected, Parsed, Parser};
use crate::codecs::table::{Look, Raw};

impl Parser<'_> {
    /// After an error: where it is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads an object that fills its line into the row and returns where it ends.
    #[inline]
    pub fn record(&mut self, shape: &mut Shape, row: &mut [Raw]) -> Parsed<usize> {
        if self.peek() != b'{' {
            return Err("expected an object");
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
            None if self.is_over_lines() && expected != DEPTH => format!("{expected}, but the record ends at byte {place}"),
            _ if self.is_over_lines() => format!("{expected} at byte {place}"),
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
}
