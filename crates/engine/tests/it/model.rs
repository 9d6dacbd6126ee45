//! The meaning, as plainly as it can be said: a list of all events that have arrived, filtered anew for each row.
//! Numbers are added up as integers, so that the model itself does not round.

use crate::log::{Event, Line, Log, PER_UNIT};
use crate::measures::{Group, Kind, Measure, Of, Where};
use crate::project::Settings;
use std::collections::BTreeMap;

/// What a column of a row has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    /// Within 1e-9 of it, or as near as `slack`, which is far below what the result is made of.
    Float {
        value: f64,
        slack: f64,
    },
}

/// A row that has to come out.
pub struct Row {
    pub event: Event,
    /// Offset in the log.
    pub offset: usize,
    pub late: bool,
    /// By group and measure, in order of the columns.
    pub features: Vec<Cell>,
}

/// Fates of the log's lines.
#[derive(Debug, Default, PartialEq)]
pub struct Fates {
    pub received: u64,
    pub delivered: u64,
    pub duplicate: u64,
    pub quarantined: u64,
    pub dead_lettered: u64,
    pub late: u64,
}

pub fn run(log: &Log, groups: &[Group], settings: &Settings) -> (Vec<Row>, Fates) {
    let mut fates = Fates::default();
    let mut rows = Vec::new();
    let mut taken: Vec<&Event> = Vec::new();
    let mut arrived: Vec<&Event> = Vec::new();
    let mut clock = None;
    for (offset, line) in log.0.iter().enumerate() {
        fates.received += 1;
        let event = match line {
            Line::Junk => {
                fates.dead_lettered += 1;
                continue;
            }
            Line::Timeless(_) => {
                fates.quarantined += 1;
                continue;
            }
            Line::Event(event) => event,
        };
        if is_duplicate(event, &taken, clock, settings) {
            fates.duplicate += 1;
            continue;
        }
        taken.push(event);
        clock = clock.max(median_of_last_33(&taken));
        let late = clock.is_some_and(|clock| event.t < clock - settings.lateness);
        fates.late += u64::from(late && !settings.quarantines);
        if late && settings.quarantines {
            fates.quarantined += 1;
            continue;
        }
        if !late {
            arrived.push(event);
        }
        fates.delivered += 1;
        let features = groups.iter().flat_map(|group| features(group, event, late, &arrived)).collect();
        rows.push(Row { event: event.clone(), offset, late, features });
    }
    (rows, fates)
}

/// One of the same id, less than `duplicates_within` away, was taken; unless the clock has passed it by that and the lateness.
fn is_duplicate(event: &Event, taken: &[&Event], clock: Option<i64>, settings: &Settings) -> bool {
    let Some(within) = settings.duplicates_within else { return false };
    let forgotten = |t: i64| clock.is_some_and(|clock| clock >= t + within + settings.lateness);
    event.id.is_some() && taken.iter().any(|e| e.id == event.id && (e.t - event.t).abs() < within && !forgotten(e.t))
}

fn median_of_last_33(taken: &[&Event]) -> Option<i64> {
    let mut last: Vec<i64> = taken.iter().rev().take(33).map(|e| e.t).collect();
    last.sort_unstable();
    (last.len() == 33).then(|| last[16])
}

fn features(group: &Group, event: &Event, late: bool, arrived: &[&Event]) -> Vec<Cell> {
    let own_key = key(group, event);
    let of_key: Vec<&Event> = arrived.iter().copied().filter(|e| own_key.is_some() && key(group, e) == own_key).collect();
    let mut cells = Vec::new();
    for measure in &group.measures {
        if late || own_key.is_none() {
            cells.extend(vec![Cell::Null; measure.columns().len()]);
        } else {
            cells.extend(measured(measure, event, &of_key));
        }
    }
    cells
}

/// `None` if any part is null.
fn key<'e>(group: &Group, event: &'e Event) -> Option<Vec<&'e str>> {
    let part = |by: &&str| match *by {
        "who" => event.who.as_deref(),
        "place" => event.place.as_deref(),
        "ok" => event.ok.map(|ok| if ok { "true" } else { "false" }),
        other => panic!("no field `{other}`"),
    };
    group.by.iter().map(part).collect()
}

