//! What has been set aside, for people: read, taken back as input, or settled. A run never looks at it again.
//!
//! Settled events are named in a file beside the journal (`quarantine.settled`), one id a line: the journal itself belongs to the
//! commits, and what they count stays counted.

use super::Fate;
use crate::checkpoint::{self, Mirror};
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::{Error, Kind};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The events of one fate that a pipeline has set aside.
pub struct Journaled {
    path: PathBuf,
    settled_path: PathBuf,
    settled: HashSet<String>,
    /// Where what is settled is kept too.
    mirror: Option<Mirror>,
}

/// One of them. As it stands in the journal: id, origin, position, reason, raw bytes.
pub struct Entry {
    pub id: String,
    pub reason: String,
    /// File and byte position.
    pub origin: (String, u64),
    raw: Vec<u8>,
    /// Of the event; only the first of them are kept.
    raw_bytes: u64,
}

impl Journaled {
    /// `folder`: of the pipeline's state. `mirror`: which is a copy of that.
    pub fn open(folder: &Path, fate: Fate, mirror: Option<Mirror>) -> Result<Journaled> {
        if let Some(mirror) = &mirror {
            checkpoint::refresh(folder, mirror)?;
        }
        let path = folder.join(fate.file());
        let settled_path = path.with_extension("settled");
        let settled = match std::fs::read_to_string(&settled_path) {
            Ok(text) => text.lines().map(String::from).collect(),
            Err(e) if e.kind() == ErrorKind::NotFound => HashSet::new(),
            Err(e) => return Err(e).doing(|| format!("reading `{}`", settled_path.display())),
        };
        Ok(Journaled { path, settled_path, settled, mirror })
    }

