use super::*;
use arrow_buffer::BooleanBuffer;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Event {
    slot: u32,
    time: i64,
    live_from: i64,
    value: i64,
    hit: bool,
}

const WITHINS: [i64; 4] = [10, 50, 200, 50];

fn measures(lateness: i64, exact_up_to: usize) -> Vec<WindowMeasure> {
    let window = |within, min_events| Window { within, lateness, min_events, exact_up_to };
    vec![
        WindowMeasure { lane: 0, kind: Kind::Count, window: window(WITHINS[0], 0) },
        WindowMeasure { lane: 1, kind: Kind::Count, window: window(WITHINS[1], 2) },
        WindowMeasure { lane: 1, kind: Kind::Sum, window: window(WITHINS[2], 0) },
        WindowMeasure { lane: 0, kind: Kind::Count, window: window(WITHINS[3], 0) },
    ]
}

/// Runs events cut at `cuts`; gives per event the four results. A key that is as good as new is forgotten where `forget` says.
fn run(events: &[Event], cuts: &[usize], lateness: i64, exact_up_to: usize, forget: bool, resume: bool) -> Vec<[Option<i64>; 4]> {
    let mut windows = Windows::new(&[false, true], measures(lateness, exact_up_to));
    let mut newest = [i64::MIN; 3];
    let mut written: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
    let mut out = Vec::new();
    let mut bounds: Vec<usize> = cuts.iter().map(|c| c % (events.len() + 1)).chain([0, events.len()]).collect();
    bounds.sort_unstable();
    for pair in bounds.windows(2) {
        let part = &events[pair[0]..pair[1]];
        if forget && let Some(first) = part.first() {
            for slot in 0..3 {
                if newest[slot as usize] <= first.live_from - 200 {
                    windows.forget(slot);
                }
            }
        }
        let rows: Vec<Row> = part
            .iter()
            .enumerate()
            .map(|(i, e)| Row { slot: e.slot, row: i as u32, time: e.time, live_from: e.live_from })
            .collect();
        let hits: BooleanBuffer = part.iter().map(|e| e.hit).collect();
        let values: Vec<i64> = part.iter().map(|e| e.value).collect();
        let inputs =
            [Input { counted: None, values: Values::None }, Input { counted: Some(&hits), values: Values::Int(&values) }];
        let mut outputs: Vec<Output> = (0..4).map(|_| Output::new(super::super::measure::OutputType::Int, part.len())).collect();
        windows.apply(3, &rows, &inputs, &mut outputs);
        for slot in [2, 0, 1].into_iter().filter(|_| resume) {
            let mut bytes = Vec::new();
            windows.save(slot, &mut bytes, Save::Changes);
            written[slot as usize].push(bytes);
        }
        if resume && !part.is_empty() {
            windows = read(&merged(&written, part.len(), lateness, exact_up_to), lateness, exact_up_to);
            windows.loaded();
        }
        for e in part {
            newest[e.slot as usize] = newest[e.slot as usize].max(e.time);
        }
        for i in 0..part.len() {
            out.push(std::array::from_fn(|k| match &outputs[k] {
                Output::Int { values, valid } => valid[i].then_some(values[i]),
                _ => None,
            }));
        }
    }
    out
}

/// Windows of what was written of each slot, one after the other.
fn read(written: &[Vec<Vec<u8>>], lateness: i64, exact_up_to: usize) -> Windows {
    let mut windows = Windows::new(&[false, true], measures(lateness, exact_up_to));
    for (slot, writings) in written.iter().enumerate() {
        for bytes in writings {
            let mut from = Taker(bytes);
            windows.load(3, slot as u32, &mut from).expect("sound");
            assert!(from.is_empty());
        }
    }
    windows
}

/// The same, with some of the writings made one.
fn merged(written: &[Vec<Vec<u8>>], by: usize, lateness: i64, exact_up_to: usize) -> Vec<Vec<Vec<u8>>> {
    let one = |slot: usize, writings: &Vec<Vec<u8>>| {
        let from = by % writings.len();
        let to = (from + 1 + by % 3).min(writings.len());
        // Another key has had the slot, and has left it.
        let mut before = vec![Vec::new(); 3];
        before[slot] = written[(slot + 1) % 3].last().into_iter().cloned().collect();
        let mut windows = read(&before, lateness, exact_up_to);
        windows.forget(slot as u32);
        for bytes in &writings[from..to] {
            windows.load(3, slot as u32, &mut Taker(bytes)).expect("sound");
        }
        let mut bytes = Vec::new();
        windows.save(slot as u32, &mut bytes, Save::All);
        let mut all = writings.clone();
        all.splice(from..to, [bytes]);
        all
    };
    written.iter().enumerate().map(|(slot, writings)| one(slot, writings)).collect()
}

