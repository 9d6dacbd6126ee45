//! Cuts a source's chunks elsewhere. A run may go on from any of the cuts.

use ouzel_core::{Chunk, Error, Framing, Result, Source};
use std::collections::VecDeque;

/// Where to cut.
#[derive(Debug, Clone, Copy)]
pub enum Cuts {
    /// As the source gives them.
    Straight,
    /// One record a batch.
    Single,
    /// After one record of so many, by chance; the seed decides which.
    OneOf(u64, u64),
}

pub struct Cutter {
    source: Box<dyn Source>,
    framing: Box<dyn Fn() -> Box<dyn Framing> + Send>,
    cuts: Cuts,
    random: u64,
    ready: VecDeque<Chunk>,
    /// Where the source's last chunk begins, and how much of it has been handed out.
    last: Option<String>,
    given: usize,
}

impl Cuts {
    pub fn apply(self, source: Box<dyn Source>, framing: Box<dyn Fn() -> Box<dyn Framing> + Send>) -> Box<dyn Source> {
        if let Cuts::Straight = self {
            return source;
        }
        Box::new(Cutter { source, framing, cuts: self, random: 0, ready: VecDeque::new(), last: None, given: 0 })
    }
}

impl Source for Cutter {
    fn next(&mut self) -> Result<Option<Chunk>> {
        while self.ready.is_empty() {
            let (last, given) = (self.source.position(), std::mem::take(&mut self.given));
            match self.source.next()? {
                None => return Ok(None),
                Some(chunk) if chunk.fault.is_some() || chunk.data.is_empty() => return Ok(Some(chunk)),
                Some(chunk) => self.cut(chunk, given),
            }
            (self.last, self.given) = (last, given);
        }
        let part = self.ready.pop_front();
        self.given += part.as_ref().map_or(0, |part| part.data.len());
        Ok(part)
    }

    fn position(&self) -> Option<String> {
        let (within, given) = if self.ready.is_empty() { (self.source.position(), 0) } else { (self.last.clone(), self.given) };
        Some(format!("{given} {}", within?))
    }

    fn rewind(&mut self, position: &str) -> Result<()> {
        self.source.rewind(position.split_once(' ').map_or(position, |(_, within)| within))
    }

    fn resume(&mut self, position: &str) -> Result<()> {
        let (given, within) = position.split_once(' ').ok_or_else(|| Error::internal("not a position of a cut source"))?;
        self.given = given.parse().map_err(|_| Error::internal("not a position of a cut source"))?;
        self.source.resume(within)
    }
}

impl Cutter {
    /// `given`: so much of the chunk has been handed out already.
    fn cut(&mut self, chunk: Chunk, given: usize) {
        let data = chunk.data.as_slice();
        let mut start = given;
        for (end, _) in
            data.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, b)| (i + 1, b)).filter(|(end, _)| *end > given)
        {
            // A line end inside a quoted cell ends no record.
            let whole = (self.framing)().split(&data[start..end]) == end - start;
            if whole && self.cuts_here() {
                self.push(&chunk, start, end);
                start = end;
            }
        }
        self.push(&chunk, start, data.len());
    }

    fn push(&mut self, chunk: &Chunk, start: usize, end: usize) {
        if start < end {
            self.ready.push_back(chunk.part(start..end));
        }
    }

    fn cuts_here(&mut self) -> bool {
        match self.cuts {
            Cuts::Straight => false,
            Cuts::Single => true,
            Cuts::OneOf(records, seed) => {
                // SplitMix64 (Steele, Lea, Flood 2014).
                self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (self.random ^ seed).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)).is_multiple_of(records)
            }
        }
    }
}
