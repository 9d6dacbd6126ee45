//! `at_most`: which alerts are held back, and when their number is told.

use super::Alert;
use hashbrown::HashMap;
use ouzel_core::limits::ALERT_ENTITIES_MAX;
use ouzel_core::wire::{Damaged, Taker, Wire, put_bytes};
use std::collections::{BTreeSet, VecDeque};

/// What is known of the alerts of late, for every entity that has one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Throttle {
    open: HashMap<Key, Open>,
    /// When each of them is over, by the partition's clock: the earliest first.
    ends: BTreeSet<(i64, Key)>,
}

/// Name of the alert, and of whom it is.
type Key = (String, String);

#[derive(Debug, Clone, Default, PartialEq)]
struct Open {
    /// Event times of the latest that were let through, `count` at most; in order.
    times: VecDeque<i64>,
    /// Held back since the last that was let through.
    suppressed: u64,
    end: i64,
}

/// An alert's time is over and it holds some back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Its name: there may be no such alert any more.
    pub alert: String,
    pub entity: String,
    pub suppressed: u64,
    /// When its time was over.
    pub time: i64,
}

impl Throttle {
    /// Whether any entity waits for the clock.
    pub fn is_idle(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets alerts that are not defined any more.
    pub fn keep(&mut self, alerts: &[Alert]) {
        let is_defined = |key: &Key| alerts.iter().any(|alert| alert.name == key.0);
        self.open.retain(|key, _| is_defined(key));
        self.ends.retain(|(_, key)| is_defined(key));
    }

    /// The clock has come so far: what was held back and had no alert behind it.
    pub fn advance(&mut self, clock: i64) -> Vec<Closing> {
        let mut closings = Vec::new();
        while self.ends.first().is_some_and(|(end, _)| *end <= clock) {
            closings.extend(self.close_first());
        }
        closings
    }

    fn close_first(&mut self) -> Option<Closing> {
        let (end, key) = self.ends.pop_first()?;
        let open = self.open.remove(&key)?;
        let (alert, entity) = key;
        (open.suppressed > 0).then_some(Closing { alert, entity, suppressed: open.suppressed, time: end })
    }

    /// An event calls for an alert. How many were held back before it, or `None` if it is held back itself; and whoever had to make
    /// room.
    pub fn raise(&mut self, alert: &Alert, entity: &str, time: i64) -> (Option<u64>, Option<Closing>) {
        let Some((count, every)) = alert.at_most else { return (Some(0), None) };
        let key = (alert.name.clone(), entity.to_string());
        let made_room =
            if self.open.len() >= ALERT_ENTITIES_MAX && !self.open.contains_key(&key) { self.close_first() } else { None };
        let open = self.open.entry(key.clone()).or_default();
        let recent = open.times.iter().filter(|t| **t > time.saturating_sub(every)).count();
        if recent >= count as usize {
            open.suppressed += 1;
            return (None, made_room);
        }
        let at = open.times.partition_point(|t| *t <= time);
        open.times.insert(at, time);
        if open.times.len() > count as usize {
            // Whether so many are recent is told by the latest of them, also for a late event.
            open.times.pop_front();
        }
        let end = open.times.back().copied().unwrap_or(time).saturating_add(every);
        self.ends.remove(&(open.end, key.clone()));
        open.end = end;
        self.ends.insert((end, key));
        (Some(std::mem::take(&mut open.suppressed)), made_room)
    }
}

impl Wire for Throttle {
    fn put(&self, out: &mut Vec<u8>) {
        self.ends.len().put(out);
        for (end, key) in &self.ends {
            let open = &self.open[key];
            put_bytes(key.0.as_bytes(), out);
            put_bytes(key.1.as_bytes(), out);
            end.put(out);
            open.suppressed.put(out);
            open.times.len().put(out);
            open.times.iter().for_each(|time| time.put(out));
        }
    }

    fn take(from: &mut Taker<'_>) -> Result<Throttle, Damaged> {
        let mut throttle = Throttle::default();
        let entities: usize = from.take()?;
        for _ in 0..entities {
            let text = |from: &mut Taker<'_>| std::str::from_utf8(from.bytes()?).map(str::to_string).map_err(|_| Damaged);
            let key = (text(from)?, text(from)?);
            let (end, suppressed, n): (i64, u64, usize) = (from.take()?, from.take()?, from.take()?);
            let mut times = VecDeque::new();
            for _ in 0..n {
                times.push_back(from.take()?);
            }
            throttle.ends.insert((end, key.clone()));
            throttle.open.insert(key, Open { times, suppressed, end });
        }
        Ok(throttle)
    }
}

#[cfg(test)]
mod tests;
