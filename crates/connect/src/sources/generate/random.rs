//! Numbers that look random and depend on the seed alone.

/// splitmix64 (Steele, Lea, Flood 2014): one multiplication chain, full period, any seed.
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(mix(seed))
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        finish(self.0)
    }
    /// In 0..n.
    pub fn below(&mut self, n: u32) -> u32 {
        scale(self.next(), n)
    }
    /// In 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A hash: every bit of `x` changes half of the bits.
pub(super) fn mix(x: u64) -> u64 {
    finish(x.wrapping_add(GOLDEN))
}

/// The upper half of `random`, as a number in 0..n.
pub(super) fn scale(random: u64, n: u32) -> u32 {
    (((random >> 32) * n as u64) >> 32) as u32
}

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Ranks drawn by Zipf's law with an offset (Mandelbrot): weight 1 / (rank + offset)^exponent.
pub(super) struct Zipf(Vec<u32>);

/// Quantiles kept; between two of them ranks are equally likely.
const QUANTILE_BITS: u32 = 14;

impl Zipf {
    pub fn new(ranks: u32, exponent: f64, offset: f64) -> Zipf {
        let weight = |rank: u32| (rank as f64 + 1.0 + offset).powf(-exponent);
        let total: f64 = (0..ranks).map(weight).sum();
        let steps = 1u32 << QUANTILE_BITS;
        let mut quantiles = Vec::with_capacity(steps as usize + 1);
        let (mut rank, mut reached) = (0, weight(0));
        for step in 0..steps {
            while reached < total * step as f64 / steps as f64 && rank + 1 < ranks {
                rank += 1;
                reached += weight(rank);
            }
            quantiles.push(rank);
        }
        quantiles.push(ranks);
        Zipf(quantiles)
    }

    /// A rank from 0.
    pub fn pick(&self, random: u64) -> u32 {
        let step = (random >> (64 - QUANTILE_BITS)) as usize;
        let (low, high) = (self.0[step], self.0[step + 1]);
        low + scale(random << QUANTILE_BITS, (high - low).max(1))
    }
}
