//! State made anew from a table of the lake: where the source no longer has its first events, the rows that the pipeline wrote are
//! read in the order of their offsets, and go through everything that remembers. Nothing is written.

use super::batch::{Batch, Keep};
use super::steps;
use super::{Partition, Place};
use crate::config::TooLate;
use crate::plan::Plan;
use crate::registry::SinkConfig;
use arrow_array::RecordBatch;
use ouzel_core::{Chunk, Decoded, Error, Kind, Lookup, Result};
use ouzel_detect::features::Shard;
use ouzel_lake::{Queries, quoted};
use std::collections::BTreeSet;
use std::ops::Range;

/// Parts of the definitions that may have changed: what they are made of is in the table.
const MAY_CHANGE: [&str; 5] = ["features", "lookups", "risk", "schema", "scores"];

/// The table that a pipeline has written all its events to, whole. `changed`: parts of the definitions that are not those of the state.
/// [`Kind::Changed`]: there is none that would do, and why.
pub fn table_of<'p>(plan: &'p Plan, changed: &[&str]) -> Result<&'p str> {
    let no = |why: String| {
        let message = format!(
            "the state cannot be made anew from the lake: {why}. Make it from the source with `--rebuild`, or start anew with `--fresh`"
        );
        Err(Error::new(Kind::Changed, message))
    };
    if let Some(part) = changed.iter().find(|part| !MAY_CHANGE.contains(&part.split('[').next().unwrap_or_default())) {
        return no(format!("`{part}` is another than before, and the table holds what came of the one before"));
    }
    if plan.event.too_late == TooLate::Quarantine {
        return no(
            "events that come too late are quarantined (`too_late`), and count for the clock without being in a table".into()
        );
    }
    let mut why = "the pipeline writes to no table of a lake".to_string();
    for sink in &plan.sinks {
        let SinkConfig::Lake(lake) = &sink.config else { continue };
        let table = &lake.table.value;
        let missing: Vec<String> = reads(plan)
            .into_iter()
            .filter(|column| !sink.columns.iter().any(|e| e.as_column() == Some(*column)))
            .map(|column| format!("`{}`", plan.columns.field(column).name()))
            .collect();
        match (sink.of_alerts, sink.condition.is_some(), missing.is_empty()) {
            (true, ..) => {}
            (_, true, _) => why = format!("the table `{table}` has only some of the events (`where`)"),
            (.., false) => why = format!("the table `{table}` lacks {}", missing.join(", ")),
            _ => return Ok(table),
        }
    }
    no(why)
}

/// What the events of a table make of empty state.
pub struct Primed<'a> {
    pub plan: &'a Plan,
    pub lookups: Vec<Box<dyn Lookup>>,
    pub partition: &'a mut Partition,
    /// By group.
    pub shards: &'a mut [Vec<Shard>],
}

/// Which rows of a table.
pub struct Past<'a> {
    pub table: &'a str,
    pub generation: u32,
    /// Rows of the events before this offset, so many of them.
    pub before: u64,
    pub rows: u64,
}

