//! What one partition of a source knows of its own log: its clock, which ids have come already.

use hashbrown::HashTable;
use ouzel_core::wire::{Damaged, Taker, Wire};

/// Event times that the clock looks at.
const MEDIAN_OF: usize = 33;

/// The partition's clock: the running maximum of the median of the last 33 event times. A function of the log alone; one
/// event dated far ahead moves nothing. Before 33 events nothing is late.
#[derive(Debug, Clone)]
pub struct EventClock {
    last: [i64; MEDIAN_OF],
    /// Events seen, as far as it matters.
    seen: usize,
    next: usize,
    /// How many of the newest times are in order: while all are, their median is the one in the middle.
    ordered: usize,
    now: i64,
}

impl Default for EventClock {
    fn default() -> EventClock {
        EventClock { last: [0; MEDIAN_OF], seen: 0, next: 0, ordered: 0, now: i64::MIN }
    }
}

impl EventClock {
    /// Takes the next event's time; gives the clock, `i64::MIN` as long as it does not run.
    #[inline]
    pub fn advance(&mut self, time: i64) -> i64 {
        let previous = self.last[(self.next + MEDIAN_OF - 1) % MEDIAN_OF];
        self.ordered = if self.seen > 0 && time >= previous { (self.ordered + 1).min(MEDIAN_OF) } else { 1 };
        self.last[self.next] = time;
        self.next = (self.next + 1) % MEDIAN_OF;
        self.seen = (self.seen + 1).min(MEDIAN_OF);
        if self.seen == MEDIAN_OF {
            let median =
                if self.ordered == MEDIAN_OF { self.last[(self.next + MEDIAN_OF / 2) % MEDIAN_OF] } else { self.median() };
            self.now = self.now.max(median);
        }
        self.now
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    #[cold]
    fn median(&self) -> i64 {
        let mut times = self.last;
        *times.select_nth_unstable(MEDIAN_OF / 2).1
    }
}

impl Wire for EventClock {
    fn put(&self, out: &mut Vec<u8>) {
        self.last.iter().for_each(|time| time.put(out));
        self.seen.put(out);
        self.next.put(out);
        self.ordered.put(out);
        self.now.put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<EventClock, Damaged> {
        let mut last = [0; MEDIAN_OF];
        for time in &mut last {
            *time = from.take()?;
        }
        let clock = EventClock { last, seen: from.take()?, next: from.take()?, ordered: from.take()?, now: from.take()? };
        if clock.next < MEDIAN_OF && clock.seen <= MEDIAN_OF && clock.ordered <= MEDIAN_OF { Ok(clock) } else { Err(Damaged) }
    }
}

/// Ids seen, to drop a producer's retries: an event is a duplicate if one of the same id and a time less than `within`
/// away was taken before it. Forgotten once the clock has passed the time by `within` and the lateness.
pub struct Duplicates {
    within: i64,
    lateness: i64,
    taken: HashTable<(u128, i64)>,
    sweep_at: usize,
    /// Taken since they were last written.
    fresh: Vec<(u128, i64)>,
    is_saved: bool,
}

/// Ids below which sweeping is not worth it.
const SWEEP_FROM: usize = 1 << 14;

impl Duplicates {
    /// `is_saved`: somebody calls [`Duplicates::save`] from time to time.
    pub fn new(within: i64, lateness: i64, is_saved: bool) -> Duplicates {
        Duplicates { within, lateness, taken: HashTable::new(), sweep_at: SWEEP_FROM, fresh: Vec::new(), is_saved }
    }

    /// True if the event is a duplicate; else it is taken. `clock` is the partition's clock before this event.
    pub fn is_duplicate(&mut self, id: u128, time: i64, clock: i64) -> bool {
        let (within, dead_at) = (self.within, self.dead_at(clock));
        let alive = |t: i64| t > dead_at;
        if self.taken.len() >= self.sweep_at {
            self.taken.retain(|(_, t)| alive(*t));
            self.sweep_at = (self.taken.len() * 2).max(SWEEP_FROM);
        }
        let hash = id as u64;
        let near = |t: i64| alive(t) && t.abs_diff(time) < within.unsigned_abs();
        if self.taken.find(hash, |(i, t)| *i == id && near(*t)).is_some() {
            return true;
        }
        self.insert((id, time));
        if self.is_saved {
            self.fresh.push((id, time));
        }
        false
    }

    /// Writes the ids taken since this was last called.
    pub fn save(&mut self, out: &mut Vec<u8>) -> u64 {
        self.fresh.iter().for_each(|taken| taken.put(out));
        std::mem::take(&mut self.fresh).len() as u64
    }

    /// Takes back ids that were written, those not forgotten by now. `clock`: the partition's.
    pub fn load(&mut self, mut from: Taker<'_>, clock: i64) -> Result<(), Damaged> {
        while !from.is_empty() {
            let taken: (u128, i64) = from.take()?;
            if taken.1 > self.dead_at(clock) {
                self.insert(taken);
            }
        }
        Ok(())
    }

    /// An id of a time at or before this has no duplicates any more. `clock`: the partition's.
    pub fn dead_at(&self, clock: i64) -> i64 {
        clock.saturating_sub(self.within).saturating_sub(self.lateness)
    }

    /// One id may stand several times, with times further apart than `within`.
    fn insert(&mut self, taken: (u128, i64)) {
        self.taken.insert_unique(taken.0 as u64, taken, |(id, _)| *id as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_clock_is_the_running_maximum_of_the_median(times in prop::collection::vec(prop_oneof![0i64..50, 40i64..60, Just(1_000_000)], 0..200), sorted in any::<bool>()) {
            let mut times = times;
            if sorted {
                times.sort_unstable();
            }
            let mut clock = EventClock::default();
            let mut expected = i64::MIN;
            for i in 0..times.len() {
                if i + 1 >= MEDIAN_OF {
                    let mut last = times[i + 1 - MEDIAN_OF..=i].to_vec();
                    last.sort_unstable();
                    expected = expected.max(last[MEDIAN_OF / 2]);
                }
                prop_assert_eq!(clock.advance(times[i]), expected);
            }
        }
    }

    #[test]
    fn one_event_far_ahead_moves_nothing() {
        let mut clock = EventClock::default();
        for t in 0..100 {
            clock.advance(t);
        }
        assert_eq!(clock.advance(315_360_000_000_000), 84);
        assert_eq!(clock.advance(100), 85);
    }

    #[test]
    fn retries_are_dropped_and_ids_forgotten() {
        let mut ids = Duplicates::new(100, 10, false);
        assert!(!ids.is_duplicate(7, 1_000, 0));
        assert!(ids.is_duplicate(7, 1_000, 0));
        assert!(ids.is_duplicate(7, 1_099, 0));
        assert!(!ids.is_duplicate(7, 1_100, 0));
        assert!(!ids.is_duplicate(8, 1_000, 0));
        // Whether it was swept or not, an entry older than the clock allows does not count.
        assert!(!ids.is_duplicate(8, 1_000, 1_110));
        let mut ids = Duplicates::new(100, 10, false);
        for i in 0..1_000_000 {
            ids.is_duplicate(i as u128, i, i);
        }
        assert!(ids.taken.len() < 2 * SWEEP_FROM, "{}", ids.taken.len());
    }
}
