//! One key: its log, and the windows that slide over it.

use super::log::Log;
use super::{Entry, Tiled, WindowMeasure};
use crate::features::measure::{Output, Row};

#[derive(Default)]
pub(super) struct Slot {
    pub(super) log: Log,
    /// Time of the last row; the totals are as of it.
    pub(super) now: i64,
    /// Number after the last log entry at or before `now`: where all windows end.
    pub(super) end: u32,
    /// The entries before this number are as they were when they were last written.
    pub(super) written: u32,
    /// It has been written as a whole: the next writing may be of what has changed.
    pub(super) is_based: bool,
    /// By measure; only where there are more than a few entries, and as of `now`.
    pub(super) totals: Option<Box<[Total]>>,
    /// Present while any measure of this key is tiled.
    pub(super) tiled: Option<Box<Tiled>>,
}

/// A measure's window as of the last row. 32 bytes: two share a cache line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    /// Time of the entry at `start`, `i64::MAX` if there is none: nothing leaves the window before the time reaches this plus the
    /// window.
    pub(super) first: i64,
    count: u64,
    /// The sum's lower 64 bits, and the next 32: room for 2^32 entries of 64 bits.
    low: u64,
    high: i32,
    /// Number of the first log entry in the window.
    pub(super) start: u32,
}

impl Total {
    #[inline]
    fn sum(&self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }
    #[inline]
    fn add(&mut self, sum: i128) {
        let sum = self.sum() + sum;
        (self.low, self.high) = (sum as u64, (sum >> 64) as i32);
    }
    #[inline]
    pub(super) fn enter(&mut self, (count, sum): (u32, i64)) {
        self.count += u64::from(count);
        if sum != 0 {
            self.add(i128::from(sum));
        }
    }
    #[inline]
    pub(super) fn leave(&mut self, (count, sum): (u32, i64)) {
        self.count -= u64::from(count);
        if sum != 0 {
            self.add(-i128::from(sum));
        }
    }
    /// No window: what comes next is its first entry.
    pub(super) fn empty(start: u32) -> Total {
        Total { start, first: i64::MAX, ..Total::default() }
    }
}

impl Slot {
    #[inline]
    pub(super) fn is_tiled(&self, measure: usize) -> bool {
        self.tiled.as_ref().is_some_and(|tiled| tiled.tiles[measure].is_some())
    }

    #[inline]
    pub(super) fn output(&self, measures: &[WindowMeasure], totals: &[Total], row: &Row, outputs: &mut [Output]) {
        for (k, (m, total)) in measures.iter().zip(totals).enumerate() {
            let (count, sum) = match self.tiled.as_ref().and_then(|tiled| tiled.tiles[k].as_ref()) {
                Some(tiles) => tiles.query(row.time, &m.window),
                None => (total.count, total.sum()),
            };
            m.output(count, sum, row.row, &mut outputs[k]);
        }
    }

    /// Makes the totals, as of `now`.
    #[cold]
    pub(super) fn sum_up(&mut self, measures: &[WindowMeasure], sum_of_lane: &[Option<usize>]) {
        self.end = self.log.begin();
        let mut totals = vec![Total::empty(self.end); measures.len()].into_boxed_slice();
        self.slide_end(measures, sum_of_lane, &mut totals, self.now);
        for (k, (m, total)) in measures.iter().zip(totals.iter_mut()).enumerate() {
            if !self.is_tiled(k) {
                advance(&self.log, m, sum_of_lane, total, self.now);
            }
        }
        self.totals = Some(totals);
    }

    /// Takes into the windows what was ahead of them and is not after `t`.
    pub(super) fn slide_end(&mut self, measures: &[WindowMeasure], sum_of_lane: &[Option<usize>], totals: &mut [Total], t: i64) {
        while self.end != self.log.end() && self.log.time(self.end) <= t {
            for (k, (m, total)) in measures.iter().zip(totals.iter_mut()).enumerate() {
                if self.is_tiled(k) {
                    continue;
                }
                if total.start == self.end {
                    total.first = self.log.time(self.end);
                }
                total.enter(self.log.lane(self.end, m.lane, sum_of_lane[m.lane]));
            }
            self.end = self.end.wrapping_add(1);
        }
    }

