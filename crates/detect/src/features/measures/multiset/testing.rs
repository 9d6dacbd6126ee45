//! Tests of measures of values: random logs against a plain model, and a key under attack.

use crate::features::measure::{Input, Measure, Output, OutputType, Row, Values, Window};
use crate::features::measures::random_log::written_and_read;
use arrow_buffer::BooleanBuffer;
use ouzel_core::limits::SKETCH_BYTES_MAX;
use proptest::prelude::*;

/// A random log and a random window.
#[derive(Debug)]
pub struct Case {
    pub window: Window,
    pub events: Vec<Event>,
    /// Events per call, over and over.
    cuts: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub slot: u32,
    pub time: i64,
    pub live_from: i64,
    pub value: u32,
    pub counted: bool,
}

/// The measure under test.
pub struct Subject {
    pub argument: Argument,
    pub outputs: &'static [OutputType],
    /// What sketches of a random log may be off by.
    pub error: f64,
    pub make: fn(Window) -> Box<dyn Measure>,
}

/// What the measure is given.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    Id,
    Float,
}

/// One result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Column {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Event {
    pub fn number(&self) -> f64 {
        match self.value {
            3 => -0.0,
            value => (f64::from(value) - 3.0) * 1.25,
        }
    }
}

impl Case {
    /// The counted events that the row at this place in the log sees, in order of arrival.
    pub fn seen_by(&self, at: usize) -> Vec<&Event> {
        let row = &self.events[at];
        let same = self.events[..=at].iter().filter(|event| event.slot == row.slot && event.counted);
        same.filter(|event| row.time - self.window.within < event.time && event.time <= row.time).collect()
    }
}

impl Column {
    pub fn int(value: Option<i64>) -> Column {
        value.map_or(Column::Null, Column::Int)
    }
    pub fn float(value: Option<f64>) -> Column {
        value.map_or(Column::Null, Column::Float)
    }
    fn agrees_with(self, model: Column, error: f64) -> bool {
        match (self, model) {
            (Column::Float(a), Column::Float(b)) => (a - b).abs() <= error + b.abs() * 1e-12,
            (Column::Int(a), Column::Int(b)) => a.abs_diff(b) as f64 <= error,
            (a, b) => a == b,
        }
    }
}

/// The model and the measure agree on random logs, in one call and under cuts, with dead slots forgotten or not; so
/// they do in tiles one microsecond wide, but for what the sketches promise.
pub fn check(subject: &Subject, model: impl Fn(&Case, usize) -> Vec<Column>) {
    for in_tiles in [false, true] {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let result = runner.run(&cases(), |mut case| {
            if in_tiles {
                case.window.exact_up_to = 8;
            }
            let whole = subject.apply(&case, &[usize::MAX], false, false);
            let cut = subject.apply(&case, &case.cuts, true, false);
            prop_assert_eq!(&whole, &cut, "under cuts");
            let resumed = subject.apply(&case, &case.cuts, true, true);
            prop_assert_eq!(&whole, &resumed, "under cuts, written and read at each");
            for (at, columns) in whole.iter().enumerate() {
                let expected = model(&case, at);
                for (column, model) in columns.iter().zip(&expected) {
                    prop_assert!(
                        column.agrees_with(*model, if in_tiles { subject.error } else { 1e-12 }),
                        "row {at}: {columns:?}, not {expected:?}"
                    );
                }
            }
            Ok(())
        });
        result.unwrap_or_else(|failure| panic!("in tiles: {in_tiles}: {failure}"));
    }
}

/// A million events on one key, with values by their number: at one instant, and spread over one window, where `look`
/// sees the results of some; then over many windows with a long lateness. Memory stays bounded, and after a quiet time
/// the key is as good as new.
pub fn attack(subject: &Subject, value: impl Fn(u32) -> u32, look: impl Fn(u32, &[Column])) {
    const EVENTS: u32 = 1_000_000;
    const HOUR: i64 = 3_600_000_000;
    for (step, lateness) in [(0, 0), (HOUR / i64::from(EVENTS), HOUR), (HOUR / 50_000, 40 * HOUR)] {
        let window = Window { within: HOUR, lateness, min_events: 0, exact_up_to: 8 };
        let mut measure = (subject.make)(window);
        let event = |n: u32| {
            let time = i64::from(n) * step;
            Event { slot: 0, time, live_from: time - lateness, value: value(n), counted: true }
        };
        for from in (0..EVENTS).step_by(1000) {
            let batch: Vec<Event> = (from..from + 1000).map(event).collect();
            let results = subject.apply_batch(measure.as_mut(), &batch, 1);
            if lateness <= HOUR {
                look(from, &results[0]);
                look(from + 999, &results[999]);
            }
            // The window in use is beside the sketches.
            let bytes = measure.bytes();
            assert!(bytes <= 8 * SKETCH_BYTES_MAX, "step {step}, event {from}: {bytes} bytes");
        }
        let mut late = event(EVENTS);
        late.time += window.within + lateness + 1;
        late.live_from = late.time - lateness;
        let mut fresh = (subject.make)(window);
        let quiet = subject.apply_batch(measure.as_mut(), &[late], 1);
        assert_eq!(quiet, subject.apply_batch(fresh.as_mut(), &[late], 1), "after a quiet time");
        assert_eq!(measure.bytes(), fresh.bytes(), "after a quiet time");
    }
}

