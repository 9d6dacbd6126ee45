//! `decayed_sum`: what is left of a sum whose parts fade: each counts half after `half_life`.
//!
//! A part is added to what is left at its time, and what that comes to is cut to `at_most`, in order of arrival: so a key that has reached
//! its limit comes down from there. A late event finds the sum as it is at the newest time so far, and its own part faded by
//! how late it is.

use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Values, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker};

/// One input of numbers, one output. An event that is not counted shows what is left. Null before the first that is counted, and below
/// `min_events` of them since the key was last quiet for 64 half-lives, the window.
pub struct DecayedSum {
    window: Window,
    half_life: f64,
    at_most: f64,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The newest, of events that count.
    time: i64,
    /// As of that time.
    sum: f64,
    events: u64,
}

wire!(Slot { time, sum, events });

impl DecayedSum {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    /// `half_life` in microseconds, above 0; the window's `within` is [`super::ewma::HALF_LIVES_KEPT`] of them.
    pub fn new(window: Window, half_life: i64, at_most: f64) -> DecayedSum {
        DecayedSum { window, half_life: half_life.max(1) as f64, at_most, slots: Vec::new() }
    }

    /// What is left of 1 after so many microseconds; 1 before.
    fn left(&self, age: i64) -> f64 {
        if age <= 0 { 1.0 } else { (-(age as f64) / self.half_life).exp2() }
    }
}

impl Measure for DecayedSum {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input], [output]) = (inputs, outputs) else { return };
        if self.slots.len() < slots {
            self.slots.resize(slots, Slot::default());
        }
        let at_least = self.window.min_events.max(1);
        for row in rows {
            let Some(mut slot) = self.slots.get(row.slot as usize).copied() else { continue };
            if slot.events > 0 && slot.time <= self.window.dead_at(row.live_from) {
                slot = Slot::default();
            }
            let part = match &input.values {
                Values::Float(values) if input.is_counted(row.row) => values.get(row.row as usize).copied(),
                Values::Int(values) if input.is_counted(row.row) => values.get(row.row as usize).map(|v| *v as f64),
                _ => None,
            };
            if let Some(part) = part.filter(|part| part.is_finite()) {
                let newest = if slot.events == 0 { row.time } else { slot.time.max(row.time) };
                let before = slot.sum * self.left(newest.saturating_sub(slot.time));
                let sum = before + part * self.left(newest.saturating_sub(row.time));
                slot = Slot { time: newest, sum: sum.min(self.at_most), events: slot.events + 1 };
            }
            self.slots[row.slot as usize] = slot;
            if slot.events >= at_least {
                output.set_float(row.row, slot.sum * self.left(row.time.saturating_sub(slot.time)));
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
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ewma::HALF_LIVES_KEPT;
    use super::super::multiset::testing::{Argument, Case, Column, Subject, check};
    use super::*;

    fn half_life(window: &Window) -> i64 {
        (window.within / HALF_LIVES_KEPT).max(1)
    }

    const SUBJECT: Subject = Subject {
        argument: Argument::Float,
        outputs: &DecayedSum::OUTPUTS,
        error: 0.0,
        make: |window| Box::new(DecayedSum::new(window, half_life(&window), 10.0)),
    };

    /// All events that came before, one after the other.
    fn model(case: &Case, at: usize) -> Option<f64> {
        let row = &case.events[at];
        let half_life = half_life(&case.window) as f64;
        let left = |age: i64| 0.5f64.powf(age.max(0) as f64 / half_life);
        let mut sums: Option<(i64, f64, u64)> = None;
        for event in case.events[..=at].iter().filter(|event| event.slot == row.slot) {
            sums = sums.filter(|(newest, ..)| *newest > event.live_from - case.window.within);
            if event.counted {
                let (time, sum, events) = sums.unwrap_or((event.time, 0.0, 0));
                let newest = time.max(event.time);
                let sum = sum * left(newest - time) + event.number() * left(newest - event.time);
                sums = Some((newest, sum.min(10.0), events + 1));
            }
        }
        let (time, sum, events) = sums?;
        (events >= case.window.min_events).then(|| sum * left(row.time - time))
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::float(model(case, row))]);
    }
}
