//! Random logs for property tests of measures: ties, late rows, rows far ahead, quiet times, rows not counted, several
//! keys; and what every measure promises of them, whatever it measures.

use crate::features::measure::{Input, Measure, Output, OutputType, Row, Save, Values, Window};
use arrow_array::StringViewArray;
use arrow_buffer::BooleanBuffer;
use ouzel_core::wire::Taker;
use proptest::prelude::*;

pub const SLOTS: usize = 3;

#[derive(Debug, Clone)]
pub struct Event {
    pub slot: u32,
    pub time: i64,
    pub live_from: i64,
    pub counted: bool,
    pub value: f64,
    /// A batch ends after this one, in runs with random cuts.
    pub cut: bool,
    /// Dead slots are forgotten after this one, in runs that forget.
    pub forget: bool,
}

/// How a log's values reach the measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Column {
    None,
    Int,
    Float,
    Text,
}

/// One value of an output; floats by their bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Int(i64),
    Float(u64),
    Bool(bool),
    Text(String),
}

impl Cell {
    pub fn float(&self) -> f64 {
        match self {
            Cell::Float(bits) => f64::from_bits(*bits),
            Cell::Int(value) => *value as f64,
            _ => panic!("not a number: {self:?}"),
        }
    }
}

/// Up to 300 events, spread over a part of the window or over many.
pub fn random_log(window: Window) -> impl Strategy<Value = Vec<Event>> {
    let value = prop_oneof![
        4 => (-20i64..20).prop_map(|v| v as f64),
        2 => (0i64..100).prop_map(|v| 1e12 + v as f64 * 1e-3),
        2 => (-1.0..1.0f64, -60i32..60).prop_map(|(v, e)| v * 10f64.powi(e)),
    ];
    let slot = prop_oneof![6 => Just(0u32), 1 => Just(1), 1 => Just(2)];
    let step =
        (slot, 0u32..24, 0.0..1.0f64, prop::bool::weighted(0.85), value, prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let pace = prop_oneof![Just(window.within / 100), Just(window.within / 8), Just(window.within)];
    (-3 * window.within..3 * window.within, pace, prop::collection::vec(step, 1..300)).prop_map(move |(start, pace, steps)| {
        let (mut clock, mut live_from) = (start, i64::MIN);
        let part = |of: i64, fraction: f64| (of as f64 * fraction) as i64;
        let mut events = Vec::new();
        for (slot, kind, fraction, counted, value, cut, forget) in steps {
            let mut time = match kind {
                0..4 => clock,
                4..16 => clock + part(pace, fraction),
                16 => clock + part(3 * window.within + 2 * window.lateness, fraction),
                17..23 => clock - part(window.lateness, fraction),
                _ => clock + part(8 * window.within, fraction),
            };
            // One event far ahead does not move the clock.
            clock = if kind == 23 { clock } else { clock.max(time) };
            live_from = live_from.max(clock - window.lateness);
            time = time.max(live_from);
            events.push(Event { slot, time, live_from, counted, value, cut, forget });
        }
        events
    })
}

/// The output by row, after checking that cuts and forgetting dead slots make no difference to it.
pub fn outputs(
    make: &dyn Fn() -> Box<dyn Measure>,
    window: Window,
    log: &[Event],
    column: Column,
    of: OutputType,
) -> Vec<Option<Cell>> {
    let run = |cut: &dyn Fn(&Event) -> bool, forget: bool, resume: bool| {
        let mut measure = make();
        let mut cells = Vec::new();
        let mut newest = [i64::MIN; SLOTS];
        for batch in log.chunk_by(|event, _| !cut(event)) {
            cells.extend(apply(measure.as_mut(), batch, column, of));
            for event in batch.iter().filter(|e| e.counted) {
                newest[event.slot as usize] = newest[event.slot as usize].max(event.time);
            }
            if resume {
                measure = written_and_read(measure.as_mut(), make());
            }
            let Some(last) = batch.last().filter(|last| forget && last.forget) else { continue };
            for (slot, newest) in newest.iter().enumerate() {
                if *newest <= window.dead_at(last.live_from) {
                    measure.forget(slot as u32);
                }
            }
        }
        cells
    };
    let whole = run(&|_| false, false, false);
    assert_eq!(whole, run(&|_| true, false, false), "in batches of one");
    assert_eq!(whole, run(&|e| e.cut, false, false), "in random cuts");
    assert_eq!(whole, run(&|e| e.cut, true, false), "in random cuts, forgetting");
    assert_eq!(whole, run(&|_| true, true, false), "in batches of one, forgetting");
    assert_eq!(whole, run(&|e| e.cut, true, true), "in random cuts, forgetting, written and read");
    assert_eq!(whole, run(&|_| true, false, true), "in batches of one, written and read");
    whole
}

/// A measure made of what another wrote. The slots are read in another order than they have.
pub fn written_and_read(measure: &mut dyn Measure, mut fresh: Box<dyn Measure>) -> Box<dyn Measure> {
    let slots = 5;
    for slot in (0..slots as u32).rev() {
        let mut bytes = Vec::new();
        measure.save(slot, &mut bytes, Save::All);
        let mut from = Taker(&bytes);
        fresh.load(slots, slot, &mut from).expect("sound");
        assert!(from.is_empty(), "{} bytes are left", from.0.len());
        for end in 0..bytes.len().min(64) {
            // Damage is told or not, but never a panic.
            let _ = fresh.load(slots, slot, &mut Taker(&bytes[..end]));
        }
        fresh.forget(slot);
        fresh.load(slots, slot, &mut Taker(&bytes)).expect("sound");
    }
    fresh
}

pub fn apply(measure: &mut dyn Measure, batch: &[Event], column: Column, of: OutputType) -> Vec<Option<Cell>> {
    let rows: Vec<Row> =
        (0..).zip(batch).map(|(row, e)| Row { slot: e.slot, row, time: e.time, live_from: e.live_from }).collect();
    let counted: BooleanBuffer = batch.iter().map(|e| e.counted).collect();
    let ints: Vec<i64> = batch.iter().map(|e| e.value as i64).collect();
    let floats: Vec<f64> = batch.iter().map(|e| if e.counted { e.value } else { f64::NAN }).collect();
    let texts: StringViewArray = batch.iter().map(|e| Some(e.value.to_string())).collect();
    let values = match column {
        Column::None => Values::None,
        Column::Int => Values::Int(&ints),
        Column::Float => Values::Float(&floats),
        Column::Text => Values::Text(&texts),
    };
    let mut output = [Output::new(of, batch.len())];
    measure.apply(SLOTS, &rows, &[Input { counted: Some(&counted), values }], &mut output);
    let [output] = output;
    match output {
        Output::Int { values, valid } | Output::Time { values, valid } => cells(values, valid, Cell::Int),
        Output::Float { values, valid } => cells(values, valid, |v| Cell::Float(v.to_bits())),
        Output::Bool { values, valid } => cells(values, valid, Cell::Bool),
        Output::Text(values) => values.into_iter().map(|v| v.map(|text| Cell::Text(text.into()))).collect(),
    }
}

fn cells<T>(values: Vec<T>, valid: Vec<bool>, cell: impl Fn(T) -> Cell) -> Vec<Option<Cell>> {
    values.into_iter().zip(valid).map(|(value, valid)| valid.then(|| cell(value))).collect()
}

/// Counted events of row `at`'s key that have arrived, itself included, with times in `(after, through]`.
pub fn arrived(log: &[Event], at: usize, after: i64, through: i64) -> Vec<&Event> {
    let of_window = |e: &&Event| e.counted && e.slot == log[at].slot && e.time > after && e.time <= through;
    log[..=at].iter().filter(of_window).collect()
}

/// A log in order without lateness: one event of key 0 every `step` microseconds from `start`.
pub fn steady(start: i64, step: i64, count: usize) -> Vec<Event> {
    let times = (0..count as i64).map(|i| start + i * step);
    times.map(|time| Event { slot: 0, time, live_from: time, counted: true, value: 1.0, cut: false, forget: false }).collect()
}
