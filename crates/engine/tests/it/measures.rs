//! The measures under test, once: written into the pipeline from here, and computed by the model from here.

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Count,
    Sum,
    Mean,
    Stddev,
    Min,
    Max,
    Distinct,
    Quantile(f64),
    /// Of this half-life.
    Ewma(Span),
    FirstSeen,
    SinceLast,
    Last,
    Share,
    Entropy,
}

/// Its argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Of {
    All,
    Kind,
    Code,
    Big,
    Amount,
    AbsAmount,
    Ok,
    Time,
}

/// Its `where`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Where {
    Always,
    CodeFrom400,
    Ok,
    KindIsNotX,
}

/// A span of time as the pipeline writes it, and its microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span(pub &'static str, pub i64);

/// A measure.
#[derive(Debug, Clone)]
pub struct Measure {
    pub name: String,
    pub kind: Kind,
    pub of: Of,
    /// `None`: left out, 90 days.
    pub within: Option<Span>,
    pub condition: Where,
    pub min_events: usize,
    /// Microseconds by which the model takes the window longer, at both ends.
    pub slack: i64,
}

/// Measures of one key.
pub struct Group {
    pub by: &'static [&'static str],
    pub measures: Vec<Measure>,
}

const SECOND: i64 = 1_000_000;
pub const DAYS_90: i64 = 90 * 86_400 * SECOND;
const SHORT: [Span; 3] = [Span("10s", 10 * SECOND), Span("1m", 60 * SECOND), Span("10m", 600 * SECOND)];
const LONG: [Span; 3] = [Span("1m", 60 * SECOND), Span("1h", 3_600 * SECOND), Span("2d", 172_800 * SECOND)];
const CONDITIONS: [Where; 3] = [Where::CodeFrom400, Where::Ok, Where::KindIsNotX];

const KINDS: [(Kind, Of); 38] = [
    (Kind::Count, Of::All),
    (Kind::Count, Of::Kind),
    (Kind::Sum, Of::Code),
    (Kind::Sum, Of::Big),
    (Kind::Sum, Of::Amount),
    (Kind::Mean, Of::Code),
    (Kind::Mean, Of::Big),
    (Kind::Mean, Of::Amount),
    (Kind::Stddev, Of::Code),
    (Kind::Stddev, Of::Amount),
    (Kind::Min, Of::Code),
    (Kind::Min, Of::Amount),
    (Kind::Max, Of::Big),
    (Kind::Max, Of::Amount),
    (Kind::Distinct, Of::Kind),
    (Kind::Distinct, Of::Code),
    (Kind::Distinct, Of::Amount),
    (Kind::Distinct, Of::Ok),
    (Kind::Quantile(0.25), Of::Code),
    (Kind::Quantile(0.9), Of::Amount),
    (Kind::Quantile(0.5), Of::Amount),
    (Kind::FirstSeen, Of::All),
    (Kind::FirstSeen, Of::Kind),
    (Kind::FirstSeen, Of::Amount),
    (Kind::SinceLast, Of::All),
    (Kind::SinceLast, Of::Kind),
    (Kind::Last, Of::Kind),
    (Kind::Last, Of::Code),
    (Kind::Last, Of::Amount),
    (Kind::Last, Of::Ok),
    (Kind::Last, Of::Time),
    (Kind::Share, Of::Kind),
    (Kind::Share, Of::Code),
    (Kind::Entropy, Of::Kind),
    (Kind::Entropy, Of::Ok),
    (Kind::Entropy, Of::Amount),
    (Kind::Ewma(Span("2s", 2 * SECOND)), Of::All),
    (Kind::Ewma(Span("1m", 60 * SECOND)), Of::AbsAmount),
];

