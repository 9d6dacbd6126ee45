//! What a codec found, row by row, before it is read as anything: where each value lies and what it looks like.
//!
//! Finding and reading are apart on purpose. A row that turns out to be broken is dropped by forgetting its slots, a
//! key that comes twice overwrites its slot, and each column is then read in one loop that knows its type.

use super::column;
use arrow_buffer::Buffer;
use ouzel_core::{Broken, Chunk, Decoded, Wanted, limits};

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Look {
    /// Not there.
    Missing,
    /// JSON `null`, or the codec's own way to say it (`-`, an empty cell).
    Null,
    /// JSON string without escapes; the range is without its quotes.
    Plain,
    /// JSON string with escapes; the range is without its quotes.
    Escaped,
    Number,
    True,
    False,
    /// JSON array or object, whole.
    Container,
    /// Text of a codec without types.
    Text,
}

/// Where a value lies and what it looks like, in 8 bytes: a row's slots are written and read once per value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw(u64);

/// Positions in a block have this many bits.
const POSITION_BITS: u32 = 28;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;
const SIDE_BIT: u64 = 1 << 59;
/// A chunk must be shorter, or [`Raw`] could not point into it.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << POSITION_BITS;

impl Raw {
    pub const MISSING: Raw = Raw(0);
    pub const NULL: Raw = Raw((Look::Null as u64) << 60);

    /// A value in the chunk.
    #[inline]
    pub fn new(look: Look, start: usize, end: usize) -> Raw {
        debug_assert!(start <= end && end < BLOCK_BYTES_MAX);
        Raw((look as u64) << 60 | ((end - start) as u64) << POSITION_BITS | start as u64)
    }
    /// The same stretch of the side text.
    pub fn aside(self) -> Raw {
        Raw(self.0 | SIDE_BIT)
    }
    /// Another value in the block of this one.
    pub fn within(self, look: Look, start: usize, end: usize) -> Raw {
        Raw(Raw::new(look, start, end).0 | self.0 & SIDE_BIT)
    }
    #[inline]
    pub fn look(self) -> Look {
        const LOOKS: [Look; 16] = {
            use Look::*;
            [Missing, Null, Plain, Escaped, Number, True, False, Container, Text, Null, Null, Null, Null, Null, Null, Null]
        };
        LOOKS[(self.0 >> 60) as usize]
    }
    #[inline]
    pub fn start(self) -> usize {
        (self.0 & POSITION_MASK) as usize
    }
    #[inline]
    pub fn len(self) -> usize {
        (self.0 >> POSITION_BITS & POSITION_MASK) as usize
    }
    #[inline]
    pub fn is_aside(self) -> bool {
        self.0 & SIDE_BIT != 0
    }
    #[inline]
    pub fn is_null(self) -> bool {
        (self.0 >> 60) <= Look::Null as u64
    }
}

/// The bytes that [`Raw`]s point into: the chunk, and text that the codec had to rewrite.
pub(super) struct Blocks {
    pub chunk: Buffer,
    pub side: Buffer,
}

impl Blocks {
    /// The block of a value.
    #[inline]
    pub fn of(&self, raw: Raw) -> &[u8] {
        if raw.is_aside() { self.side.as_slice() } else { self.chunk.as_slice() }
    }
    /// The bytes of a value.
    #[inline]
    pub fn bytes(&self, raw: Raw) -> &[u8] {
        &self.of(raw)[raw.start()..raw.start() + raw.len()]
    }
}

/// One slot in each row: the values of one column, or the elements of lists.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub all: &'a [Raw],
    pub stride: usize,
    pub slot: usize,
}

impl<'a> Slots<'a> {
    pub fn len(self) -> usize {
        self.all.len() / self.stride
    }
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Raw> + 'a {
        self.all.chunks_exact(self.stride).map(move |row| row[self.slot])
    }
}

/// The rows of one chunk. Its buffers are kept from chunk to chunk.
pub(super) struct Table {
    /// What is asked for, and in which slot of a row it will be.
    columns: Vec<(Wanted, usize)>,
    /// Slots of a row. The last takes what nobody asked for.
    stride: usize,
    slots: Vec<Raw>,
    kept: Vec<(u32, u32)>,
    broken: Vec<Broken>,
    /// Text that is not in the chunk as such.
    side: String,
}

