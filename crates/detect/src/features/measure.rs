//! What a measure is to the feature step: state of one measure for all keys of one shard, updated a batch at a
//! time, in log order.
//!
//! Promises each implementation keeps (design: order, time, exactness):
//! - The output of a row is a function of the rows applied before it for the same slot, and of nothing else: not of
//!   how the rows were cut into calls.
//! - A row at time `t` sees what has been applied before it, itself included, with times in `(t - within, t]`.
//!   Rows may come out of order; equal times are in order of arrival.
//! - What lies at or before `live_from - within` can never be seen again and is dropped when its slot is next
//!   touched; so a slot whose newest entry is that old is as good as new, and the caller may `forget` it at any time.

use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::sync::Arc;

/// One event for one key.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Which key of the shard, dense from 0.
    pub slot: u32,
    /// Row in the batch: index into inputs and outputs.
    pub row: u32,
    /// Event time, microseconds.
    pub time: i64,
    /// The partition's clock less the lateness: no later row has a time before this. Never decreases.
    pub live_from: i64,
}

/// The argument of a measure for a whole batch.
pub struct Input<'a> {
    /// Rows for which `where` is true and the argument is not null. `None`: all rows.
    pub counted: Option<&'a BooleanBuffer>,
    pub values: Values<'a>,
}

/// Values by row; those of rows not counted are arbitrary.
pub enum Values<'a> {
    /// `"*"`
    None,
    Int(&'a [i64]),
    /// Never NaN where counted (NaN is not counted).
    Float(&'a [f64]),
    /// Identity of a value of any type: a 128 bit hash.
    Id(&'a [u128]),
    Text(&'a StringViewArray),
}

impl Input<'_> {
    #[inline]
    pub fn is_counted(&self, row: u32) -> bool {
        self.counted.is_none_or(|bits| bits.value(row as usize))
    }
}

/// The result column of a measure: one value per row of the batch, null until set.
pub enum Output {
    Int { values: Vec<i64>, valid: Vec<bool> },
    Float { values: Vec<f64>, valid: Vec<bool> },
    Bool { values: Vec<bool>, valid: Vec<bool> },
    Time { values: Vec<i64>, valid: Vec<bool> },
    Text(Vec<Option<Box<str>>>),
}

/// The type of an [`Output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputType {
    Int,
    Float,
    Bool,
    Time,
    Text,
}

impl Output {
    pub fn new(of: OutputType, rows: usize) -> Output {
        match of {
            OutputType::Int => Output::Int { values: vec![0; rows], valid: vec![false; rows] },
            OutputType::Float => Output::Float { values: vec![0.0; rows], valid: vec![false; rows] },
            OutputType::Bool => Output::Bool { values: vec![false; rows], valid: vec![false; rows] },
            OutputType::Time => Output::Time { values: vec![0; rows], valid: vec![false; rows] },
            OutputType::Text => Output::Text(vec![None; rows]),
        }
    }
    /// Sets an `Int` or `Time` output.
    #[inline]
    pub fn set_int(&mut self, row: u32, value: i64) {
        if let Output::Int { values, valid } | Output::Time { values, valid } = self {
            values[row as usize] = value;
            valid[row as usize] = true;
        }
    }
    #[inline]
    pub fn set_float(&mut self, row: u32, value: f64) {
        if let Output::Float { values, valid } = self {
            values[row as usize] = value;
            valid[row as usize] = true;
        }
    }
    #[inline]
    pub fn set_bool(&mut self, row: u32, value: bool) {
        if let Output::Bool { values, valid } = self {
            values[row as usize] = value;
            valid[row as usize] = true;
        }
    }
    pub fn set_text(&mut self, row: u32, value: Box<str>) {
        if let Output::Text(values) = self {
            values[row as usize] = Some(value);
        }
    }

    pub fn into_array(self) -> ArrayRef {
        let nulls = |valid: Vec<bool>| if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) };
        match self {
            Output::Int { values, valid } => Arc::new(Int64Array::new(values.into(), nulls(valid))),
            Output::Float { values, valid } => Arc::new(Float64Array::new(values.into(), nulls(valid))),
            Output::Time { values, valid } => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls(valid)).with_timezone("UTC"))
            }
            Output::Bool { values, valid } => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls(valid))),
            Output::Text(values) => {
                let mut builder = StringViewBuilder::with_capacity(values.len());
                values.iter().for_each(|v| builder.append_option(v.as_deref()));
                Arc::new(builder.finish())
            }
        }
    }
}

/// Settings common to all kinds.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Microseconds, above 0.
    pub within: i64,
    /// Microseconds, 0 or more.
    pub lateness: i64,
    /// Fewer counted events in the window than this give null. 0: no minimum.
    pub min_events: u64,
    /// Entries kept per slot before the measure goes to tiles.
    pub exact_up_to: usize,
}

impl Window {
    /// Width of a tile in microseconds, once a measure is no longer exact. Tile `n` holds times in `[n * width, (n + 1) * width)`.
    pub fn tile_width(&self) -> i64 {
        (self.within / ouzel_core::limits::TILES_PER_WINDOW).max(1)
    }
    /// Entries at or before this are dead.
    #[inline]
    pub fn dead_at(&self, live_from: i64) -> i64 {
        live_from.saturating_sub(self.within)
    }
}

/// What is written of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// What a reader needs that has all that was written of it before.
    Changes,
    /// Everything that is known of it.
    All,
}

/// State of one measure (or of several that share a log) for all keys of a shard.
pub trait Measure: Send {
    /// Applies rows in log order; fills one output per result column of the measure.
    /// Slots are below `slots`; a slot not seen before is empty.
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]);
    /// The slot is empty again.
    fn forget(&mut self, slot: u32);
    /// Writes the slot's state, so that [`Measure::load`] makes one of it that gives the same outputs, to the last bit.
    fn save(&mut self, slot: u32, out: &mut Vec<u8>, what: Save);
    /// Reads back what was written of a slot, one writing after the other in the order in which they were made. Slots are
    /// below `slots`.
    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged>;
    /// The slot is not the one that was written: a writing of changes is of everything, until the next.
    fn moved(&mut self, _slot: u32) {}
    /// All has been read back: nothing that was written before is missing.
    fn loaded(&mut self) {}
    /// Heap bytes held, about.
    fn bytes(&self) -> usize;
}

/// [`Measure::save`] of a measure with a state per slot.
pub fn save_slot<S: Wire>(slots: &[S], slot: u32, out: &mut Vec<u8>) {
    let state = slots.get(slot as usize);
    state.is_some().put(out);
    if let Some(state) = state {
        state.put(out);
    }
}

/// [`Measure::load`] of a measure with a state per slot.
pub fn load_slot<S: Wire + Default>(states: &mut Vec<S>, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
    if states.len() < slots {
        states.resize_with(slots, S::default);
    }
    let state: Option<S> = from.take()?;
    *states.get_mut(slot as usize).ok_or(Damaged)? = state.unwrap_or_default();
    Ok(())
}
