//! Logs as they may come: gaps and ties, late events, some dated far ahead, retries, nulls, lines that are no events.
//! A log is made of steps that mean something each on its own, so that proptest can leave any of them out.

use proptest::prelude::*;
use std::fmt;

/// Amounts are multiples of 1/1024, so that the model may add them up exactly.
pub const PER_UNIT: i64 = 1024;

/// An event as it is written to the log.
#[derive(Clone, PartialEq, Default)]
pub struct Event {
    pub seq: usize,
    /// Microseconds since 1970.
    pub t: i64,
    pub id: Option<String>,
    pub who: Option<String>,
    pub place: Option<String>,
    pub kind: Option<String>,
    pub code: Option<i64>,
    pub big: Option<i64>,
    /// In units of 1/1024.
    pub amount: Option<i64>,
    pub ok: Option<bool>,
}

/// A line of the log.
#[derive(Clone, PartialEq)]
pub enum Line {
    Event(Event),
    /// It has no time.
    Timeless(Event),
    /// It is no JSON.
    Junk,
}

/// What is the same for all events of a log.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Microseconds that most times are multiples of.
    pub grid: i64,
    /// Different values of `who`.
    pub keys: usize,
    /// Events come in order of time.
    pub ordered: bool,
    /// Amounts lie around this: 0, or so far out that a careless deviation would lose all digits.
    pub amounts_around: i64,
}

#[derive(Debug, Clone)]
pub struct Step {
    what: What,
    who: Option<usize>,
    place: Option<usize>,
    kind: Option<usize>,
    code: Option<usize>,
    big: Option<usize>,
    amount: Option<i64>,
    ok: Option<bool>,
    has_id: bool,
}

#[derive(Debug, Clone)]
enum What {
    /// This many steps of the grid later than the one before.
    Next(i64),
    /// Late by this part of the lateness, in 1/50.
    Late(i64),
    Ahead(usize),
    /// The log goes on this much later.
    Jump(usize),
    /// A copy of the event so many lines before, so many steps of the grid later.
    Again(usize, i64),
    Timeless,
    Junk,
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const START: i64 = 1_772_323_200 * SECOND;
const GRIDS: [i64; 5] = [1, 1_000, 250_000, SECOND, 20 * SECOND];
const AHEAD: [i64; 4] = [5 * SECOND, 3_600 * SECOND, 120 * DAY, 3_652 * DAY];
const JUMPS: [i64; 4] = [61 * SECOND, 660 * SECOND, 7_200 * SECOND, 100 * DAY];
/// Pairs of who and place that are the same when written one after the other.
const FEW_WHO: [&str; 5] = ["a", "ab", "", "abc", "\u{e9}\n\""];
const PLACES: [&str; 4] = ["bc", "c", "", "b"];
const KINDS: [&str; 6] = ["x", "y", "", "z", "X", "\u{1f426}"];
const CODES: [i64; 8] = [200, 404, 500, 0, -1, 301, 400, 7];
const BIGS: [i64; 9] = [1, -2, 0, 1 << 53, (1 << 53) + 1, 1 << 62, i64::MAX, i64::MIN, i64::MAX - 1];
pub const EVENTS_MAX: usize = 600;

pub fn shapes() -> impl Strategy<Value = Shape> {
    let keys = prop_oneof![Just(1usize), Just(3), Just(5), Just(40), Just(600)];
    let around = prop_oneof![3 => Just(0i64), 1 => Just(1i64 << 44)];
    (prop::sample::select(&GRIDS[..]), keys, prop::bool::weighted(0.25), around)
        .prop_map(|(grid, keys, ordered, amounts_around)| Shape { grid, keys, ordered, amounts_around })
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=EVENTS_MAX)
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        100 => (0i64..5).prop_map(What::Next),
        30 => (0i64..100).prop_map(What::Late),
        3 => (0..AHEAD.len()).prop_map(What::Ahead),
        2 => (0..JUMPS.len()).prop_map(What::Jump),
        8 => (1usize..40, -3i64..40).prop_map(|(back, shift)| What::Again(back, shift)),
        1 => Just(What::Timeless),
        1 => Just(What::Junk),
    ];
    let some = |part: f64| prop::bool::weighted(part);
    let fields = (
        (some(0.95), 0usize..600),
        (some(0.9), 0..PLACES.len()),
        (some(0.8), 0..KINDS.len()),
        (some(0.8), 0..CODES.len()),
        (some(0.8), prop_oneof![4 => 0usize..3, 1 => 0..BIGS.len()]),
        (some(0.8), -2048i64..2048),
        (some(0.8), any::<bool>()),
        some(0.9),
    );
    fn kept<T>((some, value): (bool, T)) -> Option<T> {
        some.then_some(value)
    }
    (what, fields).prop_map(|(what, (who, place, kind, code, big, amount, ok, has_id))| Step {
        what,
        who: kept(who),
        place: kept(place),
        kind: kept(kind),
        code: kept(code),
        big: kept(big),
        amount: kept(amount),
        ok: kept(ok),
        has_id,
    })
}

