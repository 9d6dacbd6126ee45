//! How numbers are spread: logarithmic buckets with a promised relative error, 1 % at first, and a uniform collapse to
//! buckets twice as wide when there are too many (DDSketch, Masson et al. 2019; UDDSketch, Epicoco et al. 2020).
//!
//! Signs have their own buckets and zero one of its own. Infinities count as the largest finite numbers. The relative
//! error of a quantile's neighbours is 1 %, 2 %, 4 %, 8 %, 16 % at levels 0 to 4.

use super::{Sketch, Tiles, insert_tight, reserved};
use crate::features::measures::multiset::sorted::Sorted;
use ouzel_core::wire;

/// A bucket's upper end over its lower end, at level 0: (1 + 1 %) / (1 - 1 %).
const GROWTH: f64 = 1.01 / 0.99;
/// At this level all finite numbers fall into about 150 buckets.
const LEVEL_MAX: u8 = 10;
/// Above the exponent of any finite number, so that the sign of a bucket's number is the sign of its numbers.
const OFFSET: i32 = 40_000;

/// Bucket and count, ascending. Bucket 0 is zero; `OFFSET + i` has the numbers in `(g^(i-1), g^i]`.
#[derive(Default)]
pub struct Buckets {
    counts: Vec<(i32, u32)>,
}

/// A number of the middle of a bucket.
pub fn number(bucket: i64, level: u8) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let ln_growth = GROWTH.ln() * f64::from(1u32 << level);
    let exponent = (bucket.abs() - i64::from(OFFSET)) as f64;
    // 2 g^i / (g + 1): as far from both ends, relative to each.
    let middle = (exponent * ln_growth + (2.0 / (1.0 + ln_growth.exp())).ln()).exp();
    middle.min(f64::MAX).copysign(bucket as f64)
}

/// The bucket of a number, as a window's summary has it.
pub fn key(number: f64, level: u8) -> i64 {
    i64::from(bucket(number, level))
}

fn bucket(number: f64, level: u8) -> i32 {
    if number == 0.0 {
        return 0;
    }
    let exponent = (number.abs().min(f64::MAX).ln() / GROWTH.ln()).ceil() as i32;
    // Halving and rounding up, `level` times.
    let exponent = (exponent + (1 << level) - 1) >> level;
    (OFFSET + exponent) * if number < 0.0 { -1 } else { 1 }
}

wire!(Buckets { counts });

impl Sketch for Buckets {
    type Item = f64;
    type Summary = Sorted;
    const SUBTRACTS: bool = true;
    const WIDENS: bool = true;

    fn add(&mut self, number: f64, n: u32, level: u8, window: Option<&mut Sorted>) {
        let bucket = bucket(number, level);
        // What a full counter cannot take is not counted in the window either, so that it can be taken out again.
        let n = self.count(bucket, n);
        if let Some(window) = window
            && n > 0
        {
            window.insert(i64::from(bucket), u64::from(n));
        }
    }

    fn add_to(&self, _level: u8, window: &mut Sorted) {
        for (bucket, n) in &self.counts {
            window.insert(i64::from(*bucket), u64::from(*n));
        }
    }

    fn take_from(&self, _level: u8, window: &mut Sorted) {
        for (bucket, n) in &self.counts {
            window.remove(i64::from(*bucket), u64::from(*n));
        }
    }

    fn join(&mut self, next: Buckets, _level: u8) {
        for (bucket, n) in next.counts {
            self.count(bucket, n);
        }
    }

    fn coarsen(tiles: &mut Tiles<Buckets>) -> bool {
        if tiles.level == LEVEL_MAX {
            return false;
        }
        tiles.level += 1;
        tiles.tiles.iter_mut().for_each(|tile| tile.sketch.collapse());
        true
    }

    fn bytes(&self) -> usize {
        reserved::<(i32, u32)>(self.counts.len())
    }

    fn window_bytes(window: &Sorted) -> usize {
        window.bytes()
    }
}

impl Buckets {
    /// How many of `n` the bucket took.
    fn count(&mut self, bucket: i32, n: u32) -> u32 {
        match self.counts.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => {
                let count = &mut self.counts[at].1;
                let took = n.min(u32::MAX - *count);
                *count += took;
                took
            }
            Err(at) => {
                insert_tight(&mut self.counts, at, (bucket, n));
                n
            }
        }
    }

    /// Each bucket takes in its neighbour.
    fn collapse(&mut self) {
        let fine = std::mem::take(&mut self.counts);
        for (bucket, n) in fine {
            let exponent = (bucket.abs() - OFFSET + 1) >> 1;
            let bucket = if bucket == 0 { 0 } else { (OFFSET + exponent) * bucket.signum() };
            match self.counts.last_mut() {
                Some(last) if last.0 == bucket => last.1 = last.1.saturating_add(n),
                _ => self.counts.push((bucket, n)),
            }
        }
        self.counts.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_within_the_error_of_its_bucket() {
        let numbers = [5e-324, 1e-300, 0.001, 0.5, 1.0, 1.0201, 3.25, 1e9, 1e300, f64::MAX];
        for level in 0..=4 {
            let growth = GROWTH.powi(1 << level);
            let error = (growth - 1.0) / (growth + 1.0);
            for x in numbers.into_iter().flat_map(|x| [x, -x]).chain([0.0]) {
                let read = super::number(i64::from(bucket(x, level)), level);
                // The least positive numbers have no neighbours so near.
                assert!((read - x).abs() <= x.abs() * (error + 1e-9) + 5e-324, "level {level}: {x} read as {read}");
            }
        }
        assert_eq!(bucket(f64::INFINITY, 0), bucket(f64::MAX, 0));
    }

    #[test]
    fn collapsing_is_the_same_as_having_been_coarse_before() {
        let (mut fine, mut coarse) = (Buckets::default(), Buckets::default());
        for n in -500..500 {
            let x = f64::from(n) * 0.37;
            fine.add(x, 1, 0, None);
            coarse.add(x, 1, 1, None);
        }
        fine.collapse();
        assert_eq!(fine.counts, coarse.counts);
    }

    #[test]
    fn buckets_are_in_the_order_of_numbers() {
        let numbers = [f64::MIN, -7.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 7.0, f64::MAX];
        assert!(numbers.windows(2).all(|pair| bucket(pair[0], 0) < bucket(pair[1], 0)));
    }
}
