//! Which slot a key has. Keys whose state can never be seen again give their slot back.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use ouzel_core::limits::KEY_BYTES_MAX;
use xxhash_rust::xxh3;

/// The keys of one shard.
pub(super) struct Keys {
    table: HashTable<(u64, u32)>,
    slots: Vec<KeySlot>,
    free: Vec<u32>,
    /// Where the sweep for dead keys goes on.
    sweep: usize,
}

struct KeySlot {
    key: Box<[u8]>,
    hash: u64,
    /// The newest event time of the key; `i64::MAX` while the slot is free, so that the sweep passes it over.
    newest: i64,
}

impl Keys {
    pub fn new() -> Keys {
        Keys { table: HashTable::new(), slots: Vec::new(), free: Vec::new(), sweep: 0 }
    }
    /// Slots in use or free: all are below this.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }
    pub fn active(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub fn slot(&mut self, hash: u64, key: &[u8], time: i64) -> u32 {
        let slots = &mut self.slots;
        let found = self.table.entry(hash, |&(h, s)| h == hash && *slots[s as usize].key == *key, |&(h, _)| h);
        match found {
            Entry::Occupied(entry) => {
                let slot = entry.get().1;
                let newest = &mut slots[slot as usize].newest;
                *newest = (*newest).max(time);
                slot
            }
            Entry::Vacant(entry) => {
                let new = KeySlot { key: key.into(), hash, newest: time };
                let slot = match self.free.pop() {
                    Some(slot) => {
                        slots[slot as usize] = new;
                        slot
                    }
                    None => {
                        slots.push(new);
                        slots.len() as u32 - 1
                    }
                };
                entry.insert((hash, slot));
                slot
            }
        }
    }

    /// Looks at up to `look_at` slots and frees those whose newest event is at or before `dead_at`.
    pub fn sweep(&mut self, look_at: usize, dead_at: i64, mut freed: impl FnMut(u32)) {
        for _ in 0..look_at.min(self.slots.len()) {
            self.sweep = (self.sweep + 1) % self.slots.len();
            let slot = self.sweep as u32;
            let state = &mut self.slots[self.sweep];
            if state.newest > dead_at {
                continue;
            }
            if let Ok(entry) = self.table.find_entry(state.hash, |&(_, s)| s == slot) {
                entry.remove();
            }
            state.newest = i64::MAX;
            state.key = Box::default();
            self.free.push(slot);
            freed(slot);
        }
    }

    pub fn bytes(&self) -> usize {
        let keys: usize = self.slots.iter().map(|s| s.key.len()).sum();
        self.table.allocation_size() + self.slots.capacity() * size_of::<KeySlot>() + keys
    }
}

/// Hash of a key. Seeded once per process, so that nobody outside can make keys that collide; nothing that leaves the
/// process depends on it.
pub(super) fn hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    static SEED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    xxh3::xxh3_64_with_seed(key, *SEED.get_or_init(|| RandomState::new().hash_one(0)))
}

/// A key longer than the limit is its beginning and a 128 bit hash of it all.
pub(super) fn bounded(arena: &mut Vec<u8>, start: usize) {
    if arena.len() - start > KEY_BYTES_MAX {
        let hash = xxh3::xxh3_128(&arena[start..]);
        arena.truncate(start + KEY_BYTES_MAX);
        arena.extend_from_slice(&hash.to_le_bytes());
    }
}
