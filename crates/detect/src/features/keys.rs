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
    /// A bit per slot: its key has had an event since it was last written.
    changed: Vec<u64>,
    /// A bit per slot: its key has had an event since [`Keys::evict`] last passed it.
    recent: Vec<u64>,
    /// Where [`Keys::evict`] goes on.
    hand: usize,
}

/// A key in use.
pub(super) struct KeyAt<'a> {
    pub slot: u32,
    pub key: &'a [u8],
    pub newest: i64,
}

struct KeySlot {
    key: Key,
    hash: u64,
    /// The newest event time of the key; `i64::MAX` while the slot is free, so that the sweep passes it over.
    newest: i64,
}

impl Keys {
    pub fn new() -> Keys {
        Keys {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sweep: 0,
            changed: Vec::new(),
            recent: Vec::new(),
            hand: 0,
        }
    }
    /// Slots in use or free: all are below this.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }
    pub fn active(&self) -> usize {
        self.table.len()
    }

    /// Asks for the memory that [`Keys::slot`] of this hash will look at, if there is such a key.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some((_, slot)) = self.table.find(hash, |&(h, _)| h == hash) {
            super::prefetch(&self.slots[*slot as usize]);
        }
    }

    /// The slot of a key that has an event at `time`; whether the key is new here.
    #[inline]
    pub fn slot(&mut self, hash: u64, key: &[u8], time: i64) -> (u32, bool) {
        let (slot, is_new) = self.find_or_insert(hash, key, time);
        self.changed[slot as usize / 64] |= 1 << (slot % 64);
        self.recent[slot as usize / 64] |= 1 << (slot % 64);
        (slot, is_new)
    }

    /// The newest event of a slot's key is not before `time`.
    pub fn not_before(&mut self, slot: u32, time: i64) {
        let newest = &mut self.slots[slot as usize].newest;
        *newest = (*newest).max(time);
    }

    /// Makes room for so many keys more.
    pub fn reserve(&mut self, more: usize) {
        self.table.reserve(more, |&(h, _)| h);
        self.slots.reserve(more);
    }

    /// The keys that have had an event since they were last taken here.
    pub fn take_changed(&mut self, mut each: impl FnMut(KeyAt<'_>)) {
        for (word, bits) in self.changed.iter_mut().enumerate() {
            let mut bits = std::mem::take(bits);
            while bits != 0 {
                let slot = word as u32 * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                let state = &self.slots[slot as usize];
                // A slot that is free again has nothing to write.
                if state.newest != i64::MAX {
                    each(KeyAt { slot, key: state.key.bytes(), newest: state.newest });
                }
            }
        }
    }

    /// All keys.
    pub fn each(&self, mut each: impl FnMut(KeyAt<'_>)) {
        for (slot, state) in self.slots.iter().enumerate().filter(|(_, state)| state.newest != i64::MAX) {
            each(KeyAt { slot: slot as u32, key: state.key.bytes(), newest: state.newest });
        }
    }

    /// The slot of a key whose newest event is at `time` or later; whether the key is new here.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8], time: i64) -> (u32, bool) {
        let slots = &mut self.slots;
        let found = self.table.entry(hash, |&(h, s)| h == hash && slots[s as usize].key.is(key), |&(h, _)| h);
        match found {
            Entry::Occupied(entry) => {
                let slot = entry.get().1;
                let newest = &mut slots[slot as usize].newest;
                *newest = (*newest).max(time);
                (slot, false)
            }
            Entry::Vacant(entry) => {
                let new = KeySlot { key: Key::new(key), hash, newest: time };
                let slot = match self.free.pop() {
                    Some(slot) => {
                        slots[slot as usize] = new;
                        slot
                    }
                    None => {
                        slots.push(new);
                        if slots.len() > self.changed.len() * 64 {
                            self.changed.push(0);
                            self.recent.push(0);
                        }
                        slots.len() as u32 - 1
                    }
                };
                entry.insert((hash, slot));
                (slot, true)
            }
        }
    }

    /// Looks at up to `look_at` slots and frees those whose newest event is at or before `dead_at`.
    pub fn sweep(&mut self, look_at: usize, dead_at: i64, mut freed: impl FnMut(u32)) {
        for _ in 0..look_at.min(self.slots.len()) {
            self.sweep = (self.sweep + 1) % self.slots.len();
            if self.slots[self.sweep].newest <= dead_at {
                self.free(self.sweep);
                freed(self.sweep as u32);
            }
        }
    }

    /// Frees the slots of `many` keys that have had no event for longest, about: the second-chance rule, with a bit per key in place
    /// of its age (Corbató, 1968). `leave` is called before.
    pub fn evict(&mut self, many: usize, mut leave: impl FnMut(KeyAt<'_>)) {
        let mut left = many.min(self.active());
        while left > 0 {
            self.hand = (self.hand + 1) % self.slots.len();
            let (word, bit) = (self.hand / 64, 1 << (self.hand % 64));
            let state = &self.slots[self.hand];
            if state.newest == i64::MAX {
                continue;
            }
            if self.recent[word] & bit != 0 {
                self.recent[word] &= !bit;
                continue;
            }
            leave(KeyAt { slot: self.hand as u32, key: state.key.bytes(), newest: state.newest });
            self.free(self.hand);
            left -= 1;
        }
    }

    /// Frees the slot of a key, if it has one, and gives it.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<u32> {
        let slots = &self.slots;
        let (_, slot) = *self.table.find(hash, |&(h, s)| h == hash && slots[s as usize].key.is(key))?;
        self.free(slot as usize);
        Some(slot)
    }

    fn free(&mut self, slot: usize) {
        let state = &mut self.slots[slot];
        if let Ok(entry) = self.table.find_entry(state.hash, |&(_, s)| s as usize == slot) {
            entry.remove();
        }
        self.changed[slot / 64] &= !(1 << (slot % 64));
        state.newest = i64::MAX;
        state.key = Key::new(&[]);
        self.free.push(slot as u32);
    }

    pub fn bytes(&self) -> usize {
        let keys: usize = self.slots.iter().map(|s| s.key.heap_bytes()).sum();
        self.table.allocation_size() + self.slots.capacity() * size_of::<KeySlot>() + keys
    }
}

const INLINE_BYTES: usize = 22;

/// A key's bytes: in place if they are few, as addresses, sessions and accounts mostly are.
enum Key {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

impl Key {
    fn new(key: &[u8]) -> Key {
        if key.len() > INLINE_BYTES {
            return Key::Boxed(key.into());
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..key.len()].copy_from_slice(key);
        Key::Inline { len: key.len() as u8, bytes }
    }
    #[inline]
    fn is(&self, key: &[u8]) -> bool {
        match self {
            Key::Inline { len, bytes } => *len as usize == key.len() && bytes[..key.len()] == *key,
            Key::Boxed(bytes) => **bytes == *key,
        }
    }
    fn bytes(&self) -> &[u8] {
        match self {
            Key::Inline { len, bytes } => &bytes[..*len as usize],
            Key::Boxed(bytes) => bytes,
        }
    }
    fn heap_bytes(&self) -> usize {
        match self {
            Key::Inline { .. } => 0,
            Key::Boxed(bytes) => bytes.len(),
        }
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
