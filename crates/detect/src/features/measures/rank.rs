//! `rank`: where an event's number lies among those that its key has shown before.

use super::multiset::{Multiset, View};
use super::quantile::{Numbers, counted_number, order};
use super::sketch::buckets::{self, Buckets};
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use ouzel_core::wire::{Damaged, Taker};

/// The part of the earlier numbers in the window that are less than this one, those that equal it counted half: from 0 to 1. So of a key's events
/// that are like those before, one in a thousand has a rank above 0.999, whatever its numbers are: a score is
/// calibrated to a rate of false alarms per key. (The mid-rank, as of the empirical distribution; Vovk's conformal p-value is one less this, without chance.)
///
/// Null for an event that is not counted, for a first one, and below `min_events` earlier ones. In tiles numbers within the error of `quantile` count as equal.
pub struct Rank {
    window: Window,
    events: Multiset<Numbers, Buckets>,
}

impl Rank {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    pub fn new(window: Window) -> Rank {
        Rank { window, events: Multiset::new(window) }
    }
}

impl Measure for Rank {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [output, ..]) = (inputs, outputs) else { return };
        self.events.grow(slots);
        for row in rows {
            let number = counted_number(input, row.row);
            let (Some(view), Some(number)) = (self.events.at(row, number), number) else { continue };
            // With the event itself, which equals itself.
            let (sorted, own) = match view {
                View::Exact(Numbers(sorted)) => (sorted, order(number)),
                View::Tiles(window) => (&window.contents, buckets::key(number, window.level)),
            };
            let (all, up_to, below) = (sorted.total(), sorted.rank(own), sorted.rank(own.saturating_sub(1)));
            let (earlier, equal) = (all.saturating_sub(1), (up_to - below).saturating_sub(1));
            if earlier >= self.window.min_events.max(1) {
                output.set_float(row.row, (below as f64 + 0.5 * equal as f64) / earlier as f64);
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
        Subject { argument: Argument::Float, outputs: &Rank::OUTPUTS, error: 0.2, make: |window| Box::new(Rank::new(window)) };

    fn model(case: &Case, row: usize) -> Option<f64> {
        let own = &case.events[row];
        if !own.counted {
            return None;
        }
        let seen = case.seen_by(row);
        let earlier = &seen[..seen.len() - 1];
        if (earlier.len() as u64) < case.window.min_events.max(1) {
            return None;
        }
        let less = earlier.iter().filter(|event| event.number() < own.number()).count() as f64;
        let equal = earlier.iter().filter(|event| event.number() == own.number()).count() as f64;
        Some((less + 0.5 * equal) / earlier.len() as f64)
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::float(model(case, row))]);
    }

    #[test]
    fn stays_near_in_tiles() {
        // Numbers spread evenly up to 12,500.
        let value = |n: u32| 1 + n.wrapping_mul(2_654_435_761) % 10_000;
        attack(&SUBJECT, value, |n, outputs| {
            if n > 20_000 {
                is_near(&outputs[0], f64::from(value(n)) / 10_000.0, 0.1);
            }
        });
    }
}
