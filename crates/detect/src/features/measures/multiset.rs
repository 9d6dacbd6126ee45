//! The events of a window as a multiset: for measures that are a function of which values lie in `(t - within, t]` and
//! how often, and of nothing else.
//!
//! Per slot, a log in order of time and a window over it, two places in the log. A row slides the window to its own
//! time, forwards or back, then adds itself at the end of the window; what enters and leaves is reported to the
//! [`Contents`]. So rows in order, late rows and the rows after one dated far ahead take one path, and a row costs as many
//! steps as entries lie between its time and that of the row before.

pub mod sorted;
#[cfg(test)]
pub mod testing;

use super::sketch::{Sketch, Summary, Tiles};
use crate::features::measure::{Input, Row, Values, Window};
use hashbrown::HashTable;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

/// What lies in the window of one slot, kept up to date entry by entry.
pub trait Contents: Default {
    /// A value as the event has it.
    type Item: Copy + Wire;
    /// A value as the log keeps it: small, and ordered in any fixed way.
    type Kept: Copy + Ord;

    /// An entry of the log will hold this value.
    fn keep(&mut self, item: Self::Item) -> Self::Kept;
    /// An entry of the log no longer holds this value.
    fn release(&mut self, kept: Self::Kept);
    fn item(&self, kept: Self::Kept) -> Self::Item;
    fn enter(&mut self, kept: Self::Kept, n: u32);
    fn leave(&mut self, kept: Self::Kept, n: u32);
    /// All leave.
    fn clear(&mut self);
    fn bytes(&self) -> usize;
}

/// The windows of all slots: exact up to `exact_up_to` entries each (distinct pairs of time and value), tiles above.
pub struct Multiset<C: Contents, S: Sketch<Item = C::Item>> {
    window: Window,
    slots: Vec<Option<Box<State<C, S>>>>,
}

/// A window as a row sees it.
pub enum View<'a, C, S: Sketch> {
    Exact(&'a C),
    Tiles(&'a Summary<S>),
}

enum State<C: Contents, S: Sketch> {
    Exact(Log<C::Kept>, C),
    Tiles(Tiles<S>),
}

impl<C: Contents, S: Sketch<Item = C::Item>> Multiset<C, S> {
    pub fn new(window: Window) -> Multiset<C, S> {
        Multiset { window, slots: Vec::new() }
    }

    pub fn grow(&mut self, slots: usize) {
        if slots > self.slots.len() {
            self.slots.resize_with(slots, || None);
        }
    }

    /// Adds the row's item, if it counts, and shows the row's window; `None` for a slot that is empty.
    pub fn at(&mut self, row: &Row, item: Option<C::Item>) -> Option<View<'_, C, S>> {
        let Window { within, exact_up_to, .. } = self.window;
        // By contract the row is not before `live_from`; taking the lesser keeps a row that is from losing its own window.
        let dead_at = self.window.dead_at(row.live_from.min(row.time));
        let slot = self.slots.get_mut(row.slot as usize)?;
        if slot.as_ref().is_some_and(|state| state.newest() <= dead_at) {
            *slot = None;
        }
        if slot.is_none() && item.is_none() {
            return None;
        }
        let state = slot.get_or_insert_with(|| Box::new(State::Exact(Log::default(), C::default())));
        if let State::Exact(log, contents) = &mut **state {
            log.slide(row.time, within, contents);
            log.expire(dead_at, contents);
            if let Some(item) = item
                && !log.add(row.time, item, exact_up_to, contents)
            {
                let mut tiles = Tiles::new(&self.window);
                tiles.expire(dead_at);
                log.entries.iter().for_each(|e| tiles.add(e.time, contents.item(e.value), e.count));
                tiles.add(row.time, item, 1);
                **state = State::Tiles(tiles);
            }
        } else if let State::Tiles(tiles) = &mut **state {
            tiles.expire(dead_at);
            if let Some(item) = item {
                tiles.add(row.time, item, 1);
            }
        }
        Some(match &mut **state {
            State::Exact(_, contents) => View::Exact(contents),
            State::Tiles(tiles) => View::Tiles(tiles.window(row.time)),
        })
    }

    pub fn forget(&mut self, slot: u32) {
        if let Some(state) = self.slots.get_mut(slot as usize) {
            *state = None;
        }
    }

    pub fn save(&self, slot: u32, out: &mut Vec<u8>) {
        match self.slots.get(slot as usize).and_then(|state| state.as_deref()) {
            None => 0u8.put(out),
            Some(State::Exact(log, contents)) => {
                1u8.put(out);
                log.save(contents, out);
            }
            Some(State::Tiles(tiles)) => {
                2u8.put(out);
                tiles.put(out);
            }
        }
    }

    pub fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.grow(slots);
        let state = match from.take::<u8>()? {
            0 => None,
            1 => {
                let mut contents = C::default();
                Some(State::Exact(Log::load(&mut contents, from)?, contents))
            }
            2 => Some(State::Tiles(from.take()?)),
            _ => return Err(Damaged),
        };
        *self.slots.get_mut(slot as usize).ok_or(Damaged)? = state.map(Box::new);
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        let states = self.slots.iter().flatten().map(|state| size_of::<State<C, S>>() + state.bytes());
        self.slots.capacity() * size_of::<Option<Box<State<C, S>>>>() + states.sum::<usize>()
    }
}

