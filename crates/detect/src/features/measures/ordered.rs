//! The events of one key in order of time, summed up in blocks, so that any stretch of time is answered by combining
//! and never by subtracting: floats stay exact to rounding, and minima need no second structure.
//!
//! Results depend on the calls made and on nothing else (not on capacities or time of day). That holds for their last
//! bits too, so whoever writes a list out and reads it back keeps its blocks, their totals and `behind` as they are.

#[cfg(test)]
mod tests;

use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

/// How the aggregates of two neighbouring stretches of time become one.
///
/// `combine` is associative and commutative, apart from rounding, with `EMPTY` as its neutral element.
pub trait Monoid {
    type Value: Copy;
    const EMPTY: Self::Value;
    fn combine(&self, earlier: Self::Value, later: Self::Value) -> Self::Value;
}

/// A list of (key, value) with distinct ascending keys, in blocks of at most [`BLOCK`] entries, each with its total.
///
/// Appending costs O(1); a `range` that ends at the newest key and moves on with it O(BLOCK + blocks / BLOCK), any other
/// and an insert in the middle O(BLOCK + blocks). Up to `BLOCK` entries take one allocation.
#[derive(Debug)]
pub struct BlockList<V> {
    /// All blocks but the newest; absent for most keys, hence the box.
    older: Option<Box<Older<V>>>,
    newest: Block<V>,
    len: usize,
}

#[derive(Debug)]
struct Older<V> {
    blocks: VecDeque<Block<V>>,
    /// The total of all blocks behind the one that ends with this key. Windows begin in the same block for many events.
    behind: Option<(i64, V)>,
}

/// Half of it is scanned for most events, so it is small; every late event scans a total per block, so not tiny.
const BLOCK: usize = 32;

