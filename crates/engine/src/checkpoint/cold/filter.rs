//! Which keys are surely not in a run: a split block Bloom filter, as Parquet has it (Putze, Sanders and Singler, 2007): eight bits
//! of one block of 32 bytes per key, so that a look costs one cache line.

use ouzel_core::wire::{Damaged, Taker, Wire};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    blocks: Vec<[u32; WORDS]>,
}

const WORDS: usize = 8;
/// About one key in 200 that is not there looks as if it were.
const BITS_PER_KEY: u64 = 12;
const SALTS: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

impl Filter {
    /// For at most so many keys.
    pub fn new(keys: u64) -> Filter {
        let blocks = (keys * BITS_PER_KEY).div_ceil(32 * WORDS as u64).max(1);
        Filter { blocks: vec![[0; WORDS]; blocks as usize] }
    }

    pub fn add(&mut self, hash: u64) {
        let at = self.block(hash);
        self.blocks[at].iter_mut().zip(mask(hash)).for_each(|(word, bit)| *word |= bit);
    }

    #[inline]
    pub fn may_hold(&self, hash: u64) -> bool {
        self.blocks[self.block(hash)].iter().zip(mask(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// The upper half chooses the block, the lower one its bits.
    #[inline]
    fn block(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }
}

#[inline]
fn mask(hash: u64) -> [u32; WORDS] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

impl Wire for Filter {
    fn put(&self, out: &mut Vec<u8>) {
        (self.blocks.len() as u64).put(out);
        self.blocks.iter().flatten().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
    fn take(from: &mut Taker<'_>) -> Result<Filter, Damaged> {
        let blocks = from.count()?;
        let bytes = from.slice(blocks.checked_mul(4 * WORDS).ok_or(Damaged)?)?;
        let word = |at: &[u8]| u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
        let block = |bytes: &[u8]| std::array::from_fn(|i| word(&bytes[4 * i..4 * i + 4]));
        let blocks: Vec<[u32; WORDS]> = bytes.chunks_exact(4 * WORDS).map(block).collect();
        if blocks.is_empty() { Err(Damaged) } else { Ok(Filter { blocks }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())
    }

    #[test]
    fn keys_that_were_added_are_held_and_few_others_seem_to_be() {
        let mut filter = Filter::new(100_000);
        (0..100_000).for_each(|n| filter.add(hash(n)));
        let mut bytes = Vec::new();
        filter.put(&mut bytes);
        let filter = Filter::take(&mut Taker(&bytes)).expect("sound");
        assert!((0..100_000).all(|n| filter.may_hold(hash(n))));
        let wrong = (100_000..200_000).filter(|n| filter.may_hold(hash(*n))).count();
        assert!(wrong < 1_000, "{wrong} of 100,000");
        assert_eq!(Filter::take(&mut Taker(&bytes[..bytes.len() - 1])), Err(Damaged));
    }
}
