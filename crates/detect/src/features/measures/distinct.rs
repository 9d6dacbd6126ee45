//! `distinct`: how many different values a key has shown.
//!
//! What is kept is not events but runs. An event at `e` makes its value present for windows ending in `[e, e + within)`,
//! so events of one value that follow each other within `within` make it present for one whole stretch: the run from
//! the first to the last of them. The number of different values at `t` is the number of runs with
//! `start <= t < last + within`, exactly, for late rows and rows far ahead too, and a key with a million events of one
//! value is 32 bytes.

mod saved;

use super::multiset::sorted::Sorted;
use super::multiset::{Multiset, Total, View, counted_id};
use super::sketch::hll::Hll;
use super::sketch::{Nothing, Tiles};
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::wire::{Damaged, Taker};
use std::collections::BTreeMap;

/// The number of different values among the counted events in the window; 0 if there are none, null below `min_events`.
///
/// Exact up to `exact_up_to` runs. In tiles, a standard error of 1.6 % to 6.5 % (see [`Hll`]).
pub struct Distinct {
    window: Window,
    slots: Vec<Slot>,
    /// How many events are in the window, which runs do not tell; only for `min_events`.
    events: Option<Multiset<Total, Nothing>>,
}

/// Rows whose slots are fetched from memory together.
const AHEAD: usize = 32;
/// Runs that are searched one by one, the first apart.
const FEW: usize = 15;

impl Distinct {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Int];

    pub fn new(window: Window) -> Distinct {
        let events = (window.min_events > 0).then(|| Multiset::new(window));
        Distinct { window, slots: Vec::new(), events }
    }

    /// The loads of many slots overlap when nothing waits for them, as it does in the loop over rows: a quarter less time
    /// per row with 100,000 keys.
    fn fetch(&self, rows: &[Row]) {
        let slots = rows.iter().filter_map(|row| self.slots.get(row.slot as usize));
        let touched = slots.map(|slot| match &slot.rest {
            Rest::Few(runs) => runs.first().unwrap_or(&slot.first).last,
            Rest::Large(_) => 0,
        });
        std::hint::black_box(touched.fold(0, |all, last| all ^ last));
    }

    fn has_enough_events(&mut self, row: &Row, counted: bool) -> bool {
        let Some(events) = &mut self.events else { return true };
        let in_window = match events.at(row, counted.then_some(())) {
            None => 0,
            Some(View::Exact(total)) => total.0,
            Some(View::Tiles(window)) => window.events,
        };
        in_window >= self.window.min_events
    }
}

impl Measure for Distinct {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input, ..], [output, ..]) = (inputs, outputs) else { return };
        if slots > self.slots.len() {
            self.slots.resize_with(slots, Slot::default);
        }
        if let Some(events) = &mut self.events {
            events.grow(slots);
        }
        for rows in rows.chunks(AHEAD) {
            self.fetch(rows);
            for row in rows {
                let id = counted_id(input, row.row);
                let Some(slot) = self.slots.get_mut(row.slot as usize) else { continue };
                let different = slot.at(row, id, &self.window);
                if self.has_enough_events(row, id.is_some()) {
                    output.set_int(row.row, different);
                }
            }
        }
    }

    fn forget(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = Slot::default();
        }
        if let Some(events) = &mut self.events {
            events.forget(slot);
        }
    }

    fn save(&mut self, slot: u32, out: &mut Vec<u8>, _: Save) {
        save_slot(&self.slots, slot, out);
        if let Some(events) = &self.events {
            events.save(slot, out);
        }
    }

    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        load_slot(&mut self.slots, slots, slot, from)?;
        self.events.as_mut().map_or(Ok(()), |events| events.load(slots, slot, from))
    }

    fn bytes(&self) -> usize {
        let rest: usize = self.slots.iter().map(|slot| slot.rest.bytes()).sum();
        self.slots.capacity() * size_of::<Slot>() + rest + self.events.as_ref().map_or(0, Multiset::bytes)
    }
}

/// The runs of one key. Most keys show one value: theirs is in place, in the same cache line or two.
#[derive(Default)]
struct Slot {
    first: Run,
    rest: Rest,
}

enum Rest {
    /// In no order; a dead run is a vacancy. Disjoint and apart where of the same value.
    Few(Box<[Run]>),
    Large(Box<Large>),
}

/// All of the slot; `first` is a vacancy.
enum Large {
    Many(Many),
    Tiles(Tiles<Hll>),
}

/// Events of one value, each at most `within` after the one before.
#[derive(Clone, Copy, PartialEq)]
struct Run {
    id: u128,
    start: i64,
    last: i64,
}

impl Default for Run {
    /// A run that was dead before all time.
    fn default() -> Run {
        Run { id: 0, start: i64::MAX, last: i64::MIN }
    }
}

impl Run {
    fn is_dead(&self, dead_at: i64) -> bool {
        self.last <= dead_at
    }
    /// Whether an event at `time` belongs to the run, or to it and another.
    fn touches(&self, time: i64, within: i64) -> bool {
        self.start <= time.saturating_add(within) && time <= self.last.saturating_add(within)
    }
    fn is_in_window(&self, time: i64, within: i64) -> bool {
        self.start <= time && time.saturating_sub(within) < self.last
    }
    fn unite(&mut self, start: i64, last: i64) {
        self.start = self.start.min(start);
        self.last = self.last.max(last);
    }
}

