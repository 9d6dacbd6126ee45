//! Events that have been judged and are not learned yet.

use crate::features::measure::Row;
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its time and the delay.
    pub learned_at: i64,
    pub value: u128,
    pub context: Option<u128>,
}

wire!(Event { learned_at, value, context });

/// By slot, in order of when they are learned; of one time in order of arrival.
pub struct Waiting {
    /// Microseconds.
    pub delay: i64,
    events_max: usize,
    slots: Vec<VecDeque<Event>>,
}

impl Waiting {
    pub fn new(delay: i64, events_max: usize) -> Waiting {
        Waiting { delay, events_max, slots: Vec::new() }
    }

    pub fn grow(&mut self, slots: usize) {
        if self.delay > 0 && self.slots.len() < slots {
            self.slots.resize_with(slots, VecDeque::new);
        }
    }

    /// The next event that is learned before the row is judged.
    pub fn due(&mut self, row: &Row) -> Option<Event> {
        let slot = self.slots.get_mut(row.slot as usize)?;
        let due = slot.pop_front_if(|event| event.learned_at <= row.time);
        if slot.is_empty() && slot.capacity() > 0 {
            *slot = VecDeque::new();
        }
        due
    }

    /// Has it wait. Gives the one that has waited longest if they become too many.
    pub fn push(&mut self, row: &Row, event: Event) -> Option<Event> {
        let slot = self.slots.get_mut(row.slot as usize)?;
        let event = Event { learned_at: row.time.saturating_add(self.delay), ..event };
        let at = match slot.back() {
            Some(last) if last.learned_at > event.learned_at => slot.partition_point(|e| e.learned_at <= event.learned_at),
            _ => slot.len(),
        };
        slot.insert(at, event);
        if slot.len() > self.events_max { slot.pop_front() } else { None }
    }

    pub fn forget(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = VecDeque::new();
        }
    }

    pub fn save(&self, slot: u32, out: &mut Vec<u8>) {
        let events = self.slots.get(slot as usize);
        events.map_or(0, VecDeque::len).put(out);
        events.into_iter().flatten().for_each(|event| event.put(out));
    }

    /// The slot is there, unless nothing ever waits.
    pub fn load(&mut self, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        let events = (0..from.count()?).map(|_| from.take()).collect::<Result<VecDeque<Event>, _>>()?;
        match self.slots.get_mut(slot as usize) {
            Some(slot) => *slot = events,
            None if events.is_empty() => {}
            None => return Err(Damaged),
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        let events = self.slots.iter().map(|slot| slot.capacity() * size_of::<Event>()).sum::<usize>();
        self.slots.capacity() * size_of::<VecDeque<Event>>() + events
    }
}
