//! Mails one after another in a file.

use crate::codecs::lines;
use ouzel_core::Framing;

pub(super) struct Mbox;

impl Framing for Mbox {
    /// Up to the last mail that begins: what follows may go on.
    fn split(&mut self, data: &[u8]) -> usize {
        let mut whole = 0;
        while let Some(next) = next(data, whole + 1) {
            whole = next;
        }
        whole
    }
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        lines::byte_order_mark(data, at_end)
    }
}

/// Where the first mail from `at` on begins: a whole line `From ... 10:05...` behind a blank one.
pub(super) fn next(data: &[u8], mut at: usize) -> Option<usize> {
    const LINE: &[u8] = b"\nFrom ";
    loop {
        let found = at + memchr::memmem::find(data.get(at..)?, LINE)?;
        let start = found + 1;
        let end = start + memchr::memchr(b'\n', &data[start..])?;
        let before = data[..found].strip_suffix(b"\r").unwrap_or(&data[..found]);
        if before.ends_with(b"\n") && has_clock(&data[start..end]) {
            return Some(start);
        }
        at = start;
    }
}

fn has_clock(line: &[u8]) -> bool {
    line.windows(5).any(|w| matches!(w, [a, b, b':', c, d] if [a, b, c, d].iter().all(|d| d.is_ascii_digit())))
}
