//! Alerts of a batch: which rows call for one, which of these are let through, and the rows that sinks of alerts get.

use super::batch::{Batch, Keep};
use super::steps::{Given, write_id};
use crate::checkpoint::to_hex;
use crate::journal::Fate;
use crate::plan::Plan;
use crate::summary::AlertCount;
use arrow_array::builder::{ListBuilder, StringViewBuilder};
use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt32Array, new_null_array};
use ouzel_core::wire::Wire;
use ouzel_core::{Error, Result};
use ouzel_detect::alerts::{Closing, Raised, Throttle};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Alerts as rows, in log order.
#[derive(Default)]
pub struct AlertRows {
    columns: Vec<ArrayRef>,
    /// The row of the batch with which each came.
    pub at: Vec<u32>,
    /// Raised and held back, by alert.
    counts: Vec<AlertCount>,
}

impl AlertRows {
    pub fn rows(&self) -> usize {
        self.at.len()
    }

    /// Some of them.
    pub fn only(&self, rows: &[usize]) -> Result<AlertRows> {
        let which: UInt32Array = rows.iter().map(|row| Some(*row as u32)).collect();
        let take = |column: &ArrayRef| arrow_select::take::take(column, &which, None);
        let columns = self.columns.iter().map(take).collect::<std::result::Result<Vec<_>, _>>();
        let columns = columns.map_err(|e| Error::internal(e.to_string()))?;
        Ok(AlertRows { columns, at: rows.iter().map(|row| self.at[*row]).collect(), counts: Vec::new() })
    }

    /// One of them, by itself.
    pub fn one(&self, row: usize) -> AlertRows {
        AlertRows { columns: self.columns.iter().map(|c| c.slice(row, 1)).collect(), at: vec![self.at[row]], counts: Vec::new() }
    }

    pub fn given<'a>(&'a self, batch: &'a Batch) -> Given<'a> {
        Given { of: batch, rows: self.rows(), columns: &self.columns, at: Some(&self.at) }
    }

    pub fn count(&self, plan: &Plan, into: &mut BTreeMap<String, AlertCount>) {
        for (alert, count) in plan.alerts.iter().zip(&self.counts).filter(|(_, count)| count.raised + count.suppressed > 0) {
            let all = into.entry(alert.name.clone()).or_default();
            all.raised += count.raised;
            all.suppressed += count.suppressed;
        }
    }
}

/// What is known of alerts, for a commit; empty if that is nothing.
pub fn written(throttle: &Throttle) -> String {
    if throttle.is_idle() {
        return String::new();
    }
    let mut bytes = Vec::new();
    throttle.put(&mut bytes);
    to_hex(&bytes)
}

/// The rows that call for an alert, in log order. A row on which a condition fails is dead-lettered.
pub fn called(plan: &Plan, batch: &mut Batch) -> Result<Vec<Raised>> {
    let mut called = Vec::new();
    if batch.rows == 0 {
        return Ok(called);
    }
    let mut failed = Vec::new();
    for (i, alert) in plan.alerts.iter().enumerate() {
        let mut own = Vec::new();
        called.extend(alert.rows(i, &batch.columns, batch.rows, &mut own)?);
        failed.extend(own.into_iter().map(|f| (f, alert.name.as_str())));
    }
    if !failed.is_empty() {
        let mut keep = Keep::all(batch.rows);
        for (f, name) in failed {
            batch.put_aside(&mut keep, f.row as usize, Fate::DeadLettered, format!("the alert `{name}` failed: {}", f.reason));
        }
        batch.retain(keep)?;
        // Rows have moved.
        return self::called(plan, batch);
    }
    called.sort_by_key(|raised| (raised.row, raised.alert));
    Ok(called)
}

/// A row to come.
struct New {
    /// `None`: a closing, which no event called for.
    row: Option<u32>,
    at: u32,
    alert: usize,
    entity: String,
    message: String,
    suppressed: u64,
    time: i64,
}

