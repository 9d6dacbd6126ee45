//! `min`, `max`, `sum`, `mean` and `stddev` of a number, over the window of each event.
//!
//! Nothing is ever subtracted, so results do not drift and are the same under every cut. They are within 1e-9 relative
//! of the exact value, save for sums that cancel to less than 1e-15 of the sum of their absolute values.
//! Infinities follow IEEE 754: infinities of both signs make a sum NaN, any infinity makes a deviation NaN.

mod statistics;
#[cfg(test)]
mod tests;

use super::ordered::BlockList;
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::limits::TILES_PER_WINDOW;
use ouzel_core::wire::{Damaged, Taker, Wire};
use statistics::{Extreme, Statistic, StdDev, Sum};

/// Which aggregate, of which type of argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    MinInt,
    MaxInt,
    MinFloat,
    MaxFloat,
    /// Of floats. (Integers have a measure of their own, which is exact.)
    Sum,
    Mean,
    /// Of a sample: the root of the sum of squares divided by n - 1; null below two events.
    StdDev,
}

impl Aggregate {
    pub fn output(self) -> OutputType {
        match self {
            Aggregate::MinInt | Aggregate::MaxInt => OutputType::Int,
            _ => OutputType::Float,
        }
    }

    /// One input, one output. `Sum`, `Mean` and `StdDev` take ints as well as floats.
    pub fn measure(self, window: Window) -> Box<dyn Measure> {
        match self {
            Aggregate::MinInt => Box::new(Windowed::new(Extreme::<i64, false>::default(), window)),
            Aggregate::MaxInt => Box::new(Windowed::new(Extreme::<i64, true>::default(), window)),
            Aggregate::MinFloat => Box::new(Windowed::new(Extreme::<f64, false>::default(), window)),
            Aggregate::MaxFloat => Box::new(Windowed::new(Extreme::<f64, true>::default(), window)),
            Aggregate::Sum => Box::new(Windowed::new(Sum { is_mean: false }, window)),
            Aggregate::Mean => Box::new(Windowed::new(Sum { is_mean: true }, window)),
            Aggregate::StdDev => Box::new(Windowed::new(StdDev, window)),
        }
    }
}

struct Windowed<S: Statistic> {
    statistic: S,
    window: Window,
    slots: Vec<Slot<S>>,
}

impl<S: Statistic> Windowed<S> {
    fn new(statistic: S, window: Window) -> Self {
        Windowed { statistic, window, slots: Vec::new() }
    }
}

impl<S: Statistic> Measure for Windowed<S> {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input], [output]) = (inputs, outputs) else { return };
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Slot::default);
        }
        let at_least = self.window.min_events.max(S::EVENTS_MIN);
        for row in rows {
            let Some(slot) = self.slots.get_mut(row.slot as usize) else { continue };
            slot.expire(self.window.dead_at(row.live_from));
            if input.is_counted(row.row)
                && let Some(value) = S::read(&input.values, row.row as usize)
            {
                slot.insert(&self.statistic, &self.window, row, value);
            }
            let seen = slot.range(&self.statistic, row.time.saturating_sub(self.window.within), row.time);
            if S::events(&seen) >= at_least {
                self.statistic.write(&seen, output, row.row);
            }
        }
    }

    fn forget(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = Slot::default();
        }
    }

    fn save(&mut self, slot: u32, out: &mut Vec<u8>, _: Save) {
        save_slot(&self.slots, slot, out);
    }

    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        load_slot(&mut self.slots, slots, slot, from)
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<S>>() + self.slots.iter().map(Slot::bytes).sum::<usize>()
    }
}

/// One key: entries by time, or by tile once there were more of them than `exact_up_to`.
struct Slot<S: Statistic> {
    entries: BlockList<S::Value>,
    tiles: Option<Box<Tiles>>,
}

struct Tiles {
    /// Microseconds. Tile `n` holds times in `[n * width, (n + 1) * width)` and is the entry with key `n`.
    width: i64,
    /// Newest time in any tile: the slot is dead when this is, though the tile may reach beyond.
    newest: i64,
}