impl<C: Contents, S: Sketch> State<C, S> {
    fn newest(&self) -> i64 {
        match self {
            State::Exact(log, _) => log.entries.back().map_or(i64::MIN, |entry| entry.time),
            State::Tiles(tiles) => tiles.newest(),
        }
    }
    fn bytes(&self) -> usize {
        match self {
            State::Exact(log, contents) => log.entries.capacity() * size_of::<Entry<C::Kept>>() + contents.bytes(),
            State::Tiles(tiles) => tiles.bytes(),
        }
    }
}

/// Entries of one slot in order of time and value (so that equal ones are found and merged, however many share one
/// instant), and the window `lo..hi` over them.
struct Log<V> {
    entries: VecDeque<Entry<V>>,
    lo: usize,
    hi: usize,
}

struct Entry<V> {
    time: i64,
    value: V,
    count: u32,
}

impl<V> Default for Log<V> {
    fn default() -> Log<V> {
        Log { entries: VecDeque::new(), lo: 0, hi: 0 }
    }
}

impl<V: Copy + Ord> Log<V> {
    /// Makes `(time - within, time]` the window.
    fn slide<C: Contents<Kept = V>>(&mut self, time: i64, within: i64, contents: &mut C) {
        let lo = self.seek(self.lo, time.saturating_sub(within));
        let hi = self.seek(self.hi, time).max(lo);
        if lo >= self.hi || hi <= self.lo {
            contents.clear();
            self.each(lo, hi, |e| contents.enter(e.value, e.count));
        } else {
            self.each(self.lo, lo, |e| contents.leave(e.value, e.count));
            self.each(lo, self.lo, |e| contents.enter(e.value, e.count));
            self.each(hi, self.hi, |e| contents.leave(e.value, e.count));
            self.each(self.hi, hi, |e| contents.enter(e.value, e.count));
        }
        (self.lo, self.hi) = (lo, hi);
    }

    /// Drops what is at or before `dead_at`, which is outside the window.
    fn expire<C: Contents<Kept = V>>(&mut self, dead_at: i64, contents: &mut C) {
        while self.lo > 0
            && let Some(entry) = self.entries.pop_front_if(|entry| entry.time <= dead_at)
        {
            contents.release(entry.value);
            self.lo -= 1;
            self.hi -= 1;
        }
    }

