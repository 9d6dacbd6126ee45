//! `share`: how much of a key's events have this event's value.

use super::multiset::{Multiset, Tally, View, counted_id};
use super::sketch::counts::Counts;
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use ouzel_core::wire::{Damaged, Taker};

/// Events in the window with the value of this event, over all counted events in it: a number in (0, 1]. Null for an
/// event that is not counted, and below `min_events`.
///
/// In tiles it is never too high, and too low by at most the share of the events whose values a tile could not keep.
pub struct Share {
    window: Window,
    events: Multiset<Tally, Counts>,
}

impl Share {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    pub fn new(window: Window) -> Share {
        Share { window, events: Multiset::new(window) }
    }
}

impl Measure for Share {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [output, ..]) = (inputs, outputs) else { return };
        self.events.grow(slots);
        for row in rows {
            let id = counted_id(input, row.row);
            let (Some(view), Some(id)) = (self.events.at(row, id), id) else { continue };
            let (with_value, all) = match view {
                View::Exact(tally) => (tally.count(id), tally.total()),
                // The event itself is there, even if its value has just been dropped.
                View::Tiles(window) => (window.contents.count(id).max(1), window.events),
            };
            if all >= self.window.min_events {
                output.set_float(row.row, with_value as f64 / all as f64);
            }
        }
    }

    fn forget(&mut self, slot: u32) {
        self.events.forget(slot);
    }

    fn save(&mut self, slot: u32, out: &mut Vec<u8>, _: Save) {
        self.events.save(slot, out);
    }

    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.events.load(slots, slot, from)
    }

    fn bytes(&self) -> usize {
        self.events.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::multiset::testing::{Argument, Case, Column, Subject, attack, check, is_near};
    use super::*;

    const SUBJECT: Subject =
        Subject { argument: Argument::Id, outputs: &Share::OUTPUTS, error: 1e-12, make: |window| Box::new(Share::new(window)) };

    fn model(case: &Case, row: usize) -> Option<f64> {
        let own = case.events[row].counted.then_some(case.events[row].value)?;
        let values = case.seen_by(row);
        let enough = values.len() as u64 >= case.window.min_events;
        enough.then(|| values.iter().filter(|v| v.value == own).count() as f64 / values.len() as f64)
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::float(model(case, row))]);
    }

    #[test]
    fn stays_near_in_tiles() {
        attack(
            &SUBJECT,
            // A tenth of the events have value 7, the others each one of many.
            |n| if n % 10 == 0 { 7 } else { 1_000 + n % 50_000 },
            |n, outputs| {
                if n % 10 == 0 && n >= 10_000 {
                    is_near(&outputs[0], 0.1, 0.02);
                }
            },
        );
    }
}