/// A number near another.
pub fn is_near(column: &Column, expected: f64, error: f64) {
    let number = match *column {
        Column::Int(number) => number as f64,
        Column::Float(number) => number,
        Column::Bool(flag) => f64::from(flag),
        Column::Null => f64::NAN,
    };
    assert!((number - expected).abs() <= error, "{number}, not within {error} of {expected}");
}

fn cases() -> impl Strategy<Value = Case> {
    let window = (1i64..60, 0i64..90, prop_oneof![Just(0u64), 0u64..5]);
    // The clock's step, with quiet times; how late or far ahead of it the event is; its slot, value, and whether it counts.
    let step = prop_oneof![8 => 0i64..4, 1 => 0i64..40, 1 => 100i64..400];
    let off = prop_oneof![6 => Just(0i64), 4 => -90i64..0, 1 => 1i64..500];
    // Often few slots and values, so that a slot has much; sometimes more values than are searched one by one.
    let events = (1u32..5, prop_oneof![Just(3u32), Just(60)]).prop_flat_map(move |(slots, values)| {
        prop::collection::vec((step.clone(), off.clone(), 0..slots, 0..values, prop::bool::weighted(0.85)), 0..300)
    });
    (window, events, prop::collection::vec(1usize..20, 1..6)).prop_map(|((within, lateness, min_events), events, cuts)| {
        let window = Window { within, lateness, min_events, exact_up_to: 100_000 };
        let mut clock = 0;
        let place = |(step, off, slot, value, counted): (i64, i64, u32, u32, bool)| {
            clock += step;
            let live_from = clock - lateness;
            Event { slot, time: (clock + off).max(live_from), live_from, value, counted }
        };
        Case { window, events: events.into_iter().map(place).collect(), cuts }
    })
}

impl Subject {
    fn apply(&self, case: &Case, cuts: &[usize], forget: bool, resume: bool) -> Vec<Vec<Column>> {
        let mut measure = (self.make)(case.window);
        let mut results = Vec::new();
        let mut newest: Vec<i64> = Vec::new();
        let mut rest = case.events.as_slice();
        for cut in cuts.iter().cycle() {
            let (batch, after) = rest.split_at(rest.len().min(*cut));
            rest = after;
            let Some(live_from) = batch.last().map(|event| event.live_from) else { break };
            for event in batch {
                newest.resize(newest.len().max(event.slot as usize + 1), i64::MIN);
                newest[event.slot as usize] = newest[event.slot as usize].max(event.time);
            }
            results.extend(self.apply_batch(measure.as_mut(), batch, newest.len()));
            if resume {
                measure = written_and_read(measure.as_mut(), (self.make)(case.window));
            }
            for (slot, newest) in newest.iter().enumerate() {
                let sometimes = (results.len() + slot).is_multiple_of(2);
                if forget && sometimes && *newest <= case.window.dead_at(live_from) {
                    measure.forget(slot as u32);
                }
            }
        }
        results
    }

    fn apply_batch(&self, measure: &mut dyn Measure, batch: &[Event], slots: usize) -> Vec<Vec<Column>> {
        let row = |(at, e): (usize, &Event)| Row { slot: e.slot, row: at as u32, time: e.time, live_from: e.live_from };
        let rows: Vec<Row> = batch.iter().enumerate().map(row).collect();
        let counted: BooleanBuffer = batch.iter().map(|event| event.counted).collect();
        let ids: Vec<u128> = batch.iter().map(|event| u128::from(event.value)).collect();
        let numbers: Vec<f64> = batch.iter().map(|event| if event.counted { event.number() } else { f64::NAN }).collect();
        let values = match self.argument {
            Argument::Id => Values::Id(&ids),
            Argument::Float => Values::Float(&numbers),
        };
        let input = [Input { counted: Some(&counted), values }];
        let mut outputs: Vec<Output> = self.outputs.iter().map(|of| Output::new(*of, batch.len())).collect();
        measure.apply(slots, &rows, &input, &mut outputs);
        (0..batch.len()).map(|at| outputs.iter().map(|output| column(output, at)).collect()).collect()
    }
}

fn column(output: &Output, at: usize) -> Column {
    match output {
        Output::Int { values, valid } if valid[at] => Column::Int(values[at]),
        Output::Float { values, valid } if valid[at] => Column::Float(values[at]),
        Output::Bool { values, valid } if valid[at] => Column::Bool(values[at]),
        _ => Column::Null,
    }
}
