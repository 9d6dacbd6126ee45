//! Records that are lines: framing and what every line codec does with a chunk.

use super::table::Table;
use memchr::{memchr, memrchr};
use ouzel_core::{Chunk, Decoded, Framing};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One record a line.
pub(super) struct Lines;

impl Framing for Lines {
    fn split(&mut self, data: &[u8]) -> usize {
        memrchr(b'\n', data).map_or(0, |at| at + 1)
    }
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        byte_order_mark(data, at_end)
    }
}

/// Length of the byte order mark at the start of a file; `None` if more bytes are needed.
pub(super) fn byte_order_mark(data: &[u8], at_end: bool) -> Option<usize> {
    if data.starts_with(BYTE_ORDER_MARK) {
        return Some(BYTE_ORDER_MARK.len());
    }
    let undecided = BYTE_ORDER_MARK.starts_with(data) && !at_end;
    (!undecided).then_some(0)
}

/// Decodes a chunk line by line. Blank lines are no records. `read` fills a row from the bytes `start..end` of the
/// data, which are valid UTF-8, or says why it cannot.
pub(super) fn decode(
    table: &mut Table,
    chunk: &Chunk,
    mut read: impl FnMut(&mut Table, &[u8], (usize, usize)) -> Result<(), String>,
) -> Decoded {
    if let Some(refused) = table.refuse(chunk) {
        return refused;
    }
    let data = chunk.data.as_slice();
    let valid = is_utf8(data);
    let mut next = 0;
    while next < data.len() {
        let start = next;
        let feed = end(data, start);
        next = feed + 1;
        let line = start..if data[start..feed].ends_with(b"\r") { feed - 1 } else { feed };
        if data[line.clone()].iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let range = (line.start, line.end);
        let fault = if valid { None } else { not_utf8(&data[line]) };
        let verdict = match fault {
            Some(reason) => Err(reason),
            None => read(table, data, range),
        };
        match verdict {
            Ok(()) => table.keep_row(range),
            Err(reason) => table.drop_row(range, reason),
        }
    }
    table.finish(chunk)
}

/// Where the line around `at` ends: its line feed, or the end.
pub(super) fn end(data: &[u8], at: usize) -> usize {
    data.get(at..).and_then(|rest| memchr(b'\n', rest)).map_or(data.len(), |found| at + found)
}

pub(super) fn is_utf8(data: &[u8]) -> bool {
    simdutf8::basic::from_utf8(data).is_ok()
}

/// Why a record is not text, if it is not.
pub(super) fn not_utf8(record: &[u8]) -> Option<String> {
    let error = std::str::from_utf8(record).err()?;
    Some(format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1))
}
