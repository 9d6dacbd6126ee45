//! Tells whether the part of a file that was read is still what it was.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A hash of all bytes so far that can be gone on with from the last whole block, without reading what lies before it.
pub struct Digest {
    /// Whole blocks so far, and a hash of their hashes.
    blocks: u64,
    chain: u64,
    block: Box<Xxh3>,
    in_block: usize,
}

pub const BLOCK_BYTES: usize = 1 << 20;

/// A digest as it is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    pub blocks: u64,
    pub chain: u64,
    /// Of the bytes behind the last whole block.
    pub tail: u64,
}

impl Digest {
    /// Goes on behind the whole blocks of a mark.
    pub fn from_blocks(mark: Mark) -> Digest {
        Digest { blocks: mark.blocks, chain: mark.chain, block: Box::default(), in_block: 0 }
    }

    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.in_block));
            self.block.update(now);
            self.in_block += now.len();
            bytes = later;
            if self.in_block == BLOCK_BYTES {
                let mut both = [0; 16];
                both[..8].copy_from_slice(&self.chain.to_le_bytes());
                both[8..].copy_from_slice(&self.block.digest().to_le_bytes());
                self.chain = xxh3_64(&both);
                self.blocks += 1;
                self.block.reset();
                self.in_block = 0;
            }
        }
    }

    pub fn mark(&self) -> Mark {
        let tail = if self.in_block == 0 { 0 } else { self.block.digest() };
        Mark { blocks: self.blocks, chain: self.chain, tail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_the_bytes_and_not_of_how_they_came() {
        let bytes: Vec<u8> = (0..3 * BLOCK_BYTES + 77).map(|i| ((i * i) >> 7) as u8).collect();
        let mut whole = Digest::from_blocks(Mark::default());
        whole.add(&bytes);
        let mut parts = Digest::from_blocks(Mark::default());
        bytes.chunks(300_001).for_each(|part| parts.add(part));
        assert_eq!(whole.mark(), parts.mark());

        let mut first = Digest::from_blocks(Mark::default());
        first.add(&bytes[..2 * BLOCK_BYTES + 5]);
        let mut second = Digest::from_blocks(first.mark());
        second.add(&bytes[2 * BLOCK_BYTES..]);
        assert_eq!(whole.mark(), second.mark());

        for at in [0, BLOCK_BYTES + 1, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let mut digest = Digest::from_blocks(Mark::default());
            digest.add(&other);
            assert_ne!(whole.mark(), digest.mark(), "byte {at}");
        }
    }
}
