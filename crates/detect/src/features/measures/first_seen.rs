//! `first_seen`: whether a key shows a value for the first time, and for how long it has.

use super::multiset::hash;
use super::multiset::sorted::Sorted;
use super::sketch::{Sketch, Tiles, insert_tight, reserved};
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Values, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::BTreeSet;

/// Two results. The first: whether no event with this value lay in the window before this one arrived. The second: the
/// seconds since the earliest event with this value in the window, 0 for a first one. Null for an event that is not
/// counted. Without a value (`"*"`) it is the key itself that is seen.
///
/// In tiles the age is off by at most a tile (wider than others where values come back often); when values are too many to keep, the least recently seen are forgotten
/// and are first again; one value in some hundred thousand is taken for another.
pub struct FirstSeen {
    window: Window,
    slots: Vec<Slot>,
}

/// Entries that are searched one by one.
const FEW: usize = 16;

impl FirstSeen {
    pub const OUTPUTS: [OutputType; 2] = [OutputType::Bool, OutputType::Float];

    pub fn new(window: Window) -> FirstSeen {
        FirstSeen { window, slots: Vec::new() }
    }
}

impl Measure for FirstSeen {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [first, age, ..]) = (inputs, outputs) else { return };
        if slots > self.slots.len() {
            self.slots.resize_with(slots, Slot::default);
        }
        for row in rows {
            let id = match input.values {
                _ if !input.is_counted(row.row) => None,
                Values::Id(ids) => ids.get(row.row as usize).copied(),
                Values::None => Some(0),
                _ => None,
            };
            let (Some(id), Some(slot)) = (id, self.slots.get_mut(row.slot as usize)) else { continue };
            let since = slot.at(row, id, &self.window);
            first.set_bool(row.row, since.is_none());
            age.set_float(row.row, since.map_or(0.0, |since| row.time.saturating_sub(since) as f64 / 1e6));
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
        self.slots.capacity() * size_of::<Slot>() + self.slots.iter().map(Slot::bytes).sum::<usize>()
    }
}

/// Distinct pairs of value and time.
enum Slot {
    /// In no order.
    Few(Vec<(u128, i64)>),
    Many(Box<Many>),
    Tiles(Box<Tiles<Seen>>),
}

impl Default for Slot {
    fn default() -> Slot {
        Slot::Few(Vec::new())
    }
}

impl Wire for Slot {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Slot::Few(entries) => {
                0u8.put(out);
                entries.put(out);
            }
            Slot::Many(many) => {
                1u8.put(out);
                many.entries.len().put(out);
                many.entries.iter().for_each(|entry| entry.put(out));
            }
            Slot::Tiles(tiles) => {
                2u8.put(out);
                tiles.put(out);
            }
        }
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        Ok(match from.take::<u8>()? {
            0 => Slot::Few(from.take()?),
            1 => {
                let mut many = Many::default();
                for (id, time) in from.take::<Vec<(u128, i64)>>()? {
                    many.insert(id, time);
                }
                Slot::Many(Box::new(many))
            }
            2 => Slot::Tiles(Box::new(from.take()?)),
            _ => return Err(Damaged),
        })
    }
}

wire!(Seen { values });

impl Slot {
    /// The earliest time of this value in the row's window, before the row itself is added.
    fn at(&mut self, row: &Row, id: u128, window: &Window) -> Option<i64> {
        let dead_at = window.dead_at(row.live_from.min(row.time));
        if self.newest().is_some_and(|newest| newest <= dead_at) {
            *self = Slot::default();
        }
        let after = row.time.saturating_sub(window.within);
        let since = match self {
            Slot::Few(entries) => {
                let seen = entries.iter().filter(|entry| entry.0 == id && after < entry.1 && entry.1 <= row.time);
                seen.map(|entry| entry.1).min()
            }
            Slot::Many(many) => many.entries.range((id, after.saturating_add(1))..=(id, row.time)).next().map(|entry| entry.1),
            Slot::Tiles(tiles) => {
                let value = short(id);
                let mut tiles = tiles.of_window(row.time);
                let tile = tiles.find(|(_, seen)| seen.values.binary_search(&value).is_ok());
                tile.map(|(start, _)| start.max(after.saturating_add(1)).min(row.time))
            }
        };
        self.add(id, row.time, window, dead_at);
        since
    }

