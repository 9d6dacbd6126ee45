//! `count`, and `sum` and `mean` of integers: all such measures of a group share one log per key, and one pass over
//! it serves all their windows. This is the hot path of most pipelines.
//!
//! The log of a key holds one entry per distinct time, in time order: how many rows counted and what they sum to, per
//! lane (a lane is a distinct pair of argument and `where`). Each measure has a running total of its window as of the
//! last row and the index where that window starts; all windows end at the same index. A row slides the windows to its
//! own time, forwards or back, and adds itself at their end: constant time, amortised, for rows in order; for others as many
//! steps as entries lie between. Integer totals may subtract, for they are exact. A key with a few entries has no totals: its
//! windows are summed up anew for each row, which costs no more and takes half the memory. Most keys are such.
//!
//! While the log holds at most `exact_up_to` entries over the longest window and the lateness, all is exact. Past that
//! the measures with the longest windows go to tiles of 1/256 window, until less is kept or none is left, and come back
//! when their tiles are empty.

mod log;
mod saved;
mod slot;
mod tiles;

use super::measure::{Input, Measure, Output, Row, Save, Values, Window};
use log::Log;
use ouzel_core::wire::{Damaged, Taker};
use saved::Part;
use slot::{Slot, Total, advance};
use std::collections::HashMap;
use tiles::Tiles;

#[cfg(test)]
mod tests;

/// What a measure makes of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// How many rows counted.
    Count,
    /// Their sum; null if none counted or if it does not fit 64 bits.
    Sum,
    /// Their mean; null if none counted.
    Mean,
}

/// One measure of the group.
#[derive(Debug, Clone, Copy)]
pub struct WindowMeasure {
    /// Index of its lane: of its input.
    pub lane: usize,
    pub kind: Kind,
    pub window: Window,
}

/// State of all such measures for the keys of a shard.
pub struct Windows {
    measures: Vec<WindowMeasure>,
    /// Per lane: position of its sum among the sums of an entry, if it has one.
    sum_of_lane: Vec<Option<usize>>,
    sums: usize,
    exact_up_to: usize,
    /// The longest window: what of a log is kept, unless its measure is tiled.
    longest: i64,
    slots: Vec<Slot>,
    row: Entry,
    /// Slots of which only changes have been read back: what is older is not here.
    in_part: HashMap<u32, Part>,
}

/// What one row, or all rows of one time, add.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    counts: Vec<u32>,
    sums: Vec<i64>,
}

/// Entries that are summed up one by one.
const FEW: usize = 8;

struct Tiled {
    /// By measure.
    tiles: Vec<Option<Tiles>>,
    /// The longest window of the measures that are still exact; 0 if none is.
    longest_exact: i64,
}

impl Windows {
    /// `lanes`: for each input whether any measure sums it.
    pub fn new(lanes: &[bool], measures: Vec<WindowMeasure>) -> Windows {
        let mut sums = 0;
        let sum_of_lane = lanes
            .iter()
            .map(|summed| {
                summed.then(|| {
                    sums += 1;
                    sums - 1
                })
            })
            .collect();
        Windows {
            exact_up_to: measures.iter().map(|m| m.window.exact_up_to).min().unwrap_or(0),
            longest: measures.iter().map(|m| m.window.within).max().unwrap_or(0),
            row: Entry { counts: vec![0; lanes.len()], sums: vec![0; sums] },
            measures,
            sum_of_lane,
            sums,
            slots: Vec::new(),
            in_part: HashMap::new(),
        }
    }

    fn grow(&mut self, slots: usize) {
        if self.slots.len() < slots {
            let (lanes, sums) = (self.sum_of_lane.len(), self.sums);
            self.slots.resize_with(slots, || Slot { log: Log::new(lanes, sums), ..Slot::default() });
        }
    }