/// A log. Shown line by line, as it is written.
#[derive(Clone)]
pub struct Log(pub Vec<Line>);

/// The log that steps make, for a pipeline of this lateness.
pub fn log(shape: &Shape, steps: &[Step], lateness: i64) -> Log {
    let mut now = START;
    let mut lines: Vec<Line> = Vec::new();
    for step in steps {
        let mut event = event(shape, step, lines.len());
        event.t = match step.what {
            What::Next(gap) => {
                now += gap * shape.grid;
                now
            }
            What::Jump(by) => {
                now += JUMPS[by];
                now
            }
            What::Late(part) if !shape.ordered => {
                now - (lateness * part / 50).max(part * shape.grid / 10) / shape.grid * shape.grid
            }
            What::Ahead(by) if !shape.ordered => now + AHEAD[by],
            What::Again(back, shift) if !shape.ordered => match lines.len().checked_sub(back).map(|at| &lines[at]) {
                Some(Line::Event(earlier)) => {
                    event = Event { seq: event.seq, ..earlier.clone() };
                    event.t + shift * shape.grid
                }
                _ => now,
            },
            _ => now,
        };
        lines.push(match step.what {
            What::Junk => Line::Junk,
            What::Timeless => Line::Timeless(event),
            _ => Line::Event(event),
        });
    }
    Log(lines)
}

fn event(shape: &Shape, step: &Step, seq: usize) -> Event {
    let who =
        |n: usize| if shape.keys <= FEW_WHO.len() { FEW_WHO[n % shape.keys].into() } else { format!("w{}", n % shape.keys) };
    Event {
        seq,
        t: 0,
        id: step.has_id.then(|| format!("e{seq}")),
        who: step.who.map(who),
        place: step.place.map(|n| PLACES[n].into()),
        kind: step.kind.map(|n| KINDS[n].into()),
        code: step.code.map(|n| CODES[n]),
        big: step.big.map(|n| BIGS[n]),
        amount: step.amount.map(|n| n + shape.amounts_around),
        ok: step.ok,
    }
}

impl Log {
    pub fn ndjson(&self) -> String {
        self.0.iter().map(|line| format!("{line:?}\n")).collect()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines\n{}", self.0.len(), self.ndjson())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Event(event) => write!(f, "{{\"t\":{},{}}}", event.t, event.fields()),
            Line::Timeless(event) => write!(f, "{{{}}}", event.fields()),
            Line::Junk => f.write_str("{\"t\": no JSON"),
        }
    }
}

impl Event {
    fn fields(&self) -> String {
        let mut out = format!("\"seq\":{}", self.seq);
        let text = |v: &Option<String>| v.as_ref().map(|v| serde_json::Value::from(v.as_str()).to_string());
        let amount = self.amount.map(|n| match n {
            // As good a zero as the other.
            0 if self.seq % 2 == 1 => "-0.0".to_string(),
            n => format!("{:?}", n as f64 / PER_UNIT as f64),
        });
        let fields = [
            ("id", text(&self.id)),
            ("who", text(&self.who)),
            ("place", text(&self.place)),
            ("kind", text(&self.kind)),
            ("code", self.code.map(|v| v.to_string())),
            ("big", self.big.map(|v| v.to_string())),
            ("amount", amount),
            ("ok", self.ok.map(|v| v.to_string())),
        ];
        for (name, value) in fields {
            match value {
                Some(value) => out.push_str(&format!(",\"{name}\":{value}")),
                // A field may be null or not there.
                None if self.seq.is_multiple_of(2) => out.push_str(&format!(",\"{name}\":null")),
                None => {}
            }
        }
        out
    }
}
