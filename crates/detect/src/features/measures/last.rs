//! `last` (the value before this event's) and `since_last` (how long ago that was).
//!
//! Both look at the counted event before this one in order of (time, arrival), if it is in the window. A row that is
//! not counted looks too, but is not remembered. `min_events` has no meaning here and is not looked at.

#[cfg(test)]
mod tests;

use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Values, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

/// A longer text is remembered by what fits, cut between characters.
pub const TEXT_BYTES_MAX: usize = 1 << 10;

/// The previous value, of the output's type; bools and times come as [`Values::Int`]. One input, one output.
pub fn last(of: OutputType, window: Window) -> Box<dyn Measure> {
    match of {
        OutputType::Int | OutputType::Bool | OutputType::Time => Box::new(Previous::<i64>::new(window)),
        OutputType::Float => Box::new(Previous::<f64>::new(window)),
        OutputType::Text => Box::new(Previous::<Box<str>>::new(window)),
    }
}

/// Seconds since the previous event, as [`OutputType::Float`]; 0 if it has the same time. One input, of any type.
pub fn since_last(window: Window) -> Box<dyn Measure> {
    Box::new(Previous::<Occurrence>::new(window))
}

struct Previous<V> {
    window: Window,
    slots: Vec<Slot<V>>,
}

impl<V> Previous<V> {
    fn new(window: Window) -> Self {
        Previous { window, slots: Vec::new() }
    }
}

impl<V: Remembered> Measure for Previous<V> {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input], [output]) = (inputs, outputs) else { return };
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Slot::default);
        }
        for row in rows {
            let Some(slot) = self.slots.get_mut(row.slot as usize) else { continue };
            slot.expire(self.window.dead_at(row.live_from));
            let before = slot.up_to(row.time);
            if let Some(entry) = before.checked_sub(1).and_then(|at| slot.entries.get(at))
                && entry.time > row.time.saturating_sub(self.window.within)
            {
                entry.value.write(row.time.saturating_sub(entry.time), output, row.row);
            }
            if input.is_counted(row.row)
                && let Some(value) = V::read(&input.values, row.row as usize)
            {
                slot.insert(before, Entry { time: row.time, value }, row.live_from, self.window.exact_up_to);
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
        self.slots.capacity() * size_of::<Slot<V>>() + self.slots.iter().map(Slot::bytes).sum::<usize>()
    }
}

/// What a row still to come may look at: the entries after `live_from`, and the newest one at or before it.
///
/// Distinct ascending times; of events at one time the latest to arrive is the only one that anyone can see.
struct Slot<V> {
    entries: VecDeque<Entry<V>>,
}

struct Entry<V> {
    time: i64,
    value: V,
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Slot { entries: VecDeque::new() }
    }
}

wire!(Slot<V> { entries });
wire!(Entry<V> { time, value });

impl<V: Remembered> Slot<V> {
    #[inline]
    fn expire(&mut self, dead_at: i64) {
        if self.entries.back().is_some_and(|newest| newest.time <= dead_at) {
            self.entries.clear();
        }
    }

    /// How many entries are at or before `time`: nearly always all of them.
    #[inline]
    fn up_to(&self, time: i64) -> usize {
        match self.entries.back() {
            Some(newest) if newest.time > time => self.entries.partition_point(|e| e.time <= time),
            _ => self.entries.len(),
        }
    }

    /// Inserts behind the first `before` entries. Past `entries_max` the oldest is given up, the newest never: a late
    /// event may then see none where there was one, but never a wrong one.
    #[inline]
    fn insert(&mut self, before: usize, entry: Entry<V>, live_from: i64, entries_max: usize) {
        match before.checked_sub(1).and_then(|at| self.entries.get_mut(at)) {
            Some(same) if same.time == entry.time => *same = entry,
            _ => self.entries.insert(before, entry),
        }
        while self.entries.get(1).is_some_and(|second| second.time <= live_from) {
            self.entries.pop_front();
        }
        if self.entries.len() > entries_max.max(1) {
            self.entries.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        let texts = if V::HAS_HEAP { self.entries.iter().map(|e| e.value.bytes()).sum() } else { 0 };
        self.entries.capacity() * size_of::<Entry<V>>() + texts
    }
}

trait Remembered: Send + Sized + Wire {
    const HAS_HEAP: bool = false;
    /// `None` if the input is not of this type.
    fn read(values: &Values<'_>, row: usize) -> Option<Self>;
    /// `ago`: microseconds from the remembered event to this one.
    fn write(&self, ago: i64, output: &mut Output, row: u32);
    fn bytes(&self) -> usize {
        0
    }
}

impl Remembered for i64 {
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<i64> {
        match values {
            Values::Int(values) => values.get(row).copied(),
            _ => None,
        }
    }
    #[inline]
    fn write(&self, _: i64, output: &mut Output, row: u32) {
        match output {
            Output::Bool { .. } => output.set_bool(row, *self != 0),
            _ => output.set_int(row, *self),
        }
    }
}

impl Remembered for f64 {
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<f64> {
        match values {
            Values::Float(values) => values.get(row).copied(),
            _ => None,
        }
    }
    #[inline]
    fn write(&self, _: i64, output: &mut Output, row: u32) {
        output.set_float(row, *self);
    }
}

impl Remembered for Box<str> {
    const HAS_HEAP: bool = true;

    fn read(values: &Values<'_>, row: usize) -> Option<Box<str>> {
        match values {
            Values::Text(values) => {
                let text = values.value(row);
                Some(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into())
            }
            _ => None,
        }
    }
    fn write(&self, _: i64, output: &mut Output, row: u32) {
        output.set_text(row, self.clone());
    }
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// That there was an event, and nothing about it.
struct Occurrence;

impl Wire for Occurrence {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut Taker<'_>) -> Result<Self, Damaged> {
        Ok(Occurrence)
    }
}

impl Remembered for Occurrence {
    #[inline]
    fn read(_: &Values<'_>, _: usize) -> Option<Occurrence> {
        Some(Occurrence)
    }
    #[inline]
    fn write(&self, ago: i64, output: &mut Output, row: u32) {
        output.set_float(row, ago as f64 / 1e6);
    }
}
