use super::*;
use crate::features::measure::OutputType;
use crate::features::measures::random_log::{Column, Event, apply, arrived, outputs, random_log, steady};
use proptest::prelude::*;

const HALF_LIFE: i64 = 40;

fn window(lateness: i64, exact_up_to: usize) -> Window {
    Window { within: HALF_LIVES_KEPT * HALF_LIFE, lateness, min_events: 0, exact_up_to }
}

fn window_and_log() -> impl Strategy<Value = (Window, Vec<Event>)> {
    (prop_oneof![Just(0i64), Just(700), Just(6000)], prop_oneof![2 => Just(1000usize), 1 => Just(8)])
        .prop_map(|(lateness, exact_up_to)| window(lateness, exact_up_to))
        .prop_flat_map(|window| (Just(window), random_log(window)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn equals_the_model((window, log) in window_and_log()) {
        for column in [Column::None, Column::Float] {
            let make = || Box::new(Ewma::new(window, HALF_LIFE)) as Box<dyn Measure>;
            let got = outputs(&make, window, &log, column, OutputType::Float);
            if window.exact_up_to < 300 {
                continue;
            }
            for (at, got) in got.iter().enumerate() {
                let Event { time, .. } = log[at];
                let seen = arrived(&log, at, time - window.within, time);
                prop_assert_eq!(got.is_some(), !seen.is_empty());
                let Some(got) = got else { continue };
                let value = |e: &Event| if column == Column::None { 1.0 } else { e.value };
                let parts = |events: &[&Event]| -> Vec<f64> {
                    events.iter().map(|e| value(e) * 0.5f64.powf((time - e.time) as f64 / HALF_LIFE as f64)).collect()
                };
                let size = |parts: &[f64]| parts.iter().map(|p| p.abs()).sum::<f64>();
                let (kept, faded) = (parts(&seen), parts(&arrived(&log, at, i64::MIN, time - window.within)));
                let expected = kept.iter().sum::<f64>();
                let got = got.float() * (HALF_LIFE as f64 / 1e6) / std::f64::consts::LN_2;
                let off = 1e-9 * size(&kept) + 1.000001 * size(&faded);
                prop_assert!((got - expected).abs() <= off, "at {}: {} is not {}", at, got, expected);
            }
        }
    }
}

#[test]
fn tends_to_the_rate() {
    // 4 a second, half-life of a minute, for an hour.
    let window = Window { within: 64 * 60_000_000, lateness: 0, min_events: 0, exact_up_to: 100 };
    let mut ewma = Ewma::new(window, 60_000_000);
    let got = apply(&mut ewma, &steady(0, 250_000, 14_400), Column::None, OutputType::Float);
    let rate = got[14_399].as_ref().unwrap().float();
    assert!((rate - 4.0).abs() < 0.01, "{rate}");
    assert!(ewma.bytes() < 2000, "{}", ewma.bytes());
}

#[test]
fn too_few_events_have_no_rate() {
    let window = Window { min_events: 3, ..window(0, 100) };
    let got = apply(&mut Ewma::new(window, HALF_LIFE), &steady(0, 1, 4), Column::None, OutputType::Float);
    assert_eq!(got.iter().map(|c| c.is_some()).collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn infinities_are_not_counted() {
    let mut log = steady(0, 1, 2);
    log[0].value = f64::INFINITY;
    let got = apply(&mut Ewma::new(window(0, 100), HALF_LIFE), &log, Column::Float, OutputType::Float);
    assert!(got[0].is_none());
    assert!(got[1].as_ref().unwrap().float().is_finite());
}

#[test]
fn attacks_buy_no_memory() {
    let window = Window { lateness: 1_000_000_000, ..window(0, 4096) };
    for step in [0, 1] {
        let mut ewma = Ewma::new(window, HALF_LIFE);
        let mut log = steady(0, step, 1_000_000);
        log.iter_mut().for_each(|e| e.live_from -= window.lateness);
        log.chunks(8192).for_each(|batch| drop(apply(&mut ewma, batch, Column::None, OutputType::Float)));
        assert!(ewma.bytes() < 256 * 1024, "{}", ewma.bytes());
    }
}