    fn read_row(&mut self, row: u32, inputs: &[Input<'_>]) -> bool {
        let mut any = false;
        for (lane, input) in inputs.iter().enumerate() {
            let counted = input.is_counted(row);
            any |= counted;
            self.row.counts[lane] = counted as u32;
            if let (Some(at), Values::Int(values)) = (self.sum_of_lane[lane], &input.values) {
                self.row.sums[at] = if counted { values[row as usize] } else { 0 };
            }
        }
        any
    }

    fn step(&mut self, row: &Row, any: bool, outputs: &mut [Output]) {
        let Windows { measures, sum_of_lane, slots, .. } = self;
        let slot = &mut slots[row.slot as usize];
        let t = row.time;
        let Some(mut totals) = slot.totals.take() else { return self.step_of_few(row, any, outputs) };

        if let Some(tiled) = &mut slot.tiled {
            tiled.drop_dead(measures, row.live_from, slot.end, &mut totals);
            if tiled.tiles.iter().all(Option::is_none) {
                slot.tiled = None;
            }
        }
        if t < slot.now {
            slot.slide_back(measures, sum_of_lane, &mut totals, t);
        } else if slot.end != slot.log.end() {
            slot.slide_end(measures, sum_of_lane, &mut totals, t);
        }
        slot.now = t;
        for (k, (m, total)) in measures.iter().zip(totals.iter_mut()).enumerate() {
            if !slot.is_tiled(k) {
                advance(&slot.log, m, sum_of_lane, total, t);
            }
        }
        let kept = slot.tiled.as_ref().map_or(self.longest, |tiled| tiled.longest_exact);
        slot.drop_through(row.live_from.saturating_sub(kept));

        if any {
            if let Some(tiled) = &mut slot.tiled {
                tiled.add(measures, sum_of_lane, t, &self.row);
            }
            if kept > 0 {
                slot.add(measures, sum_of_lane, &mut totals, t, &self.row);
            }
            if slot.log.len() > self.exact_up_to {
                go_to_tiles(slot, measures, sum_of_lane, self.exact_up_to, row.live_from);
            }
        }

        slot.output(measures, &totals, row, outputs);
        if slot.log.len() > FEW / 2 || slot.tiled.is_some() {
            slot.totals = Some(totals);
        }
    }

    /// A step for a key without totals, which it gets when its entries become many.
    #[inline]
    fn step_of_few(&mut self, row: &Row, any: bool, outputs: &mut [Output]) {
        let Windows { measures, sum_of_lane, slots, exact_up_to, longest, .. } = self;
        let slot = &mut slots[row.slot as usize];
        let t = row.time;
        slot.log.drop_through(row.live_from.saturating_sub(*longest));
        slot.now = t;
        slot.end = slot.log.end();
        while slot.end != slot.log.begin() && slot.log.time(slot.end.wrapping_sub(1)) > t {
            slot.end = slot.end.wrapping_sub(1);
        }
        if any {
            slot.put(t, &self.row);
        }
        if slot.log.len() > FEW.min(*exact_up_to) {
            slot.sum_up(measures, sum_of_lane);
            if slot.log.len() > *exact_up_to {
                go_to_tiles(slot, measures, sum_of_lane, *exact_up_to, row.live_from);
            }
            return slot.output(measures, slot.totals.as_deref().unwrap_or_default(), row, outputs);
        }
        for (k, m) in measures.iter().enumerate() {
            let (mut count, mut sum) = (0u64, 0i128);
            let (mut number, after) = (slot.end, t.saturating_sub(m.window.within));
            while number != slot.log.begin() && slot.log.time(number.wrapping_sub(1)) > after {
                number = number.wrapping_sub(1);
                let (c, s) = slot.log.lane(number, m.lane, sum_of_lane[m.lane]);
                count += u64::from(c);
                sum += i128::from(s);
            }
            m.output(count, sum, row.row, &mut outputs[k]);
        }
    }
}

impl WindowMeasure {
    #[inline]
    fn output(&self, count: u64, sum: i128, row: u32, output: &mut Output) {
        if count < self.window.min_events {
            return;
        }
        match self.kind {
            Kind::Count => output.set_int(row, count as i64),
            Kind::Sum if count > 0 => {
                if let Ok(sum) = i64::try_from(sum) {
                    output.set_int(row, sum);
                }
            }
            Kind::Mean if count > 0 => output.set_float(row, sum as f64 / count as f64),
            _ => {}
        }
    }
}

/// Hands measures over to tiles, those with the longest windows first, until the log is short enough.
fn go_to_tiles(slot: &mut Slot, measures: &[WindowMeasure], sum_of_lane: &[Option<usize>], exact_up_to: usize, live_from: i64) {
    let tiled = slot
        .tiled
        .get_or_insert_with(|| Box::new(Tiled { tiles: measures.iter().map(|_| None).collect(), longest_exact: i64::MAX }));
    while slot.log.len() > exact_up_to {
        let longest = (0..measures.len()).filter(|k| tiled.tiles[*k].is_none()).map(|k| measures[k].window.within).max();
        let Some(longest) = longest else { break };
        for (k, m) in measures.iter().enumerate() {
            if tiled.tiles[k].is_none() && m.window.within == longest {
                tiled.tiles[k] = Some(Tiles::of_log(&slot.log, m, sum_of_lane[m.lane], live_from));
            }
        }
        let left = (0..measures.len()).filter(|k| tiled.tiles[*k].is_none()).map(|k| measures[k].window.within).max();
        tiled.longest_exact = left.unwrap_or(0);
        let through = if left.is_some() { live_from.saturating_sub(tiled.longest_exact) } else { i64::MAX };
        slot.log.drop_through(through);
    }
    slot.keep_end();
}

impl Tiled {
    /// A measure whose tiles are all dead is exact again: its window starts at `end`, where the others end.
    fn drop_dead(&mut self, measures: &[WindowMeasure], live_from: i64, end: u32, totals: &mut [Total]) {
        for ((tiles, m), total) in self.tiles.iter_mut().zip(measures).zip(totals) {
            if let Some(t) = tiles {
                t.drop_dead(&m.window, live_from);
                if t.is_empty() {
                    // What the log still holds is as dead, for it is in the tiles too.
                    *tiles = None;
                    *total = Total::empty(end);
                    self.longest_exact = self.longest_exact.max(m.window.within);
                }
            }
        }
    }

