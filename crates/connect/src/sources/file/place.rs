//! Where in its files a log has been read up to, so that another run can go on from there.

use super::digest::Mark;
use super::reader::Listed;
use ouzel_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// All files of the log as they were listed, in order. Files that come later are read after them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Read to the end.
    pub read: Vec<ReadFile>,
    pub reading: Option<Reading>,
    /// Names of those not begun.
    pub ahead: Vec<String>,
}

/// A file as far as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadFile {
    pub name: String,
    #[serde(flatten)]
    pub seen: Seen,
    /// Of the bytes read, after decompression.
    #[serde(flatten)]
    pub mark: Mark,
    /// How many bytes these are, if more may follow: lines of a plain file, the last of them whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

/// The file that is being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    #[serde(flatten)]
    pub file: ReadFile,
    /// Bytes read, after decompression.
    pub position: u64,
    pub at: At,
}

/// What lies at the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    Record,
    /// The rest of a record that is too long.
    TooLong,
    /// What cannot be read; it has been handed over.
    End,
}

/// What a look at the folder tells of a file; alike means unchanged without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// As it lies on disk; `None` for a pipe.
    pub bytes: Option<u64>,
    /// Last modified, microseconds since 1970; 0 if not known.
    pub modified: i64,
}

impl Seen {
    pub fn of(path: &Path) -> std::io::Result<Seen> {
        let about = std::fs::metadata(path)?;
        let since = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Seen { bytes: about.is_file().then_some(about.len()), modified: since.map_or(0, |at| at.as_micros() as i64) })
    }
}

/// The files that are there, of a log that was begun before.
pub struct There {
    /// Still to be read: as the log had listed them, the new ones after that.
    pub rest: Vec<Listed>,
    /// Of those read to the end (by their place among them), the ones that are still there.
    pub read: Vec<(usize, Listed)>,
}

pub fn find(place: &Place, listed: Vec<Listed>) -> Result<There> {
    let mut there: HashMap<String, Listed> = HashMap::new();
    let mut names: Vec<String> = Vec::new();
    for file in listed {
        names.push(file.name.to_string());
        there.insert(file.name.to_string(), file);
    }
    let read = place.read.iter().enumerate().filter_map(|(i, file)| Some((i, there.remove(&file.name)?))).collect();
    let mut rest = Vec::new();
    if let Some(reading) = &place.reading {
        let name = &reading.file.name;
        rest.push(
            there
                .remove(name)
                .ok_or_else(|| changed(format!("`{name}` is gone, of which {} bytes had been read", reading.position)))?,
        );
    }
    rest.extend(place.ahead.iter().filter_map(|name| there.remove(name)));
    rest.extend(names.iter().filter_map(|name| there.remove(name)));
    Ok(There { rest, read })
}

/// The input is not what it was.
pub fn changed(what: String) -> Error {
    Error::new(Kind::Changed, what)
}
