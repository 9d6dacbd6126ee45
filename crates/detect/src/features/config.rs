//! Measures as a pipeline writes them.

use super::measure::Window;
use super::measures::surprise::Given;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Lenient, OneOrMany, Ordered, Report, Span, Spanned, limits};
use schemars::JsonSchema;
use serde::Deserialize;

/// Measures of one key.
///
/// ```yaml
/// by: [customer, session]
/// measure:
///   requests_1m: { count: "*",          within: 1m }
///   errors_5m:   { count: "*",          within: 5m, where: "status >= 400" }
///   agents_1h:   { distinct: user_agent, within: 1h }
///   new_device:  { first_seen: device }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// One field or several. An event in which any of them is null belongs to no key: its features are null.
    pub by: OneOrMany<Spanned<String>>,
    /// Name to measure.
    pub measure: Ordered<Spanned<MeasureConfig>>,
}

/// What is measured: exactly one kind, its argument a field, an SQL expression or `"*"`.
///
/// Windows are `(t - within, t]` in event time, this event included. A null argument is not counted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MeasureConfig {
    /// Events (`"*"`), or those whose argument is not null. 0 if there is none.
    pub count: Option<Spanned<String>>,
    /// Sum. Integers exactly; null if it does not fit 64 bits.
    pub sum: Option<Spanned<String>>,
    /// Arithmetic mean.
    pub mean: Option<Spanned<String>>,
    /// Sample standard deviation (n - 1); null below two values.
    pub stddev: Option<Spanned<String>>,
    /// Least value.
    pub min: Option<Spanned<String>>,
    /// Greatest value.
    pub max: Option<Spanned<String>>,
    /// Number of different values.
    pub distinct: Option<Spanned<String>>,
    /// The `q` quantile, with linear interpolation.
    pub quantile: Option<Spanned<String>>,
    /// For `quantile`: between 0 and 1.
    pub q: Option<Spanned<f64>>,
    /// Exponentially decayed rate per second: events (`"*"`) or units of the argument.
    pub ewma: Option<Spanned<String>>,
    /// For `ewma` and `decayed_sum`: after this time a contribution counts half.
    pub half_life: Option<Spanned<TimeSpan>>,
    /// NAME: true if the key has not shown this value before (`"*"`: if the key is new); NAME_age: seconds since it first did.
    pub first_seen: Option<Spanned<String>>,
    /// Seconds since the key's previous event (`"*"`), or since the previous one whose argument is not null.
    pub since_last: Option<Spanned<String>>,
    /// The argument's value in the key's previous event.
    pub last: Option<Spanned<String>>,
    /// The part of the key's events that have this event's value: above 0, up to 1.
    pub share: Option<Spanned<String>>,
    /// Shannon entropy of the values, in bits.
    pub entropy: Option<Spanned<String>>,
    /// How little this value was to be expected, in bits, from what the key has shown before; with `of`, from what it has shown with the same value of that.
    pub surprise: Option<Spanned<String>>,
    /// How little this value was to be expected behind the key's previous one, in bits.
    pub transition: Option<Spanned<String>>,
    /// How little this value was to be expected from the others, in bits: from the key's events with another value of `of`.
    pub peers: Option<Spanned<String>>,
    /// For `surprise` and `peers`: the second field or SQL expression, as who of the key it is.
    pub of: Option<Spanned<String>>,
    /// For `surprise`, `transition` and `peers`: an event is learned only after this time, so that what goes on for a while does not become usual
    /// while it does.
    pub delay: Option<Spanned<TimeSpan>>,
    /// The part of the key's earlier numbers that are less than this one, equal ones counted half: 0 to 1.
    pub rank: Option<Spanned<String>>,
    /// A sum whose parts fade by `half_life`.
    pub decayed_sum: Option<Spanned<String>>,
    /// For `decayed_sum`: what it is cut to, each time something is added.
    pub at_most: Option<Spanned<f64>>,
    /// The window, up to 90 days; the default for `first_seen`, `since_last` and `last` is 90 days.
    pub within: Option<Spanned<TimeSpan>>,
    /// Only events for which this SQL condition is true are counted.
    #[serde(rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// Null, and `known(NAME)` false, while the window holds fewer counted events.
    pub min_events: Option<u64>,
    /// Entries kept per key before the measure goes to tiles; the default is the event's `exact_up_to`.
    pub exact_up_to: Option<u64>,
}