    fn add(&mut self, id: u128, time: i64, window: &Window, dead_at: i64) {
        match self {
            Slot::Few(entries) => {
                if entries.contains(&(id, time)) {
                    return;
                }
                if entries.len() >= FEW.min(window.exact_up_to) {
                    entries.retain(|entry| entry.1 > dead_at);
                }
                if entries.len() < FEW.min(window.exact_up_to) {
                    entries.push((id, time));
                    return;
                }
                let mut many = Many::default();
                entries.iter().for_each(|entry| many.insert(entry.0, entry.1));
                *self = Slot::Many(Box::new(many));
                self.add(id, time, window, dead_at);
            }
            Slot::Many(many) => {
                if !many.add(id, time, window, dead_at) {
                    let mut tiles = Tiles::new(window);
                    tiles.expire(dead_at);
                    let live = many.entries.iter().filter(|entry| entry.1 > dead_at);
                    live.for_each(|(id, time)| tiles.add(*time, *id, 1));
                    tiles.add(time, id, 1);
                    *self = Slot::Tiles(Box::new(tiles));
                }
            }
            Slot::Tiles(tiles) => {
                tiles.expire(dead_at);
                tiles.add(time, id, 1);
            }
        }
    }

    fn newest(&self) -> Option<i64> {
        match self {
            Slot::Few(entries) => entries.iter().map(|entry| entry.1).max(),
            Slot::Many(many) => many.times.last(),
            Slot::Tiles(tiles) => Some(tiles.newest()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Slot::Few(entries) => entries.capacity() * size_of::<(u128, i64)>(),
            // A B-tree's nodes are about three quarters full.
            Slot::Many(many) => size_of::<Many>() + many.entries.len() * size_of::<(u128, i64)>() * 4 / 3 + many.times.bytes(),
            Slot::Tiles(tiles) => size_of::<Tiles<Seen>>() + tiles.bytes(),
        }
    }
}

/// Many entries, found by value and time; the order of the times alone tells how many are dead.
#[derive(Default)]
struct Many {
    entries: BTreeSet<(u128, i64)>,
    times: Sorted,
}

impl Many {
    /// False, and nothing done, if that makes more than `exact_up_to` live entries.
    fn add(&mut self, id: u128, time: i64, window: &Window, dead_at: i64) -> bool {
        if self.entries.contains(&(id, time)) {
            return true;
        }
        let dead = self.times.rank(dead_at) as usize;
        if self.entries.len() - dead >= window.exact_up_to {
            return false;
        }
        // Dead entries are in nobody's way until they are the larger part.
        if dead > self.entries.len() / 2 {
            let Many { entries, times } = self;
            entries.retain(|entry| entry.1 > dead_at);
            times.clear();
            entries.iter().for_each(|entry| times.insert(entry.1, 1));
        }
        self.insert(id, time);
        true
    }

    fn insert(&mut self, id: u128, time: i64) {
        self.entries.insert((id, time));
        self.times.insert(time, 1);
    }
}

/// The values seen in one tile, ascending.
#[derive(Default)]
struct Seen {
    values: Vec<u32>,
}

/// Forgetting makes room where values are seen in fewer tiles than this on average; else tiles are joined.
const TILES_PER_VALUE: usize = 4;

impl Sketch for Seen {
    type Item = u128;
    type Summary = ();
    const SUBTRACTS: bool = true;
    const WIDENS: bool = false;

    fn add(&mut self, id: u128, _n: u32, _level: u8, _window: Option<&mut ()>) {
        self.insert(short(id));
    }
    fn add_to(&self, _level: u8, (): &mut ()) {}
    fn take_from(&self, _level: u8, (): &mut ()) {}
    fn join(&mut self, next: Seen, _level: u8) {
        self.values.extend(next.values);
        self.values.sort_unstable();
        self.values.dedup();
        self.values.shrink_to_fit();
    }

