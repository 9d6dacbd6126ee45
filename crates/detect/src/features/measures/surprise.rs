//! `surprise`, `transition`, `peers`: how little an event's value was to be expected, in bits: `-log2 P(value)` under what had come
//! before it. With `n` events of the value among `N` events of `D` values:
//!
//! - under the key's own past, `P = (n + 1/2) / (N + (D + 1) / 2)`: each value, and one not seen yet, has half an event in advance
//!   (Krichevsky and Trofimov, The performance of universal encoding, 1981);
//! - given a context (`of`, or the value before), `P = (n_c + P_all) / (N_c + 1)`: of the `N_c` events of that context, shrunk towards
//!   what holds for all of the key by one event (MacKay and Peto, A hierarchical Dirichlet language model, 1995);
//! - under what the others have done, the first of the two with the events of one's own context taken out.
//!
//! What is being judged does not vouch for itself: an event is learned only after it is judged, and, with `delay`, only that much later.

mod waiting;

#[cfg(test)]
mod tests;

use super::multiset::{Multiset, Tally, View, counted_id};
use super::sketch::counts::Counts;
use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Window};
use ouzel_core::wire::{Damaged, Taker, Wire};
use waiting::{Event, Waiting};
use xxhash_rust::xxh3::xxh3_128;

/// What a value is expected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The key's own past.
    Past,
    /// Its past with the same second argument.
    Context,
    /// Its past behind the same previous value, by order of arrival.
    Previous,
    /// Its past with another second argument.
    Others,
}

/// One output. Null for an event that is not counted, while nothing is known, and below `min_events`.
///
/// In tiles a count may be short by what a tile could not keep, as of `share`. Events that wait to be learned are bounded by `exact_up_to` too:
/// the oldest are learned before their time.
pub struct Surprise {
    window: Window,
    given: Given,
    events: Seen,
    pairs: Seen,
    contexts: Seen,
    waiting: Waiting,
    /// By slot, for `Previous`: the value that came last, and the greatest time so far.
    last: Vec<Option<(i64, u128)>>,
}

type Seen = Multiset<Tally, Counts>;

/// How often something is in a window, among how much of how many kinds.
#[derive(Default, Clone, Copy)]
struct Counted {
    n: u64,
    all: u64,
    kinds: u64,
}

impl Surprise {
    pub const OUTPUTS: [OutputType; 1] = [OutputType::Float];

    /// `delay` in microseconds, below the window's `within`.
    pub fn new(window: Window, delay: i64, given: Given) -> Surprise {
        // An event that is learned later is as old as if it had come then.
        let learned = Window { within: (window.within - delay).max(1), ..window };
        let seen = || Multiset::new(learned);
        Surprise {
            window,
            given,
            events: seen(),
            pairs: seen(),
            contexts: seen(),
            waiting: Waiting::new(delay, window.exact_up_to),
            last: Vec::new(),
        }
    }

    fn grow(&mut self, slots: usize) {
        [&mut self.events, &mut self.pairs, &mut self.contexts].into_iter().for_each(|seen| seen.grow(slots));
        self.waiting.grow(slots);
        if self.last.len() < slots {
            self.last.resize(slots, None);
        }
    }

