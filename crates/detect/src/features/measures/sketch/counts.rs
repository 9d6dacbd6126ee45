//! Which values are frequent, and how the rest are spread: for `share` and `entropy`.
//!
//! A tile counts its most frequent values, and besides them, whatever their frequency, the values whose hash begins with
//! `level` zeros: a sample of all values, the same in every tile (distinct sampling, Gibbons 2001). What else there was is
//! one number. Hence:
//! - The count of a sampled value, and of one that was always among its tile's most frequent, is exact; that of another
//!   is short by what was dropped of it: a share is never too high, and too low by at most the share of the rest.
//! - In the entropy the rest are taken to be as frequent as the sampled values are, on average over events.
//!
//! Values are told apart by 32 bits of their hash: one in some hundred thousand is taken for another.

use super::{Sketch, Tiles, insert_tight, reserved};
use crate::features::measures::multiset::hash;
use hashbrown::HashTable;
use ouzel_core::wire;
use std::collections::BTreeMap;

/// Values per tile that are kept for being frequent, at level 0; half as many at each further one.
const FREQUENT_MAX: usize = 4096;
const FREQUENT_MIN: usize = 8;
/// One value in 16 million is in the sample.
const LEVEL_MAX: u8 = 24;

#[derive(Default)]
pub struct Counts {
    /// Value and count, ascending by value.
    kept: Vec<(u32, u32)>,
    /// Events whose values are not kept.
    rest: u64,
    /// Values kept at the last cut: the next is when there are twice as many frequent ones.
    cut_to: u32,
}

/// The values of a window.
#[derive(Default)]
pub struct Frequencies {
    counts: HashTable<(u32, u64)>,
    /// Of all values kept, and of those that are in the sample.
    kept: Histogram,
    sampled: Histogram,
    rest: u64,
}