/// A value of an argument. Equal values are equal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value<'e> {
    One,
    Int(i64),
    Amount(i64),
    Text(&'e str),
    Bool(bool),
    Time(i64),
}

/// `None`: it does not count, for the argument is null or `where` is not true.
fn counted<'e>(measure: &Measure, event: &'e Event) -> Option<Value<'e>> {
    let holds = match measure.condition {
        Where::Always => true,
        Where::CodeFrom400 => event.code.is_some_and(|code| code >= 400),
        Where::Ok => event.ok == Some(true),
        Where::KindIsNotX => event.kind.as_ref().is_some_and(|kind| kind != "x"),
    };
    let value = match measure.of {
        Of::All => Some(Value::One),
        Of::Kind => event.kind.as_deref().map(Value::Text),
        Of::Code => event.code.map(Value::Int),
        Of::Big => event.big.map(Value::Int),
        Of::Amount => event.amount.map(Value::Amount),
        Of::AbsAmount => event.amount.map(|n| Value::Amount(n.abs())),
        Of::Ok => event.ok.map(Value::Bool),
        Of::Time => Some(Value::Time(event.t)),
    };
    value.filter(|_| holds)
}

impl Value<'_> {
    fn number(self) -> f64 {
        match self {
            Value::One => 1.0,
            Value::Int(n) => n as f64,
            Value::Amount(n) => n as f64 / PER_UNIT as f64,
            other => panic!("{other:?} is no number"),
        }
    }
    /// In units of 1/1024.
    fn units(self) -> i128 {
        match self {
            Value::Int(n) => i128::from(n) * i128::from(PER_UNIT),
            Value::Amount(n) => i128::from(n),
            other => panic!("{other:?} is no number"),
        }
    }
    fn cell(self) -> Cell {
        match self {
            Value::Int(n) | Value::Time(n) => Cell::Int(n),
            Value::Amount(_) => float(self.number()),
            Value::Text(text) => Cell::Text(text.into()),
            Value::Bool(b) => Cell::Bool(b),
            Value::One => Cell::Null,
        }
    }
}

fn float(value: f64) -> Cell {
    Cell::Float { value, slack: 0.0 }
}