    /// The event of a row, if it counts. The outer `None` of its context: it has none.
    fn event(&mut self, row: &Row, inputs: &[Input<'_>]) -> Option<Event> {
        let value = counted_id(inputs.first()?, row.row)?;
        let context = match self.given {
            Given::Past => None,
            Given::Context | Given::Others => Some(counted_id(inputs.get(1)?, row.row)?),
            Given::Previous => {
                let last = self.last.get_mut(row.slot as usize)?;
                let dead_at = self.window.dead_at(row.live_from.min(row.time));
                let previous = last.filter(|(newest, _)| *newest > dead_at);
                *last = Some((previous.map_or(row.time, |(newest, _)| newest.max(row.time)), value));
                previous.map(|(_, value)| value)
            }
        };
        Some(Event { learned_at: 0, value, context })
    }

    fn learn(&mut self, row: &Row, event: &Event) {
        self.events.at(row, Some(event.value));
        if let Some(context) = event.context {
            self.pairs.at(row, Some(pair(context, event.value)));
            self.contexts.at(row, Some(context));
        }
    }

    /// Bits; `None` while there is too little to go by.
    fn judge(&mut self, row: &Row, event: &Event) -> Option<f64> {
        let all = counted(&mut self.events, row, event.value);
        if all.all < self.window.min_events.max(1) {
            return None;
        }
        let (here, context) = match event.context {
            None => (Counted::default(), Counted::default()),
            Some(context) => {
                (counted(&mut self.pairs, row, pair(context, event.value)), counted(&mut self.contexts, row, context))
            }
        };
        let expected = match self.given {
            Given::Others => {
                // In tiles what is taken out may be known better than what it is taken from.
                let (n, of) = (all.n.saturating_sub(here.n), all.all.saturating_sub(context.n));
                advance(n, of, all.kinds)
            }
            _ => (here.n as f64 + advance(all.n, all.all, all.kinds)) / (context.n as f64 + 1.0),
        };
        Some(-expected.log2())
    }
}

/// The probability of a value seen `n` times in `all` events of so many kinds.
fn advance(n: u64, all: u64, kinds: u64) -> f64 {
    (n as f64 + 0.5) / (all as f64 + 0.5 * (kinds as f64 + 1.0))
}

fn counted(seen: &mut Seen, row: &Row, id: u128) -> Counted {
    match seen.at(row, None) {
        None => Counted::default(),
        Some(View::Exact(tally)) => Counted { n: tally.count(id), all: tally.total(), kinds: tally.distinct() },
        Some(View::Tiles(window)) => {
            Counted { n: window.contents.count(id), all: window.events, kinds: window.contents.distinct() }
        }
    }
}

fn pair(context: u128, value: u128) -> u128 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&context.to_le_bytes());
    both[16..].copy_from_slice(&value.to_le_bytes());
    xxh3_128(&both)
}

impl Measure for Surprise {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let [output] = outputs else { return };
        self.grow(slots);
        for row in rows {
            while let Some(event) = self.waiting.due(row) {
                self.learn(&Row { time: event.learned_at, ..*row }, &event);
            }
            let Some(event) = self.event(row, inputs) else { continue };
            if let Some(bits) = self.judge(row, &event) {
                output.set_float(row.row, bits);
            }
            if self.waiting.delay == 0 {
                self.learn(row, &event);
            } else if let Some(early) = self.waiting.push(row, event) {
                self.learn(&Row { time: early.learned_at, ..*row }, &early);
            }
        }
    }

    fn forget(&mut self, slot: u32) {
        [&mut self.events, &mut self.pairs, &mut self.contexts].into_iter().for_each(|seen| seen.forget(slot));
        self.waiting.forget(slot);
        if let Some(last) = self.last.get_mut(slot as usize) {
            *last = None;
        }
    }

    fn save(&mut self, slot: u32, out: &mut Vec<u8>, _: Save) {
        [&self.events, &self.pairs, &self.contexts].into_iter().for_each(|seen| seen.save(slot, out));
        self.waiting.save(slot, out);
        self.last.get(slot as usize).copied().flatten().put(out);
    }

    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.grow(slots);
        for seen in [&mut self.events, &mut self.pairs, &mut self.contexts] {
            seen.load(slots, slot, from)?;
        }
        self.waiting.load(slot, from)?;
        *self.last.get_mut(slot as usize).ok_or(Damaged)? = from.take()?;
        Ok(())
    }

    fn bytes(&self) -> usize {
        let seen = [&self.events, &self.pairs, &self.contexts].into_iter().map(Multiset::bytes).sum::<usize>();
        seen + self.waiting.bytes() + self.last.capacity() * size_of::<Option<(i64, u128)>>()
    }
}
