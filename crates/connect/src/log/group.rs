//! One fsync for all who wait for one.

use ouzel_core::Error;
use ouzel_core::error::{Result, ResultExt};
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far a log is synced. Whoever asks for more while a sync is under way waits for it to end and then for one more, which serves all
/// who have come meanwhile: at most the time of two.
#[derive(Clone, Default)]
pub struct GroupSync(Arc<(Mutex<Synced>, Condvar)>);

#[derive(Default)]
struct Synced {
    /// Position up to which everything lasts.
    durable: u64,
    /// Position up to which everything is written, and the segment that ends there.
    written: u64,
    segment: Option<Arc<File>>,
    under_way: bool,
}

impl GroupSync {
    pub fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// The log ends at this position, in this segment; what lies in segments before it is synced.
    pub fn written(&self, to: u64, segment: &Arc<File>) {
        let mut synced = self.lock();
        synced.written = synced.written.max(to);
        if !synced.segment.as_ref().is_some_and(|known| Arc::ptr_eq(known, segment)) {
            synced.segment = Some(segment.clone());
        }
    }

    /// Everything before this position is known to be synced.
    pub fn synced(&self, to: u64) {
        let mut synced = self.lock();
        synced.durable = synced.durable.max(to);
        self.0.1.notify_all();
    }

    /// Returns when everything before this position lasts.
    pub fn wait(&self, position: u64) -> Result<()> {
        let mut synced = self.lock();
        while synced.durable < position {
            if synced.under_way {
                synced = self.0.1.wait(synced).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            synced.under_way = true;
            let (to, segment) = (synced.written, synced.segment.clone());
            drop(synced);
            let result = segment.map_or(Ok(()), |file| file.sync_data()).doing(|| "syncing a stream".into());
            synced = self.lock();
            synced.under_way = false;
            self.0.1.notify_all();
            result?;
            synced.durable = synced.durable.max(to);
            if to < position {
                return Err(Error::internal(format!("a stream is to be synced to byte {position} and written to {to}")));
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Synced> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
