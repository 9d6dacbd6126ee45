//! The windows of a key as bytes: as a whole, or what has changed since they were last written. A log mostly grows at its end, so
//! that is a small part of what a busy key holds.

use super::log::Log;
use super::slot::Slot;
use super::{FEW, Tiled, Windows};
use crate::features::measure::Save;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::hash_map;

/// What is known of a log of which only changes have been read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Time of the oldest entry of the whole log.
    pub(super) oldest: i64,
    /// From this time on all entries are here.
    pub(super) from: i64,
}

/// What a writing begins with.
const NOTHING: u8 = 0;
const ALL: u8 = 1;
const CHANGES: u8 = 2;

impl Windows {
    /// A log mostly grows at its end: what has changed is its entries from some time on.
    pub(super) fn save_slot(&mut self, slot: u32, out: &mut Vec<u8>, what: Save) {
        let Some(state) = self.slots.get_mut(slot as usize) else { return NOTHING.put(out) };
        let log = &state.log;
        let part = match (what, self.in_part.get(&slot)) {
            (Save::All, part) => part.copied(),
            (Save::Changes, _) if state.is_based && state.tiled.is_none() => {
                // More are not written than there are; those dropped since count for nothing.
                let unwritten = log.end().wrapping_sub(state.written).min(log.len() as u32);
                let mut first = log.end().wrapping_sub(unwritten);
                while first != log.begin() && first != log.end() && log.time(first.wrapping_sub(1)) == log.time(first) {
                    first = first.wrapping_sub(1);
                }
                let oldest = if log.len() == 0 { i64::MAX } else { log.time(log.begin()) };
                Some(Part { oldest, from: if first == log.end() { i64::MAX } else { log.time(first) } })
            }
            _ => None,
        };
        if let Some(Part { oldest, from }) = part {
            CHANGES.put(out);
            (state.now, (oldest, from)).put(out);
            log.put(log.from(from), out);
        } else {
            ALL.put(out);
            state.now.put(out);
            log.put(log.begin(), out);
            state.tiled.is_some().put(out);
            if let Some(tiled) = &state.tiled {
                tiled.longest_exact.put(out);
                tiled.tiles.iter().for_each(|tiles| tiles.put(out));
            }
        }
        if what == Save::Changes {
            (state.written, state.is_based) = (log.end(), state.tiled.is_none());
        }
    }

    /// Totals follow from the log.
    pub(super) fn load_slot(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.grow(slots);
        let (lanes, sums) = (self.sum_of_lane.len(), self.sums);
        let state = self.slots.get_mut(slot as usize).ok_or(Damaged)?;
        match from.take::<u8>()? {
            NOTHING => *state = Slot { log: Log::new(lanes, sums), ..Slot::default() },
            CHANGES => {
                let (now, (oldest, changed)): (i64, (i64, i64)) = from.take()?;
                let is_new = !state.is_based && state.log.len() == 0;
                match self.in_part.entry(slot) {
                    hash_map::Entry::Occupied(mut part) => {
                        let from = part.get().from.min(changed);
                        part.insert(Part { oldest, from });
                    }
                    hash_map::Entry::Vacant(place) if is_new => _ = place.insert(Part { oldest, from: changed }),
                    hash_map::Entry::Vacant(_) => {}
                }
                state.log.cut(changed);
                state.log.drop_through(oldest.saturating_sub(1));
                state.log.take(from)?;
                (state.now, state.tiled) = (now, None);
            }
            ALL => {
                *state = Slot { log: Log::new(lanes, sums), now: from.take()?, ..Slot::default() };
                state.log.take(from)?;
                self.in_part.remove(&slot);
                if from.take()? {
                    let longest_exact = from.take()?;
                    let tiles = self.measures.iter().map(|_| from.take()).collect::<Result<_, _>>()?;
                    state.tiled = Some(Box::new(Tiled { tiles, longest_exact }));
                }
            }
            _ => return Err(Damaged),
        }
        (state.written, state.is_based) = (state.log.end(), state.tiled.is_none());
        state.totals = None;
        if state.log.len() > FEW || state.tiled.is_some() {
            state.sum_up(&self.measures, &self.sum_of_lane);
        }
        Ok(())
    }
}
