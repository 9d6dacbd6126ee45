//! The log that a stream lies in on a local disk: appended to by several processes, read while it grows.
//!
//! ```text
//!     FOLDER/00000000000000000000.log     a segment, named by the position of its first byte in the log
//!     FOLDER/lock                         held while a frame is appended
//!     FOLDER/writers                      held, shared, by whoever may still write
//! ```
//!
//! A segment is a row of frames (`frame`); a frame is what one `append` wrote: records of one or several partitions, whole or not at
//! all, so that nobody finds one partition's half of a batch. A position is a byte in the log, from its first segment on, for good.
//!
//! A process that is killed leaves a part of a frame at the end: the next append cuts it off. What a power cut leaves of frames that were
//! not synced is cut off when the log is opened to write; each frame says up to where the log was synced when it was written, and what is
//! damaged before that is no torn end: it is passed over, counted and named. Whoever reads syncs what he has read before he commits to it.
//!
//! A segment ends where the next begins, whatever lies behind: a process that was paused in the middle of an append and passed over writes
//! there when it wakes up.

mod alive;
mod append;
mod frame;
mod group;
mod lock;
mod read;
mod retain;
mod segment;
#[cfg(test)]
mod tests;

pub use alive::Alive;
pub use append::{Appender, Busy, End, Opening, Writer};
pub use group::GroupSync;
pub use read::{Piece, Place, Reader};
pub use retain::remove_before;
pub use segment::{Contents, Extent, contents, extent};

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub partitions: u32,
    /// A segment that is longer is followed by another.
    pub segment_bytes: u64,
    /// Segments whose last frame is older than so many microseconds are removed.
    pub keep_us: Option<i64>,
    /// The oldest segments are removed while the log is longer.
    pub keep_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { partitions: 1, segment_bytes: SEGMENT_BYTES, keep_us: None, keep_bytes: None }
    }
}

const SEGMENT_BYTES: u64 = 128 << 20;
