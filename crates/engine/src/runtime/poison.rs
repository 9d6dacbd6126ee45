//! Events that make a step panic: a bug of ours, or of a library, that one event in a million finds. It is found by splitting its
//! batch, dead-lettered with what was said and its raw bytes, and the rest goes on.
//!
//! Only steps without state are tried again. A panic in a step with state ends the run: what it has done to the state is not known.

use super::batch::{Batch, Keep};
use crate::journal::Fate;
use ouzel_core::{Chunk, Framing, Result};
use ouzel_detect::expressions::Failed;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What panicked, as text.
pub type Panicked = String;

/// Runs a step. Nothing is printed if it panics: it is going to be told with the event.
pub fn guard<T>(step: impl FnOnce() -> Result<T>) -> Result<Result<T>, Panicked> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let was = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    QUIET.set(was);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("a step panicked: {}", text.unwrap_or("no message"))
    })
}

/// Reads a chunk in which some record makes `read` panic. Such records are made unreadable and read again with the others, so that each
/// keeps its place; each is dead-lettered with its own bytes.
pub fn read(chunk: Chunk, framing: &mut dyn Framing, mut read: impl FnMut(Chunk) -> Result<Batch>) -> Result<Batch> {
    let records = records(&chunk, framing);
    let mut poisoned: Vec<(Range<usize>, Panicked)> = Vec::new();
    search(&records, &mut |part| guard(|| read(chunk.part(part))).map(drop), &mut poisoned);
    let mut bytes = chunk.data.to_vec();
    for (record, _) in &poisoned {
        let text = bytes[record.clone()].trim_ascii_end().len();
        // No format takes this for a record, or for none.
        bytes[record.start..record.start + text].fill(1);
    }
    let mut batch = read(Chunk { data: bytes.into(), ..chunk.clone() })?;
    for aside in &mut batch.set_aside {
        let (start, end) = (aside.range.0 as usize, aside.range.1 as usize);
        if let Some((_, said)) = poisoned.iter().find(|(record, _)| record.start < end && start < record.end) {
            aside.reason = said.clone();
        }
    }
    batch.chunk = chunk;
    Ok(batch)
}

/// Takes the rows that make a step panic out of a batch.
pub fn take_out(batch: &mut Batch, mut step: impl FnMut(&mut Batch) -> Result<()>) -> Result<()> {
    let mut keep = Keep::all(batch.rows);
    for (row, said) in rows(batch, |one| step(one)) {
        batch.put_aside(&mut keep, row, Fate::DeadLettered, said);
    }
    batch.retain(keep)
}

/// The rows that make a step panic, for a sink: only it goes without them.
pub fn failed(batch: &Batch, mut step: impl FnMut(&Batch) -> Result<()>) -> Vec<Failed> {
    rows(batch, |one| step(one)).into_iter().map(|(row, reason)| Failed { row: row as u32, reason }).collect()
}

fn rows(batch: &Batch, mut step: impl FnMut(&mut Batch) -> Result<()>) -> Vec<(usize, Panicked)> {
    let mut found = Vec::new();
    let every: Vec<Range<usize>> = (0..batch.rows).map(|row| row..row + 1).collect();
    search(&every, &mut |part| guard(|| step(&mut batch.part(part))), &mut found);
    found.into_iter().map(|(range, said)| (range.start, said)).collect()
}

/// Halves what panics until it is one piece. The pieces follow one another.
fn search<T>(
    pieces: &[Range<usize>],
    attempt: &mut dyn FnMut(Range<usize>) -> Result<T, Panicked>,
    found: &mut Vec<(Range<usize>, Panicked)>,
) {
    let ([first, ..], [.., last]) = (pieces, pieces) else { return };
    let Err(said) = attempt(first.start..last.end) else { return };
    if let [only] = pieces {
        return found.push((only.clone(), said));
    }
    let (one, other) = pieces.split_at(pieces.len() / 2);
    search(one, attempt, found);
    search(other, attempt, found);
}

fn records(chunk: &Chunk, framing: &mut dyn Framing) -> Vec<Range<usize>> {
    let data = chunk.data.as_slice();
    let mut records = Vec::new();
    let mut start = 0;
    for end in data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1) {
        // A line end inside a quoted cell ends no record.
        if framing.split(&data[start..end]) == end - start {
            records.push(start..end);
            start = end;
        }
    }
    if start < data.len() {
        records.push(start..data.len());
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_that_panics_is_found_and_no_other() {
        let pieces: Vec<Range<usize>> = (0..100).map(|i| i * 3..i * 3 + 3).collect();
        let (mut found, mut attempts) = (Vec::new(), 0);
        let mut attempt = |part: Range<usize>| {
            attempts += 1;
            guard(|| {
                assert!(!part.contains(&30) && !part.contains(&31) && !part.contains(&299), "poison");
                Ok(())
            })
            .map(drop)
        };
        search(&pieces, &mut attempt, &mut found);
        assert_eq!(found.iter().map(|(range, _)| range.start).collect::<Vec<_>>(), [30, 297]);
        assert_eq!(found[0].1, "a step panicked: poison");
        assert!(attempts < 40, "{attempts}");
    }
}