    /// Adds an event at the end of the window; false, and nothing done, if that takes an entry more than `limit`.
    fn add<C: Contents<Kept = V>>(&mut self, time: i64, item: C::Item, limit: usize, contents: &mut C) -> bool {
        let value = contents.keep(item);
        let at = self.place(time, value);
        if let Some(before) = at.checked_sub(1)
            && let Some(same) = self.entries.get_mut(before)
            && (same.time, same.value) == (time, value)
            && same.count < u32::MAX
        {
            same.count += 1;
            contents.release(value);
        } else if self.entries.len() < limit {
            self.entries.insert(at, Entry { time, value, count: 1 });
            self.hi += 1;
        } else {
            contents.release(value);
            return false;
        }
        contents.enter(value, 1);
        true
    }

    fn save<C: Contents<Kept = V>>(&self, contents: &C, out: &mut Vec<u8>) {
        (self.lo, self.hi).put(out);
        self.entries.len().put(out);
        let mut before = 0i64;
        for entry in &self.entries {
            entry.time.wrapping_sub(before).put(out);
            contents.item(entry.value).put(out);
            entry.count.put(out);
            before = entry.time;
        }
    }

    /// Values may be kept under other numbers than before: what lies at one time is put in their order.
    fn load<C: Contents<Kept = V>>(contents: &mut C, from: &mut Taker<'_>) -> Result<Log<V>, Damaged> {
        let (lo, hi) = from.take()?;
        let mut time = 0i64;
        let mut entries = (0..from.count()?)
            .map(|_| {
                time = time.wrapping_add(from.take()?);
                Ok(Entry { time, value: contents.keep(from.take()?), count: from.take()? })
            })
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(|entry| (entry.time, entry.value));
        if lo > hi || hi > entries.len() {
            return Err(Damaged);
        }
        entries[lo..hi].iter().for_each(|entry| contents.enter(entry.value, entry.count));
        Ok(Log { entries: entries.into(), lo, hi })
    }

    /// Where an entry belongs that lies at the end of the window.
    fn place(&self, time: i64, value: V) -> usize {
        match self.hi.checked_sub(1).and_then(|last| self.entries.get(last)) {
            Some(last) if (last.time, last.value) > (time, value) => {
                self.entries.partition_point(|entry| (entry.time, entry.value) <= (time, value))
            }
            _ => self.hi,
        }
    }

    /// The first place with a time after `time`, looked for around `from`.
    fn seek(&self, from: usize, time: i64) -> usize {
        let after = |at: usize| self.entries.get(at).is_none_or(|entry| entry.time > time);
        let not_before = from == 0 || !after(from - 1);
        match (not_before, after(from)) {
            (true, true) => from,
            (true, false) if after(from + 1) => from + 1,
            _ => self.entries.partition_point(|entry| entry.time <= time),
        }
    }

    /// The entries `from..to`; none if they are the wrong way round.
    fn each(&self, from: usize, to: usize, mut visit: impl FnMut(&Entry<V>)) {
        if from < to {
            self.entries.range(from..to).for_each(&mut visit);
        }
    }
}

/// Contents that are only a number: how many events.
#[derive(Default)]
pub struct Total(pub u64);

impl Contents for Total {
    type Item = ();
    type Kept = ();
    fn keep(&mut self, (): ()) {}
    fn release(&mut self, (): ()) {}
    fn item(&self, (): ()) {}
    fn enter(&mut self, (): (), n: u32) {
        self.0 += u64::from(n);
    }
    fn leave(&mut self, (): (), n: u32) {
        self.0 -= u64::from(n);
    }
    fn clear(&mut self) {
        self.0 = 0;
    }
    fn bytes(&self) -> usize {
        0
    }
}

/// How often each value is in the window. Values have a small number while an entry of the log holds them, so that a
/// log entry is 16 bytes and sliding hashes nothing.
#[derive(Default)]
pub struct Tally {
    values: Vec<Value>,
    /// Numbers that may be given again.
    free: Vec<u32>,
    /// Finds a value's number; empty while there are few, which are searched.
    index: HashTable<u32>,
    total: u64,
    /// Values that are in the window.
    distinct: u64,
}

