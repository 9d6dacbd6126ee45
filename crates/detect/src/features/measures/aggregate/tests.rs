use super::*;
use crate::features::measures::random_log::{Column, Event, apply, arrived, outputs, random_log, steady};
use proptest::prelude::*;

const KINDS: [Aggregate; 7] = [
    Aggregate::MinInt,
    Aggregate::MaxInt,
    Aggregate::MinFloat,
    Aggregate::MaxFloat,
    Aggregate::Sum,
    Aggregate::Mean,
    Aggregate::StdDev,
];

fn window(lateness: i64, exact_up_to: usize) -> Window {
    Window { within: 2560, lateness, min_events: 0, exact_up_to }
}

fn window_and_log() -> impl Strategy<Value = (Window, Vec<Event>)> {
    let windows =
        (prop_oneof![Just(0i64), Just(700), Just(6000)], prop_oneof![Just(0u64), Just(3)], prop_oneof![Just(1000usize), Just(8)]);
    windows
        .prop_map(|(lateness, min_events, exact_up_to)| Window { min_events, ..window(lateness, exact_up_to) })
        .prop_flat_map(|window| (Just(window), random_log(window)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn equals_the_model((window, log) in window_and_log()) {
        for kind in KINDS {
            let column = if kind.output() == OutputType::Int { Column::Int } else { Column::Float };
            let got = outputs(&|| kind.measure(window), window, &log, column, kind.output());
            if window.exact_up_to < 300 {
                continue;
            }
            for (at, got) in got.iter().enumerate() {
                let seen = arrived(&log, at, log[at].time - window.within, log[at].time);
                let values: Vec<f64> = seen.iter().map(|e| e.value).collect();
                let enough = values.len() as u64 >= window.min_events;
                let expected = model(kind, &values).filter(|_| enough);
                prop_assert_eq!(got.is_some(), expected.is_some(), "{:?} at {}", kind, at);
                if let (Some(got), Some((expected, off))) = (got, expected) {
                    let got = got.float();
                    prop_assert!((got - expected).abs() <= off, "{kind:?} at {at}: {got} is not {expected}");
                }
            }
        }
    }

    /// A result in tiles is that of some window which is longer by less than a tile at each end.
    #[test]
    fn tiles_are_off_by_a_tile((window, log) in window_and_log()) {
        let window = Window { exact_up_to: 8, min_events: 0, ..window };
        let width = window.tile_width();
        let ones: Vec<Event> = log.iter().map(|e| Event { value: 1.0, ..e.clone() }).collect();
        let sums = outputs(&|| Aggregate::Sum.measure(window), window, &ones, Column::Float, OutputType::Float);
        let minima = outputs(&|| Aggregate::MinFloat.measure(window), window, &log, Column::Float, OutputType::Float);
        for at in 0..log.len() {
            let Event { time, .. } = log[at];
            let inner = arrived(&log, at, time - window.within, time);
            let outer = arrived(&log, at, time - window.within - width, time + width - 1);
            let sum = sums[at].as_ref().map_or(0.0, |c| c.float());
            prop_assert!(inner.len() as f64 <= sum && sum <= outer.len() as f64, "{} of {}..{}", sum, inner.len(), outer.len());
            let least = |events: &[&Event]| events.iter().map(|e| e.value).fold(f64::INFINITY, f64::min);
            let minimum = minima[at].as_ref().map_or(f64::INFINITY, |c| c.float());
            prop_assert!(least(&outer) <= minimum && minimum <= least(&inner));
        }
    }
}

/// The exact result and how far from it is near enough.
fn model(kind: Aggregate, values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    let ints = values.iter().map(|v| *v as i64);
    let sum_off = |sum: f64| 1e-9 * sum.abs() + 1e-25 * values.iter().map(|v| v.abs()).sum::<f64>();
    match kind {
        Aggregate::MinInt => ints.min().map(|v| (v as f64, 0.0)),
        Aggregate::MaxInt => ints.max().map(|v| (v as f64, 0.0)),
        Aggregate::MinFloat => values.iter().copied().reduce(f64::min).map(|v| (v, 0.0)),
        Aggregate::MaxFloat => values.iter().copied().reduce(f64::max).map(|v| (v, 0.0)),
        _ if values.is_empty() => None,
        Aggregate::Sum => Some((exact_sum(values), sum_off(exact_sum(values)))),
        Aggregate::Mean => Some((exact_sum(values) / n, sum_off(exact_sum(values)) / n)),
        Aggregate::StdDev if n < 2.0 => None,
        Aggregate::StdDev => {
            let mean = exact_sum(values) / n;
            let rest = exact_sum(&values.iter().map(|v| v - mean).collect::<Vec<_>>()) / n;
            let squares: Vec<f64> = values.iter().map(|v| exact_sum(&[*v, -mean, -rest]).powi(2)).collect();
            let deviation = (exact_sum(&squares) / (n - 1.0)).sqrt();
            Some((deviation, 1e-9 * deviation))
        }
    }
}

/// Shewchuk's: the partial sums never lose a bit.
fn exact_sum(values: &[f64]) -> f64 {
    let mut partials: Vec<f64> = Vec::new();
    for value in values {
        let mut value = *value;
        let mut kept = Vec::new();
        for partial in partials {
            let (large, small) = if value.abs() < partial.abs() { (partial, value) } else { (value, partial) };
            let sum = large + small;
            let lost = small - (sum - large);
            if lost != 0.0 {
                kept.push(lost);
            }
            value = sum;
        }
        kept.push(value);
        partials = kept;
    }
    partials.iter().sum()
}

#[test]
fn small_deviations_of_large_values() {
    let window = window(0, 1000);
    let mut log = steady(0, 1, 200);
    (0..).zip(&mut log).for_each(|(i, e)| e.value = 1e15 + f64::from(i % 2));
    let got = apply(Aggregate::StdDev.measure(window).as_mut(), &log, Column::Float, OutputType::Float);
    let expected = (200.0 * 0.25 / 199.0f64).sqrt();
    assert!((got[199].as_ref().unwrap().float() - expected).abs() < 1e-12);
}

#[test]
fn an_infinity_leaves_with_its_window() {
    let window = window(0, 1000);
    let mut log = steady(0, 1000, 5);
    log[0].value = f64::INFINITY;
    let got = apply(Aggregate::Sum.measure(window).as_mut(), &log, Column::Float, OutputType::Float);
    let got: Vec<f64> = got.iter().flatten().map(|c| c.float()).collect();
    assert_eq!(got, [f64::INFINITY, f64::INFINITY, f64::INFINITY, 3.0, 3.0]);
}

#[test]
fn ints_as_floats() {
    let log = steady(0, 1, 4);
    let got = apply(Aggregate::Mean.measure(window(0, 1000)).as_mut(), &log, Column::Int, OutputType::Float);
    assert_eq!(got[3].as_ref().unwrap().float(), 1.0);
    // A type it is not made for counts as no value at all.
    let got = apply(Aggregate::Mean.measure(window(0, 1000)).as_mut(), &log, Column::Text, OutputType::Float);
    assert_eq!(got, [None, None, None, None]);
}

#[test]
fn attacks_buy_no_memory() {
    let window = Window { within: 1_000_000, lateness: 10_000, min_events: 0, exact_up_to: 4096 };
    let bytes_after = |step: i64, ahead: bool| {
        let mut log = steady(0, step, 1_000_000);
        for event in &mut log {
            event.live_from = if ahead { 0 } else { event.time - window.lateness };
        }
        let mut measure = Aggregate::StdDev.measure(window);
        log.chunks(8192).for_each(|batch| drop(apply(measure.as_mut(), batch, Column::Float, OutputType::Float)));
        measure.bytes()
    };
    assert!(bytes_after(0, false) < 1000, "at one instant");
    assert!(bytes_after(1, false) < 64 * 1024, "spread: in tiles");
    assert!(bytes_after(300, false) < 512 * 1024, "spread: nearly all that is exact");
    assert!(bytes_after(1_000_000, true) < 512 * 1024, "dated ever further ahead");
}

#[test]
fn exact_again_after_a_quiet_time() {
    let window = window(0, 8);
    let mut log = steady(0, 1, 100);
    // The tile of the last event reaches beyond it, and into the windows of these: it must be gone all the same.
    log.extend(steady(99 + window.within, 1, 3));
    for (i, event) in log.iter_mut().enumerate() {
        event.cut = i % 2 == 0;
        event.forget = true;
    }
    let got = outputs(&|| Aggregate::Sum.measure(window), window, &log, Column::Float, OutputType::Float);
    let got: Vec<f64> = got[99..].iter().flatten().map(|c| c.float()).collect();
    assert_eq!(got, [100.0, 1.0, 2.0, 3.0]);
}