impl<V: Copy> BlockList<V> {
    pub fn new(empty: V) -> Self {
        BlockList { older: None, newest: Block { entries: Vec::new(), total: empty }, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn last_key(&self) -> Option<i64> {
        self.newest.entries.last().map(|e| e.key)
    }

    pub fn contains(&self, key: i64) -> bool {
        let at = self.block_of(key);
        let block = self.older.as_ref().and_then(|older| older.blocks.get(at)).unwrap_or(&self.newest);
        block.entries.binary_search_by_key(&key, |e| e.key).is_ok()
    }

    /// Adds `value` at `key`, after what is there already.
    #[inline]
    pub fn insert<M: Monoid<Value = V>>(&mut self, monoid: &M, key: i64, value: V) {
        match self.last_key() {
            Some(last) if key < last => self.insert_late(monoid, key, value),
            Some(last) if key == last => self.newest.add_to_last(monoid, value),
            _ => {
                if self.newest.entries.len() >= BLOCK {
                    let next = Block { entries: Vec::with_capacity(BLOCK), total: M::EMPTY };
                    let sealed = std::mem::replace(&mut self.newest, next);
                    self.older.get_or_insert_default().push(monoid, sealed);
                }
                self.newest.push(monoid, key, value);
                self.len += 1;
            }
        }
    }

    fn insert_late<M: Monoid<Value = V>>(&mut self, monoid: &M, key: i64, value: V) {
        let at = self.block_of(key);
        if let Some(older) = &mut self.older
            && let Some(block) = older.blocks.get_mut(at)
        {
            self.len += usize::from(block.insert(monoid, key, value));
            if let Some((end, behind)) = &mut older.behind
                && block.last_key() > *end
            {
                *behind = monoid.combine(*behind, value);
            }
            if block.entries.len() > BLOCK {
                let earlier = block.split_off_earlier(monoid);
                older.blocks.insert(at, earlier);
            }
            return;
        }
        self.len += usize::from(self.newest.insert(monoid, key, value));
        if self.newest.entries.len() > BLOCK {
            let earlier = self.newest.split_off_earlier(monoid);
            self.older.get_or_insert_default().push(monoid, earlier);
        }
    }

    /// The first block that reaches `key`, counted from the oldest; the newest block if none does.
    fn block_of(&self, key: i64) -> usize {
        self.older.as_ref().map_or(0, |older| older.blocks.partition_point(|b| b.last_key() < key))
    }

    /// The total of keys in `(after, through]`. (Mutable for what it remembers, which changes nothing but the next sum's
    /// cost and rounding.)
    #[inline]
    pub fn range<M: Monoid<Value = V>>(&mut self, monoid: &M, after: i64, through: i64) -> V {
        let newest = self.newest.range(monoid, after, through);
        match &mut self.older {
            None => newest,
            Some(older) if self.newest.first_key() <= through => monoid.combine(older.after(monoid, after), newest),
            Some(older) => older.range(monoid, after, through),
        }
    }

    /// Drops keys up to `through` as far as that is cheap: whole blocks, and from a lone block when it is about to
    /// grow and a quarter of it goes. `dropped` is given their totals, oldest first.
    #[inline]
    pub fn expire<M: Monoid<Value = V>>(&mut self, monoid: &M, through: i64, mut dropped: impl FnMut(V)) {
        if self.older.is_some() {
            self.expire_blocks(through, dropped);
        } else if self.len >= 4 && self.len.is_power_of_two() {
            let gone = self.newest.up_to(through);
            if gone * 4 >= self.len {
                dropped(self.newest.drop_front(monoid, gone));
                self.len -= gone;
            }
        }
    }

    fn expire_blocks(&mut self, through: i64, mut dropped: impl FnMut(V)) {
        while self.older.as_ref().is_some_and(|older| older.blocks.front().is_some_and(|b| b.last_key() <= through)) {
            self.pop_block().into_iter().for_each(&mut dropped);
        }
    }

    /// The total of the oldest block, which goes, unless it is also the newest.
    fn pop_block(&mut self) -> Option<V> {
        let older = self.older.as_mut()?;
        let block = older.blocks.pop_front()?;
        self.len -= block.entries.len();
        older.behind.take_if(|(end, _)| *end <= block.last_key());
        self.older.take_if(|older| older.blocks.is_empty());
        Some(block.total)
    }

    /// Drops every key up to `through`, from the middle of a block too.
    pub fn expire_all<M: Monoid<Value = V>>(&mut self, monoid: &M, through: i64, mut dropped: impl FnMut(V)) {
        self.expire_blocks(through, &mut dropped);
        let oldest = self.older.as_mut().and_then(|older| older.blocks.front_mut()).unwrap_or(&mut self.newest);
        let gone = oldest.up_to(through);
        if gone > 0 {
            dropped(oldest.drop_front(monoid, gone));
            self.len -= gone;
        }
    }

    /// Makes room by giving up the oldest block, or half of the only one; returns its total.
    pub fn drop_oldest<M: Monoid<Value = V>>(&mut self, monoid: &M) -> V {
        if let Some(total) = self.pop_block() {
            return total;
        }
        let gone = self.len.div_ceil(2);
        self.len -= gone;
        self.newest.drop_front(monoid, gone)
    }

    /// Empty again; keeps a small allocation, since a key that comes back usually comes back often.
    pub fn clear(&mut self, empty: V) {
        self.older = None;
        self.len = 0;
        self.newest.total = empty;
        self.newest.entries.clear();
        self.newest.entries.shrink_to(4);
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, V)> + '_ {
        let blocks = self.older.iter().flat_map(|older| older.blocks.iter()).chain([&self.newest]);
        blocks.flat_map(|b| b.entries.iter().map(|e| (e.key, e.value)))
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        let older = self.older.as_ref().map_or(0, |older| {
            size_of::<Older<V>>()
                + older.blocks.capacity() * size_of::<Block<V>>()
                + older.blocks.iter().map(Block::bytes).sum::<usize>()
        });
        older + self.newest.bytes()
    }
}

impl<V> Default for Older<V> {
    fn default() -> Self {
        Older { blocks: VecDeque::new(), behind: None }
    }
}

impl<V: Copy> Older<V> {
    fn push<M: Monoid<Value = V>>(&mut self, monoid: &M, block: Block<V>) {
        if let Some((_, behind)) = &mut self.behind {
            *behind = monoid.combine(*behind, block.total);
        }
        self.blocks.push_back(block);
    }

    /// The total of keys after `after`.
    fn after<M: Monoid<Value = V>>(&mut self, monoid: &M, after: i64) -> V {
        let at = self.blocks.partition_point(|b| b.last_key() <= after);
        let Some(first) = self.blocks.get(at) else { return M::EMPTY };
        let end = first.last_key();
        let behind = match self.behind {
            Some((known, behind)) if known == end => behind,
            _ => self.blocks.range(at + 1..).fold(M::EMPTY, |total, b| monoid.combine(total, b.total)),
        };
        self.behind = Some((end, behind));
        monoid.combine(first.range(monoid, after, end), behind)
    }

