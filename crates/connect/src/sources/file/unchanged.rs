//! Whether the files of a log are still what they were when they were read, or have lines more.

use super::digest::{Digest, Mark};
use super::named;
use super::open_file::open;
use super::place::{At, Place, ReadFile, Reading, There, changed};
use super::reader::Listed;
use crate::sources::Compression;
use crate::sources::compression::Decompressed;
use ouzel_core::Packing;
use ouzel_core::error::{Result, ResultExt};
use ouzel_core::limits::CHUNK_BYTES_MAX;
use std::io::Read;

/// The file that was read last, if lines have been added to it since: it is read on, before any other.
pub fn grown(place: &Place, there: &There) -> Option<(usize, Reading)> {
    let (last, then) = place.read.iter().enumerate().next_back().filter(|_| place.reading.is_none())?;
    let (_, now) = there.read.iter().find(|(i, _)| *i == last)?;
    let position = then.lines.filter(|_| then.seen.bytes < now.seen.bytes)?;
    Some((last, Reading { file: then.clone(), position, at: At::Record }))
}

/// The first bytes of a file are those that were read.
pub fn check_beginning(then: &Reading, file: &Listed) -> Result<()> {
    let mut digest = Digest::from_blocks(Mark::default());
    let mut input = open(&file.path)?.take(then.position);
    let mut bytes = vec![0; CHUNK_BYTES_MAX];
    loop {
        match input.read(&mut bytes).doing(|| named("reading", &file.path))? {
            0 => break,
            n => digest.add(&bytes[..n]),
        }
    }
    let is_same = digest.mark() == then.file.mark;
    if is_same { Ok(()) } else { Err(changed(format!("`{}` has changed since it was read", then.file.name))) }
}

/// A file that was read to its end is what it was then.
pub fn check_read(then: &ReadFile, file: &Listed, compression: Compression, packing: Option<Packing>) -> Result<()> {
    if then.seen == file.seen {
        return Ok(());
    }
    if then.seen.bytes < file.seen.bytes {
        return Err(changed(format!(
            "`{}` has grown since it was read, and cannot be read on (only the last file of a log can, plain lines, the last of which was whole): {} bytes then, {} now",
            then.name,
            then.seen.bytes.unwrap_or(0),
            file.seen.bytes.unwrap_or(0)
        )));
    }
    let mut input = Decompressed::of_file(open(&file.path)?, compression, packing);
    let mut digest = Digest::from_blocks(Mark::default());
    let mut bytes = Vec::new();
    // Corruption is part of what it was.
    while input.fill(&mut bytes, CHUNK_BYTES_MAX).is_ok_and(|n| n > 0) || !bytes.is_empty() {
        digest.add(&bytes);
        bytes.clear();
    }
    if digest.mark() == then.mark { Ok(()) } else { Err(changed(format!("`{}` has changed since it was read", then.name))) }
}
