//! Removing what is older, or more, than is to be kept: whole segments, the oldest first, never the last.

use super::Settings;
use super::segment::{Found, Segment, bases, extent, path};
use ouzel_core::error::Result;
use std::path::Path;

/// `now`: the time of the last frame. Gives the bytes removed.
pub fn retain(folder: &Path, settings: &Settings, now: i64) -> Result<u64> {
    if settings.keep_us.is_none() && settings.keep_bytes.is_none() {
        return Ok(0);
    }
    let bases = bases(folder)?;
    let end = extent(folder)?.end;
    let mut removed = 0;
    for pair in bases.windows(2) {
        let too_many = settings.keep_bytes.is_some_and(|keep| end - pair[1] >= keep);
        let too_old = match settings.keep_us {
            // The segment after it begins with a frame that is not older than its last.
            Some(keep) => first_time(folder, pair[1])?.is_some_and(|time| time < now.saturating_sub(keep)),
            None => false,
        };
        if !too_many && !too_old {
            break;
        }
        // A reader that has it open reads it to its end; one that comes later is told.
        if std::fs::remove_file(path(folder, pair[0])).is_err() {
            break;
        }
        removed += pair[1] - pair[0];
    }
    Ok(removed)
}

/// Removes the segments that end at or before a position.
pub fn remove_before(folder: &Path, position: u64) -> Result<()> {
    for pair in bases(folder)?.windows(2).filter(|pair| pair[1] <= position) {
        // One that is still there is in nobody's way.
        let _ = std::fs::remove_file(path(folder, pair[0]));
    }
    Ok(())
}

fn first_time(folder: &Path, base: u64) -> Result<Option<i64>> {
    let Ok(mut segment) = Segment::open(folder, base) else { return Ok(None) };
    Ok(match segment.look(base)? {
        Found::Frame(header) => Some(header.time),
        Found::Damage(_) | Found::Nothing => None,
    })
}