impl Default for Rest {
    fn default() -> Rest {
        Rest::Few(Box::default())
    }
}

impl Rest {
    fn bytes(&self) -> usize {
        match self {
            Rest::Few(runs) => size_of_val(&**runs),
            Rest::Large(large) => {
                size_of::<Large>()
                    + match &**large {
                        Large::Many(many) => many.bytes(),
                        Large::Tiles(tiles) => tiles.bytes(),
                    }
            }
        }
    }
}

impl Slot {
    /// Adds the row's value, if it counts, and gives the number of different values in the row's window.
    fn at(&mut self, row: &Row, id: Option<u128>, window: &Window) -> i64 {
        let dead_at = window.dead_at(row.live_from.min(row.time));
        if let Rest::Large(large) = &self.rest
            && large.newest() <= dead_at
        {
            *self = Slot::default();
        }
        if let Some(id) = id {
            self.add(id, row.time, window, dead_at);
        }
        match &mut self.rest {
            Rest::Few(runs) => {
                let is_in = |run: &Run| i64::from(run.is_in_window(row.time, window.within));
                is_in(&self.first) + runs.iter().map(is_in).sum::<i64>()
            }
            Rest::Large(large) => match &mut **large {
                Large::Many(many) => many.different(row.time, window.within),
                Large::Tiles(tiles) => tiles.window(row.time).contents.estimate(),
            },
        }
    }

    fn add(&mut self, id: u128, time: i64, window: &Window, dead_at: i64) {
        let runs = match &mut self.rest {
            Rest::Few(runs) => runs,
            Rest::Large(large) => return large.add(id, time, window, dead_at),
        };
        let mut united: Option<&mut Run> = None;
        let mut vacancy: Option<&mut Run> = None;
        let mut live = 0;
        for run in std::iter::once(&mut self.first).chain(runs.iter_mut()) {
            if run.is_dead(dead_at) {
                vacancy = vacancy.or(Some(run));
            } else if run.id == id && run.touches(time, window.within) {
                match &mut united {
                    None => {
                        run.unite(time, time);
                        united = Some(run);
                    }
                    Some(united) => {
                        united.unite(run.start, run.last);
                        *run = Run::default();
                    }
                }
            } else {
                live += 1;
            }
        }
        if united.is_some() {
            return;
        }
        let new = Run { id, start: time, last: time };
        if live < window.exact_up_to
            && let Some(vacancy) = vacancy
        {
            *vacancy = new;
        } else if live < window.exact_up_to && runs.len() < FEW {
            let mut more = vec![Run::default(); 2 * runs.len() + 1];
            let (old, free) = more.split_at_mut(runs.len());
            old.copy_from_slice(runs);
            free[0] = new;
            *runs = more.into();
        } else {
            let mut many = Many::default();
            let few = std::iter::once(&self.first).chain(runs.iter());
            few.filter(|run| !run.is_dead(dead_at)).for_each(|run| many.insert(*run));
            let mut large = Box::new(Large::Many(many));
            large.add(id, time, window, dead_at);
            *self = Slot { first: Run::default(), rest: Rest::Large(large) };
        }
    }
}

impl Large {
    fn newest(&self) -> i64 {
        match self {
            Large::Many(many) => many.newest,
            Large::Tiles(tiles) => tiles.newest(),
        }
    }

    fn add(&mut self, id: u128, time: i64, window: &Window, dead_at: i64) {
        match self {
            Large::Many(many) => {
                if !many.add(id, time, window, dead_at) {
                    let mut tiles = many.to_tiles(window, dead_at);
                    tiles.add(time, id, 1);
                    *self = Large::Tiles(tiles);
                }
            }
            Large::Tiles(tiles) => {
                tiles.expire(dead_at);
                tiles.add(time, id, 1);
            }
        }
    }
}

/// Many runs: found by value and time, counted through the order of their ends.
#[derive(Default)]
struct Many {
    /// Value and start of each run, and its last.
    runs: BTreeMap<(u128, i64), i64>,
    starts: Sorted,
    lasts: Sorted,
    newest: i64,
}

impl Many {
    /// False, and nothing done, if that makes more than `exact_up_to` live runs.
    fn add(&mut self, id: u128, time: i64, window: &Window, dead_at: i64) -> bool {
        let mut run = Run { id, start: time, last: time };
        // At most two: one that began before and one that begins after.
        while let Some(touching) = self.before(id, time.saturating_add(window.within))
            && touching.touches(time, window.within)
            && !touching.is_dead(dead_at)
        {
            if touching.start <= time && time <= touching.last {
                return true;
            }
            self.remove(touching);
            run.unite(touching.start, touching.last);
        }
        if (run.start, run.last) == (time, time) {
            let dead = self.lasts.rank(dead_at) as usize;
            if self.runs.len() - dead >= window.exact_up_to {
                return false;
            }
            // Dead runs are in nobody's way until they are the larger part.
            if dead > self.runs.len() / 2 {
                self.expire(dead_at);
            }
        }
        self.insert(run);
        true
    }