    /// Forgets the quarter of the values that has not been seen for longest; of those last seen in one tile, the ones seen
    /// in the fewest tiles go first.
    fn coarsen(tiles: &mut Tiles<Seen>) -> bool {
        let mut seen: Vec<(u32, i64)> = Vec::new();
        for tile in &tiles.tiles {
            seen.extend(tile.sketch.values.iter().map(|value| (*value, tile.index)));
        }
        seen.sort_unstable();
        let mut last: Vec<(i64, usize, u32)> =
            seen.chunk_by(|a, b| a.0 == b.0).filter_map(|of_value| of_value.last().map(|v| (v.1, of_value.len(), v.0))).collect();
        if last.len() * TILES_PER_VALUE < seen.len() {
            return false;
        }
        last.sort_unstable();
        let mut forgotten: Vec<u32> = last[..last.len().div_ceil(4)].iter().map(|entry| entry.2).collect();
        forgotten.sort_unstable();
        for tile in &mut tiles.tiles {
            let values = &mut tile.sketch.values;
            values.retain(|value| forgotten.binary_search(value).is_err());
            values.shrink_to_fit();
        }
        true
    }

    fn bytes(&self) -> usize {
        reserved::<u32>(self.values.len())
    }
    fn window_bytes((): &()) -> usize {
        0
    }
}

impl Seen {
    fn insert(&mut self, value: u32) {
        if let Err(at) = self.values.binary_search(&value) {
            insert_tight(&mut self.values, at, value);
        }
    }
}

fn short(id: u128) -> u32 {
    (hash(id) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::super::multiset::testing::{Argument, Case, Column, Subject, attack, check, is_near};
    use super::super::sketch::tests::stays_bounded;
    use super::*;

    const SUBJECT: Subject = Subject {
        argument: Argument::Id,
        outputs: &FirstSeen::OUTPUTS,
        error: 1e-12,
        make: |window| Box::new(FirstSeen::new(window)),
    };

    fn model(case: &Case, row: usize) -> Vec<Column> {
        let own = &case.events[row];
        if !own.counted {
            return vec![Column::Null, Column::Null];
        }
        let seen = case.seen_by(row);
        // The last is the row itself.
        let since = seen[..seen.len() - 1].iter().filter(|event| event.value == own.value).map(|event| event.time).min();
        let age = since.map_or(0.0, |since| (own.time - since) as f64 / 1e6);
        vec![Column::Bool(since.is_none()), Column::Float(age)]
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, model);
    }

    #[test]
    fn without_a_value_the_key_itself_is_seen() {
        let window = Window { within: 60_000_000, lateness: 0, min_events: 0, exact_up_to: 100 };
        let row = |row, seconds: i64| Row { slot: 0, row, time: seconds * 1_000_000, live_from: seconds * 1_000_000 };
        let rows = [row(0, 0), row(1, 10), row(2, 60), row(3, 200)];
        let mut outputs = FirstSeen::OUTPUTS.map(|of| Output::new(of, rows.len()));
        let input = [Input { counted: None, values: Values::None }];
        FirstSeen::new(window).apply(1, &rows, &input, &mut outputs);
        let [Output::Bool { values: first, .. }, Output::Float { values: age, .. }] = &outputs else { unreachable!() };
        assert_eq!(*first, [true, false, false, true]);
        assert_eq!(*age, [0.0, 10.0, 50.0, 0.0]);
    }

    #[test]
    fn all_tiles_of_a_slot_stay_bounded() {
        stays_bounded::<Seen>(u128::from);
        stays_bounded::<Seen>(|n| u128::from(n % 5));
    }

    #[test]
    fn remembers_recent_values_in_tiles() {
        // Values come back after 1,000 events, much less than what can be kept.
        attack(
            &SUBJECT,
            |n| n % 1_000,
            |n, outputs| {
                let first = if n < 1_000 { 1.0 } else { 0.0 };
                is_near(&outputs[0], first, 0.0);
            },
        );
    }
}
