//! A commit: one line of JSON, and one with its checksum.

use crate::summary::PipelineSummary;
use ouzel_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of this version and all before it.
pub const FORMAT: u32 = 3;
/// What versions before can read too: nothing is known of alerts; no key has ever left memory either.
const FORMAT_WITHOUT_ALERTS: u32 = 2;
const FORMAT_WITHOUT_RUNS: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub project: String,
    pub pipeline: String,
    /// Whose writing it is: a process that opens the state takes the next one.
    pub epoch: u64,
    /// Of the process that opened the state: two may take one epoch, and one of them is to find that the commit is not its own.
    #[serde(default)]
    pub process: String,
    /// Its own number.
    pub commit: u64,
    /// How often the pipeline has started anew: part of every id.
    pub generation: u32,
    /// Tells this generation's commits to a table from those of any other, also of state that was removed.
    #[serde(default)]
    pub writer: String,
    /// Of the first event whose outputs this generation has: what is before it was only run to have its state.
    #[serde(default)]
    pub from: u64,
    /// The state is made anew by other definitions: the outputs of the events before `from` are there, made by those before, which had read the
    /// source up to here.
    #[serde(default)]
    pub rebuild_of: Option<String>,
    /// With `rebuild_of`: it is made anew from this table of the lake. The counts are those of the commit before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild_table: Option<String>,
    /// What the state depends on besides the log: a part of the definitions and its hash.
    pub definitions: BTreeMap<String, String>,
    /// Of the next event.
    pub offset: u64,
    /// Where the source goes on; `None` before it has given anything.
    pub source: Option<String>,
    /// The partition's clock, as hex.
    pub clock: String,
    /// By group: a key without an event after this is forgotten.
    pub dead_at: Vec<i64>,
    /// An id of a time at or before this has no duplicates any more.
    pub ids_dead_at: i64,
    /// Oldest first.
    pub files: Vec<StateFile>,
    /// Runs of keys that have left memory, oldest first.
    #[serde(default)]
    pub cold: Vec<ColdFile>,
    /// Of the hash that runs are sorted by; 0 as long as no key may leave.
    #[serde(default)]
    pub seed: u64,
    /// What is known of the alerts of late, as hex; empty if there were none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alerts: String,
    /// The lookup files that hold behind it, by the path that the pipeline gives them.
    #[serde(default)]
    pub lookups: BTreeMap<String, LookupVersion>,
    pub sinks: Vec<SinkState>,
    pub journal: JournalLengths,
    /// Objects that what was set aside lies in, in order, where state is on an object store.
    #[serde(default)]
    pub journal_parts: Vec<JournalPart>,
    /// Of all runs of this generation, up to here.
    pub totals: PipelineSummary,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    pub name: String,
    pub bytes: u64,
    /// Keys and ids in it, of which newer files may say something newer.
    pub entries: u64,
}

/// A run of keys of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdFile {
    pub group: u32,
    pub name: String,
    pub bytes: u64,
    pub entries: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkState {
    /// Which sink it is.
    pub key: String,
    /// How many before it have the same key.
    #[serde(default)]
    pub ordinal: usize,
    pub position: String,
}

/// Bytes of the files that events are set aside in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLengths {
    pub quarantine: u64,
    pub dead_letters: u64,
}

/// A lookup file as it was: a copy of it lies with the state, named by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupVersion {
    pub name: String,
    pub bytes: u64,
}

/// A stretch of what was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPart {
    /// Of dead letters, not of what is quarantined.
    pub dead: bool,
    pub name: String,
    pub bytes: u64,
}

impl Manifest {
    pub fn file_name(&self) -> String {
        format!("{:012}.manifest", self.commit)
    }

    /// The version it is of.
    pub fn format(&self) -> u32 {
        match (self.alerts.is_empty(), self.seed) {
            (false, _) => FORMAT,
            (true, 0) => FORMAT_WITHOUT_RUNS,
            (true, _) => FORMAT_WITHOUT_ALERTS,
        }
    }

    /// Files of state that it names, and their sizes.
    pub fn state_files(&self) -> impl Iterator<Item = (&str, u64)> {
        let files = self.files.iter().map(|f| (f.name.as_str(), f.bytes));
        let lookups = self.lookups.values().map(|f| (f.name.as_str(), f.bytes));
        files.chain(self.cold.iter().map(|f| (f.name.as_str(), f.bytes))).chain(lookups)
    }

    /// All that it names.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.state_files().map(|(name, _)| name).chain(self.journal_parts.iter().map(|part| part.name.as_str()))
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_string(self).map_err(|e| Error::internal(e.to_string()))?;
        let check = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("\ncrc32c {check:08x}\n"));
        Ok(text.into_bytes())
    }

    /// [`Kind::Data`]: damaged; [`Kind::Changed`]: of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Manifest> {
        let damaged = |what: String| Error::new(Kind::Data, what);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text".into()))?;
        let (line, check) = text.split_once("\ncrc32c ").ok_or_else(|| damaged("its end is missing".into()))?;
        if check != format!("{:08x}\n", crc32c::crc32c(line.as_bytes())) {
            return Err(damaged("its checksum is another".into()));
        }
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(line).map_err(|e| damaged(e.to_string()))?;
        if version.format > FORMAT {
            let message =
                format!("written by a newer version of Ouzel (format {}, this one reads up to {FORMAT})", version.format);
            return Err(Error::new(Kind::Changed, message));
        }
        serde_json::from_str(line).map_err(|e| damaged(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_and_newer_versions_are_told() {
        let manifest = Manifest { format: FORMAT, pipeline: "web".into(), commit: 7, ..Manifest::default() };
        let bytes = manifest.encode().expect("encodes");
        assert_eq!(Manifest::decode(&bytes).expect("sound"), manifest);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Manifest::decode(&flipped).expect_err("flipped").kind, Kind::Data, "byte {at}");
            assert_eq!(Manifest::decode(&bytes[..at]).expect_err("cut").kind, Kind::Data, "cut at {at}");
        }
        let newer = Manifest { format: FORMAT + 1, ..manifest }.encode().expect("encodes");
        assert_eq!(Manifest::decode(&newer).expect_err("newer").kind, Kind::Changed);
    }
}
