//! Text columns that point into the chunk instead of copying it.

use super::table::{Blocks, Raw};
use arrow_array::StringViewArray;
use arrow_buffer::{Buffer, NullBufferBuilder, ScalarBuffer};

/// Up to this length the text lies in the view itself.
const INLINE_MAX: usize = 12;
const CHUNK: u32 = 0;
const SIDE: u32 = 1;
const OWN: u32 = 2;

/// Builds a `StringViewArray` over three blocks: the chunk, the codec's side text, and text of its own.
pub(super) struct Views {
    views: Vec<u128>,
    nulls: NullBufferBuilder,
    own: String,
}

impl Views {
    pub fn with_capacity(rows: usize) -> Views {
        Views { views: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows), own: String::new() }
    }

    #[inline]
    pub fn null(&mut self) {
        self.nulls.append_null();
        self.views.push(0);
    }

    /// The bytes of a value as they stand. They must be text, as all that codecs point to is.
    #[inline(always)]
    pub fn value(&mut self, raw: Raw, blocks: &Blocks) {
        let block = if raw.is_aside() { SIDE } else { CHUNK };
        self.push(view(blocks.of(raw), block, raw.start(), raw.len()));
    }

    /// Text that is in no block.
    pub fn copy(&mut self, text: &str) {
        self.copy_with(|own| own.push_str(text));
    }

    /// Text that `write` appends.
    pub fn copy_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.own.len();
        write(&mut self.own);
        self.push(view(self.own.as_bytes(), OWN, start, self.own.len() - start));
    }

    #[inline(always)]
    fn push(&mut self, view: u128) {
        self.nulls.append_non_null();
        self.views.push(view);
    }

    pub fn finish(mut self, blocks: &Blocks) -> StringViewArray {
        let buffers = [blocks.chunk.clone(), blocks.side.clone(), Buffer::from(self.own.into_bytes())];
        let views = ScalarBuffer::from(self.views);
        // SAFETY: `view` took each length, prefix and offset from a slice of its block, and the blocks are these. A
        // codec points only to whole values of records whose UTF-8 it has checked, cut at ASCII bytes.
        unsafe { StringViewArray::new_unchecked(views, buffers, self.nulls.finish()) }
    }
}

/// The view of a stretch of a block, as Arrow lays it out.
#[inline(always)]
fn view(bytes: &[u8], block: u32, start: usize, len: usize) -> u128 {
    if len > INLINE_MAX {
        let mut prefix = [0; 4];
        prefix.copy_from_slice(&bytes[start..start + 4]);
        return (start as u128) << 96 | (block as u128) << 64 | (u32::from_le_bytes(prefix) as u128) << 32 | len as u128;
    }
    let mut window = [0; 16];
    match bytes.get(start..start + 16) {
        Some(all) => window.copy_from_slice(all),
        None => window[..len].copy_from_slice(&bytes[start..start + len]),
    }
    let text = u128::from_le_bytes(window) & ((1 << (8 * len)) - 1);
    text << 32 | len as u128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::table::Look;
    use arrow_array::Array;

    #[test]
    fn views_of_every_length_read_back() {
        let text = "0123456789abcdefghijklmnop";
        let blocks = Blocks { chunk: Buffer::from(text.as_bytes()), side: Buffer::from(text.as_bytes()) };
        let mut views = Views::with_capacity(4);
        for len in 0..text.len() {
            for start in 0..=text.len() - len {
                views.value(Raw::new(Look::Text, start, start + len), &blocks);
                views.value(Raw::new(Look::Text, start, start + len).aside(), &blocks);
                views.copy(&text[start..start + len]);
            }
        }
        views.null();
        let array = views.finish(&blocks);
        array.to_data().validate_full().expect("valid arrow data");
        let mut i = 0;
        for len in 0..text.len() {
            for start in 0..=text.len() - len {
                for _ in 0..3 {
                    assert_eq!(array.value(i), &text[start..start + len]);
                    i += 1;
                }
            }
        }
        assert_eq!(array.iter().nth(i), Some(None));
    }
}
