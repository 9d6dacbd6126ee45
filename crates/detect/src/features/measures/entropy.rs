//! `entropy`: how mixed a field's values are.

use super::multiset::{Contents, Multiset, Tally, View, counted_id};
use super::sketch::counts::{Counts, Histogram};
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use ouzel_core::wire::{Damaged, Taker};

/// Shannon entropy, in bits, of the frequencies of the values in the window: 0 for a single value, 3 for eight
/// equally frequent ones. Null if there is no counted event, and below `min_events`.
///
/// In tiles, values too many to be kept are taken to be spread as a sample of them is.
pub struct Entropy {
    window: Window,
    events: Multiset<Frequencies, Counts>,
}

impl Entropy {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    pub fn new(window: Window) -> Entropy {
        Entropy { window, events: Multiset::new(window) }
    }
}

impl Measure for Entropy {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [output, ..]) = (inputs, outputs) else { return };
        self.events.grow(slots);
        for row in rows {
            let Some(view) = self.events.at(row, counted_id(input, row.row)) else { continue };
            let (all, entropy) = match view {
                View::Exact(values) => (values.tally.total(), values.histogram.entropy(values.tally.total())),
                View::Tiles(window) => (window.events, window.contents.entropy(window.events)),
            };
            if all >= self.window.min_events.max(1) {
                output.set_float(row.row, entropy);
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

/// How often each value is in the window, and how many values are in it how often.
#[derive(Default)]
struct Frequencies {
    tally: Tally,
    histogram: Histogram,
}

impl Contents for Frequencies {
    type Item = u128;
    type Kept = u32;

    fn keep(&mut self, id: u128) -> u32 {
        self.tally.keep(id)
    }
    fn release(&mut self, number: u32) {
        self.tally.release(number);
    }
    fn item(&self, number: u32) -> u128 {
        self.tally.item(number)
    }
    fn enter(&mut self, number: u32, n: u32) {
        let before = self.tally.count_of(number);
        self.tally.enter(number, n);
        self.histogram.change(before, self.tally.count_of(number));
    }
    fn leave(&mut self, number: u32, n: u32) {
        let before = self.tally.count_of(number);
        self.tally.leave(number, n);
        self.histogram.change(before, self.tally.count_of(number));
    }
    fn clear(&mut self) {
        self.tally.clear();
        self.histogram.clear();
    }
    fn bytes(&self) -> usize {
        self.tally.bytes() + self.histogram.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::multiset::testing::{Argument, Case, Column, Subject, attack, check, is_near};
    use super::*;
    use std::collections::HashMap;

    const SUBJECT: Subject = Subject {
        argument: Argument::Id,
        outputs: &Entropy::OUTPUTS,
        error: 1e-12,
        make: |window| Box::new(Entropy::new(window)),
    };

    fn model(case: &Case, row: usize) -> Option<f64> {
        let values = case.seen_by(row);
        let mut counts: HashMap<u32, f64> = HashMap::new();
        values.iter().for_each(|v| *counts.entry(v.value).or_default() += 1.0);
        let total = values.len() as f64;
        let enough = values.len() as u64 >= case.window.min_events.max(1);
        enough.then(|| counts.values().map(|n| n / total * (total / n).log2()).sum())
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::float(model(case, row))]);
    }

    #[test]
    fn stays_near_in_tiles_when_all_values_are_different() {
        // Whatever the window, all its events are different: the logarithm of their number, at most 20.
        attack(
            &SUBJECT,
            |n| n,
            |n, outputs| {
                let at_most = f64::from(n + 1).log2();
                is_near(&outputs[0], at_most, 0.35 + 0.02 * at_most);
            },
        );
    }

    #[test]
    fn stays_near_in_tiles_when_a_thousand_values_are_equally_frequent() {
        attack(
            &SUBJECT,
            |n| n.wrapping_mul(2_654_435_761) % 1_000,
            |n, outputs| {
                if n > 50_000 {
                    is_near(&outputs[0], 1_000f64.log2(), 0.5);
                }
            },
        );
    }
}