/// In words: `distinct path within 10m where status >= 400`.
impl std::fmt::Display for MeasureConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            ("count", &self.count),
            ("sum", &self.sum),
            ("mean", &self.mean),
            ("stddev", &self.stddev),
            ("min", &self.min),
            ("max", &self.max),
            ("distinct", &self.distinct),
            ("quantile", &self.quantile),
            ("ewma", &self.ewma),
            ("first_seen", &self.first_seen),
            ("since_last", &self.since_last),
            ("last", &self.last),
            ("share", &self.share),
            ("entropy", &self.entropy),
            ("surprise", &self.surprise),
            ("transition", &self.transition),
            ("peers", &self.peers),
            ("rank", &self.rank),
            ("decayed_sum", &self.decayed_sum),
        ];
        for (kind, of) in kinds.iter().filter_map(|(kind, of)| Some((kind, of.as_ref()?))) {
            match of.value.as_str() {
                "*" => write!(f, "{kind}")?,
                of => write!(f, "{kind} of {of}")?,
            }
        }
        if let Some(q) = &self.q {
            write!(f, " {}", q.value)?;
        }
        if let Some(of) = &self.of {
            write!(f, " by {}", of.value)?;
        }
        if let Some(at_most) = &self.at_most {
            write!(f, ", at most {}", at_most.value)?;
        }
        if let Some(delay) = &self.delay {
            write!(f, ", learned after {}", delay.value)?;
        }
        if let Some(half_life) = &self.half_life {
            write!(f, ", half-life {}", half_life.value)?;
        }
        if let Some(within) = &self.within {
            write!(f, " within {}", within.value)?;
        }
        if let Some(condition) = &self.condition {
            write!(f, " where {}", condition.value)?;
        }
        match self.min_events {
            Some(n) => write!(f, ", known from {n} events on"),
            None => Ok(()),
        }
    }
}

/// A kind of measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MeasureKind {
    Count,
    Sum,
    Mean,
    Stddev,
    Min,
    Max,
    Distinct,
    Quantile(f64),
    Ewma,
    FirstSeen,
    SinceLast,
    Last,
    Share,
    Entropy,
    /// Learned after so many microseconds.
    Surprise(Given, i64),
    Rank,
    /// At most.
    DecayedSum(f64),
}

/// A measure as checked, its SQL not yet planned.
#[derive(Debug, Clone)]
pub struct MeasureSpec {
    pub kind: MeasureKind,
    /// `None` for `"*"`.
    pub argument: Option<Spanned<String>>,
    /// The second argument, of the kinds that have one.
    pub of: Option<Spanned<String>>,
    pub condition: Option<Spanned<String>>,
    pub window: Window,
}

/// What the event says about all measures.
#[derive(Debug, Clone, Copy)]
pub struct WindowDefaults {
    pub lateness: i64,
    pub exact_up_to: usize,
}

/// Contributions to an `ewma` or a `decayed_sum` older than this many half-lives are dropped: less than 1 in 10^19.
const HALF_LIVES: i64 = 64;

impl MeasureConfig {
    /// The SQL in it.
    pub fn expressions(&self) -> impl Iterator<Item = &Spanned<String>> {
        let m = self;
        let arguments = [
            &m.count,
            &m.sum,
            &m.mean,
            &m.stddev,
            &m.min,
            &m.max,
            &m.distinct,
            &m.quantile,
            &m.ewma,
            &m.first_seen,
            &m.since_last,
            &m.last,
            &m.share,
            &m.entropy,
            &m.surprise,
            &m.transition,
            &m.peers,
            &m.rank,
            &m.decayed_sum,
        ];
        arguments.into_iter().chain([&m.of, &m.condition]).flatten().filter(|sql| sql.value.trim() != "*")
    }