/// Every kind by one field, plain and with `where` and `min_events`, in windows so short that keys are forgotten; by two fields in
/// windows up to the default of 90 days; and a few by a truth value.
pub fn groups() -> Vec<Group> {
    let mut by_one = Vec::new();
    let mut by_two = Vec::new();
    for (i, (kind, of)) in KINDS.into_iter().enumerate() {
        let measure = |name: String| Measure {
            name,
            kind,
            of,
            within: Some(SHORT[i % 3]),
            condition: Where::Always,
            min_events: 0,
            slack: 0,
        };
        by_one.push(measure(format!("a{i}")));
        by_one.push(Measure {
            within: Some(SHORT[(i + 1) % 3]),
            condition: CONDITIONS[i % 3],
            min_events: if kind.has_min_events() { i % 4 } else { 0 },
            ..measure(format!("b{i}"))
        });
        let has_default = matches!(kind, Kind::FirstSeen | Kind::SinceLast | Kind::Last);
        by_two.push(Measure { within: (!has_default).then_some(LONG[i % 3]), ..measure(format!("c{i}")) });
    }
    // Its window is longer than any log, so that all events of the key count for `min_events`.
    let kind = Kind::Ewma(Span("90d", DAYS_90));
    let slow =
        Measure { name: "d0".into(), kind, of: Of::All, within: None, condition: Where::KindIsNotX, min_events: 3, slack: 0 };
    let count = Measure { name: "d1".into(), kind: Kind::Count, within: Some(SHORT[1]), ..slow.clone() };
    vec![
        Group { by: &["who"], measures: by_one },
        Group { by: &["who", "place"], measures: by_two },
        Group { by: &["ok"], measures: vec![slow, count] },
    ]
}

impl Kind {
    /// `first_seen`, `since_last` and `last` look at one event each. That of `ewma` is of the whole past, see `groups`.
    fn has_min_events(self) -> bool {
        !matches!(self, Kind::FirstSeen | Kind::SinceLast | Kind::Last | Kind::Ewma(_))
    }
}

impl Measure {
    /// Microseconds.
    pub fn within(&self) -> i64 {
        match self.kind {
            Kind::Ewma(half_life) => half_life.1 * 64,
            _ => self.within.map_or(DAYS_90, |span| span.1),
        }
    }

    /// Names of its result columns.
    pub fn columns(&self) -> Vec<String> {
        match self.kind {
            Kind::FirstSeen => vec![self.name.clone(), format!("{}_age", self.name)],
            _ => vec![self.name.clone()],
        }
    }

    /// As a line of the pipeline.
    pub fn yaml(&self) -> String {
        let (kind, of) = (self.kind, self.of);
        let word = match kind {
            Kind::Count => "count",
            Kind::Sum => "sum",
            Kind::Mean => "mean",
            Kind::Stddev => "stddev",
            Kind::Min => "min",
            Kind::Max => "max",
            Kind::Distinct => "distinct",
            Kind::Quantile(_) => "quantile",
            Kind::Ewma(_) => "ewma",
            Kind::FirstSeen => "first_seen",
            Kind::SinceLast => "since_last",
            Kind::Last => "last",
            Kind::Share => "share",
            Kind::Entropy => "entropy",
        };
        let argument = match of {
            Of::All => "*",
            Of::Kind => "kind",
            Of::Code => "code",
            Of::Big => "big",
            Of::Amount => "amount",
            Of::AbsAmount => "abs(amount)",
            Of::Ok => "ok",
            Of::Time => "t",
        };
        let mut line = format!("{}: {{ {word}: \"{argument}\"", self.name);
        match (kind, self.within) {
            (Kind::Ewma(half_life), _) => line += &format!(", half_life: {}", half_life.0),
            (_, Some(within)) => line += &format!(", within: {}", within.0),
            _ => {}
        }
        if let Kind::Quantile(q) = kind {
            line += &format!(", q: {q}");
        }
        if let Some(condition) = match self.condition {
            Where::Always => None,
            Where::CodeFrom400 => Some("code >= 400"),
            Where::Ok => Some("ok"),
            Where::KindIsNotX => Some("kind <> 'x'"),
        } {
            line += &format!(", where: \"{condition}\"");
        }
        if self.min_events > 0 {
            line += &format!(", min_events: {}", self.min_events);
        }
        line + " }"
    }
}
