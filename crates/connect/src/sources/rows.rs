//! Files of rows, Parquet and Avro, read as if they were compressed lines of JSON: one line a row. So all that holds for
//! lines holds for them: where a run goes on, what is kept of a bad event, how much memory it takes. A part that is damaged
//! becomes one line that begins with [`FAULT`] and says why; reading goes on behind it, if the format allows that.

mod avro;
mod json;
mod parquet;
#[cfg(test)]
mod tests;

use arrow_array::RecordBatch;
use ouzel_core::Packing;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// First byte of a line that stands for what could not be read: nothing in JSON begins with it.
pub(crate) const FAULT: u8 = 1;
/// Rows that are in memory as columns at once, at most; fewer where rows are large.
const ROWS_MAX: usize = 1024;

/// What a file gives.
enum Part {
    Rows(RecordBatch),
    /// Some rows cannot be read; those behind them may be.
    Fault(String),
}

/// A file of rows. An error is of the file as a whole: `InvalidData` if it is none of its kind.
trait Parts: Send {
    fn next(&mut self) -> io::Result<Option<Part>>;
}

/// An empty file.
struct Nothing;

impl Parts for Nothing {
    fn next(&mut self) -> io::Result<Option<Part>> {
        Ok(None)
    }
}

/// The lines of a file.
pub(super) struct Rows {
    state: State,
    packing: Packing,
    lines: Vec<u8>,
    given: usize,
}

enum State {
    /// Nothing has been read.
    Closed(File, Arc<AtomicU64>),
    Open(Box<dyn Parts>),
    Ended,
}

impl Rows {
    /// `bytes` counts what was read of the file.
    pub fn new(file: File, packing: Packing, bytes: Arc<AtomicU64>) -> Rows {
        Rows { state: State::Closed(file, bytes), packing, lines: Vec::new(), given: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.lines.clear();
        self.given = 0;
        while self.lines.is_empty() {
            match &mut self.state {
                State::Ended => return Ok(()),
                State::Closed(..) => {
                    let State::Closed(file, bytes) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(()) };
                    let packing = self.packing;
                    let open = || match packing {
                        Packing::Parquet => parquet::open(file, bytes),
                        Packing::Avro => avro::open(file, bytes),
                    };
                    self.state = State::Open(guard(open)?);
                }
                State::Open(parts) => match guard(|| parts.next()) {
                    Ok(Some(Part::Rows(rows))) => json::write(&rows, &mut self.lines)?,
                    Ok(Some(Part::Fault(reason))) => {
                        self.lines.push(FAULT);
                        self.lines.extend(reason.bytes().map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b }));
                        self.lines.push(b'\n');
                    }
                    Ok(None) => self.state = State::Ended,
                    Err(e) => {
                        self.state = State::Ended;
                        return Err(e);
                    }
                },
            }
        }
        Ok(())
    }
}

/// Decoders of damaged files may panic: that is one more way to say that a file is damaged.
fn guard<T>(read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(damaged("its bytes make the decoder panic")))
}

fn damaged(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl Read for Rows {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.lines.len() {
            self.fill()?;
        }
        let n = out.len().min(self.lines.len() - self.given);
        out[..n].copy_from_slice(&self.lines[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}
