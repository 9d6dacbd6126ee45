//! ```text
//!     f5 4f 5a 01             magic (no UTF-8 text holds an f5) and version
//!     crc32c u32              of the header behind it
//!     parts u32, bytes u32    of the payload; crc32c u32 of the payload
//!     position u64            of this frame in the log
//!     time i64                when it was appended, microseconds since 1970; never less than that of the frame before
//!     writer u64, epoch u64   who wrote it
//!     upto u64                all rows of the writer's events before this one are in the log
//!     durable u64             position up to which the log had been synced
//!     then for each part:     partition u32, records u32, offset u64 of its first record, bytes u32
//!     payload                 the parts' records, each with its line end, in the order of the parts, which is that of the log
//! ```
//! All numbers are little-endian.

use super::Writer;

const MAGIC: [u8; 4] = [0xf5, b'O', b'Z', 1];
const FIXED: usize = 68;
const PART: usize = 20;
/// More than any frame has: a number beyond it is damage.
const PARTS_MAX: u32 = 1 << 24;
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub position: u64,
    pub time: i64,
    pub writer: Writer,
    pub upto: u64,
    pub durable: u64,
    pub parts: Vec<Part>,
    pub payload_crc: u32,
}

/// Records of one partition that follow one another in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub partition: u32,
    pub records: u32,
    /// Of the first of them in its partition.
    pub offset: u64,
    pub bytes: u32,
}

/// What the bytes at a position are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Header(Header),
    /// So many bytes of it would have to be there.
    Short(usize),
    Not,
}

impl Header {
    pub fn bytes(&self) -> usize {
        FIXED + PART * self.parts.len()
    }
    pub fn payload_bytes(&self) -> usize {
        self.parts.iter().map(|p| p.bytes as usize).sum()
    }
    /// Position behind it.
    pub fn end(&self) -> u64 {
        self.position + (self.bytes() + self.payload_bytes()) as u64
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.parts.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.payload_bytes() as u32).to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        for number in [self.position, self.time as u64, self.writer.id, self.writer.epoch, self.upto, self.durable] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for part in &self.parts {
            out.extend_from_slice(&part.partition.to_le_bytes());
            out.extend_from_slice(&part.records.to_le_bytes());
            out.extend_from_slice(&part.offset.to_le_bytes());
            out.extend_from_slice(&part.bytes.to_le_bytes());
        }
        let check = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&check.to_le_bytes());
    }

    /// `position`: where the bytes lie.
    pub fn parse(bytes: &[u8], position: u64) -> Parsed {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(4)]) {
            return Parsed::Not;
        }
        if bytes.len() < FIXED {
            return Parsed::Short(FIXED);
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (parts, payload) = (u32_at(8), u32_at(12));
        if parts > PARTS_MAX || payload > PAYLOAD_BYTES_MAX || u64_at(20) != position {
            return Parsed::Not;
        }
        let length = FIXED + PART * parts as usize;
        if bytes.len() < length {
            return Parsed::Short(length);
        }
        if crc32c::crc32c(&bytes[8..length]) != u32_at(4) {
            return Parsed::Not;
        }
        let header = Header {
            position,
            time: u64_at(28) as i64,
            writer: Writer { id: u64_at(36), epoch: u64_at(44) },
            upto: u64_at(52),
            durable: u64_at(60),
            parts: (0..parts as usize)
                .map(|i| FIXED + PART * i)
                .map(|at| Part { partition: u32_at(at), records: u32_at(at + 4), offset: u64_at(at + 8), bytes: u32_at(at + 16) })
                .collect(),
            payload_crc: u32_at(16),
        };
        if header.payload_bytes() == payload as usize { Parsed::Header(header) } else { Parsed::Not }
    }
}

/// Where in `bytes`, which lie at `position`, the next sound header begins.
pub fn search(bytes: &[u8], position: u64) -> Option<usize> {
    memchr::memmem::find_iter(bytes, &MAGIC)
        .find(|at| matches!(Header::parse(&bytes[*at..], position + *at as u64), Parsed::Header(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_whole_or_not_at_all() {
        let header = Header {
            position: 1 << 40,
            time: -5,
            writer: Writer { id: u64::MAX, epoch: 3 },
            upto: 7,
            durable: 1 << 39,
            parts: vec![
                Part { partition: 0, records: 2, offset: 9, bytes: 100 },
                Part { partition: 5, records: 0, offset: 1 << 33, bytes: 0 },
            ],
            payload_crc: 0xdead_beef,
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len(), header.bytes());
        assert_eq!(Header::parse(&bytes, 1 << 40), Parsed::Header(header.clone()));
        assert_eq!(Header::parse(&bytes, 0), Parsed::Not, "bytes that lie elsewhere are no frame");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(!matches!(Header::parse(&flipped, 1 << 40), Parsed::Header(_)), "byte {at}");
            assert!(matches!(Header::parse(&bytes[..at], 1 << 40), Parsed::Short(_)), "cut at {at}");
        }
        let mut stray = b"..\xf5OZ\x01..".to_vec();
        let at = stray.len();
        stray.extend_from_slice(&bytes);
        assert_eq!(search(&stray, (1 << 40) - at as u64), Some(at));
    }
}