    fn add(&mut self, measures: &[WindowMeasure], sum_of_lane: &[Option<usize>], t: i64, row: &Entry) {
        for (tiles, m) in self.tiles.iter_mut().zip(measures) {
            if let Some(tiles) = tiles {
                let sum = sum_of_lane[m.lane].map_or(0, |i| row.sums[i]);
                tiles.add(&m.window, t, row.counts[m.lane], sum);
            }
        }
    }
}

/// How far ahead of the row at hand its key's state, its log and totals, and then the start of its windows are asked from memory.
const AHEAD: [usize; 3] = [24, 12, 6];

impl Measure for Windows {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        self.grow(slots);
        for (i, row) in rows.iter().enumerate() {
            if let Some(next) = rows.get(i + AHEAD[0]) {
                super::prefetch(&self.slots[next.slot as usize]);
            }
            if let Some(next) = rows.get(i + AHEAD[1]) {
                let slot = &self.slots[next.slot as usize];
                slot.log.prefetch(slot.log.end());
                // Two to a cache line.
                slot.totals.iter().for_each(|totals| totals.iter().step_by(2).for_each(super::prefetch));
            }
            if let Some(next) = rows.get(i + AHEAD[2])
                && let Slot { log, totals: Some(totals), .. } = &self.slots[next.slot as usize]
            {
                for (m, total) in self.measures.iter().zip(totals) {
                    if total.first <= next.time.saturating_sub(m.window.within) {
                        log.prefetch(total.start);
                    }
                }
            }
            let any = self.read_row(row.row, inputs);
            self.step(row, any, outputs);
        }
    }

    fn forget(&mut self, slot: u32) {
        self.in_part.remove(&slot);
        if let Some(s) = self.slots.get_mut(slot as usize) {
            *s = Slot { log: Log::new(self.sum_of_lane.len(), self.sums), ..Slot::default() };
        }
    }

    fn save(&mut self, slot: u32, out: &mut Vec<u8>, what: Save) {
        self.save_slot(slot, out, what);
    }

    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.load_slot(slots, slot, from)
    }

    fn moved(&mut self, slot: u32) {
        self.slots[slot as usize].is_based = false;
    }

    fn loaded(&mut self) {
        self.in_part = HashMap::new();
    }

    fn bytes(&self) -> usize {
        let logs: usize = self.slots.iter().map(|s| s.log.bytes() + s.tiled.as_ref().map_or(0, |t| t.bytes())).sum();
        let totals: usize = self.slots.iter().filter_map(|s| s.totals.as_ref()).map(|totals| totals.len()).sum();
        logs + self.slots.capacity() * size_of::<Slot>() + totals * size_of::<Total>()
    }
}

impl Tiled {
    fn bytes(&self) -> usize {
        self.tiles.iter().flatten().map(Tiles::bytes).sum::<usize>() + self.tiles.len() * size_of::<Option<Tiles>>()
    }
}