    /// Makes `t`, which is before `now`, the end of the windows.
    #[cold]
    pub(super) fn slide_back(&mut self, measures: &[WindowMeasure], sum_of_lane: &[Option<usize>], totals: &mut [Total], t: i64) {
        let log = &self.log;
        let was_end = self.end;
        while self.end != log.begin() && log.time(self.end.wrapping_sub(1)) > t {
            self.end = self.end.wrapping_sub(1);
        }
        for (k, (m, total)) in measures.iter().zip(totals).enumerate() {
            if self.tiled.as_ref().is_some_and(|tiled| tiled.tiles[k].is_some()) {
                continue;
            }
            let (lane, sum) = (m.lane, sum_of_lane[m.lane]);
            // How far the window's start lies behind its end, then and now: what is in neither is passed over.
            let ahead = was_end.wrapping_sub(self.end);
            let held = was_end.wrapping_sub(total.start);
            if held <= ahead {
                *total = Total::empty(self.end);
            } else {
                (0..ahead).for_each(|i| total.leave(log.lane(self.end.wrapping_add(i), lane, sum)));
            }
            while total.start != log.begin() && log.time(total.start.wrapping_sub(1)) > t.saturating_sub(m.window.within) {
                total.start = total.start.wrapping_sub(1);
                total.enter(log.lane(total.start, lane, sum));
            }
            total.first = if total.start == log.end() { i64::MAX } else { log.time(total.start) };
        }
    }

    /// Adds a row at the end of the windows.
    #[inline]
    pub(super) fn add(
        &mut self,
        measures: &[WindowMeasure],
        sum_of_lane: &[Option<usize>],
        totals: &mut [Total],
        t: i64,
        row: &Entry,
    ) {
        let at = self.end;
        self.put(t, row);
        for (k, (m, total)) in measures.iter().zip(totals).enumerate() {
            if self.is_tiled(k) {
                continue;
            }
            if total.start == at {
                total.first = t;
            }
            total.enter((row.counts[m.lane], sum_of_lane[m.lane].map_or(0, |i| row.sums[i])));
        }
    }

    /// Puts a row into the log, behind what is not after it.
    #[inline]
    pub(super) fn put(&mut self, t: i64, row: &Entry) {
        let at = self.end;
        let merged = self.log.merge(at, t, row);
        if !merged {
            self.log.insert(at, t, row);
            self.end = at.wrapping_add(1);
        }
        let touched = if merged { at.wrapping_sub(1) } else { at };
        let log_end = self.log.end();
        if log_end.wrapping_sub(touched) > log_end.wrapping_sub(self.written) {
            self.written = touched;
        }
    }

    /// Drops the entries at or before time `through`, which no window of a row to come has.
    #[inline]
    pub(super) fn drop_through(&mut self, through: i64) {
        self.log.drop_through(through);
        self.keep_end();
    }

    #[inline]
    pub(super) fn keep_end(&mut self) {
        // Only where all measures are in tiles do the windows not move.
        if self.end.wrapping_sub(self.log.begin()) > self.log.len() as u32 {
            self.end = self.log.begin();
        }
    }
}

/// Moves the start of a window so that it ends at `t`, which is not before where it ended.
#[inline]
pub(super) fn advance(log: &Log, m: &WindowMeasure, sum_of_lane: &[Option<usize>], total: &mut Total, t: i64) {
    let gone = t.saturating_sub(m.window.within);
    while total.start != log.end() && total.first <= gone {
        total.leave(log.lane(total.start, m.lane, sum_of_lane[m.lane]));
        total.start = total.start.wrapping_add(1);
        total.first = if total.start == log.end() { i64::MAX } else { log.time(total.start) };
    }
}