    /// The last run of a value to start at or before `time`.
    fn before(&self, id: u128, time: i64) -> Option<Run> {
        let (&(_, start), &last) = self.runs.range((id, i64::MIN)..=(id, time)).next_back()?;
        Some(Run { id, start, last })
    }

    fn remove(&mut self, run: Run) {
        self.runs.remove(&(run.id, run.start));
        self.starts.remove(run.start, 1);
        self.lasts.remove(run.last, 1);
    }

    fn insert(&mut self, run: Run) {
        self.newest = if self.runs.is_empty() { run.last } else { self.newest.max(run.last) };
        self.runs.insert((run.id, run.start), run.last);
        self.starts.insert(run.start, 1);
        self.lasts.insert(run.last, 1);
    }

    fn expire(&mut self, dead_at: i64) {
        let Many { runs, starts, lasts, .. } = self;
        runs.retain(|(_, start), last| {
            let lives = *last > dead_at;
            if !lives {
                starts.remove(*start, 1);
                lasts.remove(*last, 1);
            }
            lives
        });
    }

    /// Runs that have begun less those that are over.
    fn different(&self, time: i64, within: i64) -> i64 {
        self.starts.rank(time) as i64 - self.lasts.rank(time.saturating_sub(within)) as i64
    }

    /// Each run as so few events that every window which has one of its events has one of these.
    fn to_tiles(&self, window: &Window, dead_at: i64) -> Tiles<Hll> {
        let mut tiles = Tiles::new(window);
        tiles.expire(dead_at);
        for (&(id, start), &last) in self.runs.iter().filter(|run| *run.1 > dead_at) {
            let mut time = start.max(dead_at.saturating_add(1));
            while time < last {
                tiles.add(time, id, 1);
                // A window has whole tiles, which here may be wider than it.
                time = time.saturating_add(window.within.max(tiles.width()));
            }
            tiles.add(last, id, 1);
        }
        tiles
    }

    fn bytes(&self) -> usize {
        // A B-tree's nodes are about three quarters full.
        self.runs.len() * size_of::<(u128, i64, i64)>() * 4 / 3 + self.starts.bytes() + self.lasts.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::multiset::testing::{Argument, Case, Column, Subject, attack, check, is_near};
    use super::*;
    use std::collections::HashSet;

    const SUBJECT: Subject = Subject {
        argument: Argument::Id,
        outputs: &Distinct::OUTPUTS,
        error: 1.0,
        make: |window| Box::new(Distinct::new(window)),
    };

    fn model(case: &Case, row: usize) -> Option<i64> {
        let values = case.seen_by(row);
        let different: HashSet<u32> = values.iter().map(|event| event.value).collect();
        (values.len() as u64 >= case.window.min_events).then_some(different.len() as i64)
    }

    #[test]
    fn equals_the_model() {
        check(&SUBJECT, |case, row| vec![Column::int(model(case, row))]);
    }

    #[test]
    fn a_key_with_one_value_takes_48_bytes() {
        assert_eq!(size_of::<Slot>(), 48);
    }

    #[test]
    fn stays_near_in_tiles_when_all_values_are_different() {
        attack(
            &SUBJECT,
            |n| n,
            |n, outputs| {
                let different = f64::from(n + 1);
                is_near(&outputs[0], different, different * 0.2 + 0.5);
            },
        );
    }

    /// Prints the cost of a row: 100,000 keys of about 30 events and 1 to 3 values, in random order.
    #[test]
    #[ignore = "a measurement"]
    fn nanoseconds_per_row() {
        const KEYS: u64 = 100_000;
        const ROWS: usize = 8192;
        let window = Window { within: 3_600_000_000, lateness: 60_000_000, min_events: 0, exact_up_to: 65_536 };
        let mut measure = Distinct::new(window);
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let mut spent = std::time::Duration::ZERO;
        let calls = 366;
        for call in 0..calls {
            let time = |row: usize| (call * ROWS + row) as i64 * 1_000;
            let rows: Vec<Row> = (0..ROWS)
                .map(|row| Row {
                    slot: (next() % KEYS) as u32,
                    row: row as u32,
                    time: time(row),
                    live_from: time(row) - window.lateness,
                })
                .collect();
            let ids: Vec<u128> =
                rows.iter().map(|row| u128::from(row.slot) << 2 | u128::from(next() % u64::from(row.slot % 3 + 1))).collect();
            let mut outputs = [Output::new(OutputType::Int, ROWS)];
            #[allow(clippy::disallowed_methods, reason = "a measurement")]
            let start = std::time::Instant::now();
            measure.apply(
                KEYS as usize,
                &rows,
                &[Input { counted: None, values: crate::features::measure::Values::Id(&ids) }],
                &mut outputs,
            );
            spent += start.elapsed();
        }
        let rows = (calls * ROWS) as u128;
        println!("{} ns per row, {} bytes per key", spent.as_nanos() / rows, measure.bytes() as u64 / KEYS);
    }
}