impl Primed<'_> {
    /// [`Kind::Changed`]: the table does not have the rows that were written to it.
    pub fn run(&mut self, place: &Place, past: &Past<'_>, threads: usize) -> Result<()> {
        let queries = Queries::open(&place.lake, threads, true)?;
        let columns = reads(self.plan);
        let mut found = 0;
        for rows in queries.run(&self.sql(past, &columns)?)? {
            let rows = rows?;
            found += rows.num_rows() as u64;
            self.take(&columns, &rows, past.generation)?;
        }
        let damaged = queries.damaged();
        if !damaged.is_empty() || found != past.rows {
            let damaged = damaged.iter().map(|damage| format!("; {damage}")).collect::<String>();
            let message = format!(
                "the state cannot be made anew from the lake: the table `{}` has {found} of the {} rows that were written to it{damaged}",
                past.table, past.rows
            );
            return Err(Error::new(Kind::Changed, message));
        }
        self.partition.next_offset = past.before;
        Ok(())
    }

    fn sql(&self, past: &Past<'_>, columns: &[usize]) -> Result<String> {
        let of_table = |sink: &&crate::plan::SinkPlan| matches!(&sink.config, SinkConfig::Lake(l) if l.table.value == past.table);
        let sink = self.plan.sinks.iter().find(of_table);
        let gone = |what: String| {
            let message = format!(
                "the state is being made anew from the table `{}`, and {what}: put it back, or begin with `--rebuild` again",
                past.table
            );
            Error::new(Kind::Changed, message)
        };
        let sink = sink.ok_or_else(|| gone("its sink is gone".into()))?;
        let name = |column: usize| -> Result<String> {
            let at = sink.columns.iter().position(|e| e.as_column() == Some(column));
            let at = at.ok_or_else(|| gone(format!("its column `{}` is gone", self.plan.columns.field(column).name())))?;
            Ok(quoted(sink.schema.field(at).name()))
        };
        let id = name(self.plan.standard.id)?;
        let offset = format!("cast(split_part({id}, '.', -2) as bigint)");
        let names = columns.iter().map(|column| name(*column)).collect::<Result<Vec<_>>>()?;
        Ok(format!(
            "select {} from {} where starts_with({id}, '{}.{}.') and {offset} < {} order by {offset}",
            names.join(", "),
            quoted(past.table),
            self.plan.name,
            past.generation,
            past.before
        ))
    }

    fn take(&mut self, columns: &[usize], rows: &RecordBatch, generation: u32) -> Result<()> {
        let plan = self.plan;
        let n = rows.num_rows();
        if n == 0 {
            return Ok(());
        }
        let mut decoded = Decoded { rows: n, raw: vec![(0, 0); n], ..Decoded::default() };
        let mut batch = Batch::new(Chunk::empty(), &mut decoded, plan.columns.fields().len());
        for (column, values) in columns.iter().zip(rows.columns()) {
            let of = plan.columns.field(*column).data_type();
            batch.columns[*column] = arrow_cast::cast(values, of).map_err(|e| Error::internal(e.to_string()))?;
        }
        steps::after_fields(plan, &mut batch, &mut self.lookups)?;
        let mut keep = Keep::all(batch.rows);
        self.partition.judge(&mut batch, &mut keep, plan.event.lateness);
        batch.retain(keep)?;
        steps::after_clock(plan, &mut batch, generation, "");
        for (i, round) in plan.rounds.iter().enumerate() {
            if i > 0 {
                steps::inputs(plan, &mut batch, round.groups.clone())?;
            }
            self.features(&mut batch, round.groups.clone())?;
            if i + 1 < plan.rounds.len() {
                steps::score(plan, &mut batch, round.scores.clone(), false)?;
            }
        }
        Ok(())
    }

    fn features(&mut self, batch: &mut Batch, which: Range<usize>) -> Result<()> {
        let inputs = std::mem::take(&mut batch.inputs);
        for (at, inputs) in which.zip(inputs) {
            let group = &self.plan.groups[at];
            let enters = |row: usize| !batch.late[row];
            let mut prepared = group.group.prepare(&batch.columns, &batch.times, &batch.live_from, &enters, inputs);
            for (index, shard) in self.shards[at].iter_mut().enumerate() {
                group.group.apply(shard, index, &mut prepared, None)?;
            }
            for (i, column) in prepared.into_columns().into_iter().enumerate() {
                batch.columns[group.first + i] = column;
            }
        }
        Ok(())
    }
}

/// The columns that state is made of, but for what lookups add: those they look up instead; and `_id`.
fn reads(plan: &Plan) -> Vec<usize> {
    let mut reads: BTreeSet<usize> = plan.groups.iter().flat_map(|group| group.group.reads()).collect();
    // Scores that features read are made again, of what they read.
    let before_last = plan.rounds.last().map_or(0, |round| round.scores.start);
    for (column, expression) in plan.scores[..before_last].iter().rev() {
        if reads.remove(column) || plan.is_needed(*column) {
            reads.extend(expression.inputs());
        }
    }
    for group in &plan.groups {
        reads.retain(|column| !(group.first..group.first + group.group.outputs().len()).contains(column));
    }
    for lookup in plan.lookups.iter().rev() {
        if lookup.outputs.iter().any(|output| reads.remove(output)) {
            reads.insert(lookup.of);
        }
    }
    reads.extend(plan.event.time.into_iter().chain([plan.standard.id]));
    reads.extend(plan.event.id.filter(|_| plan.event.duplicates_within.is_some()));
    reads.into_iter().collect()
}
