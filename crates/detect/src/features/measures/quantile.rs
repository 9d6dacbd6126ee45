//! `quantile`: the number below which a given part of the window's numbers lies.

use super::multiset::sorted::Sorted;
use super::multiset::{Contents, Multiset, View};
use super::sketch::buckets::{self, Buckets};
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Values, Window};
use ouzel_core::wire::{Damaged, Taker};

/// The quantile `q` of the numbers in the window, between its two neighbours in proportion, as `quantile_cont` of SQL
/// has it. Null if there is no counted event, and below `min_events`.
///
/// In tiles each neighbour has a relative error: 1 % at first, and doubling, by turns with the width of tiles, until all
/// fit. Numbers evenly spread over four orders of magnitude come to 8 %, and to tiles of 1/32 of the window.
pub struct Quantile {
    window: Window,
    q: f64,
    events: Multiset<Numbers, Buckets>,
}

impl Quantile {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    /// `q` from 0 to 1.
    pub fn new(window: Window, q: f64) -> Quantile {
        Quantile { window, q: q.clamp(0.0, 1.0), events: Multiset::new(window) }
    }
}

impl Measure for Quantile {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [output, ..]) = (inputs, outputs) else { return };
        self.events.grow(slots);
        for row in rows {
            let Some(view) = self.events.at(row, counted_number(input, row.row)) else { continue };
            let (all, quantile) = match view {
                View::Exact(Numbers(sorted)) => (sorted.total(), quantile(sorted, self.q, number)),
                View::Tiles(window) => {
                    let quantile = quantile(&window.contents, self.q, |bucket| buckets::number(bucket, window.level));
                    (window.events, quantile)
                }
            };
            if all >= self.window.min_events
                && let Some(quantile) = quantile
            {
                output.set_float(row.row, quantile);
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

fn quantile(sorted: &Sorted, q: f64, number: impl Fn(i64) -> f64) -> Option<f64> {
    let place = sorted.total().checked_sub(1)? as f64 * q;
    let (below, part) = (place.floor(), place.fract());
    let low = number(sorted.select(below as u64)?);
    if part == 0.0 {
        return Some(low);
    }
    let high = number(sorted.select(below as u64 + 1)?);
    // Not `low + (high - low) * part`, which overflows. Between two infinities of different sign there is no number.
    let between = if low == high { low } else { low * (1.0 - part) + high * part };
    (!between.is_nan()).then_some(between)
}

pub(super) fn counted_number(input: &Input<'_>, row: u32) -> Option<f64> {
    let number = match input.values {
        _ if !input.is_counted(row) => None,
        Values::Float(numbers) => numbers.get(row as usize).copied(),
        Values::Int(numbers) => numbers.get(row as usize).map(|number| *number as f64),
        _ => None,
    };
    number.filter(|number| !number.is_nan())
}

/// The window's numbers in order.
#[derive(Default)]
pub(super) struct Numbers(pub(super) Sorted);

impl Contents for Numbers {
    type Item = f64;
    /// A whole number for each number, in the same order.
    type Kept = i64;

    fn keep(&mut self, number: f64) -> i64 {
        order(number)
    }
    fn release(&mut self, _: i64) {}
    fn item(&self, order: i64) -> f64 {
        number(order)
    }
    fn enter(&mut self, order: i64, n: u32) {
        self.0.insert(order, u64::from(n));
    }
    fn leave(&mut self, order: i64, n: u32) {
        self.0.remove(order, u64::from(n));
    }
    fn clear(&mut self) {
        self.0.clear();
    }
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// As `f64::total_cmp` has it, but that both zeros are one.
pub(super) fn order(number: f64) -> i64 {
    flip((number + 0.0).to_bits() as i64)
}

fn number(order: i64) -> f64 {
    f64::from_bits(flip(order) as u64)
}

/// Turns the order of negative numbers' bits round; its own inverse.
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::super::multiset::testing::{Argument, Case, Column, Subject, attack, check, is_near};
    use super::*;

    const SUBJECT: Subject = Subject {
        argument: Argument::Float,
        outputs: &Quantile::OUTPUTS,
        error: 0.8,
        make: |window| Box::new(Quantile::new(window, 0.3)),
    };

    fn model(case: &Case, row: usize) -> Option<f64> {
        let mut numbers: Vec<f64> = case.seen_by(row).iter().map(|event| event.number()).collect();
        numbers.sort_by(f64::total_cmp);
        if numbers.is_empty() || (numbers.len() as u64) < case.window.min_events {
            return None;
        }
        let place = (numbers.len() - 1) as f64 * 0.3;
        let (low, high) = (numbers[place.floor() as usize], numbers[place.ceil() as usize]);
        Some(low + (high - low) * place.fract())
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::float(model(case, row))]);
    }

    #[test]
    fn order_is_that_of_numbers() {
        let ascending = [f64::NEG_INFINITY, f64::MIN, -1.5, -5e-324, 0.0, 5e-324, 1.5, f64::MAX, f64::INFINITY];
        assert!(ascending.windows(2).all(|pair| order(pair[0]) < order(pair[1])));
        assert!(ascending.iter().all(|x| number(order(*x)) == *x));
        assert_eq!(order(-0.0), order(0.0));
    }

    #[test]
    fn stays_near_in_tiles() {
        // Numbers spread evenly up to 12,500.
        attack(
            &SUBJECT,
            |n| 1 + n.wrapping_mul(2_654_435_761) % 10_000,
            |n, outputs| {
                if n > 20_000 {
                    is_near(&outputs[0], 3_750.0, 3_750.0 * 0.1);
                }
            },
        );
    }
}