/// `of_key`: all events of the key that have arrived, `own` the last.
fn measured(measure: &Measure, own: &Event, of_key: &[&Event]) -> Vec<Cell> {
    let within = measure.within();
    let in_window = |t: i64| own.t - within - measure.slack < t && t <= own.t + measure.slack;
    let all: Vec<(i64, Value)> = of_key.iter().filter_map(|e| Some((e.t, counted(measure, e)?))).collect();
    let own_value = counted(measure, own);
    // The counted events of the window, own included, in order of arrival.
    let seen: Vec<(i64, Value)> = all.iter().copied().filter(|(t, _)| in_window(*t)).collect();
    let values: Vec<Value> = seen.iter().map(|(_, value)| *value).collect();
    // Those that arrived before this event.
    let before = if own_value.is_some() { &seen[..seen.len() - 1] } else { &seen[..] };
    let enough = values.len() >= measure.min_events;
    let known = |cell: Option<Cell>| vec![cell.filter(|_| enough).unwrap_or(Cell::Null)];
    match measure.kind {
        Kind::Count => known(Some(Cell::Int(values.len() as i64))),
        Kind::Sum => known(sum(&values)),
        Kind::Mean => known((!values.is_empty()).then(|| {
            let sum: i128 = values.iter().map(|v| v.units()).sum();
            float(sum as f64 / (values.len() as f64 * PER_UNIT as f64))
        })),
        Kind::Stddev => known((values.len() > 1).then(|| float(stddev(&values)))),
        Kind::Min => known(values.iter().min().map(|v| v.cell())),
        Kind::Max => known(values.iter().max().map(|v| v.cell())),
        Kind::Distinct => known(Some(Cell::Int(tally(&values).len() as i64))),
        Kind::Quantile(q) => known(quantile(values, q)),
        Kind::Share => known(own_value.map(|own| {
            let same = values.iter().filter(|v| **v == own).count();
            float(same as f64 / values.len() as f64)
        })),
        Kind::Entropy => known((!values.is_empty()).then(|| {
            let n = values.len() as f64;
            let bits = tally(&values).into_values().map(|count| count as f64 / n * (n / count as f64).log2()).sum();
            Cell::Float { value: bits, slack: 1e-12 }
        })),
        Kind::FirstSeen => match own_value {
            None => vec![Cell::Null, Cell::Null],
            Some(own_value) => {
                let since = before.iter().filter(|(_, value)| *value == own_value).map(|(t, _)| *t).min();
                vec![Cell::Bool(since.is_none()), float(since.map_or(0.0, |since| seconds(own.t - since)))]
            }
        },
        // Of those with the greatest time the last to arrive.
        Kind::SinceLast => vec![before.iter().max_by_key(|(t, _)| *t).map_or(Cell::Null, |(t, _)| float(seconds(own.t - t)))],
        Kind::Last => vec![before.iter().max_by_key(|(t, _)| *t).map_or(Cell::Null, |(_, value)| value.cell())],
        Kind::Ewma(half_life) => {
            // It has no window: all the past fades.
            let past: Vec<(i64, f64)> = all.iter().filter(|(t, _)| *t <= own.t).map(|(t, value)| (*t, value.number())).collect();
            if seen.is_empty() || past.len() < measure.min_events {
                return vec![Cell::Null];
            }
            let rate = std::f64::consts::LN_2 / seconds(half_life.1);
            let decayed = |(t, weight): &(i64, f64)| weight * (-((own.t - t) as f64) / half_life.1 as f64).exp2();
            let sum: f64 = past.iter().map(decayed).sum();
            // What weighs less than 2^-64 of its value may be forgotten.
            let forgotten: f64 = past.iter().map(|(_, weight)| weight).sum::<f64>() * (-63f64).exp2();
            vec![Cell::Float { value: sum * rate, slack: forgotten * rate }]
        }
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn tally<'e>(values: &[Value<'e>]) -> BTreeMap<Value<'e>, usize> {
    let mut tally = BTreeMap::new();
    for value in values {
        *tally.entry(*value).or_default() += 1;
    }
    tally
}

/// Null if there is none; of integers also if it does not fit.
fn sum(values: &[Value]) -> Option<Cell> {
    let units: i128 = values.iter().map(|v| v.units()).sum();
    match values.first()? {
        Value::Amount(_) => Some(float(units as f64 / PER_UNIT as f64)),
        _ => i64::try_from(units / i128::from(PER_UNIT)).ok().map(Cell::Int),
    }
}

/// Of a sample.
fn stddev(values: &[Value]) -> f64 {
    let n = values.len() as i128;
    let sum: i128 = values.iter().map(|v| v.units()).sum();
    let squares: i128 = values.iter().map(|v| v.units() * v.units()).sum();
    let variance = (n * squares - sum * sum) as f64 / (n * (n - 1)) as f64;
    variance.sqrt() / PER_UNIT as f64
}

/// Between the two neighbours, in proportion.
fn quantile(mut values: Vec<Value>, q: f64) -> Option<Cell> {
    values.sort();
    let place = values.len().checked_sub(1)? as f64 * q;
    let (low, high) = (values[place.floor() as usize].number(), values[place.ceil() as usize].number());
    // Two numbers of different sign may cancel.
    let slack = 1e-12 * low.abs().max(high.abs());
    Some(Cell::Float { value: low + (high - low) * place.fract(), slack })
}

impl Cell {
    /// Whether this is what came out.
    pub fn is(&self, found: &serde_json::Value) -> bool {
        match self {
            Cell::Null => found.is_null(),
            Cell::Bool(b) => found.as_bool() == Some(*b),
            Cell::Int(n) => found.as_i64() == Some(*n),
            Cell::Text(text) => found.as_str() == Some(text),
            Cell::Float { value, slack } => {
                found.as_f64().is_some_and(|found| (found - value).abs() <= 1e-9 * value.abs().max(found.abs()) + slack)
            }
        }
    }
}
