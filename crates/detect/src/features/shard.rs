//! The state of a part of a group's keys, and its way to bytes and back.

use super::keys::{self, KeyAt, Keys};
use super::measure::{Measure, Row, Save};
use ouzel_core::Error;
use ouzel_core::wire::{Damaged, Taker, Wire, put_bytes};

/// Shards of a group. The number changes no result; it bounds how many threads work on one group at once.
pub const SHARDS: usize = 8;

/// The state of the keys whose hash falls into one shard.
pub struct Shard {
    pub(super) keys: Keys,
    pub(super) states: Vec<Box<dyn Measure>>,
    pub(super) rows: Vec<Row>,
}

/// Keys that have left memory.
pub trait Evicted {
    /// What [`Shard::evict`] has written last of a key. `Err` where it cannot be read.
    fn find(&mut self, key: &[u8]) -> Result<Option<&[u8]>, Error>;
}

/// A key in the bytes that [`Shard::save`] wrote.
pub struct Entry<'a> {
    pub key: &'a [u8],
    /// Its newest event time.
    pub newest: i64,
    hash: u64,
    state: Taker<'a>,
}

impl<'a> Entry<'a> {
    /// The key and the newest event time of the next of several, whose state is passed over.
    pub fn split(entries: &mut Taker<'a>) -> Result<(&'a [u8], i64), Damaged> {
        let Entry { key, newest, .. } = Entry::unhashed(entries)?;
        Ok((key, newest))
    }

    /// The next of several.
    pub fn take(entries: &mut Taker<'a>) -> Result<Entry<'a>, Damaged> {
        let entry = Entry::unhashed(entries)?;
        Ok(Entry { hash: keys::hash(entry.key), ..entry })
    }

    fn unhashed(entries: &mut Taker<'a>) -> Result<Entry<'a>, Damaged> {
        let (key, newest) = (entries.bytes()?, entries.take()?);
        let length = u32::from_le_bytes(entries.array()?);
        Ok(Entry { key, newest, hash: 0, state: Taker(entries.slice(length as usize)?) })
    }

    /// Those of one payload, by shard.
    pub fn by_shard(mut entries: Taker<'a>) -> Result<[Vec<Entry<'a>>; SHARDS], Damaged> {
        let mut found = [const { Vec::new() }; SHARDS];
        while !entries.is_empty() {
            let entry = Entry::take(&mut entries)?;
            found[shard_of(entry.hash)].push(entry);
        }
        Ok(found)
    }
}

/// Which shard a key belongs to.
pub(super) fn shard_of(hash: u64) -> usize {
    (hash >> 61) as usize % SHARDS
}

/// Keys without their state, by shard, of what [`Shard::evict`] has told.
pub fn keys_by_shard(mut keys: Taker<'_>) -> Result<[Vec<&[u8]>; SHARDS], Damaged> {
    let mut found = [const { Vec::new() }; SHARDS];
    while !keys.is_empty() {
        let key = keys.bytes()?;
        found[shard_of(keys::hash(key))].push(key);
    }
    Ok(found)
}

fn write(states: &mut [Box<dyn Measure>], KeyAt { slot, key, newest }: KeyAt<'_>, out: &mut Vec<u8>, what: Save) {
    put_bytes(key, out);
    newest.put(out);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    states.iter_mut().for_each(|measure| measure.save(slot, out, what));
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

impl Shard {
    pub(super) fn new(states: Vec<Box<dyn Measure>>) -> Shard {
        Shard { keys: Keys::new(), states, rows: Vec::new() }
    }

    /// Writes what has changed since this was last called; gives how many keys that are.
    pub fn save(&mut self, out: &mut Vec<u8>) -> u64 {
        let Shard { keys, states, .. } = self;
        let mut written = 0;
        keys.take_changed(|key| {
            write(states, key, out, Save::Changes);
            written += 1;
        });
        written
    }

    /// Writes all that is known of each key, in pieces of about so many bytes, with how many keys are in each.
    pub fn save_all(&mut self, piece_bytes: usize, mut piece: impl FnMut(u64, Vec<u8>)) {
        let Shard { keys, states, .. } = self;
        let (mut out, mut written) = (Vec::new(), 0);
        keys.each(|key| {
            write(states, key, &mut out, Save::All);
            written += 1;
            if out.len() >= piece_bytes {
                piece(std::mem::take(&mut written), std::mem::take(&mut out));
            }
        });
        if written > 0 {
            piece(written, out);
        }
    }

    /// Reads keys back whose newest event is after `dead_at`, one writing after the other in the order in which they were made.
    pub fn load(&mut self, entries: &[Entry<'_>], dead_at: i64) -> Result<(), Damaged> {
        self.keys.reserve(entries.len());
        for entry in entries.iter().filter(|entry| entry.newest > dead_at) {
            let (slot, _) = self.keys.find_or_insert(entry.hash, entry.key, entry.newest);
            self.load_state(slot, entry)?;
        }
        Ok(())
    }

    fn load_state(&mut self, slot: u32, entry: &Entry<'_>) -> Result<(), Damaged> {
        let mut state = entry.state;
        let slots = self.keys.slots();
        self.states.iter_mut().try_for_each(|measure| measure.load(slots, slot, &mut state))?;
        if state.is_empty() { Ok(()) } else { Err(Damaged) }
    }

    /// All has been read back.
    pub fn loaded(&mut self) {
        self.states.iter_mut().for_each(|measure| measure.loaded());
    }

    /// Writes all that is known of `many` keys, those without an event for longest, about, and forgets them. `each`: a key and what
    /// was written.
    pub fn evict(&mut self, many: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let Shard { keys, states, .. } = self;
        let (mut out, mut left) = (Vec::new(), Vec::new());
        keys.evict(many, |key| {
            let (slot, bytes) = (key.slot, key.key);
            out.clear();
            write(states, KeyAt { slot, key: bytes, newest: key.newest }, &mut out, Save::All);
            each(bytes, &out);
            left.push(slot);
        });
        left.into_iter().for_each(|slot| states.iter_mut().for_each(|measure| measure.forget(slot)));
    }

    /// Reads a key back that has left, into the slot it has now.
    pub(super) fn come_back(&mut self, slot: u32, bytes: &[u8], dead_at: i64) -> Result<(), Damaged> {
        let entry = Entry::take(&mut Taker(bytes))?;
        if entry.newest > dead_at {
            self.keys.not_before(slot, entry.newest);
            self.load_state(slot, &entry)?;
            self.states.iter_mut().for_each(|measure| measure.moved(slot));
        }
        Ok(())
    }

    /// Forgets keys.
    pub fn remove(&mut self, keys: &[&[u8]]) {
        for key in keys {
            if let Some(slot) = self.keys.remove(keys::hash(key), key) {
                self.states.iter_mut().for_each(|measure| measure.forget(slot));
            }
        }
    }

    pub fn active_keys(&self) -> usize {
        self.keys.active()
    }
    /// Heap bytes held, about.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.iter().map(|s| s.bytes()).sum::<usize>()
    }
    /// Those of the keys there are: what keys that are gone have left free, the next ones take.
    pub fn used_bytes(&self) -> usize {
        (self.bytes() as u128 * self.active_keys() as u128 / self.keys.slots().max(1) as u128) as usize
    }
}
