//! Which state serves which kind of measure, for which type of argument.

use super::config::{MeasureKind, MeasureSpec};
use super::measure::{Measure, OutputType};
use super::measures::aggregate::Aggregate;
use super::measures::{decayed_sum, distinct, entropy, ewma, first_seen, last, quantile, rank, share, surprise};
use super::values::ValueKind;
use super::windows::Kind;
use arrow_schema::DataType;

pub(super) struct MeasurePlan {
    pub values: ValueKind,
    /// Suffix of the name, and type, of each result column.
    pub outputs: Vec<(&'static str, OutputType)>,
    pub make: Make,
}

pub(super) enum Make {
    /// A window of the group's shared log.
    Window(Kind),
    /// A state of its own.
    Own(Box<dyn Fn() -> Box<dyn Measure> + Send + Sync>),
}

/// `argument`: its type; `None` for `"*"`. `Err` says which types would do.
pub(super) fn plan_measure(spec: &MeasureSpec, argument: Option<&DataType>) -> Result<MeasurePlan, String> {
    use MeasureKind as K;
    let window = spec.window;
    let is_int = matches!(
        argument,
        Some(
            DataType::Int64
                | DataType::Int32
                | DataType::Int16
                | DataType::Int8
                | DataType::UInt8
                | DataType::UInt16
                | DataType::UInt32
        )
    );
    let is_number =
        is_int || matches!(argument, Some(DataType::UInt64 | DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)));
    let one = |output: OutputType| vec![("", output)];
    let windowed = |values, kind, output| MeasurePlan { values, outputs: one(output), make: Make::Window(kind) };
    let aggregate = |a: Aggregate, values| MeasurePlan {
        values,
        outputs: one(a.output()),
        make: Make::Own(Box::new(move || a.measure(window))),
    };
    let numbers = |what: &str| -> Result<(), String> {
        match argument {
            Some(of) if !is_number => Err(format!("`{what}` is of numbers; this is {}", crate::describe(of))),
            _ => Ok(()),
        }
    };
    if let Some(of @ (DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_))) = argument
        && spec.kind != K::Count
    {
        return Err(format!("a measure is of single values; this is {}", crate::describe(of)));
    }
    Ok(match spec.kind {
        K::Count => windowed(ValueKind::None, Kind::Count, OutputType::Int),
        K::Sum if is_int => windowed(ValueKind::Int, Kind::Sum, OutputType::Int),
        K::Mean if is_int => windowed(ValueKind::Int, Kind::Mean, OutputType::Float),
        K::Sum => {
            numbers("sum")?;
            aggregate(Aggregate::Sum, ValueKind::Float)
        }
        K::Mean => {
            numbers("mean")?;
            aggregate(Aggregate::Mean, ValueKind::Float)
        }
        K::Stddev => {
            numbers("stddev")?;
            aggregate(Aggregate::StdDev, ValueKind::Float)
        }
        K::Min | K::Max => {
            numbers(if spec.kind == K::Min { "min" } else { "max" })?;
            match (spec.kind == K::Min, is_int) {
                (true, true) => aggregate(Aggregate::MinInt, ValueKind::Int),
                (false, true) => aggregate(Aggregate::MaxInt, ValueKind::Int),
                (true, false) => aggregate(Aggregate::MinFloat, ValueKind::Float),
                (false, false) => aggregate(Aggregate::MaxFloat, ValueKind::Float),
            }
        }
        K::Quantile(q) => {
            numbers("quantile")?;
            let values = if is_int { ValueKind::Int } else { ValueKind::Float };
            own(values, one(OutputType::Float), move || Box::new(quantile::Quantile::new(window, q)))
        }
        K::Ewma => {
            numbers("ewma")?;
            let values = if argument.is_some() { ValueKind::Float } else { ValueKind::None };
            let half_life = window.within / ewma::HALF_LIVES_KEPT;
            own(values, one(OutputType::Float), move || Box::new(ewma::Ewma::new(window, half_life)))
        }
        K::Distinct => own(ValueKind::Id, one(OutputType::Int), move || Box::new(distinct::Distinct::new(window))),
        K::Share => own(ValueKind::Id, one(OutputType::Float), move || Box::new(share::Share::new(window))),
        K::Entropy => own(ValueKind::Id, one(OutputType::Float), move || Box::new(entropy::Entropy::new(window))),
        K::Surprise(given, delay) => {
            own(ValueKind::Id, one(OutputType::Float), move || Box::new(surprise::Surprise::new(window, delay, given)))
        }
        K::Rank => {
            numbers("rank")?;
            let values = if is_int { ValueKind::Int } else { ValueKind::Float };
            own(values, one(OutputType::Float), move || Box::new(rank::Rank::new(window)))
        }
        K::DecayedSum(at_most) => {
            numbers("decayed_sum")?;
            let half_life = window.within / ewma::HALF_LIVES_KEPT;
            own(ValueKind::Float, one(OutputType::Float), move || {
                Box::new(decayed_sum::DecayedSum::new(window, half_life, at_most))
            })
        }
        K::FirstSeen => {
            let values = if argument.is_some() { ValueKind::Id } else { ValueKind::None };
            own(values, vec![("", OutputType::Bool), ("_age", OutputType::Float)], move || {
                Box::new(first_seen::FirstSeen::new(window))
            })
        }
        K::SinceLast => own(ValueKind::None, one(OutputType::Float), move || last::since_last(window)),
        K::Last => {
            let (values, output) = match argument {
                Some(DataType::Utf8View) => (ValueKind::Text, OutputType::Text),
                Some(DataType::Boolean) => (ValueKind::Int, OutputType::Bool),
                Some(DataType::Timestamp(..)) => (ValueKind::Int, OutputType::Time),
                _ if is_int => (ValueKind::Int, OutputType::Int),
                Some(of) if !is_number => return Err(format!("`last` cannot keep {}; cast it to text", crate::describe(of))),
                _ => (ValueKind::Float, OutputType::Float),
            };
            own(values, one(output), move || last::last(output, window))
        }
    })
}

fn own(
    values: ValueKind,
    outputs: Vec<(&'static str, OutputType)>,
    make: impl Fn() -> Box<dyn Measure> + Send + Sync + 'static,
) -> MeasurePlan {
    MeasurePlan { values, outputs, make: Make::Own(Box::new(make)) }
}
