//! What a pipeline knows, on disk: commits that are there wholly or not at all.
//!
//! A folder holds, per pipeline:
//!
//! ```text
//!     lock                        held while a process runs it; tells who
//!     000000000042.manifest       one commit: positions, counts, and which files make up the state
//!     000000000042-3.delta        the keys that had changed (commit 42, made in epoch 3)
//!     000000000040-3.merged       what several older ones said, without what they said twice
//!     000000000042-3-0.cold       keys of group 0 that left memory with commit 42 (`cold`)
//! ```
//!
//! A commit first writes and syncs its delta, then creates its manifest, only if there is none of that number: that is
//! the commit. A process that takes over begins with a commit of its own under the next epoch, so whoever was there before
//! finds the number taken and stops. State is read back oldest file first: a later writing of a key replaces the earlier one, or adds
//! to it where only what has changed was written.
//!
//! Formats: [`files`] for state, [`cold`] for what has left memory, [`manifest`] for commits. Both tell their version; a newer one is refused by name.

mod cold;
mod files;
mod manifest;
mod merge;
mod mirror;
mod restore;
mod store;

pub use cold::{Cold, ColdMerge, ColdMerged, Finder, Leaving, NewRun};
pub use files::{Section, SectionKind};
pub use manifest::{ColdFile, JournalLengths, LookupVersion, Manifest, SinkState, StateFile};
pub use merge::{Merge, Merged};
pub use mirror::{Mirror, replace};
pub use restore::{Restored, alerts, restore, to_hex};
pub use store::{Due, Made, Opened, Peeked, Store, peek, refresh};
