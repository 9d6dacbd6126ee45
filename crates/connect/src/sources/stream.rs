//! Reads a stream of the project, while it is being written: on one machine all its partitions are one log.

use super::Surroundings;
use crate::log::{Alive, Place, Reader, contents};
use crate::streams::StreamRef;
use ouzel_core::clock::Stopwatch;
use ouzel_core::limits::CHUNK_BYTES_MAX;
use ouzel_core::{Chunk, Error, Job, Kind, Origin, Result, Source, error::ResultExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// It ends where everything is read and nobody may write to it any more, unless it is followed.
pub struct StreamReader {
    name: Arc<str>,
    folder: PathBuf,
    reader: Reader,
    follow: bool,
}

/// After so long without anything an empty chunk is handed over, so that whoever reads can look at other things.
const SILENT_AFTER_S: f64 = 0.02;
/// Between looks: at first, and at last.
const LOOK_US: (u64, u64) = (50, 2_000);

impl StreamReader {
    pub fn open(stream: &StreamRef, surroundings: &Surroundings<'_>) -> Result<StreamReader> {
        let name = stream.name();
        surroundings.streams.get(name)?;
        let folder = surroundings.streams.folder_of(name);
        let reader = Reader::new(&folder, None);
        Ok(StreamReader { name: format!("stream {name}").into(), folder, reader, follow: surroundings.follow })
    }

    fn piece(&mut self) -> Result<Option<Chunk>> {
        let position = self.reader.place().at;
        let Some(piece) = self.reader.next(CHUNK_BYTES_MAX).doing(|| format!("reading {}", self.name))? else {
            return Ok(None);
        };
        let origin = Origin { name: self.name.clone(), position, header: None };
        Ok(Some(Chunk { partition: 0, origin, data: piece.data.into(), ingested: piece.times, fault: piece.damage }))
    }
}

impl Source for StreamReader {
    fn next(&mut self) -> Result<Option<Chunk>> {
        let silent = Stopwatch::start();
        let mut look = LOOK_US.0;
        loop {
            if let Some(chunk) = self.piece()? {
                return Ok(Some(chunk));
            }
            if silent.seconds() < SILENT_AFTER_S {
                std::thread::sleep(Duration::from_micros(look));
                look = (look * 2).min(LOOK_US.1);
            } else if self.follow || Alive::anyone(&self.folder)? {
                return Ok(Some(Chunk::empty()));
            } else {
                // What was written before the last writer ended.
                return self.piece();
            }
        }
    }

    fn position(&self) -> Option<String> {
        serde_json::to_string(self.reader.place()).ok()
    }

    fn rewind(&mut self, _position: &str) -> Result<()> {
        let first: u64 = contents(&self.folder)?.records.iter().map(|records| records.start).sum();
        match first {
            0 => Ok(()),
            first => Err(Error::new(Kind::Changed, format!("{}: its first {first} records have been removed", self.name))),
        }
    }

    fn settle(&self) -> Result<Option<Job>> {
        let Some(file) = self.reader.file() else { return Ok(None) };
        let doing = || format!("syncing {}", self.name);
        let (file, doing) = (file.try_clone().doing(doing)?, doing());
        Ok(Some(Box::new(move || file.sync_data().doing(|| doing))))
    }

    fn resume(&mut self, position: &str) -> Result<()> {
        let place: Place = serde_json::from_str(position)
            .map_err(|e| Error::new(Kind::Changed, format!("the state is of another kind of source ({e})")))?;
        self.reader = Reader::new(&self.folder, Some(place));
        self.reader.check().doing(|| format!("reading {}", self.name))
    }

    fn whereabouts(&self) -> String {
        format!("{}, record {}", self.name, self.reader.place().records())
    }
}
