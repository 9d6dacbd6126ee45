//! Events that do not go on, kept with their reason and raw bytes: `.ouzel/quarantine/PIPELINE.ndjson` and
//! `.ouzel/dead_letters/PIPELINE.ndjson`, one JSON object a line.

use ouzel_core::error::{Result, ResultExt};
use ouzel_core::limits::KEPT_RAW_BYTES_MAX;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// An event set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub fate: Fate,
    pub id: String,
    /// File or the like, and byte position in it.
    pub origin: (String, u64),
    pub reason: String,
    /// At most `KEPT_RAW_BYTES_MAX` of it.
    pub raw: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Could be an event, and is held for judgement.
    Quarantined,
    /// Cannot be processed.
    DeadLettered,
}

/// Writes them; a file is made when its first event comes.
pub struct Journal {
    quarantine: Lazy,
    dead_letters: Lazy,
}

struct Lazy {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Journal {
    /// `root`: the project. What an earlier run set aside makes room: a run starts anew.
    pub fn new(root: &Path, pipeline: &str) -> Journal {
        let at = |kind: &str| Lazy { path: root.join(".ouzel").join(kind).join(format!("{pipeline}.ndjson")), file: None };
        let journal = Journal { quarantine: at("quarantine"), dead_letters: at("dead_letters") };
        for lazy in [&journal.quarantine, &journal.dead_letters] {
            // If it cannot be removed, writing to it says so.
            let _ = std::fs::remove_file(&lazy.path);
        }
        journal
    }

    pub fn write(&mut self, event: &SetAside) -> Result<()> {
        let lazy = match event.fate {
            Fate::Quarantined => &mut self.quarantine,
            Fate::DeadLettered => &mut self.dead_letters,
        };
        let kept = &event.raw[..event.raw.len().min(KEPT_RAW_BYTES_MAX)];
        let (key, raw) = match std::str::from_utf8(kept) {
            Ok(text) => ("raw", text.to_string()),
            Err(_) => ("raw_hex", kept.iter().map(|b| format!("{b:02x}")).collect()),
        };
        let line = json!({
            "id": event.id, "origin": event.origin.0, "position": event.origin.1, "reason": event.reason,
            key: raw, "raw_bytes": event.raw.len(),
        });
        lazy.write_line(&line.to_string())
    }

    /// The files that were written.
    pub fn close(mut self) -> Result<Vec<String>> {
        let mut written = Vec::new();
        for lazy in [&mut self.quarantine, &mut self.dead_letters] {
            if let Some(mut file) = lazy.file.take() {
                file.flush().and_then(|()| file.get_ref().sync_all()).doing(|| format!("writing `{}`", lazy.path.display()))?;
                written.push(lazy.path.display().to_string());
            }
        }
        Ok(written)
    }
}

impl Lazy {
    fn write_line(&mut self, line: &str) -> Result<()> {
        let doing = || format!("writing `{}`", self.path.display());
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                std::fs::create_dir_all(folder).doing(doing)?;
            }
            self.file = Some(BufWriter::new(File::create(&self.path).doing(doing)?));
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).doing(doing)
    }
}
