//! The steps of a pipeline. Those before the clock and after the features run on any thread; what they read is the batch
//! and the plan.

use super::batch::{Batch, Counts, Keep};
use crate::fault;
use crate::journal::Fate;
use crate::plan::Plan;
use crate::summary::PipelineSummary;
use arrow_array::builder::{ListBuilder, StringViewBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, Date32Array, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow_schema::DataType;
use ouzel_connect::codecs::read_text;
use ouzel_core::{Chunk, Column, Decode, Decoded, Error, FieldType, Lookup, Malformed, Result};
use ouzel_detect::expressions::Failed;
use ouzel_detect::features::ids;
use ouzel_detect::schema::Policy;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

/// Decodes a chunk and goes as far as no state is needed.
pub fn read(plan: &Plan, decoder: &mut dyn Decode, lookups: &mut [Box<dyn Lookup>], chunk: Chunk) -> Result<Batch> {
    if let Some(reason) = chunk.fault.clone() {
        let mut batch = Batch::fault(chunk, reason, plan.columns.fields().len());
        batch.inputs = empty_inputs(plan, plan.first_groups())?;
        return Ok(batch);
    }
    fault::poisonous("read", &chunk.data);
    let mut decoded = decoder.decode(&chunk)?;
    let mut batch = Batch::new(chunk, &mut decoded, plan.columns.fields().len());
    fields(plan, &mut batch, decoded)?;
    filter(plan, &mut batch)?;
    after_fields(plan, &mut batch, lookups)?;
    if let Some(ahead) = plan.event.ahead {
        not_ahead(&mut batch, ahead)?;
    }
    Ok(batch)
}

/// What follows from the fields of events that go on: lookups, arguments of measures, times, ids.
pub fn after_fields(plan: &Plan, batch: &mut Batch, lookups: &mut [Box<dyn Lookup>]) -> Result<()> {
    for (lookup, plan) in lookups.iter_mut().zip(&plan.lookups) {
        let keys = batch.columns[plan.of].as_string_view().clone();
        for (column, values) in plan.outputs.iter().zip(lookup.lookup(&keys)?) {
            batch.columns[*column] = values;
        }
    }
    inputs(plan, batch, plan.first_groups())?;
    if let Some(time) = plan.event.time {
        batch.times = batch.columns[time].as_primitive::<TimestampMicrosecondType>().values().to_vec();
    }
    if let (Some(id), Some(_)) = (plan.event.id, plan.event.duplicates_within) {
        let column = &batch.columns[id];
        let hashes = ids(column)?;
        batch.ids = Some(hashes.into_iter().enumerate().map(|(row, id)| column.is_valid(row).then_some(id)).collect());
    }
    Ok(())
}

/// Quarantines events dated further ahead of when they were recorded than `ahead` microseconds.
fn not_ahead(batch: &mut Batch, ahead: i64) -> Result<()> {
    let mut keep = Keep::all(batch.rows);
    for row in 0..batch.rows {
        let recorded = batch.chunk.ingested_at(batch.raw[row].0);
        if recorded.is_some_and(|recorded| batch.times[row] > recorded.saturating_add(ahead)) {
            let reason = "dated further ahead of its ingestion than the event's `ahead`".into();
            batch.put_aside(&mut keep, row, Fate::Quarantined, reason);
        }
    }
    batch.retain(keep)
}

/// Arguments of measures for no rows at all.
pub fn empty_inputs(plan: &Plan, which: Range<usize>) -> Result<Vec<Vec<ouzel_detect::features::OwnedInput>>> {
    let columns: Vec<ArrayRef> = plan.columns.fields().iter().map(|f| arrow_array::new_empty_array(f.data_type())).collect();
    plan.groups[which].iter().map(|g| g.group.inputs(&columns, 0, &mut Vec::new())).collect()
}

/// Columns of fields, with what is malformed and implausible, and what becomes of such events.
fn fields(plan: &Plan, batch: &mut Batch, decoded: Decoded) -> Result<()> {
    let rows = batch.rows;
    let mut malformed: Vec<(u32, usize, String)> = Vec::new();
    let selected = select(plan, &decoded.columns, rows)?;
    for (field, FieldValues { column, bad }) in decoded_fields(plan, decoded.columns).chain(selected) {
        malformed.extend(bad.into_iter().map(|m| (m.row, field, m.reason)));
        if let (Some(other), Some(values)) = (plan.fields[field].other, column.other) {
            batch.columns[other] = values;
        }
        batch.columns[field] = column.values;
    }
    for field in &plan.fields {
        if let Some(other) = field.other
            && plan.is_needed(other)
            && batch.columns[other].len() != rows
        {
            batch.columns[other] = arrow_array::new_null_array(&FieldType::Text.arrow(), rows);
        }
    }
    let mut implausible: Vec<(u32, usize, String)> = Vec::new();
    let n_fields = plan.fields.len();
    for (i, field) in plan.fields.iter().enumerate() {
        if plan.is_needed(i) {
            field.spec.domain.check(&batch.columns[i], |row, reason| implausible.push((row, i, reason)));
        }
    }
    let judged = plan.is_needed(plan.standard.implausible) || plan.is_needed(plan.standard.reasons);
    for (i, (_, condition)) in plan.conditions.iter().enumerate().filter(|_| judged) {
        let mut failed = Vec::new();
        let holds = condition.evaluate(&batch.columns, rows, &mut failed)?;
        implausible.extend(failed.into_iter().map(|f| (f.row, n_fields + i, f.reason)));
        if let Some(holds) = holds.as_boolean_opt() {
            implausible.extend(
                (0..rows)
                    .filter(|r| holds.is_valid(*r) && !holds.value(*r))
                    .map(|r| (r as u32, n_fields + i, "does not hold".to_string())),
            );
        }
    }
    malformed.sort_by_key(|(row, field, _)| (*row, *field));
    implausible.sort_by_key(|(row, field, _)| (*row, *field));
    batch.counts.malformed = distinct_rows(&malformed);
    batch.counts.implausible = distinct_rows(&implausible);
    quality_columns(plan, batch, &malformed, &implausible);
    apply_policies(plan, batch, malformed, implausible)
}

fn distinct_rows(found: &[(u32, usize, String)]) -> u64 {
    found.chunk_by(|a, b| a.0 == b.0).count() as u64
}

struct FieldValues {
    column: Column,
    bad: Vec<Malformed>,
}

fn decoded_fields(plan: &Plan, columns: Vec<Column>) -> impl Iterator<Item = (usize, FieldValues)> {
    let mut columns: Vec<Option<Column>> = columns.into_iter().map(Some).collect();
    let mut found = Vec::new();
    for (i, field) in plan.fields.iter().enumerate() {
        if let Some(mut column) = field.decoded.and_then(|d| columns[d].take()) {
            let bad = std::mem::take(&mut column.malformed);
            found.push((i, FieldValues { column, bad }));
        }
    }
    found.into_iter()
}

/// Evaluates `select`. What fails or does not fit the declared type is malformed.
fn select(plan: &Plan, decoded: &[Column], rows: usize) -> Result<Vec<(usize, FieldValues)>> {
    if plan.select.made.is_empty() {
        return Ok(Vec::new());
    }
    let placeholder: ArrayRef = Arc::new(arrow_array::NullArray::new(0));
    let columns: Vec<ArrayRef> =
        plan.select.inputs.iter().map(|i| decoded.get(*i).map_or(placeholder.clone(), |c| c.values.clone())).collect();
    let mut made = Vec::new();
    for (field, expression) in &plan.select.made {
        let mut failed: Vec<Failed> = Vec::new();
        let values = expression.evaluate(&columns, rows, &mut failed)?;
        let of = plan.fields[*field].spec.first_type();
        let mut bad: Vec<Malformed> = failed.into_iter().map(|f| Malformed { row: f.row, reason: f.reason }).collect();
        let values = fit(of, values, &mut bad)?;
        made.push((*field, FieldValues { column: Column { values, other: None, malformed: Vec::new() }, bad }));
    }
    Ok(made)
}

/// Brings an expression's result to the field's type: text, numbers and truth values are read as a codec of text reads
/// them, so that a cast never changes a value silently.
fn fit(of: &FieldType, values: ArrayRef, bad: &mut Vec<Malformed>) -> Result<ArrayRef> {
    let from = values.data_type();
    let is_text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if *from == of.arrow() && !matches!(of, FieldType::Ip | FieldType::Json) {
        return Ok(values);
    }
    let cast = |to: &DataType| arrow_cast::cast(&values, to).map_err(|e| Error::internal(e.to_string()));
    if is_text || from.is_numeric() || *from == DataType::Boolean {
        let mut column = read_text(cast(&DataType::Utf8View)?.as_string_view(), of);
        bad.append(&mut column.malformed);
        return Ok(column.values);
    }
    cast(&of.arrow())
}

fn quality_columns(plan: &Plan, batch: &mut Batch, malformed: &[(u32, usize, String)], implausible: &[(u32, usize, String)]) {
    let rows = batch.rows;
    let name = |field: usize| -> &str {
        plan.fields.get(field).map_or_else(|| plan.conditions[field - plan.fields.len()].0.as_str(), |f| f.spec.name.as_str())
    };
    let names =
        |found: &[(u32, usize, String)]| lists(rows, found.iter().map(|(row, field, _)| (*row, name(*field).to_string())));
    let s = plan.standard;
    if plan.is_needed(s.malformed) {
        batch.columns[s.malformed] = names(malformed);
    }
    if plan.is_needed(s.implausible) {
        batch.columns[s.implausible] = names(implausible);
    }
    if plan.is_needed(s.reasons) {
        let mut reasons: Vec<(u32, String)> =
            malformed.iter().chain(implausible).map(|(row, field, why)| (*row, format!("{}: {why}", name(*field)))).collect();
        reasons.sort_by_key(|(row, _)| *row);
        batch.columns[s.reasons] = lists(rows, reasons.into_iter());
    }
    if plan.is_needed(s.raw) {
        let mut builder = StringViewBuilder::with_capacity(rows);
        let mut bad = malformed.iter().map(|(row, ..)| *row as usize).peekable();
        for row in 0..rows {
            let is_bad = bad.peek() == Some(&row);
            while bad.next_if_eq(&row).is_some() {}
            let (start, end) = batch.raw[row];
            let kept = (end as usize).min(start as usize + ouzel_core::limits::KEPT_RAW_BYTES_MAX);
            if is_bad || plan.keeps_raw {
                builder.append_value(String::from_utf8_lossy(&batch.chunk.data[start as usize..kept]));
            } else {
                builder.append_null();
            }
        }
        batch.columns[s.raw] = Arc::new(builder.finish());
    }
}

/// Lists of text; `items` in order of rows.
fn lists(rows: usize, items: impl Iterator<Item = (u32, String)>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringViewBuilder::new());
    let mut items = items.peekable();
    for row in 0..rows as u32 {
        while let Some((_, text)) = items.next_if(|(r, _)| *r == row) {
            builder.values().append_value(text);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn apply_policies(
    plan: &Plan,
    batch: &mut Batch,
    malformed: Vec<(u32, usize, String)>,
    implausible: Vec<(u32, usize, String)>,
) -> Result<()> {
    let mut keep = Keep::all(batch.rows);
    let mut strictest: Vec<(Policy, u32, String)> = Vec::new();
    for (found, is_malformed) in [(malformed, true), (implausible, false)] {
        for (row, field, reason) in found {
            let Some(field) = plan.fields.get(field) else { continue };
            let policy = if is_malformed { field.spec.on_malformed } else { field.spec.on_implausible };
            if policy != Policy::Keep {
                strictest.push((
                    policy,
                    row,
                    format!("{} `{}`: {reason}", if is_malformed { "malformed" } else { "implausible" }, field.spec.name),
                ));
            }
        }
    }
    strictest.sort_by_key(|s| std::cmp::Reverse(s.0));
    for (policy, row, reason) in strictest {
        let fate = if policy == Policy::Reject { Fate::DeadLettered } else { Fate::Quarantined };
        batch.put_aside(&mut keep, row as usize, fate, reason);
    }
    if let Some(field) = plan.event.time
        && batch.columns[field].null_count() > 0
    {
        let (time, name) = (batch.columns[field].clone(), &plan.fields[field].spec.name);
        for row in (0..batch.rows).filter(|r| time.is_null(*r)) {
            batch.put_aside(&mut keep, row, Fate::Quarantined, format!("no event time: `{name}` is missing or cannot be read"));
        }
    }
    batch.retain(keep)
}

/// The pipeline's `where`.
fn filter(plan: &Plan, batch: &mut Batch) -> Result<()> {
    let Some(condition) = &plan.condition else { return Ok(()) };
    let mut failed = Vec::new();
    let met = condition.evaluate(&batch.columns, batch.rows, &mut failed)?;
    let mut keep = Keep::all(batch.rows);
    for f in failed {
        batch.put_aside(&mut keep, f.row as usize, Fate::DeadLettered, format!("`where` failed: {}", f.reason));
    }
    let met = met.as_boolean_opt();
    for row in 0..batch.rows {
        if !met.is_some_and(|m| m.is_valid(row) && m.value(row)) && keep.drop(row) {
            batch.counts.filtered += 1;
        }
    }
    batch.retain(keep)
}

/// Arguments and conditions of the measures of some groups. A row on which one fails never reaches their state.
pub fn inputs(plan: &Plan, batch: &mut Batch, which: Range<usize>) -> Result<()> {
    let mut failed = Vec::new();
    for group in &plan.groups[which] {
        let inputs = group.group.inputs(&batch.columns, batch.rows, &mut failed)?;
        batch.inputs.push(inputs);
    }
    if failed.is_empty() {
        return Ok(());
    }
    let mut keep = Keep::all(batch.rows);
    for f in failed {
        batch.put_aside(&mut keep, f.row as usize, Fate::DeadLettered, format!("a measure failed: {}", f.reason));
    }
    batch.retain(keep)
}

/// Columns that are known once the clock has had its turn.
pub fn after_clock(plan: &Plan, batch: &mut Batch, generation: u32, version: &str) {
    let s = plan.standard;
    if plan.is_needed(s.late) {
        batch.columns[s.late] = Arc::new(BooleanArray::from(batch.late.clone()));
    }
    if plan.is_needed(s.id) {
        let mut builder = StringViewBuilder::with_capacity(batch.rows);
        let mut id = String::new();
        for ordinal in &batch.ordinals {
            id.clear();
            write_id(&mut id, plan, generation, batch.chunk.partition, batch.first_offset + u64::from(*ordinal));
            builder.append_value(&id);
        }
        batch.columns[s.id] = Arc::new(builder.finish());
    }
    if plan.is_needed(s.date) {
        batch.columns[s.date] =
            Arc::new(Date32Array::from_iter_values(batch.times.iter().map(|t| t.div_euclid(86_400_000_000) as i32)));
    }
    if plan.is_needed(s.version) {
        batch.columns[s.version] = Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(version, batch.rows)));
    }
}

/// The id of an output: `PIPELINE.GENERATION.PARTITION.OFFSET.ORDINAL`.
pub fn write_id(out: &mut String, plan: &Plan, generation: u32, partition: u32, offset: u64) {
    // Writing to a String does not fail.
    let _ = write!(out, "{}.{generation}.{partition}.{offset}.0", plan.name);
}

/// Some scores, and if asked the decision. A row on which one fails is dead-lettered.
pub fn score(plan: &Plan, batch: &mut Batch, which: Range<usize>, decide: bool) -> Result<()> {
    if fault::is_poisoned("score") {
        (0..batch.rows).for_each(|row| fault::poisonous("score", batch.bytes(row)));
    }
    let mut failed: Vec<(Failed, &str)> = Vec::new();
    for (column, expression) in plan.scores[which].iter().filter(|(column, _)| plan.is_needed(*column)) {
        let mut own = Vec::new();
        batch.columns[*column] = expression.evaluate(&batch.columns, batch.rows, &mut own)?;
        failed.extend(own.into_iter().map(|f| (f, plan.columns.field(*column).name().as_str())));
    }
    if let Some(d) = plan.decision.as_ref().filter(|_| decide) {
        let mut own = Vec::new();
        let (decisions, rules) = d.decision.decide(&batch.columns, batch.rows, &mut own)?;
        batch.columns[d.decision_column] = decisions;
        batch.columns[d.rule_column] = rules;
        failed.extend(own.into_iter().map(|f| (f, "decision")));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let mut keep = Keep::all(batch.rows);
    for (f, what) in failed {
        batch.put_aside(&mut keep, f.row as usize, Fate::DeadLettered, format!("`{what}` failed: {}", f.reason));
    }
    batch.retain(keep)
}

/// What one sink is offered of a batch.
pub struct SinkRows {
    pub rows: RecordBatch,
    /// Which row of the batch each is; `None` if they are all there.
    pub which: Option<Vec<u32>>,
    /// Left out by the sink's `where`.
    pub filtered: usize,
    /// Left out because the sink holds them already.
    pub held: usize,
    /// Rows for which a column cannot be computed: this sink does not get them.
    pub failed: Vec<Failed>,
}

/// Rows that sinks are offered: those of a batch, or its alerts.
pub struct Given<'a> {
    pub of: &'a Batch,
    pub rows: usize,
    pub columns: &'a [ArrayRef],
    /// Which row of the batch each belongs to; `None` if they are its rows.
    pub at: Option<&'a [u32]>,
}

impl Given<'_> {
    pub fn of(batch: &Batch) -> Given<'_> {
        Given { of: batch, rows: batch.rows, columns: &batch.columns, at: None }
    }

    /// Of the event that a row belongs to.
    fn offset(&self, row: usize) -> u64 {
        let row = self.at.map_or(row, |at| at[row] as usize);
        self.of.first_offset + u64::from(self.of.ordinals[row])
    }
}

