//! The traits of the outside world. Each has one job; retries, metrics and limits wrap around them.

use crate::{Chunk, Decoded, Result};
use arrow_array::{ArrayRef, RecordBatch, StringViewArray};

/// An ordered log of raw records.
pub trait Source: Send {
    /// What is there now: never waits to fill a chunk, blocks only while there is nothing.
    /// `None` at the end, for good.
    fn next(&mut self) -> Result<Option<Chunk>>;
    /// Bytes in all, if known beforehand (compressed size for compressed files), and bytes read so far.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
    /// Where the next chunk begins, in words of this kind of source. `None` where it cannot be told just now.
    fn position(&self) -> Option<String>;
    /// Goes on from a position of an earlier source of the same log; called before the first `next`.
    /// [`crate::Kind::Changed`] if what was read before is not what it was.
    fn resume(&mut self, position: &str) -> Result<()>;
    /// Begins again with the first record of the log that a position is of, in the order in which it was read then; called before the first `next`.
    /// [`crate::Kind::Changed`] if some of it is not there any more, or is another.
    fn rewind(&mut self, _position: &str) -> Result<()> {
        Err(crate::Error::new(crate::Kind::Changed, "this source cannot be read again from its beginning"))
    }
    /// Makes what has been read so far last, where its writer may not have; needed before a commit that says it was read.
    fn settle(&self) -> Result<Option<Job>> {
        Ok(None)
    }
    /// Where it is, for people; empty if there is nothing to tell.
    fn whereabouts(&self) -> String {
        String::new()
    }
}

/// A format of files that holds rows in columns or blocks, which have to be taken out before there are records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Parquet,
    Avro,
}

/// Finds where records end, without decoding them. One per open file.
pub trait Framing: Send {
    /// Length of the longest prefix of `data` that is whole records. `data` always starts at a record.
    fn split(&mut self, data: &[u8]) -> usize;
    /// Set where files are no records as they lie: they are unpacked to lines of JSON first.
    fn packing(&self) -> Option<Packing> {
        None
    }
    /// The byte that every record ends with, but for blanks. `None`: a record ends where its file does. Only behind a line feed can
    /// reading go on when a record is too long.
    fn last_byte(&self) -> Option<u8> {
        Some(b'\n')
    }
    /// Bytes at the start of a file that are its header, line end included; `None` if more bytes are needed.
    fn header(&mut self, _data: &[u8], _at_end: bool) -> Option<usize> {
        Some(0)
    }
}

/// Turns chunks into columns. One per thread; keeps no meaning between calls, only buffers.
pub trait Decode: Send {
    /// Never fails for what the bytes hold: bad records are in `broken`, bad values in `malformed`.
    fn decode(&mut self, chunk: &Chunk) -> Result<Decoded>;
}

/// Adds columns by looking up values of one column. One per thread (`fork`), sharing its table.
pub trait Lookup: Send {
    /// Columns of the length of `keys`; a key that is null or not found gives nulls.
    fn lookup(&mut self, keys: &StringViewArray) -> Result<Vec<ArrayRef>>;
    fn fork(&self) -> Box<dyn Lookup>;
}

/// Takes scored rows, in log order.
pub trait Sink: Send {
    /// Undoes what was written behind the commit that it goes on from. Called once, before any `write`, when it is sure that nobody had
    /// taken over when it was opened: whoever does so later gives files another inode, so what was opened by then is ours to change.
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }
    /// An encoder for another thread; what it encodes goes to `write` in log order.
    fn encoder(&self) -> Result<Box<dyn Encode>>;
    /// With this block, all rows of the events before `upto` have been written.
    fn write(&mut self, block: Encoded, upto: u64) -> Result<()>;
    /// Called about once a second and while idle: commit what is due.
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
    /// Rows that it did not take, for what they hold; each is told once.
    fn rejected(&mut self) -> Vec<Rejected> {
        Vec::new()
    }
    /// What a commit needs of this sink, for all that has been written so far: the rows of the events before `offset`.
    fn prepare(&mut self, _offset: u64) -> Result<Prepared> {
        Ok(Prepared::default())
    }
    /// A sink that goes on may hold more than its commit knows of: the rows of the events before this offset.
    fn holds(&self) -> u64 {
        0
    }
    /// The source has ended and a last commit follows: what is under way is brought to its end, as far as it can be.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
    /// Rows that have been written and wait to be sent.
    fn waiting(&self) -> u64 {
        0
    }
    /// What was found when it was opened that is worth knowing, for people.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Everything written is visible to others when this returns. No call follows.
    fn close(&mut self) -> Result<()>;
    /// Where the results lie, for people.
    fn location(&self) -> String;
}

/// A sink's part of a commit. A thread of its own runs `sync`, makes the commit, runs `publish`.
#[derive(Default)]
pub struct Prepared {
    /// Kept in the commit; a sink that goes on from this commit is opened with it.
    pub position: String,
    /// Makes what was written durable.
    pub sync: Option<Job>,
    /// Makes it visible. Done again, it changes nothing: a sink that is opened from this commit does it first.
    pub publish: Option<Job>,
}

/// A row that a sink refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub which: Which,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Of the block written last, by its place in it.
    Row(usize),
    /// Of an earlier block: the row's id, and the row as it was sent.
    Event { id: String, raw: Vec<u8> },
}

/// Work for another thread.
pub type Job = Box<dyn FnOnce() -> Result<()> + Send>;

/// The part of a sink that runs on every thread at once.
pub trait Encode: Send {
    /// `rows` has the sink's columns only, in their order.
    fn encode(&mut self, rows: &RecordBatch) -> Result<Encoded>;
}

/// What an encoder made of a batch.
pub enum Encoded {
    Bytes {
        data: Vec<u8>,
        rows: usize,
    },
    Rows(RecordBatch),
    /// Rows of several partitions of a stream, in order.
    Runs {
        data: Vec<u8>,
        runs: Vec<Run>,
    },
}

/// Rows of one partition, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub partition: u32,
    pub records: u32,
    pub bytes: u32,
}

impl Encoded {
    pub fn rows(&self) -> usize {
        match self {
            Encoded::Bytes { rows, .. } => *rows,
            Encoded::Rows(batch) => batch.num_rows(),
            Encoded::Runs { runs, .. } => runs.iter().map(|run| run.records as usize).sum(),
        }
    }
}
