//! One key and its measures, compiled: the part that is the same for all batches ([`Group`]), the part of a batch that can
//! be made ready on any thread ([`Prepared`]). The state, in shards by key hash, takes batches in log order ([`Shard`]).

use super::config::MeasureSpec;
use super::keys;
use super::measure::{Input, Measure, Output, OutputType, Row};
use super::shard::{Evicted, SHARDS, Shard, shard_of};
use super::values::{OwnedValues, ValueKind};
use super::windows::{Kind, WindowMeasure, Windows};
use crate::expressions::{Expression, Failed};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use ouzel_core::Error;

/// A group as planned.
pub struct Group {
    pub name: String,
    /// Positions of the key's columns.
    by: Vec<usize>,
    /// Distinct pairs of argument and condition.
    sources: Vec<Source>,
    /// Measures that share a state.
    parts: Vec<Part>,
    outputs: Vec<GroupOutput>,
    /// A key without an event for this long beyond the lateness is forgotten.
    longest: i64,
}

/// A result column.
#[derive(Debug, Clone)]
pub struct GroupOutput {
    pub name: String,
    pub data_type: DataType,
    output: OutputType,
}

struct Source {
    argument: Option<Expression>,
    condition: Option<Expression>,
    values: ValueKind,
}

struct Part {
    /// Indexes of sources.
    inputs: Vec<usize>,
    /// Indexes of outputs.
    outputs: Vec<usize>,
    make: Box<dyn Fn() -> Box<dyn Measure> + Send + Sync>,
}

/// A measure with its SQL planned.
pub struct PlannedMeasure {
    pub name: String,
    pub spec: MeasureSpec,
    pub argument: Option<Expression>,
    /// The second argument, of kinds that have one: its values are told apart, no more.
    pub of: Option<Expression>,
    pub condition: Option<Expression>,
}

impl Group {
    /// `Err`: which measure cannot be, and why.
    pub fn new(name: String, by: Vec<usize>, measures: Vec<PlannedMeasure>) -> Result<Group, (usize, String)> {
        let longest = measures.iter().map(|m| m.spec.window.within).max().unwrap_or(0);
        let mut group = Group { name, by, sources: Vec::new(), parts: Vec::new(), outputs: Vec::new(), longest };
        let mut windowed: Vec<(usize, Kind, &PlannedMeasure, usize)> = Vec::new();
        for (i, m) in measures.iter().enumerate() {
            let of = m.argument.as_ref().map(Expression::data_type);
            let plan = super::plan_measure(&m.spec, of).map_err(|why| (i, why))?;
            let source = group.source(m.argument.as_ref(), m, plan.values);
            let mut sources = vec![source];
            sources.extend(m.of.as_ref().map(|of| group.source(Some(of), m, ValueKind::Id)));
            let first = group.outputs.len();
            for (suffix, output) in &plan.outputs {
                group.outputs.push(GroupOutput {
                    name: format!("{}{suffix}", m.name),
                    data_type: output_type(*output),
                    output: *output,
                });
            }
            match plan.make {
                super::Make::Window(kind) => windowed.push((source, kind, m, first)),
                super::Make::Own(make) => {
                    group.parts.push(Part { inputs: sources, outputs: (first..group.outputs.len()).collect(), make })
                }
            }
        }
        // A log is as long as its measures say, so measures that say different things have different logs.
        while let Some(limit) = windowed.first().map(|(_, _, m, _)| m.spec.window.exact_up_to) {
            let (together, others): (Vec<_>, Vec<_>) =
                windowed.into_iter().partition(|(_, _, m, _)| m.spec.window.exact_up_to == limit);
            group.parts.push(window_part(&together));
            windowed = others;
        }
        Ok(group)
    }

    fn source(&mut self, argument: Option<&Expression>, m: &PlannedMeasure, values: ValueKind) -> usize {
        // Two measures of the same argument and condition, of which one needs the values and one only counts them, share.
        for (i, source) in self.sources.iter_mut().enumerate() {
            let same = source.argument.as_ref().map(ToString::to_string) == argument.map(ToString::to_string)
                && source.condition.as_ref().map(ToString::to_string) == m.condition.as_ref().map(ToString::to_string);
            if same && (source.values == values || source.values == ValueKind::None || values == ValueKind::None) {
                if source.values == ValueKind::None {
                    source.values = values;
                }
                return i;
            }
        }
        self.sources.push(Source { argument: argument.cloned(), condition: m.condition.clone(), values });
        self.sources.len() - 1
    }

