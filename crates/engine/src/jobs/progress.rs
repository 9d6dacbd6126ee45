//! How far a run is, for whoever waits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that a run moves while it works.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    to_read: AtomicU64,
    rows: AtomicU64,
    partitions: AtomicU64,
}

impl Progress {
    /// A run begins.
    pub fn begin(&self) {
        [&self.read, &self.to_read, &self.rows, &self.partitions].into_iter().for_each(|counter| counter.store(0, Relaxed));
    }

    /// Files of records are going to be read, so many bytes of them.
    pub fn reads(&self, bytes: u64) {
        self.read.store(0, Relaxed);
        self.to_read.store(bytes, Relaxed);
    }

    /// So many bytes more of them have been read.
    pub fn has_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Relaxed);
    }

    /// So many rows more have been made.
    pub fn has_made(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    /// So many partitions are made.
    pub fn makes(&self, partitions: u64) {
        self.partitions.store(partitions, Relaxed);
    }

    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// 0 where that is not known.
    pub fn partitions(&self) -> u64 {
        self.partitions.load(Relaxed)
    }

    /// Which part of its files' bytes has been read; none where there is nothing left to read.
    pub fn part_read(&self) -> Option<f64> {
        let (read, of) = (self.read.load(Relaxed), self.to_read.load(Relaxed));
        (read < of).then(|| read as f64 / of as f64)
    }
}
