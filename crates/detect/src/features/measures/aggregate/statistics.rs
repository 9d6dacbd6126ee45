//! What is kept of the values of a stretch of time.

use crate::features::measure::{Output, Values};
use crate::features::measures::ordered::Monoid;
use ouzel_core::wire;
use ouzel_core::wire::Wire;

/// A monoid over the values of an argument, with a result.
pub trait Statistic: Monoid<Value: Send + Wire> + Send {
    /// Fewer events than this have no result.
    const EVENTS_MIN: u64 = 1;
    /// The value of one row; `None` if the input is of a type this statistic is not made of.
    fn read(values: &Values<'_>, row: usize) -> Option<Self::Value>;
    fn events(of: &Self::Value) -> u64;
    fn write(&self, of: &Self::Value, output: &mut Output, row: u32);
}

/// Minimum or maximum. Of equal ones the earliest (-0.0 and 0.0 are equal).
#[derive(Debug, Clone, Copy, Default)]
pub struct Extreme<T, const MAX: bool>(std::marker::PhantomData<T>);

#[derive(Debug, Clone, Copy)]
pub struct Counted<T> {
    events: u64,
    value: T,
}

pub trait Number: Copy + PartialOrd + Send + Wire {
    const ZERO: Self;
    fn read(values: &Values<'_>, row: usize) -> Option<Self>;
    fn write(self, output: &mut Output, row: u32);
}

impl<T: Number, const MAX: bool> Monoid for Extreme<T, MAX> {
    type Value = Counted<T>;
    const EMPTY: Counted<T> = Counted { events: 0, value: T::ZERO };

    #[inline]
    fn combine(&self, earlier: Counted<T>, later: Counted<T>) -> Counted<T> {
        let better = if MAX { later.value > earlier.value } else { later.value < earlier.value };
        let take_later = earlier.events == 0 || (better && later.events > 0);
        let value = if take_later { later.value } else { earlier.value };
        Counted { events: earlier.events + later.events, value }
    }
}

impl<T: Number, const MAX: bool> Statistic for Extreme<T, MAX> {
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<Counted<T>> {
        Some(Counted { events: 1, value: T::read(values, row)? })
    }
    fn events(of: &Counted<T>) -> u64 {
        of.events
    }
    fn write(&self, of: &Counted<T>, output: &mut Output, row: u32) {
        of.value.write(output, row);
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<i64> {
        match values {
            Values::Int(values) => values.get(row).copied(),
            _ => None,
        }
    }
    fn write(self, output: &mut Output, row: u32) {
        output.set_int(row, self);
    }
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<f64> {
        match values {
            Values::Float(values) => values.get(row).copied(),
            Values::Int(values) => values.get(row).map(|v| *v as f64),
            _ => None,
        }
    }
    fn write(self, output: &mut Output, row: u32) {
        output.set_float(row, self);
    }
}

/// Sum or mean: the plain sum and, apart, what its roundings lost (Neumaier, "Rundungsfehleranalyse einiger Verfahren
/// zur Summation endlicher Summen", 1974, with Knuth's branch-free error term, so that sums combine as values do).
#[derive(Debug, Clone, Copy)]
pub struct Sum {
    pub is_mean: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Summed {
    events: u64,
    sum: f64,
    lost: f64,
}

impl Monoid for Sum {
    type Value = Summed;
    const EMPTY: Summed = Summed { events: 0, sum: 0.0, lost: 0.0 };

    #[inline]
    fn combine(&self, earlier: Summed, later: Summed) -> Summed {
        let (sum, lost) = two_sum(earlier.sum, later.sum);
        Summed { events: earlier.events + later.events, sum, lost: earlier.lost + later.lost + lost }
    }
}

impl Statistic for Sum {
    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<Summed> {
        Some(Summed { events: 1, sum: f64::read(values, row)?, lost: 0.0 })
    }
    fn events(of: &Summed) -> u64 {
        of.events
    }
    fn write(&self, of: &Summed, output: &mut Output, row: u32) {
        // What an infinite sum lost is not a number.
        let sum = if of.lost.is_finite() { of.sum + of.lost } else { of.sum };
        output.set_float(row, if self.is_mean { sum / of.events as f64 } else { sum });
    }
}

/// Standard deviation of a sample, from mean and sum of squared distances to it (Chan, Golub, LeVeque, "Updating
/// formulae and a pairwise algorithm for computing sample variances", 1979).
///
/// The mean is a pair of floats: with a single one, the distance between the means of two stretches would lose as
/// many digits as the mean is larger than the deviation (timestamps, identifiers, large amounts).
#[derive(Debug, Clone, Copy)]
pub struct StdDev;

#[derive(Debug, Clone, Copy)]
pub struct Spread {
    events: u64,
    mean: f64,
    mean_lost: f64,
    squares: f64,
}

impl Monoid for StdDev {
    type Value = Spread;
    const EMPTY: Spread = Spread { events: 0, mean: 0.0, mean_lost: 0.0, squares: 0.0 };

    #[inline]
    fn combine(&self, earlier: Spread, later: Spread) -> Spread {
        if earlier.events == 0 {
            return later;
        }
        if later.events == 0 {
            return earlier;
        }
        let events = earlier.events + later.events;
        let share = later.events as f64 / events as f64;
        let (apart, lost) = two_sum(later.mean, -earlier.mean);
        let apart = apart + (lost + (later.mean_lost - earlier.mean_lost));
        let (mean, lost) = two_sum(earlier.mean, apart * share);
        let (mean, mean_lost) = two_sum(mean, earlier.mean_lost + lost);
        let squares = earlier.squares + later.squares + apart * apart * (earlier.events as f64 * share);
        Spread { events, mean, mean_lost, squares }
    }
}

impl Statistic for StdDev {
    const EVENTS_MIN: u64 = 2;

    #[inline]
    fn read(values: &Values<'_>, row: usize) -> Option<Spread> {
        Some(Spread { events: 1, mean: f64::read(values, row)?, mean_lost: 0.0, squares: 0.0 })
    }
    fn events(of: &Spread) -> u64 {
        of.events
    }
    fn write(&self, of: &Spread, output: &mut Output, row: u32) {
        output.set_float(row, (of.squares / (of.events - 1) as f64).sqrt());
    }
}

/// The rounded sum and its error, exactly (Knuth, The Art of Computer Programming, volume 2, 4.2.2).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

wire!(Counted<T> { events, value });
wire!(Summed { events, sum, lost });
wire!(Spread { events, mean, mean_lost, squares });