    pub fn outputs(&self) -> &[GroupOutput] {
        &self.outputs
    }
    /// Positions of the columns it reads.
    pub fn reads(&self) -> Vec<usize> {
        let expressions = self.sources.iter().flat_map(|s| [&s.argument, &s.condition]).flatten();
        self.by.iter().copied().chain(expressions.flat_map(|e| e.inputs().iter().copied())).collect()
    }

    /// A key whose newest event is at or before this will never be seen again. `live_from`: the partition's clock less the lateness.
    pub fn dead_at(&self, live_from: i64) -> i64 {
        live_from.saturating_sub(self.longest)
    }

    pub fn shard(&self) -> Shard {
        Shard::new(self.parts.iter().map(|p| (p.make)()).collect())
    }

    /// Evaluates arguments and conditions. Rows on which one fails are told in `failed`.
    pub fn inputs(&self, columns: &[ArrayRef], rows: usize, failed: &mut Vec<Failed>) -> Result<Vec<OwnedInput>, Error> {
        self.sources.iter().map(|source| source.input(columns, rows, failed)).collect()
    }

    /// Sorts the rows that enter by shard. `columns`, `times`, `live_from` and `inputs` are of the rows as they are now;
    /// rows for which `enters` is false stay out.
    pub fn prepare(
        &self,
        columns: &[ArrayRef],
        times: &[i64],
        live_from: &[i64],
        enters: &dyn Fn(usize) -> bool,
        inputs: Vec<OwnedInput>,
    ) -> Prepared {
        let rows = times.len();
        let mut arena = Vec::with_capacity(rows * 24);
        let mut in_shard: [u32; SHARDS] = [0; SHARDS];
        let key_columns: Vec<super::values::KeyColumn<'_>> =
            self.by.iter().map(|i| super::values::KeyColumn::new(&columns[*i])).collect();
        let mut keyed: Vec<KeyedRow> = Vec::with_capacity(rows);
        for (row, time) in times.iter().enumerate() {
            if !enters(row) || key_columns.iter().any(|c| c.is_null(row)) {
                continue;
            }
            let start = arena.len();
            for (i, column) in key_columns.iter().enumerate() {
                column.append(row, i + 1 < key_columns.len(), &mut arena);
            }
            keys::bounded(&mut arena, start);
            let hash = keys::hash(&arena[start..]);
            in_shard[shard_of(hash)] += 1;
            keyed.push(KeyedRow {
                hash,
                start: start as u32,
                end: arena.len() as u32,
                row: row as u32,
                time: *time,
                live_from: live_from[row],
            });
        }
        let mut at = [0u32; SHARDS + 1];
        for s in 0..SHARDS {
            at[s + 1] = at[s] + in_shard[s];
        }
        let mut order = vec![0u32; keyed.len()];
        let mut next = at;
        for (i, k) in keyed.iter().enumerate() {
            let place = &mut next[shard_of(k.hash)];
            order[*place as usize] = i as u32;
            *place += 1;
        }
        let outputs = self.outputs.iter().map(|o| Output::new(o.output, rows)).collect();
        Prepared { arena, keyed, order, at, inputs, outputs }
    }

    /// Applies one shard's rows of a batch. The caller keeps batches of a shard in log order. `evicted`: where keys are that are not in
    /// memory, if any are. `Err` where one cannot be read.
    pub fn apply(
        &self,
        shard: &mut Shard,
        index: usize,
        prepared: &mut Prepared,
        mut evicted: Option<&mut dyn Evicted>,
    ) -> Result<(), Error> {
        let order = &prepared.order[prepared.at[index] as usize..prepared.at[index + 1] as usize];
        let Some(last) = order.last() else { return Ok(()) };
        let live_from = prepared.keyed[*last as usize].live_from;
        shard.rows.clear();
        order.iter().for_each(|i| shard.keys.prefetch(prepared.keyed[*i as usize].hash));
        for i in order {
            let k = &prepared.keyed[*i as usize];
            let key = &prepared.arena[k.start as usize..k.end as usize];
            let (slot, is_new) = shard.keys.slot(k.hash, key, k.time);
            if is_new
                && let Some(evicted) = &mut evicted
                && let Some(bytes) = evicted.find(key)?
            {
                let unreadable =
                    |_| Error::new(ouzel_core::Kind::Data, format!("the state of a key of `{}` cannot be read", self.name));
                shard.come_back(slot, bytes, self.dead_at(k.live_from)).map_err(unreadable)?;
            }
            shard.rows.push(Row { slot, row: k.row, time: k.time, live_from: k.live_from });
        }
        let Shard { keys, states, rows } = shard;
        for (part, state) in self.parts.iter().zip(states.iter_mut()) {
            let inputs: Vec<Input<'_>> = part.inputs.iter().map(|i| prepared.inputs[*i].as_input()).collect();
            with_outputs(&mut prepared.outputs, &part.outputs, |outputs| state.apply(keys.slots(), rows, &inputs, outputs));
        }
        // Twice as fast as keys can come, so that dead ones never pile up.
        keys.sweep(2 * rows.len(), self.dead_at(live_from), |slot| states.iter_mut().for_each(|s| s.forget(slot)));
        Ok(())
    }
}

