//! `ewma`: an exponentially decayed rate, in events (or units of the value) per second.
//!
//! The value at time `t` is `S * ln 2 / half_life`, where `S` adds up the counted events that have arrived with times
//! up to `t`, each weighing `2^-(age / half_life)`. Events coming at a steady rate make it tend to that rate.

#[cfg(test)]
mod tests;

use super::ordered::{BlockList, Monoid};
use crate::features::measure::{Input, Measure, Output, Row, Save, Values, Window};
use crate::features::measure::{load_slot, save_slot};
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker};

/// A caller's `within`, in half-lives: what is older weighs less than 2^-64 of its value. It is forgotten with its
/// key and otherwise goes on fading; alone, it gives null.
pub const HALF_LIVES_KEPT: i64 = 64;

/// One input (`"*"`: every event weighs 1), one output, of [`OutputType::Float`](crate::features::measure::OutputType).
/// Infinite values are not counted: they would never fade.
///
/// `min_events` compares with all counted events up to the row's time since the key was last quiet for the window.
pub struct Ewma {
    window: Window,
    decay: Decay,
    /// From a sum to units per second.
    rate: f64,
    slots: Vec<Slot>,
}

impl Ewma {
    /// `half_life` in microseconds, above 0; `window.within` is [`HALF_LIVES_KEPT`] of them.
    pub fn new(window: Window, half_life: i64) -> Ewma {
        let half_life = half_life.max(1) as f64;
        let rate = std::f64::consts::LN_2 / (half_life / 1e6);
        Ewma { window, decay: Decay { per_microsecond: -1.0 / half_life }, rate, slots: Vec::new() }
    }
}

impl Measure for Ewma {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let ([input], [output]) = (inputs, outputs) else { return };
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Slot::default);
        }
        let at_least = self.window.min_events.max(1);
        for row in rows {
            let Some(slot) = self.slots.get_mut(row.slot as usize) else { continue };
            slot.expire(self.window.dead_at(row.live_from));
            if input.is_counted(row.row)
                && let Some(weight) = weight(&input.values, row.row as usize)
            {
                slot.insert(&self.decay, row, weight, self.window.exact_up_to);
            }
            let seen = slot.up_to(&self.decay, row.time);
            if seen.events >= at_least && seen.time > row.time.saturating_sub(self.window.within) {
                output.set_float(row.row, self.decay.at(seen, row.time) * self.rate);
            }
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
        self.slots.capacity() * size_of::<Slot>() + self.slots.iter().map(|s| s.recent.bytes()).sum::<usize>()
    }
}

#[inline]
fn weight(values: &Values<'_>, row: usize) -> Option<f64> {
    match values {
        Values::None => Some(1.0),
        Values::Float(values) => values.get(row).copied().filter(|v| v.is_finite()),
        Values::Int(values) => values.get(row).map(|v| *v as f64),
        Values::Id(_) | Values::Text(_) => None,
    }
}

/// One key. A row in order needs `newest` only; the rest is there for late ones.
struct Slot {
    /// Everything, as of the newest time.
    newest: Decayed,
    /// What lies before any row to come, added up, as of its newest time.
    base: Decayed,
    /// What lies after `base`.
    recent: BlockList<Decayed>,
}

impl Default for Slot {
    fn default() -> Self {
        Slot { newest: Decay::EMPTY, base: Decay::EMPTY, recent: BlockList::new(Decay::EMPTY) }
    }
}

wire!(Slot { newest, base, recent });
wire!(Decayed { time, sum, events });

impl Slot {
    #[inline]
    fn expire(&mut self, dead_at: i64) {
        if self.newest.events > 0 && self.newest.time <= dead_at {
            self.newest = Decay::EMPTY;
            self.base = Decay::EMPTY;
            self.recent.clear(Decay::EMPTY);
        }
    }

    #[inline]
    fn insert(&mut self, decay: &Decay, row: &Row, weight: f64, entries_max: usize) {
        let Slot { newest, base, recent } = self;
        let entry = Decayed { time: row.time, sum: weight, events: 1 };
        *newest = decay.combine(*newest, entry);
        recent.expire(decay, row.live_from, |total| *base = decay.combine(*base, total));
        if recent.len() >= entries_max.max(1) && !recent.contains(row.time) {
            *base = decay.combine(*base, recent.drop_oldest(decay));
        }
        if base.events > 0 && row.time <= base.time {
            *base = decay.combine(*base, entry);
        } else {
            recent.insert(decay, row.time, entry);
        }
    }

    /// Events up to `time`, as of the newest of them. A row before `base`, which there is none of while `recent` stays
    /// below `exact_up_to`, sees all of it.
    #[inline]
    fn up_to(&mut self, decay: &Decay, time: i64) -> Decayed {
        if time >= self.newest.time {
            return self.newest;
        }
        decay.combine(self.base, self.recent.range(decay, i64::MIN, time))
    }
}

#[derive(Debug, Clone, Copy)]
struct Decay {
    /// Logarithm to base 2 of what is left after a microsecond.
    per_microsecond: f64,
}

/// A sum of events, each decayed to `time`, which is that of the newest.
#[derive(Debug, Clone, Copy)]
struct Decayed {
    time: i64,
    sum: f64,
    events: u64,
}

impl Decay {
    /// The sum as of `time`; as it is, if that is in its past.
    #[inline]
    fn at(&self, of: Decayed, time: i64) -> f64 {
        let age = time.saturating_sub(of.time);
        if age <= 0 { of.sum } else { of.sum * (age as f64 * self.per_microsecond).exp2() }
    }
}

impl Monoid for Decay {
    type Value = Decayed;
    const EMPTY: Decayed = Decayed { time: i64::MIN, sum: 0.0, events: 0 };

    /// In whichever order the two come: the older one decays to the newer one's time.
    #[inline]
    fn combine(&self, earlier: Decayed, later: Decayed) -> Decayed {
        if earlier.events == 0 {
            return later;
        }
        if later.events == 0 {
            return earlier;
        }
        let time = earlier.time.max(later.time);
        let sum = self.at(earlier, time) + self.at(later, time);
        Decayed { time, sum, events: earlier.events + later.events }
    }
}
