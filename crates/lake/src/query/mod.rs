//! SQL over the tables of a lake: [`catalog`] finds them by name, [`table`] reads one as its log said when the query began,
//! [`checksum`] sees that its files hold what was written.

mod additive;
mod catalog;
mod checksum;
mod errors;
mod in_order;
mod lineage;
pub mod percentile;
mod row_wise;
mod table;
#[cfg(test)]
mod tests;
mod utc;

use crate::jobs::history::ChangedFile;
use crate::location::Location;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use catalog::Lake;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use errors::failed;
use futures::StreamExt;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

pub use additive::Additive;
pub use checksum::{Summed, checksum_of, suffix, sum_of_name};
pub use in_order::InOrder;
pub use lineage::Origin;
pub use table::{DeltaFiles, columns_of_file, read_file};

/// Bytes that a query keeps in memory if nothing is said; what sorts and joins need beyond goes to disk.
pub const MEMORY_BYTES_MAX: usize = 4 << 30;

/// A name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What is known of damaged files, by the tables that a query reads.
pub type Damage = Arc<Mutex<Vec<String>>>;

/// SQL over a lake. Its tables are read as they are when a query begins.
pub struct Queries {
    runtime: Runtime,
    context: SessionContext,
    lake: Arc<Lake>,
    damage: Damage,
    memory: usize,
}

/// The rows of an answer, a batch at a time.
pub struct Rows<'q> {
    pub schema: SchemaRef,
    runtime: &'q Runtime,
    stream: datafusion::execution::SendableRecordBatchStream,
}

impl Queries {
    /// `lake`: where the tables lie. `verify`: look at every file that is read whether it holds what was written.
    pub fn open(lake: &Location, threads: usize, verify: bool) -> Result<Queries> {
        Queries::open_within(lake, threads, verify, MEMORY_BYTES_MAX)
    }

    /// With what it may keep in memory, bytes.
    pub fn open_within(lake: &Location, threads: usize, verify: bool, memory: usize) -> Result<Queries> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .enable_all()
            .build()
            .doing(|| "starting a runtime".into())?;
        let damage = Damage::default();
        let lake = Arc::new(Lake::new(lake.clone(), verify, damage.clone()));
        let config = SessionConfig::new()
            .with_target_partitions(threads.max(1))
            .with_information_schema(true)
            .with_default_catalog_and_schema("ouzel", "lake")
            .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
            .set_bool("datafusion.execution.parquet.pushdown_filters", true);
        let environment =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory))).build_arc().map_err(failed)?;
        let state = SessionStateBuilder::new().with_config(config).with_runtime_env(environment).with_default_features().build();
        let context = SessionContext::new_with_state(state);
        context.register_udaf(percentile::exact());
        context.register_udf(utc::trunc());
        if let Some(catalog) = context.catalog("ouzel") {
            catalog.register_schema("lake", lake.clone()).map_err(failed)?;
        }
        Ok(Queries { runtime, context, lake, damage, memory })
    }

    /// A table that is no part of the lake; its rows are made when a query reads it.
    pub fn offer(&self, name: &str, make: impl Fn() -> Result<RecordBatch> + Send + Sync + 'static) {
        self.lake.offer(name, Arc::new(make));
    }

    /// A version of a table of the lake stands for its name from here on.
    pub fn at_version(&self, name: &str, root: &Location, version: u64) -> Result<()> {
        let table = self.runtime.block_on(DeltaFiles::open(root, Some(version), true, self.damage.clone()))?;
        self.lake.give(name, Arc::new(table));
        Ok(())
    }

    /// A version of a table, to be given.
    pub fn version(&self, root: &Location, version: u64) -> Result<DeltaFiles> {
        self.runtime.block_on(DeltaFiles::open(root, Some(version), true, self.damage.clone()))
    }

    /// Some files of a version of a table, to be given.
    pub fn files(&self, root: &Location, version: u64, files: Vec<ChangedFile>) -> Result<DeltaFiles> {
        self.runtime.block_on(DeltaFiles::open_files(root, Some(version), files, self.damage.clone()))
    }

    /// Only these files of a table stand for its name from here on.
    pub fn only_files(&self, name: &str, root: &Location, version: u64, files: Vec<ChangedFile>) -> Result<()> {
        let table = self.runtime.block_on(DeltaFiles::open_files(root, Some(version), files, self.damage.clone()))?;
        self.lake.give(name, Arc::new(table));
        Ok(())
    }

    /// These files, or these rows, stand for a name from here on.
    pub fn give(&self, name: &str, table: DeltaFiles) {
        self.lake.give(name, Arc::new(table));
    }

    pub fn give_rows(&self, name: &str, schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<()> {
        let table = datafusion::datasource::MemTable::try_new(schema, vec![rows]).map_err(failed)?;
        self.lake.give(name, Arc::new(table));
        Ok(())
    }

    /// What is known of damage, to be shared with tables that are given.
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }

    /// The columns that a query gives, without running it.
    pub fn schema_of(&self, sql: &str) -> Result<SchemaRef> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        Ok(Arc::new(planned.schema().as_arrow().clone()))
    }

    /// Why what a query gives of changed rows does not tell for which values of `columns` its result changes; `None` if it does.
    pub fn obstacle(&self, sql: &str, columns: &[String]) -> Result<Option<&'static str>> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        row_wise::obstacle(planned.into_unoptimized_plan(), columns).map_err(|e| self.told(e))
    }

    /// Why what a query gives of a table's new rows, the other tables whole, is not all that is new in its result; `None` if it is.
    pub fn not_added(&self, sql: &str, table: &str) -> Result<Option<&'static str>> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        row_wise::not_added(planned.logical_plan(), table).map_err(|e| self.told(e))
    }

    /// Why what a query gives need not be in the order of the rows that it reads; `None` if it is.
    pub fn reordered(&self, sql: &str) -> Result<Option<&'static str>> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        Ok(row_wise::reordered(planned.logical_plan()))
    }

    /// Which columns of which tables each column of a query is made of.
    pub fn lineage(&self, sql: &str) -> Result<Vec<(String, BTreeSet<Origin>)>> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        lineage::lineage(planned.logical_plan()).map_err(|e| self.told(e))
    }

    /// Names of the tables there are, sorted.
    pub fn tables(&self) -> Vec<String> {
        self.lake.names()
    }

    /// Names of a table's columns; none if it cannot be read.
    pub fn columns(&self, table: &str) -> Vec<String> {
        let provider = self.runtime.block_on(self.context.table_provider(table));
        provider.map_or_else(|_| Vec::new(), |table| table.schema().fields().iter().map(|f| f.name().clone()).collect())
    }

    /// Begins a query. [`ouzel_core::Kind::Config`]: it makes no sense.
    pub fn run(&self, sql: &str) -> Result<Rows<'_>> {
        let stream = self.runtime.block_on(async {
            let frame = self.context.sql(sql).await?;
            frame.execute_stream().await
        });
        let stream = stream.map_err(|e| self.told(e))?;
        Ok(Rows { schema: stream.schema(), runtime: &self.runtime, stream })
    }

    fn told(&self, e: DataFusionError) -> Error {
        errors::unknown_table(&e, &self.tables()).unwrap_or_else(|| failed(e))
    }

    /// All rows at once: for answers that are known to be small.
    pub fn all(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.run(sql)?.collect()
    }

    /// What was found damaged since the last call, for people. Its rows are in no answer.
    pub fn damaged(&self) -> Vec<String> {
        std::mem::take(&mut *self.damage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.runtime.block_on(self.stream.next()).map(|batch| batch.map_err(failed))
    }
}
