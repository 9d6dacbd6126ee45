//! Cuts a source's chunks elsewhere.

use ouzel_core::{Chunk, Framing, Result, Source};
use std::collections::VecDeque;

/// Where to cut.
#[derive(Debug, Clone, Copy)]
pub enum Cuts {
    /// As the source gives them.
    Straight,
    /// One record a batch.
    Single,
    /// After each record by the toss of a coin; the seed decides how it falls.
    Random(u64),
}

pub struct Cutter {
    source: Box<dyn Source>,
    framing: Box<dyn Fn() -> Box<dyn Framing> + Send>,
    random: u64,
    single: bool,
    ready: VecDeque<Chunk>,
}

impl Cuts {
    pub fn apply(self, source: Box<dyn Source>, framing: Box<dyn Fn() -> Box<dyn Framing> + Send>) -> Box<dyn Source> {
        let (single, seed) = match self {
            Cuts::Straight => return source,
            Cuts::Single => (true, 1),
            Cuts::Random(seed) => (false, seed),
        };
        Box::new(Cutter { source, framing, random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, single, ready: VecDeque::new() })
    }
}

impl Source for Cutter {
    fn next(&mut self) -> Result<Option<Chunk>> {
        while self.ready.is_empty() {
            match self.source.next()? {
                None => return Ok(None),
                Some(chunk) if chunk.fault.is_some() => return Ok(Some(chunk)),
                Some(chunk) => self.cut(chunk),
            }
        }
        Ok(self.ready.pop_front())
    }
}

impl Cutter {
    fn cut(&mut self, chunk: Chunk) {
        let data = chunk.data.as_slice();
        let mut start = 0;
        for (end, _) in data.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, b)| (i + 1, b)) {
            // A line end inside a quoted cell ends no record.
            let whole = (self.framing)().split(&data[start..end]) == end - start;
            if whole && self.toss() {
                self.push(&chunk, start, end);
                start = end;
            }
        }
        self.push(&chunk, start, data.len());
    }

    fn push(&mut self, chunk: &Chunk, start: usize, end: usize) {
        if start < end {
            let mut part = chunk.clone();
            part.data = chunk.data.slice_with_length(start, end - start);
            part.origin.position += start as u64;
            self.ready.push_back(part);
        }
    }

    fn toss(&mut self) -> bool {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.single || self.random >> 62 == 0
    }
}
