//! The tables of a lake by name: its folders with a `_delta_log`.

use super::Damage;
use super::table::DeltaFiles;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug)]
pub struct Lake {
    folder: PathBuf,
    verify: bool,
    damage: Damage,
}

impl Lake {
    pub fn new(folder: PathBuf, verify: bool, damage: Damage) -> Lake {
        Lake { folder, verify, damage }
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| self.table_exist(name)).collect();
        names.sort();
        names
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Lake {
    fn table_names(&self) -> Vec<String> {
        self.names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        let table = DeltaFiles::open(&self.folder.join(name), self.verify, self.damage.clone()).await;
        let table = table.map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        !name.contains(['/', '\\']) && self.folder.join(name).join("_delta_log").is_dir()
    }
}
