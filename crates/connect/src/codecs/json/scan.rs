//! Finds the byte that ends the plain part of a string: a quote, a backslash or a control character.

/// Position of the first such byte from `at` on, or the length of `data`.
#[inline(always)]
pub(super) fn special(data: &[u8], mut at: usize) -> usize {
    while let Some(block) = data.get(at..at + block::LEN) {
        if let Some(offset) = block::first(block) {
            return at + offset;
        }
        at += block::LEN;
    }
    tail(data, at)
}

#[cold]
fn tail(data: &[u8], at: usize) -> usize {
    let rest = data.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20)).unwrap_or(rest.len())
}

#[cfg(target_arch = "x86_64")]
mod block {
    use std::arch::x86_64::*;

    pub const LEN: usize = 16;

    #[inline(always)]
    pub fn first(block: &[u8]) -> Option<usize> {
        debug_assert_eq!(block.len(), LEN);
        // SAFETY: SSE2 is part of x86_64, and the block has the 16 bytes that the unaligned load reads.
        let mask = unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control))
        };
        (mask != 0).then(|| mask.trailing_zeros() as usize)
    }
}

#[cfg(not(target_arch = "x86_64"))]
use portable as block;

/// Eight bytes in a word. The lowest hit is exact: borrows only run upwards.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    pub const LEN: usize = 8;
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;

    #[inline(always)]
    pub fn first(block: &[u8]) -> Option<usize> {
        let word = u64::from_le_bytes(block.try_into().ok()?);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hits = zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | control;
        (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_at_every_place() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut data = vec![b'x'; len];
                    data[at] = byte;
                    let expected = if matches!(byte, b'"' | b'\\' | ..0x20) { at } else { len };
                    assert_eq!(super::special(&data, 0), expected, "{byte} at {at} of {len}");
                    if len == super::portable::LEN {
                        assert_eq!(super::portable::first(&data).unwrap_or(len), expected, "{byte} at {at}");
                    }
                }
            }
        }
    }
}