    /// Checks one measure. Problems go to the report.
    pub fn spec(&self, span: Span, name: &Spanned<String>, defaults: WindowDefaults, report: &mut Report) -> Option<MeasureSpec> {
        let m = self;
        let delay = m.delay.as_ref().map_or(0, |delay| delay.value.micros());
        let at_most = m.at_most.as_ref().map_or(f64::INFINITY, |limit| limit.value);
        let past = if m.of.is_some() { Given::Context } else { Given::Past };
        let kinds: [(&str, &Option<Spanned<String>>, MeasureKind); 19] = [
            ("count", &m.count, MeasureKind::Count),
            ("sum", &m.sum, MeasureKind::Sum),
            ("mean", &m.mean, MeasureKind::Mean),
            ("stddev", &m.stddev, MeasureKind::Stddev),
            ("min", &m.min, MeasureKind::Min),
            ("max", &m.max, MeasureKind::Max),
            ("distinct", &m.distinct, MeasureKind::Distinct),
            ("quantile", &m.quantile, MeasureKind::Quantile(m.q.as_ref().map_or(0.5, |q| q.value))),
            ("ewma", &m.ewma, MeasureKind::Ewma),
            ("first_seen", &m.first_seen, MeasureKind::FirstSeen),
            ("since_last", &m.since_last, MeasureKind::SinceLast),
            ("last", &m.last, MeasureKind::Last),
            ("share", &m.share, MeasureKind::Share),
            ("entropy", &m.entropy, MeasureKind::Entropy),
            ("surprise", &m.surprise, MeasureKind::Surprise(past, delay)),
            ("transition", &m.transition, MeasureKind::Surprise(Given::Previous, delay)),
            ("peers", &m.peers, MeasureKind::Surprise(Given::Others, delay)),
            ("rank", &m.rank, MeasureKind::Rank),
            ("decayed_sum", &m.decayed_sum, MeasureKind::DecayedSum(at_most)),
        ];
        let mut given = kinds.into_iter().filter_map(|(word, argument, kind)| Some((word, argument.as_ref()?, kind)));
        let Some((word, argument, kind)) = given.next() else {
            report
                .error(span, format!("measure `{}` says not what to measure", name.value))
                .hint("for example `{ count: \"*\", within: 5m }`");
            return None;
        };
        if let Some((other, at, _)) = given.next() {
            report
                .error(at.span, format!("a measure has one kind: `{word}` or `{other}`, not both"))
                .hint("make it two measures");
            return None;
        }
        let window = self.window(span, name, word, kind, defaults, report)?;
        self.settings(span, word, kind, window.within, report)?;
        let starred = argument.value.trim() == "*";
        let needs_value =
            !matches!(kind, MeasureKind::Count | MeasureKind::Ewma | MeasureKind::FirstSeen | MeasureKind::SinceLast);
        if starred && needs_value {
            report
                .error(argument.span, format!("`{word}` needs a field: `\"*\"` has no value"))
                .hint(format!("for example `{word}: bytes`"));
            return None;
        }
        let argument = (!starred).then(|| argument.clone());
        Some(MeasureSpec { kind, argument, of: m.of.clone(), condition: m.condition.clone(), window })
    }

