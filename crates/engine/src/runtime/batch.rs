//! One batch on its way through a pipeline.

use crate::journal::{Fate, SetAside};
use arrow_array::{Array, ArrayRef, BooleanArray, NullArray};
use ouzel_core::{Chunk, Decoded, Error, Result};
use ouzel_detect::features::OwnedInput;
use std::sync::Arc;

/// Rows still on their way, as columns, and those set aside.
pub struct Batch {
    pub chunk: Chunk,
    pub rows: usize,
    /// By column of the plan. Columns not made yet, or not needed, are empty placeholders.
    pub columns: Vec<ArrayRef>,
    /// Event times.
    pub times: Vec<i64>,
    /// Position of each row among the records of the chunk.
    pub ordinals: Vec<u32>,
    /// Byte range of each row in the chunk.
    pub raw: Vec<(u32, u32)>,
    /// Offset of the chunk's first record in the partition; known after the clock's turn.
    pub first_offset: u64,
    /// Known after the clock's turn.
    pub late: Vec<bool>,
    pub live_from: Vec<i64>,
    /// Arguments of measures, by group.
    pub inputs: Vec<Vec<OwnedInput>>,
    /// Hashes of ids, where duplicates are dropped.
    pub ids: Option<Vec<Option<u128>>>,
    pub set_aside: Vec<Aside>,
    pub counts: Counts,
}

/// An event that does not go on. Its offset is that of its chunk plus its ordinal.
pub struct Aside {
    pub fate: Fate,
    pub ordinal: u32,
    pub range: (u32, u32),
    pub reason: String,
    /// It is no record of its format.
    pub is_broken: bool,
}

/// Fates of a batch's records.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub received: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub late: u64,
    pub malformed: u64,
    pub implausible: u64,
}

impl Batch {
    /// A batch of decoded rows; the records that could not be decoded are dead-lettered.
    pub fn new(chunk: Chunk, decoded: &mut Decoded, columns: usize) -> Batch {
        let rows = decoded.rows;
        let broken = std::mem::take(&mut decoded.broken);
        let mut ordinals = Vec::with_capacity(rows);
        let mut set_aside = Vec::with_capacity(broken.len());
        let mut ordinal = 0u32;
        let mut stretches = broken.into_iter().peekable();
        for row in 0..=rows as u32 {
            while let Some(b) = stretches.next_if(|b| b.before <= row || row as usize == rows) {
                set_aside.push(Aside { fate: Fate::DeadLettered, ordinal, range: b.range, reason: b.reason, is_broken: true });
                ordinal += 1;
            }
            if (row as usize) < rows {
                ordinals.push(ordinal);
                ordinal += 1;
            }
        }
        let placeholder: ArrayRef = Arc::new(NullArray::new(0));
        Batch {
            rows,
            columns: vec![placeholder; columns],
            times: Vec::new(),
            ordinals,
            raw: std::mem::take(&mut decoded.raw),
            first_offset: 0,
            late: Vec::new(),
            live_from: Vec::new(),
            inputs: Vec::new(),
            ids: None,
            set_aside,
            counts: Counts { received: u64::from(ordinal), ..Counts::default() },
            chunk,
        }
    }

    /// A chunk that is no records at all: one event, dead-lettered.
    pub fn fault(chunk: Chunk, reason: String, columns: usize) -> Batch {
        let mut batch = Batch::new(chunk, &mut Decoded::default(), columns);
        let range = (0, batch.chunk.data.len() as u32);
        batch.set_aside.push(Aside { fate: Fate::DeadLettered, ordinal: 0, range, reason, is_broken: true });
        batch.counts.received = 1;
        batch
    }

    /// Takes a row out; `keep` afterwards says so.
    pub fn put_aside(&mut self, keep: &mut Keep, row: usize, fate: Fate, reason: String) {
        if keep.drop(row) {
            self.set_aside.push(Aside { fate, ordinal: self.ordinals[row], range: self.raw[row], reason, is_broken: false });
        }
    }

    /// Some of its rows, as a batch of its own: for trying a step without state on them.
    pub fn part(&self, rows: std::ops::Range<usize>) -> Batch {
        let (start, len) = (rows.start, rows.len());
        let slice = |column: &ArrayRef| if column.len() == self.rows { column.slice(start, len) } else { column.clone() };
        let some = |all: &[bool]| all.get(rows.clone()).map(<[bool]>::to_vec).unwrap_or_default();
        Batch {
            chunk: self.chunk.clone(),
            rows: len,
            columns: self.columns.iter().map(slice).collect(),
            times: self.times[rows.clone()].to_vec(),
            ordinals: self.ordinals[rows.clone()].to_vec(),
            raw: self.raw[rows.clone()].to_vec(),
            first_offset: self.first_offset,
            late: some(&self.late),
            live_from: self.live_from.get(rows.clone()).map(<[i64]>::to_vec).unwrap_or_default(),
            inputs: Vec::new(),
            ids: None,
            set_aside: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The raw bytes of a row.
    pub fn bytes(&self, row: usize) -> &[u8] {
        let (start, end) = self.raw[row];
        self.chunk.data.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Goes on with the rows that are kept.
    pub fn retain(&mut self, keep: Keep) -> Result<()> {
        if keep.dropped == 0 {
            return Ok(());
        }
        let mask = BooleanArray::from(keep.bits);
        let placeholder_len = self.rows;
        for column in &mut self.columns {
            if column.len() == placeholder_len {
                *column = arrow_select::filter::filter(column, &mask).map_err(|e| Error::internal(e.to_string()))?;
            }
        }
        let kept = |row: usize| mask.value(row);
        retain(&mut self.times, kept);
        retain(&mut self.ordinals, kept);
        retain(&mut self.raw, kept);
        retain(&mut self.late, kept);
        retain(&mut self.live_from, kept);
        if let Some(ids) = &mut self.ids {
            retain(ids, kept);
        }
        self.inputs = std::mem::take(&mut self.inputs)
            .into_iter()
            .map(|group| group.into_iter().map(|input| input.filter(&mask)).collect::<Result<Vec<_>>>())
            .collect::<Result<_>>()?;
        self.rows -= keep.dropped;
        Ok(())
    }

    /// The journal's entries, in order of the log, each with its event's offset.
    pub fn asides(&mut self, id: impl Fn(u64) -> String) -> Vec<(u64, SetAside)> {
        self.set_aside.sort_by_key(|a| a.ordinal);
        let bytes = self.chunk.data.as_slice();
        self.set_aside
            .iter()
            .map(|a| {
                let offset = self.first_offset + u64::from(a.ordinal);
                let origin = (self.chunk.origin.name.to_string(), self.chunk.origin.position + u64::from(a.range.0));
                let raw = bytes.get(a.range.0 as usize..a.range.1 as usize).unwrap_or_default().to_vec();
                (offset, SetAside { fate: a.fate, id: id(offset), origin, reason: a.reason.clone(), raw })
            })
            .collect()
    }
}

fn retain<T>(items: &mut Vec<T>, kept: impl Fn(usize) -> bool) {
    let mut row = 0;
    items.retain(|_| {
        row += 1;
        kept(row - 1)
    });
}

/// Which rows go on.
pub struct Keep {
    bits: Vec<bool>,
    pub dropped: usize,
}

impl Keep {
    pub fn all(rows: usize) -> Keep {
        Keep { bits: vec![true; rows], dropped: 0 }
    }
    /// False if it was dropped before.
    pub fn drop(&mut self, row: usize) -> bool {
        let was = std::mem::replace(&mut self.bits[row], false);
        self.dropped += usize::from(was);
        was
    }
}
