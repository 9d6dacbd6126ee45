//! How much of a pipeline's state stays in memory: when a commit finds more, the keys without an event for longest leave.

use crate::checkpoint::{Cold, Leaving, Section, SectionKind};
use ouzel_detect::features::{SHARDS, Shard};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

pub(super) struct Memory {
    /// Bytes, about.
    limit: Option<u64>,
    /// Keys that are in memory now, and how many may be, as their size was at the last cut.
    keys: AtomicI64,
    may_be: AtomicU64,
    /// By group: the share of the limit that it has, which is what it had of the state at the last cut.
    shares: Mutex<Vec<f64>>,
}

/// Of the limit, what a commit leaves where there is more, so that not every commit has keys that leave.
const LEFT: f64 = 0.85;
/// Of what may be, where reading waits for a commit that is under way.
const FAR_TOO_MUCH: f64 = 1.25;

/// Of the limit, for a group that has next to nothing yet.
const SHARE_MIN: f64 = 0.01;

/// What shards had at a cut, before keys left them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub bytes: u64,
    pub keys: u64,
}

impl Weight {
    pub fn add(&mut self, more: Weight) {
        self.bytes += more.bytes;
        self.keys += more.keys;
    }
}

impl Memory {
    pub fn new(limit: Option<u64>, shards: &[Vec<Shard>]) -> Memory {
        let keys: usize = shards.iter().flatten().map(Shard::active_keys).sum();
        let memory = Memory {
            limit,
            keys: AtomicI64::new(keys as i64),
            may_be: AtomicU64::new(u64::MAX),
            shares: Mutex::new(vec![1.0 / shards.len().max(1) as f64; shards.len()]),
        };
        let weights: Vec<Weight> = shards
            .iter()
            .map(|shards| {
                let mut weight = Weight::default();
                shards.iter().for_each(|shard| weight.add(memory.weight(shard)));
                weight
            })
            .collect();
        memory.weigh(&weights);
        memory
    }

    pub fn grown(&self, before: usize, after: usize) {
        if before != after {
            self.keys.fetch_add(after as i64 - before as i64, Relaxed);
        }
    }

    /// A commit is due.
    pub fn is_full(&self) -> bool {
        self.keys.load(Relaxed) > self.may_be.load(Relaxed).min(i64::MAX as u64) as i64
    }

    /// Nothing more is read before a commit has been made.
    pub fn is_overfull(&self) -> bool {
        self.keys.load(Relaxed) as f64 > self.may_be.load(Relaxed) as f64 * FAR_TOO_MUCH
    }

    /// Takes from a shard what is too much.
    pub fn relieve(&self, group: usize, shard: &mut Shard, cold: &Cold) -> (Leaving, Section) {
        let (mut leaving, mut gone) = (Leaving::default(), Section::empty(SectionKind::Gone(group as u32)));
        let Some(limit) = self.limit else { return (leaving, gone) };
        let share = self.shares.lock().unwrap_or_else(PoisonError::into_inner)[group];
        let (has, may_have) = (shard.used_bytes() as f64, limit as f64 * share / SHARDS as f64);
        if has > may_have {
            let before = shard.active_keys();
            let many = before as f64 * (1.0 - LEFT * may_have / has);
            shard.evict(many.ceil() as usize, |key, entry| {
                leaving.add(cold, key, entry);
                gone.add_key(key);
            });
            self.grown(before, shard.active_keys());
        }
        (leaving, gone)
    }

    /// Nothing, where there is no limit: it takes time to find.
    pub fn weight(&self, shard: &Shard) -> Weight {
        match self.limit {
            Some(_) => Weight { bytes: shard.used_bytes() as u64, keys: shard.active_keys() as u64 },
            None => Weight::default(),
        }
    }

    /// Called with all there was, by group, when nothing moves.
    pub fn weigh(&self, groups: &[Weight]) {
        let Some(limit) = self.limit else { return };
        let (bytes, keys) = (groups.iter().map(|w| w.bytes).sum::<u64>(), groups.iter().map(|w| w.keys).sum::<u64>());
        if bytes > 0 {
            let share = |group: &Weight| (group.bytes as f64 / bytes as f64).max(SHARE_MIN);
            let shares = groups.iter().map(share).collect();
            *self.shares.lock().unwrap_or_else(PoisonError::into_inner) = shares;
        }
        if keys > 0 {
            self.may_be.store((limit as f64 * keys as f64 / bytes.max(1) as f64) as u64, Relaxed);
        }
    }
}