struct Value {
    id: u128,
    /// Entries of the log that hold it.
    entries: u32,
    in_window: u64,
}

/// Values that are searched one by one rather than by hash.
const FEW: usize = 16;

impl Tally {
    /// Events in the window.
    pub fn total(&self) -> u64 {
        self.total
    }
    /// Different values in the window.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }
    /// Events in the window with this value.
    pub fn count(&self, id: u128) -> u64 {
        self.find(id).map_or(0, |number| self.values[number as usize].in_window)
    }
    /// Events in the window with a value, by its number.
    pub fn count_of(&self, number: u32) -> u64 {
        self.values[number as usize].in_window
    }

    fn find(&self, id: u128) -> Option<u32> {
        if self.index.is_empty() {
            // Freed numbers keep their identity until given again, but no entries.
            return self.values.iter().position(|v| v.id == id && v.entries > 0).map(|number| number as u32);
        }
        self.index.find(hash(id), |number| self.values[*number as usize].id == id).copied()
    }
}

impl Contents for Tally {
    type Item = u128;
    type Kept = u32;

    fn keep(&mut self, id: u128) -> u32 {
        if let Some(number) = self.find(id) {
            self.values[number as usize].entries += 1;
            return number;
        }
        let value = Value { id, entries: 1, in_window: 0 };
        let number = match self.free.pop() {
            Some(number) => number,
            None => self.values.len() as u32,
        };
        match self.values.get_mut(number as usize) {
            Some(free) => *free = value,
            None => self.values.push(value),
        }
        let Tally { values, index, .. } = self;
        if !index.is_empty() {
            index.insert_unique(hash(id), number, |n| hash(values[*n as usize].id));
        } else if values.len() > FEW {
            for (n, value) in values.iter().enumerate().filter(|(_, value)| value.entries > 0) {
                index.insert_unique(hash(value.id), n as u32, |n| hash(values[*n as usize].id));
            }
        }
        number
    }

    fn release(&mut self, number: u32) {
        let value = &mut self.values[number as usize];
        value.entries -= 1;
        if value.entries > 0 {
            return;
        }
        if let Ok(found) = self.index.find_entry(hash(value.id), |n| *n == number) {
            found.remove();
        }
        self.free.push(number);
    }

    fn item(&self, number: u32) -> u128 {
        self.values[number as usize].id
    }
    fn enter(&mut self, number: u32, n: u32) {
        let in_window = &mut self.values[number as usize].in_window;
        self.distinct += u64::from(*in_window == 0 && n > 0);
        *in_window += u64::from(n);
        self.total += u64::from(n);
    }
    fn leave(&mut self, number: u32, n: u32) {
        let in_window = &mut self.values[number as usize].in_window;
        *in_window -= u64::from(n);
        self.distinct -= u64::from(*in_window == 0 && n > 0);
        self.total -= u64::from(n);
    }
    fn clear(&mut self) {
        if self.total > 0 {
            self.values.iter_mut().for_each(|value| value.in_window = 0);
            (self.total, self.distinct) = (0, 0);
        }
    }
    fn bytes(&self) -> usize {
        let values = self.values.capacity() * size_of::<Value>();
        values + self.free.capacity() * size_of::<u32>() + self.index.allocation_size()
    }
}

/// Of an identity, which is a hash already, but one whose halves an attacker may choose more cheaply than the whole.
pub fn hash(id: u128) -> u64 {
    mix(id as u64 ^ mix((id >> 64) as u64))
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Identities by row: those of a row that counts, or nothing.
pub fn counted_id(input: &Input<'_>, row: u32) -> Option<u128> {
    match input.values {
        Values::Id(ids) if input.is_counted(row) => ids.get(row as usize).copied(),
        _ => None,
    }
}
