use super::super::multiset::testing::{Argument, Case, Column, Event as Arrived, Subject, attack, check};
use super::*;
use crate::features::measure::Values;

/// Judges by a second argument that is made of the first, as tests give one.
struct Twice(Surprise);

fn context(value: u32) -> u32 {
    value % 3
}

impl Measure for Twice {
    fn apply(&mut self, slots: usize, rows: &[Row], inputs: &[Input<'_>], outputs: &mut [Output]) {
        let Values::Id(ids) = inputs[0].values else { unreachable!() };
        let contexts: Vec<u128> = ids.iter().map(|id| u128::from(context(*id as u32))).collect();
        let second = Input { counted: None, values: Values::Id(&contexts) };
        let first = Input { counted: inputs[0].counted, values: Values::Id(ids) };
        self.0.apply(slots, rows, &[first, second], outputs);
    }
    fn forget(&mut self, slot: u32) {
        self.0.forget(slot);
    }
    fn save(&mut self, slot: u32, out: &mut Vec<u8>, what: Save) {
        self.0.save(slot, out, what);
    }
    fn load(&mut self, slots: usize, slot: u32, from: &mut Taker<'_>) -> Result<(), Damaged> {
        self.0.load(slots, slot, from)
    }
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

fn subject(make: fn(Window) -> Box<dyn Measure>) -> Subject {
    Subject { argument: Argument::Id, outputs: &Surprise::OUTPUTS, error: 1e-9, make }
}

/// The definition, over a list of all events that came before.
fn model(case: &Case, at: usize, delay: i64, given: Given) -> Option<f64> {
    let row = &case.events[at];
    let within = case.window.within;
    let before: Vec<&Arrived> = case.events[..at].iter().filter(|event| event.slot == row.slot && event.counted).collect();
    // What the value of each event came behind, unless all before it was dead by then.
    let previous = |i: usize, live_from: i64, time: i64| -> Option<u32> {
        let newest = before[..i].iter().map(|event| event.time).max()?;
        (newest > live_from.min(time) - within).then(|| before[i - 1].value)
    };
    let context_of = |i: usize, event: &Arrived| match given {
        Given::Past => None,
        Given::Context | Given::Others => Some(context(event.value)),
        Given::Previous => previous(i, event.live_from, event.time),
    };
    if !row.counted {
        return None;
    }
    let own = context_of(before.len(), row);
    let seen: Vec<(u32, Option<u32>)> = before
        .iter()
        .enumerate()
        .filter(|(_, event)| row.time - within < event.time && event.time <= row.time - delay)
        .map(|(i, event)| (event.value, context_of(i, event)))
        .collect();
    if (seen.len() as u64) < case.window.min_events.max(1) {
        return None;
    }
    let mut kinds: Vec<u32> = seen.iter().map(|(value, _)| *value).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let half = 0.5 * (kinds.len() as f64 + 1.0);
    let n = seen.iter().filter(|(value, _)| *value == row.value).count() as f64;
    let of_context = seen.iter().filter(|(_, context)| own.is_some() && *context == own).count() as f64;
    let both = seen.iter().filter(|(value, context)| own.is_some() && (*value, *context) == (row.value, own)).count() as f64;
    let all = seen.len() as f64;
    let expected = match given {
        Given::Past => (n + 0.5) / (all + half),
        Given::Others => (n - both + 0.5) / (all - of_context + half),
        Given::Context | Given::Previous => (both + (n + 0.5) / (all + half)) / (of_context + 1.0),
    };
    Some(-expected.log2())
}

#[test]
fn equals_the_model() {
    check(&subject(|w| Box::new(Surprise::new(w, 0, Given::Past))), |c, at| vec![Column::float(model(c, at, 0, Given::Past))]);
    check(&subject(|w| Box::new(Surprise::new(w, 0, Given::Previous))), |c, at| {
        vec![Column::float(model(c, at, 0, Given::Previous))]
    });
    check(&subject(|w| Box::new(Twice(Surprise::new(w, 0, Given::Context)))), |c, at| {
        vec![Column::float(model(c, at, 0, Given::Context))]
    });
    check(&subject(|w| Box::new(Twice(Surprise::new(w, 0, Given::Others)))), |c, at| {
        vec![Column::float(model(c, at, 0, Given::Others))]
    });
}

/// A third of the window, as each random window has one of its own.
fn delay(within: i64) -> i64 {
    within / 3
}

#[test]
fn with_a_delay_it_equals_the_model() {
    check(&subject(|w| Box::new(patiently(w, Given::Past))), |c, at| {
        vec![Column::float(model(c, at, delay(c.window.within), Given::Past))]
    });
    check(&subject(|w| Box::new(Twice(patiently(w, Given::Others)))), |c, at| {
        vec![Column::float(model(c, at, delay(c.window.within), Given::Others))]
    });
}

/// Where it is in tiles, as many events wait as in exact windows.
fn patiently(window: Window, given: Given) -> Surprise {
    let delay = delay(window.within);
    Surprise { waiting: Waiting::new(delay, 100_000), ..Surprise::new(window, delay, given) }
}

#[test]
fn what_was_never_seen_surprises_most() {
    let window = Window { within: 1_000_000, lateness: 0, min_events: 0, exact_up_to: 100 };
    let mut surprise = Surprise::new(window, 0, Given::Past);
    let rows: Vec<Row> = (0..10).map(|i| Row { slot: 0, row: i, time: i64::from(i), live_from: i64::from(i) }).collect();
    let mut ids = [7u128; 10];
    ids[9] = 8;
    let mut outputs = [Output::new(OutputType::Float, 10)];
    surprise.apply(1, &rows, &[Input { counted: None, values: Values::Id(&ids) }], &mut outputs);
    let [Output::Float { values, valid }] = &outputs else { unreachable!() };
    assert!(!valid[0], "nothing is known before the first");
    assert!(values[1..9].windows(2).all(|pair| pair[1] < pair[0]), "{values:?}");
    // Half an event of 9 and two halves.
    assert!((values[9] - 20f64.log2()).abs() < 1e-12, "{values:?}");
}

#[test]
fn memory_stays_bounded() {
    attack(&subject(|w| Box::new(Surprise::new(w, 0, Given::Past))), |n| n % 3_000, |_, _| {});
}

#[test]
fn no_more_wait_than_are_kept_exactly() {
    let window = Window { within: 1_000_000, lateness: 0, min_events: 0, exact_up_to: 10 };
    let mut surprise = Surprise::new(window, 900_000, Given::Past);
    let rows: Vec<Row> = (0..100).map(|i| Row { slot: 0, row: i, time: i64::from(i), live_from: i64::from(i) }).collect();
    let ids = [7u128; 100];
    let mut outputs = [Output::new(OutputType::Float, 100)];
    surprise.apply(1, &rows, &[Input { counted: None, values: Values::Id(&ids) }], &mut outputs);
    let mut waiting = Vec::new();
    surprise.waiting.save(0, &mut waiting);
    assert_eq!(Taker(&waiting).count().expect("written"), 10);
    // The others were learned early, at the time they were to be: they are not seen before it.
    let [Output::Float { valid, .. }] = &outputs else { unreachable!() };
    assert!(valid.iter().all(|valid| !valid));
}