/// `holds`: the sink has the rows of the events before this offset.
pub fn sink_rows(sink: &crate::plan::SinkPlan, batch: &Given<'_>, holds: u64) -> Result<SinkRows> {
    if fault::is_poisoned("encode") {
        let row_of = |row: usize| batch.at.map_or(row, |at| at[row] as usize);
        (0..batch.rows).for_each(|row| fault::poisonous("encode", batch.of.bytes(row_of(row))));
    }
    let mut failed = Vec::new();
    let columns = sink.columns.iter().map(|e| e.evaluate(batch.columns, batch.rows, &mut failed)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows));
    let rows =
        RecordBatch::try_new_with_options(sink.schema.clone(), columns, &options).map_err(|e| Error::internal(e.to_string()))?;
    let met = sink.condition.as_ref().map(|c| c.evaluate(batch.columns, batch.rows, &mut failed)).transpose()?;
    if met.is_none() && failed.is_empty() && batch.of.first_offset >= holds {
        return Ok(SinkRows { rows, which: None, filtered: 0, held: 0, failed });
    }
    failed.sort_by_key(|f| f.row);
    failed.dedup_by_key(|f| f.row);
    let mut keep = vec![true; batch.rows];
    failed.iter().for_each(|f| keep[f.row as usize] = false);
    let mut filtered = 0;
    if let Some(met) = &met {
        let met = met.as_boolean_opt();
        for (row, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            *keep = met.is_some_and(|m| m.is_valid(row) && m.value(row));
            filtered += usize::from(!*keep);
        }
    }
    let mut held = 0;
    for (row, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
        *keep = batch.offset(row) >= holds;
        held += usize::from(!*keep);
    }
    let which = keep.iter().enumerate().filter(|(_, keep)| **keep).map(|(row, _)| row as u32).collect();
    let rows = arrow_select::filter::filter_record_batch(&rows, &BooleanArray::from(keep))
        .map_err(|e| Error::internal(e.to_string()))?;
    Ok(SinkRows { rows, which: Some(which), filtered, held, failed })
}

impl Counts {
    /// Puts them into a summary; what is received is counted elsewhere.
    pub fn tell(&self, summary: &mut PipelineSummary) {
        summary.filtered = self.filtered;
        summary.duplicate = self.duplicate;
        summary.late = self.late;
        summary.malformed = self.malformed;
        summary.implausible = self.implausible;
    }

    pub fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.filtered += other.filtered;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.malformed += other.malformed;
        self.implausible += other.implausible;
    }
}
