//! Whole numbers in order, each with a count: insert, remove, rank and select in O(sqrt n).
//!
//! Small sorted blocks in one list: at the sizes of one key (up to `exact_up_to`) a scan over block totals and a move
//! within one block beat a balanced tree, and a key with few numbers is one small vector.

/// Items per block, at most.
const BLOCK_MAX: usize = 128;

#[derive(Debug, Clone, Default)]
pub struct Sorted {
    blocks: Vec<Block>,
    total: u64,
}

#[derive(Debug, Clone)]
struct Block {
    /// The least number of the block: blocks are searched without following their pointers.
    first: i64,
    total: u64,
    /// Ascending; never empty, no count 0.
    items: Vec<(i64, u64)>,
}

impl Sorted {
    /// All numbers, equal ones counted each.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn insert(&mut self, number: i64, n: u64) {
        self.total += n;
        if self.blocks.is_empty() {
            self.blocks.push(Block { first: number, total: n, items: vec![(number, n)] });
            return;
        }
        let at = self.block_of(number);
        let block = &mut self.blocks[at];
        block.total += n;
        match block.items.binary_search_by_key(&number, |item| item.0) {
            Ok(i) => block.items[i].1 += n,
            Err(i) => block.items.insert(i, (number, n)),
        }
        block.first = block.items[0].0;
        if block.items.len() > BLOCK_MAX {
            let upper = Block::new(block.items.split_off(BLOCK_MAX / 2));
            block.total -= upper.total;
            self.blocks.insert(at + 1, upper);
        }
    }

    /// Takes out `n` of a number that is in with at least that count.
    pub fn remove(&mut self, number: i64, n: u64) {
        let at = self.block_of(number);
        let Some(block) = self.blocks.get_mut(at) else { return };
        let Ok(i) = block.items.binary_search_by_key(&number, |item| item.0) else { return };
        debug_assert!(block.items[i].1 >= n, "more removed than inserted");
        let n = n.min(block.items[i].1);
        self.total -= n;
        block.total -= n;
        block.items[i].1 -= n;
        if block.items[i].1 > 0 {
            return;
        }
        block.items.remove(i);
        match block.items.first() {
            None => {
                self.blocks.remove(at);
            }
            Some(first) => {
                block.first = first.0;
                self.join(at);
            }
        }
    }

    /// How many are at or below `number`.
    pub fn rank(&self, number: i64) -> u64 {
        let after = self.blocks.partition_point(|block| block.first <= number);
        let Some(last) = after.checked_sub(1) else { return 0 };
        let before: u64 = self.blocks[..last].iter().map(|block| block.total).sum();
        let inside = self.blocks[last].items.iter().take_while(|item| item.0 <= number).map(|item| item.1);
        before + inside.sum::<u64>()
    }

    /// The number at place `k` in ascending order, from 0.
    pub fn select(&self, mut k: u64) -> Option<i64> {
        for block in &self.blocks {
            if k >= block.total {
                k -= block.total;
                continue;
            }
            for (number, n) in &block.items {
                if k < *n {
                    return Some(*number);
                }
                k -= n;
            }
        }
        None
    }

    /// The greatest number.
    pub fn last(&self) -> Option<i64> {
        self.blocks.last().and_then(|block| block.items.last()).map(|item| item.0)
    }

    pub fn clear(&mut self) {
        self.blocks.clear();
        self.total = 0;
    }

    pub fn bytes(&self) -> usize {
        let items: usize = self.blocks.iter().map(|block| block.items.capacity() * size_of::<(i64, u64)>()).sum();
        self.blocks.capacity() * size_of::<Block>() + items
    }

    /// The block that holds `number`, or would.
    fn block_of(&self, number: i64) -> usize {
        self.blocks.partition_point(|block| block.first <= number).saturating_sub(1)
    }

    /// Joins a block that has become small with its neighbour, so that blocks stay few.
    fn join(&mut self, at: usize) {
        let next = at + 1;
        let small = self.blocks[at].items.len() < BLOCK_MAX / 4;
        if small && next < self.blocks.len() && self.blocks[at].items.len() + self.blocks[next].items.len() < BLOCK_MAX {
            let upper = self.blocks.remove(next);
            self.blocks[at].total += upper.total;
            self.blocks[at].items.extend(upper.items);
        }
    }
}

impl Block {
    fn new(items: Vec<(i64, u64)>) -> Block {
        let total = items.iter().map(|item| item.1).sum();
        Block { first: items.first().map_or(0, |item| item.0), total, items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn agrees_with_a_sorted_vector(steps in prop::collection::vec((any::<bool>(), -400i64..400, 1u64..4), 0..1500)) {
            let mut sorted = Sorted::default();
            let mut model: Vec<i64> = Vec::new();
            for (insert, number, n) in steps {
                if insert || model.is_empty() {
                    sorted.insert(number, n);
                    model.extend((0..n).map(|_| number));
                    model.sort_unstable();
                } else {
                    let gone = model.remove(number.unsigned_abs() as usize % model.len());
                    sorted.remove(gone, 1);
                }
            }
            prop_assert_eq!(sorted.total(), model.len() as u64);
            for (k, number) in model.iter().enumerate() {
                prop_assert_eq!(sorted.select(k as u64), Some(*number));
            }
            prop_assert_eq!(sorted.select(model.len() as u64), None);
            for number in -401..=400 {
                prop_assert_eq!(sorted.rank(number), model.partition_point(|m| *m <= number) as u64);
            }
        }
    }
}
