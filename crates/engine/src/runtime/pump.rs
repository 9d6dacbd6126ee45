//! Reads a source that may be silent for long on a thread of its own, so that a run can be told to end meanwhile.

use ouzel_core::{Chunk, Result, Source};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

pub struct Pump {
    /// Until it is asked for the first time: a run that cannot begin has taken nothing from it.
    idle: Option<Idle>,
    chunks: Receiver<Result<Chunk>>,
    stop: Arc<AtomicBool>,
    /// Nothing has come for so long.
    silent: Duration,
}

type Idle = (Box<dyn Source>, SyncSender<Result<Chunk>>);

/// How long a run that is told to end goes on waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After so long an empty chunk is handed over, so that what has come before can be committed.
const SILENT_AFTER: Duration = Duration::from_secs(1);

impl Pump {
    pub fn new(source: Box<dyn Source>, stop: Arc<AtomicBool>) -> Pump {
        let (sender, chunks) = sync_channel(1);
        Pump { idle: Some((source, sender)), chunks, stop, silent: Duration::ZERO }
    }

    /// The thread ends with the source, or with the process if the source never speaks again.
    fn start(&mut self) {
        let Some((mut source, sender)) = self.idle.take() else { return };
        std::thread::spawn(move || {
            while let Some(next) = source.next().transpose() {
                let failed = next.is_err();
                if sender.send(next).is_err() || failed {
                    return;
                }
            }
        });
    }
}

impl Source for Pump {
    fn next(&mut self) -> Result<Option<Chunk>> {
        self.start();
        loop {
            match self.chunks.recv_timeout(LOOK_EVERY) {
                Ok(next) => {
                    self.silent = Duration::ZERO;
                    return next.map(Some);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if self.stop.load(Relaxed) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.silent += LOOK_EVERY,
            }
            if self.silent >= SILENT_AFTER {
                self.silent = Duration::ZERO;
                return Ok(Some(Chunk::empty()));
            }
        }
    }

    /// What was read from it before is gone; what comes is new.
    fn position(&self) -> Option<String> {
        Some("pipe".into())
    }

    fn resume(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
}