impl<S: Statistic> Default for Slot<S> {
    fn default() -> Self {
        Slot { entries: BlockList::new(S::EMPTY), tiles: None }
    }
}

impl<S: Statistic> Wire for Slot<S> {
    fn put(&self, out: &mut Vec<u8>) {
        self.entries.put(out);
        self.tiles.as_ref().map(|tiles| (tiles.width, tiles.newest)).put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        let entries = from.take()?;
        let tiles: Option<(i64, i64)> = from.take()?;
        // A width of 0 would divide by it.
        if tiles.is_some_and(|(width, _)| width <= 0) {
            return Err(Damaged);
        }
        Ok(Slot { entries, tiles: tiles.map(|(width, newest)| Box::new(Tiles { width, newest })) })
    }
}

impl<S: Statistic> Slot<S> {
    /// A slot whose newest entry is dead starts anew, exact again. (What is dead in a slot that lives goes when an
    /// entry comes in; nobody sees it until then.)
    #[inline]
    fn expire(&mut self, dead_at: i64) {
        let newest = self.tiles.as_ref().map(|t| t.newest).or(self.entries.last_key());
        if newest.is_some_and(|newest| newest <= dead_at) {
            self.entries.clear(S::EMPTY);
            self.tiles = None;
        }
    }

    #[inline]
    fn insert(&mut self, statistic: &S, window: &Window, row: &Row, value: S::Value) {
        let dead_at = window.dead_at(row.live_from);
        self.entries.expire(statistic, self.before(dead_at), |_| ());
        if self.entries.len() >= window.exact_up_to {
            self.make_room(statistic, window, dead_at, row.time);
        }
        if let Some(tiles) = &mut self.tiles {
            tiles.newest = tiles.newest.max(row.time);
        }
        self.entries.insert(statistic, self.key(row.time), value);
    }

    /// Total of times in `(after, through]`; of all tiles these reach into.
    #[inline]
    fn range(&mut self, statistic: &S, after: i64, through: i64) -> S::Value {
        self.entries.range(statistic, self.before(after), self.key(through))
    }

    #[inline]
    fn key(&self, time: i64) -> i64 {
        self.tiles.as_ref().map_or(time, |tiles| time.div_euclid(tiles.width))
    }

    /// The greatest key all of whose times are at or before `time`.
    #[inline]
    fn before(&self, time: i64) -> i64 {
        self.tiles.as_ref().map_or(time, |tiles| time.saturating_add(1).div_euclid(tiles.width) - 1)
    }

    /// From exact to tiles when an entry at `time` would be one too many. Tiles too are bounded: events dated all over
    /// the future, or a lateness of many windows, make them wider until they are few enough.
    #[cold]
    fn make_room(&mut self, statistic: &S, window: &Window, dead_at: i64, time: i64) {
        self.entries.expire_all(statistic, self.before(dead_at), |_| ());
        if self.tiles.is_none() {
            let Some(newest) = self.entries.last_key() else { return };
            if self.entries.len() < window.exact_up_to || self.entries.contains(time) {
                return;
            }
            self.retile(statistic, window.tile_width(), newest);
        }
        let tiles_max = window.exact_up_to.max(4 * TILES_PER_WINDOW as usize);
        while let Some(Tiles { width, newest }) = self.tiles.as_deref()
            && self.entries.len() >= tiles_max
            && !self.entries.contains(self.key(time))
        {
            self.retile(statistic, width.saturating_mul(2), *newest);
        }
    }

    fn retile(&mut self, statistic: &S, width: i64, newest: i64) {
        let from = self.tiles.as_ref().map_or(1, |tiles| tiles.width);
        let mut tiled = BlockList::new(S::EMPTY);
        for (key, value) in self.entries.iter() {
            tiled.insert(statistic, key.saturating_mul(from).div_euclid(width), value);
        }
        self.entries = tiled;
        self.tiles = Some(Box::new(Tiles { width, newest }));
    }

    fn bytes(&self) -> usize {
        self.entries.bytes() + self.tiles.as_ref().map_or(0, |_| size_of::<Tiles>())
    }
}
