//! Avro's container files, block by block. Each block is decoded as a file of its own, so that one that is damaged does
//! not end the file: reading goes on behind the next mark between blocks.

use super::{Part, Parts, ROWS_MAX, damaged};
use arrow_avro::reader::{Reader, ReaderBuilder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const MAGIC: &[u8] = b"Obj\x01";
const MARK_BYTES: usize = 16;
/// Bytes of a header, and of a block as it lies in the file. Writers make blocks of some ten kilobytes.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

pub(super) fn open(file: File, bytes: Arc<AtomicU64>) -> io::Result<Box<dyn Parts>> {
    let mut input = Input { file: BufReader::with_capacity(128 << 10, file), at: 0, bytes };
    if input.file.fill_buf()?.is_empty() {
        return Ok(Box::new(super::Nothing));
    }
    let header = header(&mut input).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => damaged("the file ends within its header"),
        _ => e,
    })?;
    // Tells whether the schema and the codec are ones that can be read.
    ReaderBuilder::new().build(Cursor::new(&header)).map_err(damaged)?;
    Ok(Box::new(Blocks { input, header, reader: None, block: 0 }))
}

struct Input {
    file: BufReader<File>,
    at: u64,
    bytes: Arc<AtomicU64>,
}

impl Input {
    fn take(&mut self, n: u64, out: &mut Vec<u8>) -> io::Result<()> {
        if n > BLOCK_BYTES_MAX {
            return Err(damaged(format!("a length of {n} bytes is more than {} MiB", BLOCK_BYTES_MAX >> 20)));
        }
        let before = out.len();
        // Grows with what is there, not with what a length says.
        Read::by_ref(&mut self.file).take(n).read_to_end(out)?;
        let got = (out.len() - before) as u64;
        self.at += got;
        self.bytes.fetch_add(got, Relaxed);
        if got < n { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// A number as Avro writes it, which is kept in `out`.
    fn long(&mut self, out: &mut Vec<u8>) -> io::Result<i64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            self.take(1, out)?;
            let byte = out.last().copied().unwrap_or(0);
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(damaged("a number of more than ten bytes"))
    }

    fn length(&mut self, out: &mut Vec<u8>) -> io::Result<u64> {
        let length = self.long(out)?;
        u64::try_from(length).map_err(|_| damaged(format!("a length of {length} bytes")))
    }

    /// Goes behind the next mark; false if there is none.
    fn find(&mut self, mark: &[u8]) -> io::Result<bool> {
        let mut window: Vec<u8> = Vec::new();
        loop {
            let more = self.file.fill_buf()?;
            if more.is_empty() {
                return Ok(false);
            }
            let held = window.len();
            window.extend_from_slice(more);
            let read = more.len();
            if let Some(found) = memchr::memmem::find(&window, mark) {
                let used = found + mark.len() - held;
                self.file.consume(used);
                self.at += used as u64;
                return Ok(true);
            }
            self.file.consume(read);
            self.at += read as u64;
            window.drain(..window.len().saturating_sub(mark.len() - 1));
        }
    }
}

/// The header's bytes; the mark between blocks is at their end.
fn header(input: &mut Input) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    input.take(MAGIC.len() as u64, &mut out)?;
    if out != MAGIC {
        return Err(damaged("it does not begin as an Avro container file does"));
    }
    loop {
        let count = input.long(&mut out)?;
        if count < 0 {
            input.long(&mut out)?;
        }
        for _ in 0..count.unsigned_abs() {
            for _ in 0..2 {
                let length = input.length(&mut out)?;
                input.take(length, &mut out)?;
            }
            if out.len() as u64 > BLOCK_BYTES_MAX {
                return Err(damaged("a header of more than 64 MiB"));
            }
        }
        if count == 0 {
            input.take(MARK_BYTES as u64, &mut out)?;
            return Ok(out);
        }
    }
}

struct Blocks {
    input: Input,
    header: Vec<u8>,
    /// Of the block in hand, and the rows it has left.
    reader: Option<(Reader<Cursor<Vec<u8>>>, i64)>,
    /// Number of the block in hand, from 1.
    block: u64,
}

impl Parts for Blocks {
    fn next(&mut self) -> io::Result<Option<Part>> {
        loop {
            let (step, left) = match &mut self.reader {
                None => match self.next_block()? {
                    Next::Block => continue,
                    Next::Fault(reason) => return Ok(Some(Part::Fault(reason))),
                    Next::End => return Ok(None),
                },
                Some((reader, left)) => {
                    (catch_unwind(AssertUnwindSafe(|| reader.next())).unwrap_or_else(|_| Some(Err(panicked()))), left)
                }
            };
            let trouble = match step {
                Some(Ok(rows)) => {
                    *left -= rows.num_rows() as i64;
                    return Ok(Some(Part::Rows(rows)));
                }
                None if *left <= 0 => None,
                None => Some("it has fewer records than it says".to_string()),
                Some(Err(e)) => Some(e.to_string()),
            };
            let left = *left;
            self.reader = None;
            if let Some(trouble) = trouble {
                let reason = format!("{left} records cannot be read: damaged block {} ({trouble})", self.block);
                return Ok(Some(Part::Fault(reason)));
            }
        }
    }
}

fn panicked() -> arrow_schema::ArrowError {
    arrow_schema::ArrowError::AvroError("its bytes make the decoder panic".into())
}

impl Blocks {
    /// Takes the next block, or a fault in its place; false at the end.
    fn next_block(&mut self) -> io::Result<Next> {
        if self.input.file.fill_buf()?.is_empty() {
            return Ok(Next::End);
        }
        self.block += 1;
        let (from, mark) = (self.input.at, self.header[self.header.len() - MARK_BYTES..].to_vec());
        let mut bytes = self.header.clone();
        let trouble = match self.read_block(&mut bytes, &mark) {
            Ok(rows) => {
                let built = ReaderBuilder::new().with_batch_size(ROWS_MAX).build(Cursor::new(bytes)).map_err(damaged)?;
                self.reader = Some((built, rows));
                return Ok(Next::Block);
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => "the file ends within it".to_string(),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => e.to_string(),
            Err(e) => return Err(e),
        };
        // A block that is there but whose mark is wrong has been read beyond: its own bytes are looked through too.
        self.input.file.seek(SeekFrom::Start(from))?;
        self.input.at = from;
        let found = self.input.find(&mark)?;
        let behind = if found { format!("reading goes on at byte {}", self.input.at) } else { "nothing follows".into() };
        Ok(Next::Fault(format!("records cannot be read: damaged block {} at byte {from} ({trouble}); {behind}", self.block)))
    }

    /// Appends a block as it lies in the file; returns how many records it has.
    fn read_block(&mut self, out: &mut Vec<u8>, mark: &[u8]) -> io::Result<i64> {
        let rows = self.input.long(out)?;
        let length = self.input.length(out)?;
        self.input.take(length, out)?;
        self.input.take(MARK_BYTES as u64, out)?;
        match out.ends_with(mark) && rows >= 0 {
            true => Ok(rows),
            false => Err(damaged("it does not end with the mark of its file")),
        }
    }
}

enum Next {
    Block,
    Fault(String),
    End,
}