    /// The total of keys in `(after, through]`.
    fn range<M: Monoid<Value = V>>(&self, monoid: &M, after: i64, through: i64) -> V {
        let from = self.blocks.partition_point(|b| b.last_key() <= after);
        let within = self.blocks.range(from..).take_while(|b| b.first_key() <= through);
        within.fold(M::EMPTY, |total, b| monoid.combine(total, b.range(monoid, after, through)))
    }
}

impl<V: Copy + Wire> Wire for BlockList<V> {
    fn put(&self, out: &mut Vec<u8>) {
        let blocks = self.older.as_ref().map(|older| &older.blocks);
        blocks.map_or(0, VecDeque::len).put(out);
        blocks.into_iter().flatten().for_each(|block| block.put(out));
        self.older.as_ref().and_then(|older| older.behind).put(out);
        self.newest.put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        let blocks: VecDeque<Block<V>> = (0..from.count()?).map(|_| from.take()).collect::<Result<_, _>>()?;
        let behind = from.take()?;
        let newest: Block<V> = from.take()?;
        let len = blocks.iter().map(|b| b.entries.len()).sum::<usize>() + newest.entries.len();
        let older = (!blocks.is_empty()).then(|| Box::new(Older { blocks, behind }));
        Ok(BlockList { older, newest, len })
    }
}

impl<V: Copy + Wire> Wire for Block<V> {
    fn put(&self, out: &mut Vec<u8>) {
        self.entries.len().put(out);
        let mut before = 0i64;
        for entry in &self.entries {
            entry.key.wrapping_sub(before).put(out);
            entry.value.put(out);
            before = entry.key;
        }
        self.total.put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        let mut key = 0i64;
        let entries = (0..from.count()?)
            .map(|_| {
                key = key.wrapping_add(from.take()?);
                Ok(Entry { key, value: from.take()? })
            })
            .collect::<Result<_, _>>()?;
        Ok(Block { entries, total: from.take()? })
    }
}

#[derive(Debug)]
struct Block<V> {
    /// Never empty in `Older`.
    entries: Vec<Entry<V>>,
    total: V,
}

#[derive(Debug, Clone, Copy)]
struct Entry<V> {
    key: i64,
    value: V,
}

impl<V: Copy> Block<V> {
    fn first_key(&self) -> i64 {
        self.entries.first().map_or(i64::MAX, |e| e.key)
    }

    fn last_key(&self) -> i64 {
        self.entries.last().map_or(i64::MIN, |e| e.key)
    }

    /// How many keys are at or before `key`.
    fn up_to(&self, key: i64) -> usize {
        self.entries.partition_point(|e| e.key <= key)
    }

    #[inline]
    fn push<M: Monoid<Value = V>>(&mut self, monoid: &M, key: i64, value: V) {
        self.entries.push(Entry { key, value });
        self.total = monoid.combine(self.total, value);
    }

    fn add_to_last<M: Monoid<Value = V>>(&mut self, monoid: &M, value: V) {
        if let Some(last) = self.entries.last_mut() {
            last.value = monoid.combine(last.value, value);
            self.total = monoid.combine(self.total, value);
        }
    }

    /// True if `key` was not there before.
    fn insert<M: Monoid<Value = V>>(&mut self, monoid: &M, key: i64, value: V) -> bool {
        let place = self.entries.binary_search_by_key(&key, |e| e.key);
        match place {
            Ok(at) => self.entries[at].value = monoid.combine(self.entries[at].value, value),
            Err(at) => self.entries.insert(at, Entry { key, value }),
        }
        self.total = fold(monoid, &self.entries);
        place.is_err()
    }

    fn split_off_earlier<M: Monoid<Value = V>>(&mut self, monoid: &M) -> Block<V> {
        let later = self.entries.split_off(self.entries.len() / 2);
        let earlier = std::mem::replace(&mut self.entries, later);
        self.total = fold(monoid, &self.entries);
        Block { total: fold(monoid, &earlier), entries: earlier }
    }

    /// Drops the first `count` entries and returns their total.
    fn drop_front<M: Monoid<Value = V>>(&mut self, monoid: &M, count: usize) -> V {
        let dropped = fold(monoid, &self.entries[..count]);
        self.entries.drain(..count);
        self.total = fold(monoid, &self.entries);
        dropped
    }

    #[inline]
    fn range<M: Monoid<Value = V>>(&self, monoid: &M, after: i64, through: i64) -> V {
        if self.first_key() > after && self.last_key() <= through {
            return self.total;
        }
        let from = self.up_to(after);
        // `through` may lie before `after` in a list of tiles whose row came before all of them.
        fold(monoid, &self.entries[from..self.up_to(through).max(from)])
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<V>>()
    }
}

fn fold<M: Monoid>(monoid: &M, entries: &[Entry<M::Value>]) -> M::Value {
    entries.iter().fold(M::EMPTY, |total, e| monoid.combine(total, e.value))
}
