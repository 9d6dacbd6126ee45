use super::*;
use crate::features::measures::random_log::{Cell, Column, Event, apply, arrived, outputs, random_log, steady};
use proptest::prelude::*;

fn window(lateness: i64, exact_up_to: usize) -> Window {
    Window { within: 2560, lateness, min_events: 0, exact_up_to }
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
        for (column, of) in [
            (Column::Int, OutputType::Int),
            (Column::Int, OutputType::Bool),
            (Column::Float, OutputType::Float),
            (Column::Text, OutputType::Text),
        ] {
            let got = outputs(&|| last(of, window), window, &log, column, of);
            for (at, got) in got.iter().enumerate() {
                let expected = previous(&log, at, window).map(|e| match of {
                    OutputType::Int | OutputType::Time => Cell::Int(e.value as i64),
                    OutputType::Bool => Cell::Bool(e.value as i64 != 0),
                    OutputType::Float => Cell::Float(e.value.to_bits()),
                    OutputType::Text => Cell::Text(e.value.to_string()),
                });
                // With too many entries to keep, a late row may see none, but never a wrong one.
                let gave_up = window.exact_up_to < 300 && got.is_none();
                prop_assert!(gave_up || *got == expected, "{:?} at {}: {:?}, not {:?}", of, at, got, expected);
            }
        }
        let got = outputs(&|| since_last(window), window, &log, Column::None, OutputType::Float);
        for (at, got) in got.iter().enumerate() {
            let expected = previous(&log, at, window).map(|e| Cell::Float(((log[at].time - e.time) as f64 / 1e6).to_bits()));
            let gave_up = window.exact_up_to < 300 && got.is_none();
            prop_assert!(gave_up || *got == expected, "since_last at {}: {:?}, not {:?}", at, got, expected);
        }
    }
}

fn previous(log: &[Event], at: usize, window: Window) -> Option<&Event> {
    let seen = arrived(log, at, log[at].time - window.within, log[at].time);
    // `max_by_key` takes the last of equals: the latest to arrive.
    seen.into_iter().filter(|e| !std::ptr::eq(*e, &log[at])).max_by_key(|e| e.time)
}

#[test]
fn in_order_rows_keep_two_entries() {
    let mut measure = since_last(window(0, 1000));
    apply(measure.as_mut(), &steady(0, 1, 10_000), Column::None, OutputType::Float);
    assert!(measure.bytes() < 1000, "{}", measure.bytes());
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "a".to_string() + &"é".repeat(TEXT_BYTES_MAX);
    let texts = arrow_array::StringViewArray::from(vec![long.as_str(), "b"]);
    let rows = [0, 1].map(|row| Row { slot: 0, row, time: 0, live_from: 0 });
    let mut output = [Output::new(OutputType::Text, 2)];
    last(OutputType::Text, window(0, 1000)).apply(
        1,
        &rows,
        &[Input { counted: None, values: Values::Text(&texts) }],
        &mut output,
    );
    let [Output::Text(got)] = output else { panic!("not a text") };
    assert_eq!(got[0], None);
    assert_eq!(got[1].as_deref().map(str::len), Some(TEXT_BYTES_MAX - 1));
}

#[test]
fn attacks_buy_no_memory() {
    let window = window(1_000_000_000, 4096);
    for step in [0, 1] {
        let mut measure = last(OutputType::Float, window);
        let mut log = steady(0, step, 1_000_000);
        log.iter_mut().for_each(|e| e.live_from -= window.lateness);
        log.chunks(8192).for_each(|batch| drop(apply(measure.as_mut(), batch, Column::Float, OutputType::Float)));
        assert!(measure.bytes() < 256 * 1024, "{}", measure.bytes());
    }
}
