//! Labels from a CSV file.

use ouzel_connect::lookups::Texts;
use ouzel_core::{Error, Kind, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub struct Labels {
    by_key: HashMap<String, String>,
    /// How often each label stands.
    pub counts: BTreeMap<String, u64>,
}

impl Labels {
    /// [`Kind::Config`]: a column is missing. [`Kind::Data`]: a key has two labels.
    pub fn read(path: &Path, key: &str, label: &str) -> Result<Labels> {
        let texts = Texts::read(path)?;
        let (key, label) = (texts.column(key)?, texts.column(label)?);
        let mut labels = Labels { by_key: HashMap::new(), counts: BTreeMap::new() };
        for (line, row) in texts.rows() {
            let (key, label) = (row[key].clone(), row[label].clone());
            match labels.by_key.insert(key.clone(), label.clone()) {
                None => *labels.counts.entry(label).or_default() += 1,
                Some(before) if before == label => {}
                Some(before) => {
                    let message = format!("`{}`, line {line}: `{key}` is `{label}` here and `{before}` before", path.display());
                    return Err(Error::new(Kind::Data, message));
                }
            }
        }
        Ok(labels)
    }

    pub fn of(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(String::as_str)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Labels that differ in case and blanks only.
    pub fn spellings(&self) -> Vec<Vec<&String>> {
        let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        self.counts.keys().for_each(|label| alike.entry(label.trim().to_lowercase()).or_default().push(label));
        alike.into_values().filter(|alike| alike.len() > 1).collect()
    }
}