impl Table {
    /// Rows of `width` slots; a column whose slot is `width` stays null.
    pub fn new(columns: Vec<(Wanted, usize)>, width: usize) -> Table {
        Table { columns, stride: width + 1, slots: Vec::new(), kept: Vec::new(), broken: Vec::new(), side: String::new() }
    }

    /// Rows whose slots are the fields called `names`.
    pub fn named<'a>(wanted: Vec<Wanted>, names: impl IntoIterator<Item = &'a str>) -> Table {
        let mut table = Table::new(wanted.into_iter().map(|w| (w, 0)).collect(), 0);
        table.rename(names);
        table
    }

    /// Gives the slots other names. Of equal names the last one counts, as in JSON.
    pub fn rename<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = names.into_iter().collect();
        for (wanted, slot) in &mut self.columns {
            let found = wanted.path.as_key().and_then(|key| names.iter().rposition(|name| *name == key));
            *slot = found.unwrap_or(names.len());
        }
        self.stride = names.len() + 1;
    }

    /// Whether a column reads this slot.
    pub fn wants(&self, slot: usize) -> bool {
        self.columns.iter().any(|(_, s)| *s == slot)
    }

    /// The answer for a chunk that holds no records.
    pub fn refuse(&mut self, chunk: &Chunk) -> Option<Decoded> {
        let length = chunk.data.len();
        let reason = match &chunk.fault {
            Some(fault) => fault.clone(),
            None if length >= BLOCK_BYTES_MAX => format!("a chunk of {length} bytes is too long"),
            None => return None,
        };
        self.drop_row((0, length.min(u32::MAX as usize)), reason);
        Some(self.finish(chunk))
    }

    /// A row of nothing, to be filled in and then kept or dropped.
    #[inline]
    pub fn row(&mut self) -> &mut [Raw] {
        let start = self.kept.len() * self.stride;
        self.slots.resize(start, Raw::MISSING);
        self.slots.resize(start + self.stride, Raw::MISSING);
        &mut self.slots[start..]
    }

    /// Notes a value of the row in hand.
    #[inline]
    pub fn set(&mut self, slot: usize, raw: Raw) {
        let start = self.kept.len() * self.stride;
        self.slots[start + slot] = raw;
    }

    /// Adds text that is not in the chunk as such.
    pub fn aside(&mut self, text: &str) -> Raw {
        let start = self.side.len();
        // Beyond this a position does not fit. It takes a chunk of the longest size and escapes that lengthen it.
        if start + text.len() >= BLOCK_BYTES_MAX {
            return Raw::NULL;
        }
        self.side.push_str(text);
        Raw::new(Look::Text, start, self.side.len()).aside()
    }

    /// The row in hand is a row of the chunk.
    #[inline]
    pub fn keep_row(&mut self, (start, end): (usize, usize)) {
        if end - start > limits::RECORD_BYTES_MAX {
            let reason = format!("a record of {} bytes is longer than {}", end - start, limits::RECORD_BYTES_MAX);
            return self.drop_row((start, end), reason);
        }
        self.kept.push((start as u32, end as u32));
    }

    /// The row in hand is none.
    #[cold]
    pub fn drop_row(&mut self, (start, end): (usize, usize), reason: String) {
        self.slots.truncate(self.kept.len() * self.stride);
        let before = self.kept.len() as u32;
        self.broken.push(Broken { before, range: (start as u32, end as u32), reason });
    }

    /// Reads the columns and starts afresh.
    pub fn finish(&mut self, chunk: &Chunk) -> Decoded {
        self.slots.truncate(self.kept.len() * self.stride);
        let side = Buffer::from(std::mem::take(&mut self.side).into_bytes());
        let blocks = Blocks { chunk: chunk.data.clone(), side };
        let (all, stride) = (self.slots.as_slice(), self.stride);
        let columns =
            self.columns.iter().map(|(wanted, slot)| column::read(wanted, Slots { all, stride, slot: *slot }, &blocks)).collect();
        self.slots.clear();
        let raw = std::mem::take(&mut self.kept);
        self.kept.reserve(raw.len());
        Decoded { rows: raw.len(), raw, columns, broken: std::mem::take(&mut self.broken) }
    }
}
