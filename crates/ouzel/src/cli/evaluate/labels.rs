//! Labels from a CSV file.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, StringViewArray};
use ouzel_connect::codecs::read_text;
use ouzel_connect::lookups::Texts;
use ouzel_core::{Error, FieldType, Kind, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub struct Labels {
    by_key: HashMap<String, String>,
    /// How often each label stands.
    pub counts: BTreeMap<String, u64>,
    /// Lines whose label was not known yet.
    pub unknown_yet: u64,
}

/// Labels become known late: those that were by some time.
pub struct KnownBy<'a> {
    /// The column that tells when.
    pub column: &'a str,
    /// Microseconds since 1970.
    pub time: i64,
}

/// Microseconds since 1970 of a time as text.
pub fn time(text: &str) -> Option<i64> {
    let read = read_text(&StringViewArray::from(vec![text]), &FieldType::Timestamp);
    let times = read.values.as_primitive::<TimestampMicrosecondType>().clone();
    times.is_valid(0).then(|| times.value(0))
}

impl Labels {
    /// [`Kind::Config`]: a column is missing. [`Kind::Data`]: a key has two labels, or a time does not read.
    pub fn read(path: &Path, key: &str, label: &str, known: Option<KnownBy<'_>>) -> Result<Labels> {
        let texts = Texts::read(path)?;
        let (key, label) = (texts.column(key)?, texts.column(label)?);
        let known = known.map(|known| Ok::<_, Error>((texts.column(known.column)?, known.time))).transpose()?;
        let mut labels = Labels { by_key: HashMap::new(), counts: BTreeMap::new(), unknown_yet: 0 };
        for (line, row) in texts.rows() {
            if let Some((column, by)) = known {
                let when = time(&row[column]).ok_or_else(|| {
                    let message = format!("`{}`, line {line}: `{}` is no time", path.display(), row[column]);
                    Error::new(Kind::Data, message)
                })?;
                if when > by {
                    labels.unknown_yet += 1;
                    continue;
                }
            }
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
