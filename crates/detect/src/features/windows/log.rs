//! The log of one key: a ring of entries in time order. An entry keeps its number while others come and go at the ends,
//! so that windows can point at it.

use super::Entry;
use ouzel_core::wire::{Damaged, Taker, Wire};

/// Entries are numbered from `begin` to `end`, wrapping; entry `n` lies at `n & mask`, in `stride` words:
/// its time, its counts (16 bits each, four a word), its sums.
#[derive(Default)]
pub(in crate::features) struct Log {
    words: Box<[u64]>,
    /// Time of the first entry, so that looking whether it is dead touches nothing else.
    oldest: i64,
    begin: u32,
    len: u32,
    /// Entries there is room for, less one; 0 entries if `words` is empty.
    mask: u32,
    lanes: u16,
    sums: u16,
}

const FIRST_ENTRIES: usize = 2;
const COUNTS_PER_WORD: usize = 4;
const COUNT_BITS: usize = 16;

#[inline]
fn count_of(word: u64, lane: usize) -> u16 {
    (word >> (COUNT_BITS * (lane % COUNTS_PER_WORD))) as u16
}

impl Log {
    pub fn new(lanes: usize, sums: usize) -> Log {
        Log { lanes: lanes as u16, sums: sums as u16, ..Log::default() }
    }
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }
    /// The number of the first entry.
    #[inline]
    pub fn begin(&self) -> u32 {
        self.begin
    }
    /// The number the next appended entry gets.
    #[inline]
    pub fn end(&self) -> u32 {
        self.begin.wrapping_add(self.len)
    }
    #[inline]
    fn count_words(&self) -> usize {
        (self.lanes as usize).div_ceil(COUNTS_PER_WORD)
    }
    #[inline]
    fn stride(&self) -> usize {
        1 + self.count_words() + self.sums as usize
    }
    #[inline]
    fn at(&self, number: u32) -> usize {
        (number & self.mask) as usize * self.stride()
    }
    #[inline]
    pub fn time(&self, number: u32) -> i64 {
        self.words[self.at(number)] as i64
    }
    /// Count and sum of one lane of an entry.
    #[inline]
    pub fn lane(&self, number: u32, lane: usize, sum: Option<usize>) -> (u32, i64) {
        let at = self.at(number);
        let count = count_of(self.words[at + 1 + lane / COUNTS_PER_WORD], lane);
        (u32::from(count), sum.map_or(0, |i| self.words[at + 1 + self.count_words() + i] as i64))
    }

    /// Adds to the entry before number `at`, if it is of time `t` and nothing overflows. (Else there are two of one time.)
    pub fn merge(&mut self, at: u32, t: i64, row: &Entry) -> bool {
        if self.len == 0 || at == self.begin || self.time(at.wrapping_sub(1)) != t {
            return false;
        }
        let word = self.at(at.wrapping_sub(1));
        let sums_at = word + 1 + self.count_words();
        let counts_fit = row.counts.iter().enumerate().all(|(i, c)| {
            let count = count_of(self.words[word + 1 + i / COUNTS_PER_WORD], i);
            u32::from(count) + *c <= u32::from(u16::MAX)
        });
        let sums_fit = row.sums.iter().enumerate().all(|(i, s)| (self.words[sums_at + i] as i64).checked_add(*s).is_some());
        let fits = counts_fit && sums_fit;
        if fits {
            for (i, c) in row.counts.iter().enumerate() {
                self.words[word + 1 + i / COUNTS_PER_WORD] += u64::from(*c) << (COUNT_BITS * (i % COUNTS_PER_WORD));
            }
            for (i, s) in row.sums.iter().enumerate() {
                self.words[sums_at + i] = self.words[sums_at + i].wrapping_add(*s as u64);
            }
        }
        fits
    }

    /// Puts an entry before number `at`; what follows moves up by one.
    pub fn insert(&mut self, at: u32, t: i64, row: &Entry) {
        if self.words.is_empty() || self.len > self.mask {
            self.resize((self.len as usize * 2).max(FIRST_ENTRIES));
        }
        let stride = self.stride();
        let mut number = self.end();
        while number != at {
            let (to, from) = (self.at(number), self.at(number.wrapping_sub(1)));
            self.words.copy_within(from..from + stride, to);
            number = number.wrapping_sub(1);
        }
        if at == self.begin {
            self.oldest = t;
        }
        self.len += 1;
        let (word, count_words) = (self.at(at), self.count_words());
        self.words[word] = t as u64;
        self.words[word + 1..word + 1 + count_words].fill(0);
        for (i, c) in row.counts.iter().enumerate() {
            self.words[word + 1 + i / COUNTS_PER_WORD] |= u64::from(*c) << (COUNT_BITS * (i % COUNTS_PER_WORD));
        }
        for (i, s) in row.sums.iter().enumerate() {
            self.words[word + 1 + count_words + i] = *s as u64;
        }
    }

    /// Drops the entries at or before time `t`, and memory that is no longer needed.
    #[inline]
    pub fn drop_through(&mut self, t: i64) {
        if self.len == 0 || self.oldest > t {
            return;
        }
        while self.len > 0 && self.oldest <= t {
            self.begin = self.begin.wrapping_add(1);
            self.len -= 1;
            if self.len > 0 {
                self.oldest = self.time(self.begin);
            }
        }
        let room = self.mask as usize + 1;
        if room > 16 && (self.len as usize) < room / 8 {
            self.resize((room / 4).max(FIRST_ENTRIES));
        }
    }

    /// `entries` is a power of two and at least `len`.
    fn resize(&mut self, entries: usize) {
        let stride = self.stride();
        let mut words = vec![0u64; entries.next_power_of_two() * stride].into_boxed_slice();
        let mask = entries.next_power_of_two() as u32 - 1;
        for i in 0..self.len {
            let number = self.begin.wrapping_add(i);
            let (from, to) = (self.at(number), (number & mask) as usize * stride);
            words[to..to + stride].copy_from_slice(&self.words[from..from + stride]);
        }
        (self.words, self.mask) = (words, mask);
    }

    #[inline]
    pub fn prefetch(&self, number: u32) {
        if !self.words.is_empty() {
            crate::features::prefetch(&self.words[self.at(number)]);
        }
    }

    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }
    /// Numbers of all entries, oldest first.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).map(|i| self.begin.wrapping_add(i))
    }

    /// The number of the first entry at or after time `t`.
    pub fn from(&self, t: i64) -> u32 {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time(self.begin.wrapping_add(middle)) < t { low = middle + 1 } else { high = middle }
        }
        self.begin.wrapping_add(low)
    }

    /// Drops the entries at or after time `t`.
    pub fn cut(&mut self, t: i64) {
        self.len = self.from(t).wrapping_sub(self.begin);
    }

    /// Writes the entries from number `first` on.
    pub fn put(&self, first: u32, out: &mut Vec<u8>) {
        let len = self.end().wrapping_sub(first);
        len.put(out);
        let mut before = 0i64;
        for number in (0..len).map(|i| first.wrapping_add(i)) {
            let entry = &self.words[self.at(number)..][..self.stride()];
            (entry[0] as i64).wrapping_sub(before).put(out);
            before = entry[0] as i64;
            entry[1..][..self.count_words()].iter().for_each(|counts| counts.put(out));
            entry[1 + self.count_words()..].iter().for_each(|sum| (*sum as i64).put(out));
        }
    }

    /// Appends entries that were written.
    pub fn take(&mut self, from: &mut Taker<'_>) -> Result<(), Damaged> {
        let more = from.count()?;
        let len = self.len as usize + more;
        if len > self.words.len() / self.stride() {
            self.resize(len.max(FIRST_ENTRIES));
        }
        let (stride, count_words) = (self.stride(), self.count_words());
        let mut time = 0i64;
        for _ in 0..more {
            let at = self.at(self.end());
            let entry = &mut self.words[at..at + stride];
            time = time.wrapping_add(from.take()?);
            entry[0] = time as u64;
            for counts in &mut entry[1..][..count_words] {
                *counts = from.take()?;
            }
            for sum in &mut entry[1 + count_words..] {
                *sum = from.take::<i64>()? as u64;
            }
            self.len += 1;
        }
        if self.len > 0 {
            self.oldest = self.time(self.begin);
        }
        Ok(())
    }
}
