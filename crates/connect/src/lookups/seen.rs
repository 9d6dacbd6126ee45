//! What has been worked out of a text, so that it is done once for each distinct one. Bounded: what comes from outside may be anything.

use hashbrown::HashMap;

pub(super) const SEEN_MAX: usize = 65_536;
pub(super) const SEEN_BYTES_MAX: usize = 16 << 20;
/// Longer ones are rare, or an attack on our memory.
pub(super) const SEEN_TEXT_BYTES_MAX: usize = 1024;

pub(super) struct Seen<T> {
    values: HashMap<Box<str>, T>,
    bytes: usize,
}

impl<T> Seen<T> {
    pub fn new() -> Seen<T> {
        Seen { values: HashMap::new(), bytes: 0 }
    }

    /// Hands `use_it` what is known of the text, or what `work_out` makes of it.
    #[inline]
    pub fn with<R>(&mut self, text: &str, work_out: impl FnOnce(&str) -> T, use_it: impl FnOnce(&T) -> R) -> R {
        match self.values.get(text) {
            Some(value) => use_it(value),
            None => self.first(text, work_out, use_it),
        }
    }

    pub fn clear(&mut self) {
        self.values.clear();
        self.bytes = 0;
    }

    #[cold]
    fn first<R>(&mut self, text: &str, work_out: impl FnOnce(&str) -> T, use_it: impl FnOnce(&T) -> R) -> R {
        let value = work_out(text);
        let result = use_it(&value);
        if text.len() <= SEEN_TEXT_BYTES_MAX {
            if self.values.len() >= SEEN_MAX || self.bytes > SEEN_BYTES_MAX {
                self.clear();
            }
            self.bytes += text.len();
            self.values.insert(text.into(), value);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::new();
        let see = |text: &str, seen: &mut Seen<usize>| {
            assert_eq!(seen.with(text, str::len, |len| *len), text.len());
            assert_eq!(seen.with(text, str::len, |len| *len), text.len());
        };
        for i in 0..SEEN_MAX + 10 {
            see(&format!("agent {i}"), &mut seen);
        }
        assert_eq!(seen.values.len(), 10);
        see(&"x".repeat(SEEN_TEXT_BYTES_MAX + 1), &mut seen);
        assert_eq!(seen.values.len(), 10);
        for i in 0..40_000 {
            see(&format!("{i:01000}"), &mut seen);
        }
        assert!(seen.values.keys().map(|key| key.len()).sum::<usize>() <= SEEN_BYTES_MAX + SEEN_TEXT_BYTES_MAX);
    }
}