/// How many values have each count. A function of the multiset alone, and small: `n` events have fewer than
/// `sqrt(2 n)` different counts.
#[derive(Debug, Default)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// A value's count changes; 0 is not there.
    pub fn change(&mut self, from: u64, to: u64) {
        if let Some(values) = self.0.get_mut(&from) {
            *values -= 1;
            if *values == 0 {
                self.0.remove(&from);
            }
        }
        if to > 0 {
            *self.0.entry(to).or_insert(0) += 1;
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The part of these values in the entropy, in bits, of `total` events: summed in ascending order of count and
    /// with no difference taken, so that it depends on nothing but the counts.
    pub fn entropy(&self, total: u64) -> f64 {
        let total = total as f64;
        self.0.iter().map(|(count, values)| *values as f64 * (*count as f64 / total) * (total / *count as f64).log2()).sum()
    }

    /// About.
    pub fn bytes(&self) -> usize {
        self.0.len() * 2 * size_of::<(u64, u64)>()
    }

    fn events(&self) -> u64 {
        self.0.iter().map(|(count, values)| count * values).sum()
    }
}

impl Frequencies {
    /// Events known to have this value.
    pub fn count(&self, id: u128) -> u64 {
        let value = short(id);
        self.counts.find(spread(value), |entry| entry.0 == value).map_or(0, |entry| entry.1)
    }

    /// Different values that are known.
    pub fn distinct(&self) -> u64 {
        self.counts.len() as u64
    }

    /// In bits, of `total` events.
    pub fn entropy(&self, total: u64) -> f64 {
        let sampled = self.sampled.events();
        let of_rest = match (self.rest, sampled) {
            (0, _) => 0.0,
            // Nothing to go by: each is taken for one of a kind.
            (rest, 0) => rest as f64 / total as f64 * (total as f64).log2(),
            (rest, sampled) => self.sampled.entropy(total) * (rest as f64 / sampled as f64),
        };
        self.kept.entropy(total) + of_rest
    }

    fn change(&mut self, value: u32, level: u8, change: impl FnOnce(u64) -> u64) {
        let mut entry = self.counts.entry(spread(value), |e| e.0 == value, |e| spread(e.0)).or_insert((value, 0));
        let old = entry.get().1;
        let new = change(old);
        entry.get_mut().1 = new;
        if new == 0 {
            entry.remove();
        }
        self.kept.change(old, new);
        if is_sampled(value, level) {
            self.sampled.change(old, new);
        }
    }
}

wire!(Counts { kept, rest, cut_to });

impl Sketch for Counts {
    type Item = u128;
    type Summary = Frequencies;
    const SUBTRACTS: bool = true;
    const WIDENS: bool = true;

    fn add(&mut self, id: u128, n: u32, level: u8, mut window: Option<&mut Frequencies>) {
        let value = short(id);
        let took = self.count(value, n);
        if let Some(window) = window.as_deref_mut() {
            window.change(value, level, |count| count + u64::from(took));
            window.rest += u64::from(n - took);
        }
        if self.kept.len() > self.cut_to as usize + frequent(level) {
            self.cut(level, window);
        }
    }

    fn add_to(&self, level: u8, window: &mut Frequencies) {
        window.rest += self.rest;
        for (value, n) in &self.kept {
            window.change(*value, level, |count| count + u64::from(*n));
        }
    }

    fn take_from(&self, level: u8, window: &mut Frequencies) {
        window.rest -= self.rest;
        for (value, n) in &self.kept {
            window.change(*value, level, |count| count - u64::from(*n));
        }
    }

    fn join(&mut self, next: Counts, level: u8) {
        self.rest += next.rest;
        for (value, n) in next.kept {
            self.count(value, n);
        }
        self.cut(level, None);
    }

    fn coarsen(tiles: &mut Tiles<Counts>) -> bool {
        if tiles.level == LEVEL_MAX {
            return false;
        }
        tiles.level += 1;
        tiles.tiles.iter_mut().for_each(|tile| tile.sketch.cut(tiles.level, None));
        true
    }

    fn bytes(&self) -> usize {
        reserved::<(u32, u32)>(self.kept.len())
    }

    fn window_bytes(window: &Frequencies) -> usize {
        window.counts.allocation_size() + window.kept.bytes() + window.sampled.bytes()
    }
}

impl Counts {
    /// How many of `n` the value's counter took; the others are of the rest.
    fn count(&mut self, value: u32, n: u32) -> u32 {
        match self.kept.binary_search_by_key(&value, |entry| entry.0) {
            Ok(at) => {
                let count = &mut self.kept[at].1;
                let took = n.min(u32::MAX - *count);
                *count += took;
                self.rest += u64::from(n - took);
                took
            }
            Err(at) => {
                insert_tight(&mut self.kept, at, (value, n));
                n
            }
        }
    }

    /// Drops all values but the sample and the most frequent; of equally frequent ones the lesser stays.
    fn cut(&mut self, level: u8, mut window: Option<&mut Frequencies>) {
        let frequent = frequent(level);
        let mut others: Vec<(u32, u32)> = self.kept.iter().copied().filter(|entry| !is_sampled(entry.0, level)).collect();
        if others.len() > frequent {
            others.sort_unstable_by_key(|(value, n)| (std::cmp::Reverse(*n), *value));
            let mut dropped = others.split_off(frequent);
            for (value, n) in &dropped {
                self.rest += u64::from(*n);
                if let Some(window) = window.as_deref_mut() {
                    window.rest += u64::from(*n);
                    window.change(*value, level, |count| count - u64::from(*n));
                }
            }
            dropped.sort_unstable();
            self.kept.retain(|entry| dropped.binary_search(entry).is_err());
            self.kept.shrink_to_fit();
        }
        self.cut_to = self.kept.len() as u32;
    }
}

fn frequent(level: u8) -> usize {
    (FREQUENT_MAX >> level).max(FREQUENT_MIN)
}

fn is_sampled(value: u32, level: u8) -> bool {
    value.leading_zeros() >= u32::from(level)
}

/// The table wants the high bits to differ.
fn spread(value: u32) -> u64 {
    u64::from(value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn short(id: u128) -> u32 {
    (hash(id) >> 32) as u32
}