/// Has its turn: lets alerts through or holds them back, and makes rows of those that are told.
pub fn raise(plan: &Plan, batch: &Batch, called: Vec<Raised>, throttle: &mut Throttle, generation: u32) -> Result<AlertRows> {
    let mut counts = vec![AlertCount::default(); plan.alerts.len()];
    if batch.rows == 0 || (called.is_empty() && throttle.is_idle()) {
        return Ok(AlertRows { counts, ..AlertRows::default() });
    }
    let mut new: Vec<New> = Vec::new();
    // Of one that is not defined any more there is nobody to tell.
    let closing = |at: usize, c: Closing| {
        let alert = plan.alerts.iter().position(|alert| alert.name == c.alert)?;
        let entity = Raised::shown(&c.entity);
        let of = if entity.is_empty() { String::new() } else { format!("{entity}: ") };
        let message = format!("{of}{} more of {} until then", c.suppressed, c.alert);
        Some(New { row: None, at: at as u32, alert, entity, message, suppressed: c.suppressed, time: c.time })
    };
    let mut called = called.into_iter().peekable();
    for row in 0..batch.rows {
        let Some(clock) = batch.live_from[row].checked_add(plan.event.lateness) else { continue };
        // Before it runs, the clock is at the beginning of time.
        if batch.live_from[row] > i64::MIN {
            new.extend(throttle.advance(clock).into_iter().filter_map(|c| closing(row, c)));
        }
        while let Some(raised) = called.next_if(|raised| raised.row == row) {
            let (alert, time) = (&plan.alerts[raised.alert], batch.times[row]);
            // An event that is dated far ahead holds back nothing that comes before its date.
            let runs = batch.live_from[row] > i64::MIN;
            let every = alert.at_most.map_or(0, |(_, every)| every);
            let near = if runs { time.min(clock.saturating_add(every)) } else { time };
            let (told, room) = throttle.raise(alert, &raised.key, near);
            new.extend(room.and_then(|c| closing(row, c)));
            match told {
                None => counts[raised.alert].suppressed += 1,
                Some(suppressed) => {
                    counts[raised.alert].raised += 1;
                    let (entity, message) = (raised.entity, raised.message);
                    new.push(New {
                        row: Some(row as u32),
                        at: row as u32,
                        alert: raised.alert,
                        entity,
                        message,
                        suppressed,
                        time,
                    });
                }
            }
        }
        if called.peek().is_none() && throttle.is_idle() {
            break;
        }
    }
    if new.is_empty() {
        return Ok(AlertRows { counts, ..AlertRows::default() });
    }
    let columns = columns(plan, batch, &new, generation)?;
    Ok(AlertRows { columns, at: new.iter().map(|new| new.at).collect(), counts })
}

/// All columns of the plan, for rows of alerts: those of their events, and their own.
fn columns(plan: &Plan, batch: &Batch, new: &[New], generation: u32) -> Result<Vec<ArrayRef>> {
    let Some(own) = plan.alert_columns else { return Err(Error::internal("alerts without columns")) };
    let rows: UInt32Array = new.iter().map(|new| new.row).collect();
    let mut columns = Vec::with_capacity(batch.columns.len());
    for (column, field) in batch.columns.iter().zip(plan.columns.fields()) {
        columns.push(match column.len() == batch.rows {
            true => arrow_select::take::take(column, &rows, None).map_err(|e| Error::internal(e.to_string()))?,
            false => new_null_array(field.data_type(), new.len()),
        });
    }
    let texts = |of: &dyn Fn(&New) -> String| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(new.iter().map(of))) };
    let alert = |new: &New| &plan.alerts[new.alert];
    let s = plan.standard;
    let event = |new: &New| {
        let mut id = String::new();
        write_id(
            &mut id,
            plan,
            generation,
            batch.chunk.partition,
            batch.first_offset + u64::from(batch.ordinals[new.at as usize]),
        );
        id
    };
    // Outputs of one event are numbered; the event's own is 0.
    let (mut last, mut ordinal) = (u32::MAX, 0);
    let ids = new.iter().map(|new| {
        ordinal = if new.at == last { ordinal + 1 } else { 1 };
        last = new.at;
        let event = event(new);
        format!("{}{ordinal}", event.strip_suffix('0').unwrap_or(&event))
    });
    columns[s.id] = Arc::new(StringViewArray::from_iter_values(ids));
    columns[own.event] = texts(&event);
    columns[own.name] = texts(&|new| alert(new).name.clone());
    columns[own.severity] = texts(&|new| alert(new).severity.name().to_string());
    columns[own.entity] = texts(&|new| new.entity.clone());
    columns[own.message] = texts(&|new| new.message.clone());
    let mut tags = ListBuilder::new(StringViewBuilder::new());
    for new in new {
        alert(new).tags.iter().for_each(|tag| tags.values().append_value(tag));
        tags.append(true);
    }
    columns[own.tags] = Arc::new(tags.finish());
    columns[own.suppressed] = Arc::new(Int64Array::from_iter_values(new.iter().map(|new| new.suppressed as i64)));
    columns[own.closing] = Arc::new(BooleanArray::from_iter(new.iter().map(|new| Some(new.row.is_none()))));
    let times = TimestampMicrosecondArray::from_iter_values(new.iter().map(|new| new.time)).with_timezone("UTC");
    columns[own.time] =
        arrow_cast::cast(&times, plan.columns.field(own.time).data_type()).map_err(|e| Error::internal(e.to_string()))?;
    // What every row has, also one that no event called for.
    for i in [s.date, s.version] {
        if plan.is_needed(i) && batch.columns[i].len() == batch.rows {
            let at: UInt32Array = new.iter().map(|new| new.at).collect();
            columns[i] = arrow_select::take::take(&batch.columns[i], &at, None).map_err(|e| Error::internal(e.to_string()))?;
        }
    }
    Ok(columns)
}