fn model(events: &[Event]) -> Vec<[Option<i64>; 4]> {
    (0..events.len())
        .map(|i| {
            let e = &events[i];
            let seen = |within: i64| {
                events[..=i].iter().filter(move |o| o.slot == e.slot && o.time <= e.time && o.time > e.time - within)
            };
            let hits = |within: i64| seen(within).filter(|o| o.hit);
            let errors = hits(WITHINS[1]).count() as i64;
            [
                Some(seen(WITHINS[0]).count() as i64),
                (errors >= 2).then_some(errors),
                (hits(WITHINS[2]).count() > 0).then(|| hits(WITHINS[2]).map(|o| o.value).sum()),
                Some(seen(WITHINS[3]).count() as i64),
            ]
        })
        .collect()
}

fn events(lateness: i64) -> impl Strategy<Value = Vec<Event>> {
    let one = (0u32..3, 0i64..12, 0i64..40, -5i64..5, any::<bool>(), 0u32..60);
    prop::collection::vec(one, 1..300).prop_map(move |raw| {
        let (mut clock, mut live_from, mut out) = (0i64, i64::MIN / 2, Vec::new());
        for (slot, step, back, value, hit, rare) in raw {
            clock += step;
            let time = match rare {
                0 => clock + 10_000,
                1..=15 => (clock - back).max(live_from),
                16..=20 => clock + 100,
                _ => clock,
            };
            if rare == 59 {
                clock += 500;
            }
            out.push(Event { slot, time: time.max(live_from), live_from, value, hit });
            live_from = live_from.max(clock - lateness);
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn equals_the_plain_model(events in events(30), cuts in prop::collection::vec(any::<usize>(), 0..8), forget in any::<bool>(), resume in any::<bool>()) {
        prop_assert_eq!(run(&events, &cuts, 30, 65_536, forget, resume), model(&events));
    }

    #[test]
    fn tiles_are_off_by_a_tile_at_most_and_the_same_under_any_cut(events in events(30), cuts in prop::collection::vec(any::<usize>(), 0..8), forget in any::<bool>(), resume in any::<bool>()) {
        let straight = run(&events, &[], 30, 8, false, false);
        prop_assert_eq!(&run(&events, &cuts, 30, 8, forget, resume), &straight);
        // These windows are shorter than 256 microseconds, so a tile is one microsecond wide: still exact.
        prop_assert_eq!(&straight, &model(&events));
    }
}

#[test]
fn a_key_under_attack_is_bounded_and_nearly_exact() {
    let window = Window { within: 3_600_000_000, lateness: 60_000_000, min_events: 0, exact_up_to: 1_000 };
    let mut windows = Windows::new(&[false], vec![WindowMeasure { lane: 0, kind: Kind::Count, window }]);
    let inputs = [Input { counted: None, values: Values::None }];
    let mut last = 0;
    for batch in 0..1_000i64 {
        let rows: Vec<Row> = (0..1_000)
            .map(|i| {
                let time = (batch * 1_000 + i) * 10_000;
                Row { slot: 0, row: i as u32, time, live_from: time - 60_000_000 }
            })
            .collect();
        let mut outputs = [Output::new(super::super::measure::OutputType::Int, rows.len())];
        windows.apply(1, &rows, &inputs, &mut outputs);
        if let Output::Int { values, .. } = &outputs[0] {
            last = values[999];
        }
    }
    let exact = 360_000;
    let tile = exact / 256 + 1;
    assert!((exact..=exact + tile).contains(&last), "{last}");
    assert!(windows.bytes() < 64 << 10, "{} bytes", windows.bytes());

    // At one instant: one entry, exact.
    let mut windows = Windows::new(&[false], vec![WindowMeasure { lane: 0, kind: Kind::Count, window }]);
    let rows: Vec<Row> = (0..100_000).map(|i| Row { slot: 0, row: i, time: 5, live_from: 0 }).collect();
    let mut outputs = [Output::new(super::super::measure::OutputType::Int, rows.len())];
    windows.apply(1, &rows, &inputs, &mut outputs);
    let Output::Int { values, .. } = &outputs[0] else { unreachable!() };
    assert_eq!(values[99_999], 100_000);
    assert!(windows.bytes() < 1 << 10);
}

#[test]
fn one_event_far_ahead_slows_nothing() {
    let window = Window { within: 1_000_000, lateness: 0, min_events: 0, exact_up_to: 1_000_000 };
    let mut windows = Windows::new(&[false], vec![WindowMeasure { lane: 0, kind: Kind::Count, window }]);
    let inputs = [Input { counted: None, values: Values::None }];
    let mut count = |time: i64| {
        let mut outputs = [Output::new(super::super::measure::OutputType::Int, 1)];
        windows.apply(1, &[Row { slot: 0, row: 0, time, live_from: 0 }], &inputs, &mut outputs);
        let Output::Int { values, .. } = &outputs[0] else { unreachable!() };
        (values[0], windows.slots[0].end)
    };
    assert_eq!(count(i64::MAX / 2).0, 1);
    for i in 0..10_000 {
        // The windows end where the row is, not at the event far ahead: no step but its own.
        assert_eq!(count(i), (i + 1, i as u32 + 1));
    }
}