    /// Those not settled, in the order in which they came. What a run is just writing is not there yet.
    pub fn entries(&self) -> Result<impl Iterator<Item = Entry> + '_> {
        let file = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e).doing(|| format!("reading `{}`", self.path.display())),
        };
        let lines = file.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(|line| line.ok());
        Ok(lines.filter_map(|line| Entry::parse(&line)).filter(|entry| !self.settled.contains(&entry.id)))
    }

    /// Nothing is left to look at, of some.
    pub fn is_settled(&self) -> Result<bool> {
        Ok(!self.settled.is_empty() && self.entries()?.next().is_none())
    }

    /// Names events as settled; they are not shown any more.
    pub fn settle(&mut self, ids: &[String]) -> Result<()> {
        let doing = || format!("writing `{}`", self.settled_path.display());
        let mut file = File::options().create(true).append(true).open(&self.settled_path).doing(doing)?;
        let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()).doing(doing)?;
        self.settled.extend(ids.iter().cloned());
        if let (Some(mirror), Some(name)) = (&self.mirror, self.settled_path.file_name()) {
            // Others may have been settled on another machine meanwhile.
            mirror.join_settled(&self.settled_path)?;
            let bytes = std::fs::metadata(&self.settled_path).doing(doing)?.len();
            mirror.upload(&name.to_string_lossy(), &self.settled_path, 0, bytes)?;
        }
        Ok(())
    }

    /// Writes events as they came to a file that is not there yet, one after the other, and settles them.
    pub fn take_back(&mut self, entries: &[Entry], to: &Path) -> Result<()> {
        let doing = || format!("writing `{}`", to.display());
        if let Some(cut) = entries.iter().find(|entry| entry.raw_bytes != entry.raw.len() as u64) {
            let message = format!(
                "only {} of the {} bytes of `{}` are kept: it cannot be tried again",
                cut.raw.len(),
                cut.raw_bytes,
                cut.id
            );
            return Err(Error::new(Kind::Data, message));
        }
        let mut file = File::create_new(to).doing(doing)?;
        for entry in entries {
            file.write_all(entry.raw.trim_ascii_end()).and_then(|()| file.write_all(b"\n")).doing(doing)?;
        }
        file.sync_all().doing(doing)?;
        self.settle(&entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>())
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let json: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| json[key].as_str().map(String::from);
        let raw = match json["raw_hex"].as_str() {
            Some(hex) => (0..hex.len()).step_by(2).filter_map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect(),
            None => text("raw")?.into_bytes(),
        };
        Some(Entry {
            id: text("id")?,
            reason: text("reason")?,
            origin: (text("origin")?, json["position"].as_u64()?),
            raw,
            raw_bytes: json["raw_bytes"].as_u64()?,
        })
    }

    /// Its raw bytes as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Journal, SetAside};
    use super::*;
    use crate::checkpoint::JournalLengths;

    #[test]
    fn what_is_settled_is_gone_and_what_is_taken_back_is_as_it_came() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path(), JournalLengths::default(), false).expect("opens");
        journal.begin().expect("begins");
        for (i, raw) in [b"one".to_vec(), b"\xff\x00two".to_vec(), vec![b'x'; 1 << 17]].into_iter().enumerate() {
            let (id, origin) = (format!("p.0.0.{i}.0"), ("in".to_string(), i as u64));
            journal.write(&SetAside { fate: Fate::DeadLettered, id, origin, reason: "why".into(), raw }).expect("is written");
        }
        journal.close().expect("closes");
        let mut journaled = Journaled::open(folder.path(), Fate::DeadLettered, None).expect("opens");
        let all: Vec<Entry> = journaled.entries().expect("readable").collect();
        assert_eq!(all.iter().map(|e| e.raw_bytes).collect::<Vec<_>>(), [3, 5, 1 << 17]);
        let to = folder.path().join("again");
        assert_eq!(journaled.take_back(&all, &to).expect_err("cut").kind, Kind::Data);
        journaled.take_back(&all[..2], &to).expect("is written");
        assert_eq!(std::fs::read(&to).expect("there"), b"one\n\xff\x00two\n");
        assert!(journaled.take_back(&[], &to).is_err(), "not over what is there");
        let left = |journaled: &Journaled| journaled.entries().expect("readable").map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(left(&journaled), ["p.0.0.2.0"]);
        journaled.settle(&["p.0.0.2.0".into()]).expect("is written");
        assert!(left(&Journaled::open(folder.path(), Fate::DeadLettered, None).expect("opens")).is_empty());
        assert!(left(&Journaled::open(folder.path(), Fate::Quarantined, None).expect("opens")).is_empty());
    }

    #[test]
    fn a_process_that_was_taken_over_leaves_the_journal_of_its_successor() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sleeper = Journal::open(folder.path(), JournalLengths::default(), false).expect("opens");
        sleeper.begin().expect("begins");
        let mut successor = Journal::open(folder.path(), JournalLengths::default(), true).expect("opens");
        successor.begin().expect("begins");
        let aside = |raw: &[u8]| SetAside {
            fate: Fate::Quarantined,
            id: "p.0.0.0.0".into(),
            origin: ("in".into(), 0),
            reason: "why".into(),
            raw: raw.to_vec(),
        };
        successor.write(&aside(b"mine")).expect("is written");
        assert_eq!(sleeper.write(&aside(b"late")).expect_err("is fenced off").kind, Kind::Conflict);
        successor.close().expect("closes");
        let left: Vec<String> = Journaled::open(folder.path(), Fate::Quarantined, None)
            .expect("opens")
            .entries()
            .expect("readable")
            .map(|e| e.text())
            .collect();
        assert_eq!(left, ["mine"]);
    }

    #[test]
    fn who_is_taken_over_while_it_takes_over_removes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(Fate::Quarantined.file());
        std::fs::write(&path, "left\n").expect("writes");
        let mut sleeper = Journal::open(folder.path(), JournalLengths::default(), true).expect("opens");
        let mut successor = Journal::open(folder.path(), JournalLengths::default(), true).expect("opens");
        successor.begin().expect("begins");
        std::fs::write(&path, "theirs\n").expect("writes");
        assert_eq!(sleeper.begin().expect_err("is fenced off").kind, Kind::Conflict);
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), "theirs\n");
    }
}
