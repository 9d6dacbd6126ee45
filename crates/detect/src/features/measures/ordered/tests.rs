use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A sum of fingerprints, which no wrong set of values has.
struct Prints;

impl Monoid for Prints {
    type Value = u64;
    const EMPTY: u64 = 0;

    fn combine(&self, earlier: u64, later: u64) -> u64 {
        earlier.wrapping_add(later)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(i64),
    Expire(i64),
    ExpireAll(i64),
    DropOldest,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn equals_a_map(steps in steps(), reach in 1i64..600, queries in prop::collection::vec((-50i64..1500, 0i64..1500), 20)) {
        let mut list = BlockList::new(Prints::EMPTY);
        let mut map: BTreeMap<i64, u64> = BTreeMap::new();
        for (i, step) in (1u64..).zip(steps) {
            let mut dropped = Prints::EMPTY;
            let drop = |total| dropped = Prints.combine(dropped, total);
            let before = list.len();
            match step {
                Step::Insert(key) => {
                    prop_assert_eq!(list.contains(key), map.contains_key(&key));
                    list.insert(&Prints, key, i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let value = map.entry(key).or_insert(Prints::EMPTY);
                    *value = Prints.combine(*value, i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                }
                Step::Expire(key) => list.expire(&Prints, key, drop),
                Step::ExpireAll(key) => list.expire_all(&Prints, key, drop),
                Step::DropOldest => dropped = list.drop_oldest(&Prints),
            }
            // What the list dropped is the oldest of the map.
            let kept = map.split_off(&map.keys().nth(before.saturating_sub(list.len())).copied().unwrap_or(i64::MAX));
            let gone = std::mem::replace(&mut map, kept);
            prop_assert_eq!(gone.into_values().fold(Prints::EMPTY, |a, b| Prints.combine(a, b)), dropped);
            match step {
                Step::Expire(through) => prop_assert!(map.range(..=through).count() <= BLOCK),
                Step::ExpireAll(through) => prop_assert_eq!(map.range(..=through).count(), 0),
                _ => {}
            }
            // As windows ask: a little after what they asked before, up to the newest.
            if let Some(newest) = list.last_key() {
                let after = newest - reach;
                let expected = map.range(after + 1..).fold(Prints::EMPTY, |a, (_, b)| Prints.combine(a, *b));
                prop_assert_eq!(list.range(&Prints, after, newest), expected);
            }
        }
        prop_assert_eq!(list.len(), map.len());
        prop_assert_eq!(list.last_key(), map.keys().next_back().copied());
        prop_assert!(list.iter().eq(map.iter().map(|(k, v)| (*k, *v))));
        for (after, length) in queries {
            let expected = map.range(after + 1..after + 1 + length).fold(Prints::EMPTY, |a, (_, b)| Prints.combine(a, *b));
            prop_assert_eq!(list.range(&Prints, after, after + length), expected);
        }
    }
}

/// Mostly in order, some late, some ties.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0u32..200, 0i64..4, 0i64..600), 1..1500).prop_map(|steps| {
        let mut now = 0;
        let step = |(kind, ahead, back): (u32, i64, i64)| match kind {
            0..150 => {
                now += ahead;
                Step::Insert(now)
            }
            150..190 => Step::Insert(now - back),
            190..195 => Step::Expire(now - back),
            195..198 => Step::ExpireAll(now - back),
            _ => Step::DropOldest,
        };
        steps.into_iter().map(step).collect()
    })
}

#[test]
fn few_entries_take_one_small_allocation() {
    let mut list = BlockList::new(Prints::EMPTY);
    (0..4).for_each(|key| list.insert(&Prints, key, 1));
    assert_eq!(list.bytes(), 4 * size_of::<Entry<u64>>());
}
