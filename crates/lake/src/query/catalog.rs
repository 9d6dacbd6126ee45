//! The tables of a lake by name: its folders with a `_delta_log`; and tables that others offer, which are made when a query reads them.

use super::Damage;
use super::table::DeltaFiles;
use crate::location::Location;
use arrow_array::RecordBatch;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Lake {
    location: Location,
    verify: bool,
    damage: Damage,
    offered: Mutex<BTreeMap<String, Arc<Make>>>,
    /// Come before the lake's.
    given: Mutex<BTreeMap<String, Arc<dyn TableProvider>>>,
}

/// Makes a table's rows.
pub type Make = dyn Fn() -> ouzel_core::Result<RecordBatch> + Send + Sync;

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Lake {
    pub fn new(location: Location, verify: bool, damage: Damage) -> Lake {
        Lake { location, verify, damage, offered: Mutex::default(), given: Mutex::default() }
    }

    /// A table that comes before the lake's of that name.
    pub fn give(&self, name: &str, table: Arc<dyn TableProvider>) {
        self.given().insert(name.to_string(), table);
    }

    fn given(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn TableProvider>>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table beside the lake's; one of the lake has its name first.
    pub fn offer(&self, name: &str, make: Arc<Make>) {
        self.offered().insert(name.to_string(), make);
    }

    fn offered(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Make>>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_in_lake(&self, name: &str) -> bool {
        self.location.has_table(name).unwrap_or(false)
    }

    pub fn names(&self) -> Vec<String> {
        let mut names = self.location.tables().unwrap_or_default();
        names.extend(self.offered().keys().cloned());
        names.extend(self.given().keys().cloned());
        names.sort();
        names.dedup();
        names
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Lake {
    fn table_names(&self) -> Vec<String> {
        self.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(table) = self.given().get(name) {
            return Ok(Some(table.clone()));
        }
        let external = |e: ouzel_core::Error| DataFusionError::External(Box::new(e));
        if !self.location.has_table(name).map_err(external)? {
            let Some(make) = self.offered().get(name).cloned() else { return Ok(None) };
            // On a thread of its own: whoever makes it may wait on a runtime of its own.
            let made = std::thread::spawn(move || make()).join();
            let rows = made.unwrap_or_else(|_| Err(ouzel_core::Error::internal("making a table panicked"))).map_err(external)?;
            return Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)));
        }
        let table = DeltaFiles::open(&self.location.join(name), None, self.verify, self.damage.clone()).await;
        Ok(Some(Arc::new(table.map_err(external)?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.given().contains_key(name) || self.is_in_lake(name) || self.offered().contains_key(name)
    }
}