    /// The settings that only some kinds have.
    fn settings(&self, span: Span, word: &str, kind: MeasureKind, within: i64, report: &mut Report) -> Option<()> {
        let problems = report.count(ouzel_core::Severity::Error);
        match (&self.of, kind) {
            (None, MeasureKind::Surprise(Given::Others, _)) => {
                report
                    .error(span, "`peers` needs `of`: who of the key each event is from")
                    .hint("for example `{ peers: command, of: user }`");
            }
            (Some(of), kind) if !matches!(kind, MeasureKind::Surprise(Given::Context | Given::Others, _)) => {
                report.error(of.span, format!("`of` is for `surprise` and `peers`, not for `{word}`"));
            }
            _ => {}
        }
        match (&self.delay, kind) {
            (Some(delay), MeasureKind::Surprise(..)) if delay.value.micros() >= within => {
                report.error(delay.span, "`delay` is shorter than the window: there would be nothing to go by");
            }
            (Some(delay), kind) if !matches!(kind, MeasureKind::Surprise(..)) => {
                report.error(delay.span, format!("`delay` is for `surprise`, `transition` and `peers`, not for `{word}`"));
            }
            _ => {}
        }
        if let (Some(at_most), false) = (&self.at_most, matches!(kind, MeasureKind::DecayedSum(_))) {
            report.error(at_most.span, format!("`at_most` is for `decayed_sum`, not for `{word}`"));
        }
        (report.count(ouzel_core::Severity::Error) == problems).then_some(())
    }

    fn window(
        &self,
        span: Span,
        name: &Spanned<String>,
        word: &str,
        kind: MeasureKind,
        defaults: WindowDefaults,
        report: &mut Report,
    ) -> Option<Window> {
        let m = self;
        let longest = TimeSpan::days(limits::WITHIN_DAYS_MAX);
        let fades = matches!(kind, MeasureKind::Ewma | MeasureKind::DecayedSum(_));
        if !fades && m.half_life.is_some() {
            report.error(span, format!("`half_life` is for `ewma` and `decayed_sum`, not for `{word}`"));
        }
        let looks_at_one = matches!(kind, MeasureKind::Last | MeasureKind::SinceLast | MeasureKind::FirstSeen);
        if looks_at_one && m.min_events.is_some() {
            report.error(span, format!("`min_events` is for measures of many events, `{word}` looks at one"));
        }
        match (&m.q, kind) {
            (None, MeasureKind::Quantile(_)) => {
                report.error(span, format!("quantile `{}` needs its `q`", name.value)).hint("for example `q: 0.95`");
            }
            (Some(q), MeasureKind::Quantile(_)) if !(0.0..=1.0).contains(&q.value) => {
                report.error(q.span, "`q` lies between 0 and 1");
            }
            (Some(q), kind) if !matches!(kind, MeasureKind::Quantile(_)) => {
                report.error(q.span, format!("`q` is for `quantile`, not for `{word}`"));
            }
            _ => {}
        }
        let within = match (&m.within, &m.half_life, kind) {
            (Some(w), ..) if fades => {
                report
                    .error(w.span, format!("`{word}` has no window: old events fade away"))
                    .hint("leave `within` out and set `half_life`");
                return None;
            }
            (_, Some(h), _) if fades && h.value.micros() > 0 && h.value <= longest => h.value.micros() * HALF_LIVES,
            (_, half_life, _) if fades => {
                let at = half_life.as_ref().map_or(span, |h| h.span);
                report
                    .error(at, format!("`{word}` needs a `half_life` above 0 and up to 90d"))
                    .hint("for example `half_life: 10m`");
                return None;
            }
            (Some(w), ..) if w.value.micros() == 0 || w.value > longest => {
                report.error(
                    w.span,
                    format!("a window is longer than 0 and up to {} days, this one is {}", limits::WITHIN_DAYS_MAX, w.value),
                );
                return None;
            }
            (Some(w), ..) => w.value.micros(),
            (None, _, MeasureKind::FirstSeen | MeasureKind::SinceLast | MeasureKind::Last) => longest.micros(),
            (None, ..) => {
                report.error(span, format!("measure `{}` has no window", name.value)).hint("for example `within: 5m`");
                return None;
            }
        };
        Some(Window {
            within,
            lateness: defaults.lateness,
            min_events: m.min_events.unwrap_or(0),
            exact_up_to: m.exact_up_to.map_or(defaults.exact_up_to, |n| usize::try_from(n).unwrap_or(usize::MAX)).max(1),
        })
    }
}

/// Groups as a pipeline lists them: one that does not decode leaves the others standing.
pub type GroupConfigs = Vec<Lenient<GroupConfig>>;
