//! The protected names, found by each way of resembling one. Nothing goes through all of them: what lies within a distance is found by the texts
//! that remain when letters are left out of both (the symmetric deletes of SymSpell).

use super::skeleton::{shown, skeleton};
use crate::lookups::host;
use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// A list of one's own names is not longer; a list of all domains would find everything alike.
pub(super) const NAMES_MAX: usize = 10_000;

/// Letters of a name for each that may differ.
const LETTERS_PER_DISTANCE: usize = 4;
/// Shorter names are no part between hyphens or dots.
const PART_LETTERS_MIN: usize = 3;
/// Shorter names are no beginning or end of a word.
const WORD_LETTERS_MIN: usize = 6;

/// How one name resembles another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Like {
    Suffix,
    Skeleton,
    Distance,
    Part,
}

impl Like {
    /// In their order.
    pub const WORDS: [&str; 4] = ["suffix", "skeleton", "distance", "part"];
}

#[derive(Debug)]
pub(super) struct Names {
    distance: usize,
    all: Vec<String>,
    /// Each name without its public suffix, as it is shown, and how many letters it has.
    labels: Vec<(String, usize)>,
    /// Protected domains, and the registrable ones they are of.
    own: HashSet<String>,
    by_label: HashMap<String, u32>,
    by_skeleton: HashMap<String, u32>,
    /// Lengths of texts that are within the distance of a name, one bit each: most texts are not worth a search.
    lengths: u128,
    /// Hashes of what remains of a name when letters are left out; sorted.
    remains: Vec<(u64, u32)>,
}

impl Names {
    pub fn new(distance: usize) -> Names {
        Names {
            distance,
            all: Vec::new(),
            labels: Vec::new(),
            own: HashSet::new(),
            by_label: HashMap::new(),
            by_skeleton: HashMap::new(),
            lengths: 0,
            remains: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn all(&self) -> &[String] {
        &self.all
    }

    pub fn add(&mut self, domain: &str) -> Result<(), String> {
        let (suffix, registrable) = host::split(domain);
        let registrable = registrable.ok_or_else(|| format!("`{domain}` has no name before its public suffix `{suffix}`"))?;
        let label = shown(label_of(registrable, suffix)).into_owned();
        let number = self.all.len() as u32;
        self.own.extend([domain.to_string(), registrable.to_string()]);
        let letters: Vec<char> = label.chars().collect();
        // Of names that are alike, the first in the file.
        self.by_label.entry(label.clone()).or_insert(number);
        let skeleton = skeleton(&label);
        if !skeleton.is_empty() {
            self.by_skeleton.entry(skeleton).or_insert(number);
        }
        let distance = self.distance.min(letters.len() / LETTERS_PER_DISTANCE);
        for len in letters.len().saturating_sub(distance)..=letters.len() + distance {
            self.lengths |= bit(len);
        }
        let remains = &mut self.remains;
        leave_out(&letters, distance, &mut |hash| remains.push((hash, number)));
        self.labels.push((label, letters.len()));
        self.all.push(domain.to_string());
        Ok(())
    }

    pub fn finish(&mut self) {
        self.remains.sort_unstable();
        self.remains.dedup();
    }

    /// The name that the domain in a text resembles.
    pub fn like(&self, text: &str) -> Option<(u32, Like)> {
        let domain = host::domain(text)?;
        let mut part_of = Some(&*domain);
        while let Some(domain) = part_of {
            if self.own.contains(domain) {
                return None;
            }
            part_of = domain.split_once('.').map(|(_, rest)| rest);
        }
        let (suffix, registrable) = host::split(&domain);
        let label = shown(label_of(registrable?, suffix));
        if let Some(name) = self.by_label.get(&*label) {
            return Some((*name, Like::Suffix));
        }
        if let Some(name) = self.by_skeleton.get(&skeleton(&label)) {
            return Some((*name, Like::Skeleton));
        }
        if let Some(name) = self.close(&label) {
            return Some((name, Like::Distance));
        }
        let before = domain.strip_suffix(suffix).unwrap_or_default();
        // What is bought comes before what is made up below it.
        before.rsplit('.').find_map(|label| self.part(&shown(label))).map(|name| (name, Like::Part))
    }

    /// The closest name within the distance.
    fn close(&self, label: &str) -> Option<u32> {
        let letters: Vec<char> = label.chars().collect();
        if self.lengths & bit(letters.len()) == 0 {
            return None;
        }
        let mut best: Option<(usize, u32)> = None;
        leave_out(&letters, self.distance, &mut |hash| {
            let from = self.remains.partition_point(|(other, _)| *other < hash);
            for (_, name) in self.remains[from..].iter().take_while(|(other, _)| *other == hash) {
                let (other, len) = &self.labels[*name as usize];
                if best.is_some_and(|(_, found)| found == *name) {
                    continue;
                }
                let distance = strsim::damerau_levenshtein(label, other);
                if distance <= self.distance.min(len / LETTERS_PER_DISTANCE) && best.is_none_or(|best| (distance, *name) < best) {
                    best = Some((distance, *name));
                }
            }
        });
        best.map(|(_, name)| name)
    }

    fn part(&self, label: &str) -> Option<u32> {
        let of_letters = |name: &u32, min: usize| self.labels[*name as usize].1 >= min;
        let named = |text: &str, min: usize| self.by_skeleton.get(text).copied().filter(|name| of_letters(name, min));
        let between = label.split(['-', '_']).find_map(|part| named(&skeleton(part), PART_LETTERS_MIN));
        between.or_else(|| {
            let skeleton = skeleton(label);
            let cuts = || skeleton.char_indices().map(|(at, _)| at);
            let begins = cuts().find_map(|at| named(&skeleton[..at], WORD_LETTERS_MIN));
            begins.or_else(|| cuts().find_map(|at| named(&skeleton[at..], WORD_LETTERS_MIN)))
        })
    }
}

/// A label has at most 63 letters.
fn bit(len: usize) -> u128 {
    1 << len.min(127)
}

/// `example.co.uk` without `.co.uk`.
fn label_of<'a>(registrable: &'a str, suffix: &str) -> &'a str {
    registrable.strip_suffix(suffix).and_then(|label| label.strip_suffix('.')).unwrap_or(registrable)
}

/// Hashes of the letters, and of all texts that remain when up to `n` of them are left out; `n` is at most 2.
fn leave_out(letters: &[char], n: usize, each: &mut dyn FnMut(u64)) {
    let mut text = String::new();
    let mut hash = |without: [usize; 2]| {
        text.clear();
        text.extend(letters.iter().enumerate().filter(|(i, _)| !without.contains(i)).map(|(_, c)| c));
        each(xxh3_64(text.as_bytes()));
    };
    hash([usize::MAX; 2]);
    for first in (0..letters.len()).filter(|_| n >= 1) {
        hash([first, usize::MAX]);
        for second in (first + 1..letters.len()).filter(|_| n >= 2) {
            hash([first, second]);
        }
    }
}