/// Takes the outputs of one part out of their places for the call.
fn with_outputs(all: &mut [Output], which: &[usize], call: impl FnOnce(&mut [Output])) {
    let mut taken: Vec<Output> = which.iter().map(|i| std::mem::replace(&mut all[*i], Output::Text(Vec::new()))).collect();
    call(&mut taken);
    for (i, output) in which.iter().zip(taken) {
        all[*i] = output;
    }
}

fn window_part(windowed: &[(usize, Kind, &PlannedMeasure, usize)]) -> Part {
    let mut inputs: Vec<usize> = Vec::new();
    let mut measures = Vec::new();
    for (source, kind, m, _) in windowed {
        let lane = inputs.iter().position(|s| s == source).unwrap_or_else(|| {
            inputs.push(*source);
            inputs.len() - 1
        });
        measures.push(WindowMeasure { lane, kind: *kind, window: m.spec.window });
    }
    let summed: Vec<bool> =
        (0..inputs.len()).map(|lane| measures.iter().any(|m| m.lane == lane && m.kind != Kind::Count)).collect();
    let outputs = windowed.iter().map(|(_, _, _, output)| *output).collect();
    Part { inputs, outputs, make: Box::new(move || Box::new(Windows::new(&summed, measures.clone()))) }
}

fn output_type(output: OutputType) -> DataType {
    match output {
        OutputType::Int => DataType::Int64,
        OutputType::Float => DataType::Float64,
        OutputType::Bool => DataType::Boolean,
        OutputType::Time => ouzel_core::field::timestamp_type(),
        OutputType::Text => DataType::Utf8View,
    }
}

impl Source {
    fn input(&self, columns: &[ArrayRef], rows: usize, failed: &mut Vec<Failed>) -> Result<OwnedInput, Error> {
        let mut counted: Option<BooleanBuffer> = None;
        if let Some(condition) = &self.condition {
            let array = condition.evaluate(columns, rows, failed)?;
            counted = Some(is_true(&array)?);
        }
        let mut values = OwnedValues::None;
        if let Some(argument) = &self.argument {
            let array = argument.evaluate(columns, rows, failed)?;
            let valid;
            (values, valid) = OwnedValues::of(&array, self.values)?;
            counted = match (counted, valid) {
                (Some(a), Some(b)) => Some(&a & &b),
                (a, b) => a.or(b),
            };
        }
        Ok(OwnedInput { counted, values })
    }
}

fn is_true(array: &ArrayRef) -> Result<BooleanBuffer, Error> {
    let array: &BooleanArray = array.as_any().downcast_ref().ok_or_else(|| Error::internal("a condition is not boolean"))?;
    Ok(match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    })
}

/// The argument of measures over one batch.
pub struct OwnedInput {
    counted: Option<BooleanBuffer>,
    values: OwnedValues,
}

impl OwnedInput {
    fn as_input(&self) -> Input<'_> {
        Input { counted: self.counted.as_ref(), values: self.values.as_values() }
    }
    /// Only the rows that `keep` is true for.
    pub fn filter(self, keep: &BooleanArray) -> Result<OwnedInput, Error> {
        let filter = |bits: BooleanBuffer| {
            let array = BooleanArray::new(bits, None);
            arrow_select::filter::filter(&array, keep).map_err(|e| Error::internal(e.to_string())).and_then(|a| is_true(&a))
        };
        Ok(OwnedInput { counted: self.counted.map(filter).transpose()?, values: self.values.filter(keep)? })
    }
}

struct KeyedRow {
    hash: u64,
    start: u32,
    end: u32,
    row: u32,
    time: i64,
    live_from: i64,
}

/// A batch made ready for a group; afterwards its results.
pub struct Prepared {
    arena: Vec<u8>,
    keyed: Vec<KeyedRow>,
    /// Indexes of `keyed`, by shard, in log order within each.
    order: Vec<u32>,
    at: [u32; SHARDS + 1],
    inputs: Vec<OwnedInput>,
    outputs: Vec<Output>,
}

impl Prepared {
    pub fn is_empty(&self, shard: usize) -> bool {
        self.at[shard] == self.at[shard + 1]
    }
    /// The result columns, in the order of [`Group::outputs`].
    pub fn into_columns(self) -> Vec<ArrayRef> {
        self.outputs.into_iter().map(Output::into_array).collect()
    }
}
