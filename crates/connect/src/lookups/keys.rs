//! Keys of a table: text to row.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// All keys lie in one text, one behind the other: sixteen bytes and its own for each.
#[derive(Debug, Default)]
pub(super) struct Keys {
    text: String,
    entries: HashTable<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    len: u32,
    row: u32,
    /// Line of the file, or number of the record.
    place: u32,
}

impl Entry {
    fn of(self, text: &str) -> &str {
        &text[self.start as usize..][..self.len as usize]
    }
}

/// What is to be done about a key that comes twice with different values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Again {
    Refused,
    LastCounts,
}

impl Keys {
    /// If the key has another row already and that is refused: where it was.
    pub fn insert(&mut self, key: &str, row: u32, place: usize, again: Again) -> Result<Option<u32>, String> {
        let hash = xxh3_64(key.as_bytes());
        let Keys { text, entries } = self;
        if let Some(earlier) = entries.find_mut(hash, |entry| entry.of(text) == key) {
            if earlier.row != row && again == Again::Refused {
                return Ok(Some(earlier.place));
            }
            earlier.row = row;
            return Ok(None);
        }
        let fits = |n: usize| u32::try_from(n).map_err(|_| "more than 4 GiB of keys".to_string());
        let entry = Entry { start: fits(text.len())?, len: key.len() as u32, row, place: fits(place)? };
        fits(text.len() + key.len())?;
        text.push_str(key);
        entries.insert_unique(hash, entry, |entry| xxh3_64(entry.of(text).as_bytes()));
        Ok(None)
    }

    #[inline]
    pub fn find(&self, key: &str) -> Option<u32> {
        self.entries.find(xxh3_64(key.as_bytes()), |entry| entry.of(&self.text) == key).map(|entry| entry.row)
    }
}
