//! A query over a long list of files, a part of them at a time, several parts at once, and yet the rows in the order of the files.

use super::errors::failed;
use super::{DeltaFiles, Queries};
use arrow_array::RecordBatch;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use ouzel_core::Result;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, channel};

/// Batches of a part that wait to be taken, at most; fewer where there is little memory.
const WAITING_MAX: usize = 32;
/// What a batch takes, about.
const BATCH_BYTES: usize = 2 << 20;
/// Bytes of files of a part, one file at least.
const PART_BYTES: u64 = 8 << 20;

/// The rows.
pub struct InOrder<'q> {
    queries: &'q Queries,
    context: SessionContext,
    sql: String,
    /// What stands for the table, part by part.
    table: String,
    parts: VecDeque<DeltaFiles>,
    running: VecDeque<(Vec<String>, Receiver<Result<RecordBatch>>)>,
    /// Parts at once.
    most: usize,
    waiting: usize,
}

impl Queries {
    /// Runs a query over a table's files, some of them at a time, which then stand for `table`. A query that takes rows for themselves gives them in the order
    /// of the files. `most`: parts at once.
    pub fn in_order(&self, sql: &str, table: &str, files: &DeltaFiles, most: usize) -> InOrder<'_> {
        let state = self.context.state();
        // The catalog is there: making the default one would put an empty one in its place.
        let config = state.config().clone().with_target_partitions(1).with_create_default_catalog_and_schema(false);
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        InOrder {
            queries: self,
            context: SessionContext::new_with_state(state),
            sql: sql.to_string(),
            table: table.to_string(),
            parts: files.parts(PART_BYTES).into(),
            running: VecDeque::new(),
            most: most.max(1),
            waiting: (self.memory / 4 / BATCH_BYTES / most.max(1)).clamp(2, WAITING_MAX),
        }
    }
}

impl InOrder<'_> {
    /// The files among which is the one whose rows came last.
    pub fn files(&self) -> &[String] {
        self.running.front().map_or(&[], |(files, _)| files)
    }

    fn start(&mut self, part: DeltaFiles) -> Result<()> {
        let files = part.paths();
        self.queries.lake.give(&self.table, Arc::new(part));
        let planned = self.queries.runtime.block_on(async { self.context.sql(&self.sql).await?.execute_stream().await });
        let mut stream = planned.map_err(|e| self.queries.told(e))?;
        let (rows, taken) = channel(self.waiting);
        self.queries.runtime.spawn(async move {
            while let Some(batch) = stream.next().await {
                if rows.send(batch.map_err(failed)).await.is_err() {
                    return;
                }
            }
        });
        self.running.push_back((files, taken));
        Ok(())
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            while self.running.len() < self.most
                && let Some(part) = self.parts.pop_front()
            {
                if let Err(e) = self.start(part) {
                    return Some(Err(e));
                }
            }
            match self.running.front_mut()?.1.blocking_recv() {
                Some(batch) => return Some(batch),
                None => _ = self.running.pop_front(),
            }
        }
    }
}
