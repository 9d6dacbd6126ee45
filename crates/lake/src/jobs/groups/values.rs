//! Numbers by group, of which the one at a given place among the sorted ones is wanted: sorted runs on disk, and a search among them that reads a few
//! pages, whatever their size (selection in a union of sorted arrays; Frederickson and Johnson, 1982).

use crate::jobs::keys::{AsItIs, GROWTH, GROWTH_IN_BULK, free};
use crate::jobs::pages::{CONTENT_BYTES, PageWriter, Pages, damaged, word};
use crate::query::percentile::{between, place};
use ouzel_core::Result;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::BuildHasherDefault;
use std::path::{Path, PathBuf};

const PAGE_VALUES: usize = CONTENT_BYTES / 8;
/// A group's hash, and where its values end.
const GROUP_BYTES: usize = 24;

/// Numbers of many groups, in memory and in runs.
pub struct ValueSet {
    folder: PathBuf,
    runs: Vec<Run>,
    uncommitted: Vec<Run>,
    recent: HashMap<u128, Vec<u64>, BuildHasherDefault<AsItIs>>,
    count: usize,
    recent_max: usize,
}

impl ValueSet {
    /// `runs`: names of files in `folder`, the oldest first.
    pub fn open(folder: &Path, runs: &[String], memory_bytes: usize) -> Result<ValueSet> {
        let runs = runs.iter().map(|name| Run::open(&folder.join(name))).collect::<Result<_>>()?;
        let recent_max = (memory_bytes / 16).max(1024);
        let folder = folder.to_path_buf();
        Ok(ValueSet { folder, runs, uncommitted: Vec::new(), recent: HashMap::default(), count: 0, recent_max })
    }

    pub fn insert(&mut self, group: u128, value: f64) -> Result<()> {
        self.recent.entry(group).or_default().push(ordered(value));
        self.count += 1;
        if self.count >= self.recent_max { self.write_recent() } else { Ok(()) }
    }

    pub fn write_recent(&mut self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.count = 0;
        let groups: BTreeMap<u128, Vec<u64>> = std::mem::take(&mut self.recent).into_iter().collect();
        let mut writer = Writer::create(free(&self.folder))?;
        for (group, mut values) in groups {
            values.sort_unstable();
            values.into_iter().try_for_each(|value| writer.push(value))?;
            writer.end(group);
        }
        self.uncommitted.push(writer.finish()?);
        let merged = merge_last(&mut self.uncommitted, &self.folder, GROWTH_IN_BULK)?;
        // Nothing names them.
        merged.iter().for_each(|run| _ = fs::remove_file(&run.pages.path));
        Ok(())
    }

    /// The value below which a part `p` of a group's lies; `None` if it has none. What is in memory is written first.
    pub fn percentile(&mut self, group: u128, p: f64) -> Result<Option<f64>> {
        self.write_recent()?;
        let mut segments: Vec<Segment<'_>> =
            self.runs.iter().chain(&self.uncommitted).filter_map(|run| run.segment(group)).collect();
        let n = segments.iter().map(|segment| segment.end - segment.start).sum();
        let Some((lower, part)) = place(n, p) else { return Ok(None) };
        let low = select(&mut segments, lower)?;
        let high = if part == 0.0 { low } else { select(&mut segments, lower + 1)? };
        Ok(Some(between(number(low), number(high), part)))
    }

    /// Everything on disk, in few files: their names.
    pub fn settle(&mut self) -> Result<Vec<String>> {
        self.write_recent()?;
        self.runs.append(&mut self.uncommitted);
        merge_last(&mut self.runs, &self.folder, GROWTH)?;
        let name = |run: &Run| run.pages.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(self.runs.iter().map(name).collect())
    }
}

/// Whole numbers in the order of the numbers (IEEE 754, totalOrder). Both zeros are one.
fn ordered(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn number(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}

/// The value at a place, from 0, of all segments together: the least of which more than `at` are not greater.
fn select(segments: &mut [Segment<'_>], at: u64) -> Result<u64> {
    let (mut low, mut high) = (u64::MAX, 0);
    for segment in segments.iter_mut() {
        low = low.min(segment.value(segment.start)?);
        high = high.max(segment.value(segment.end - 1)?);
        segment.narrowed = (segment.start, segment.end);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        let mut places = Vec::with_capacity(segments.len());
        for segment in segments.iter_mut() {
            places.push(segment.not_greater(middle)?);
        }
        let below: u64 = places.iter().zip(segments.iter()).map(|(place, segment)| place - segment.start).sum();
        let enough = below > at;
        for (segment, place) in segments.iter_mut().zip(places) {
            match enough {
                true => segment.narrowed.1 = place,
                false => segment.narrowed.0 = place,
            }
        }
        if enough { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// A group's values in a run.
struct Segment<'r> {
    run: &'r Run,
    start: u64,
    end: u64,
    /// Where the search still goes on.
    narrowed: (u64, u64),
    page: Option<(u64, Vec<u64>)>,
}

impl Segment<'_> {
    fn value(&mut self, at: u64) -> Result<u64> {
        let number = at / PAGE_VALUES as u64;
        if self.page.as_ref().is_none_or(|(there, _)| *there != number) {
            self.page = Some((number, self.run.page(number)?));
        }
        let page = self.page.as_ref().map_or(&[] as &[u64], |(_, values)| values);
        page.get((at % PAGE_VALUES as u64) as usize).copied().ok_or_else(|| damaged(&self.run.pages.path))
    }

    /// The place behind those that are not greater than a value.
    fn not_greater(&mut self, than: u64) -> Result<u64> {
        let (mut low, mut high) = self.narrowed;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.value(middle)? <= than {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }
}

struct Run {
    pages: Pages,
    len: u64,
    /// By hash: where its values end. They begin where those of the group before end.
    groups: Vec<(u128, u64)>,
}

impl Run {
    fn open(path: &Path) -> Result<Run> {
        let (pages, [_, len], kept) =
            Pages::open(path, |[groups, len]| Some((len.div_ceil(PAGE_VALUES as u64), groups.checked_mul(GROUP_BYTES as u64)?)))?;
        let hash = |bytes: &[u8]| u128::from(word(&bytes[8..])) << 64 | u128::from(word(bytes));
        let groups = kept.chunks_exact(GROUP_BYTES).map(|group| (hash(group), word(&group[16..]))).collect();
        Ok(Run { pages, len, groups })
    }

    fn segment(&self, group: u128) -> Option<Segment<'_>> {
        let at = self.groups.binary_search_by_key(&group, |(hash, _)| *hash).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.groups[before].1);
        let end = self.groups[at].1;
        Some(Segment { run: self, start, end, narrowed: (start, end), page: None })
    }

    fn page(&self, number: u64) -> Result<Vec<u64>> {
        let there = (self.len - number * PAGE_VALUES as u64).min(PAGE_VALUES as u64) as usize;
        Ok(self.pages.page(number)?.chunks_exact(8).take(there).map(word).collect())
    }
}

/// Writes a run, group by group in the order of their hashes, the values of each in ascending order.
struct Writer {
    pages: PageWriter,
    groups: Vec<(u128, u64)>,
    len: u64,
}

impl Writer {
    fn create(path: PathBuf) -> Result<Writer> {
        Ok(Writer { pages: PageWriter::create(path)?, groups: Vec::new(), len: 0 })
    }

    fn push(&mut self, value: u64) -> Result<()> {
        self.len += 1;
        self.pages.push(value.to_le_bytes())
    }

    /// All values of a group have come.
    fn end(&mut self, group: u128) {
        self.groups.push((group, self.len));
    }

    fn finish(self) -> Result<Run> {
        let Writer { pages, groups, len } = self;
        let group = |(hash, end): &(u128, u64)| hash.to_le_bytes().into_iter().chain(end.to_le_bytes());
        let kept: Vec<u8> = groups.iter().flat_map(group).collect();
        Ok(Run { pages: pages.finish(&kept, &[groups.len() as u64, len])?, len, groups })
    }
}

/// Merges the last runs, as long as the one before is less than so many times as large. Gives those that are not needed any more.
fn merge_last(runs: &mut Vec<Run>, folder: &Path, growth: u64) -> Result<Vec<Run>> {
    let mut merged = Vec::new();
    while let [.., before, last] = runs.as_slice()
        && before.len < growth * last.len
    {
        let last: Vec<Run> = runs.pop().into_iter().chain(runs.pop()).collect();
        runs.push(merge(&last, free(folder))?);
        merged.extend(last);
    }
    Ok(merged)
}

/// Two runs as one.
fn merge(runs: &[Run], path: PathBuf) -> Result<Run> {
    let mut writer = Writer::create(path)?;
    let mut groups: Vec<u128> = runs.iter().flat_map(|run| run.groups.iter().map(|(hash, _)| *hash)).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let mut segments: Vec<Segment<'_>> = runs.iter().filter_map(|run| run.segment(group)).collect();
        let mut heads = Vec::with_capacity(segments.len());
        for segment in &mut segments {
            heads.push(segment.value(segment.start)?);
        }
        while let Some(least) = (0..segments.len()).min_by_key(|i| heads[*i]) {
            writer.push(heads[least])?;
            let segment = &mut segments[least];
            segment.start += 1;
            if segment.start < segment.end {
                heads[least] = segment.value(segment.start)?;
            } else {
                segments.swap_remove(least);
                heads.swap_remove(least);
            }
        }
        writer.end(group);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::percentile::interpolated;

    #[test]
    fn numbers_keep_their_order() {
        let sorted = [f64::NEG_INFINITY, -2.5, -1e-300, 0.0, 1e-300, 1.0, 7.25, f64::INFINITY];
        assert!(sorted.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        assert!(sorted.iter().all(|value| number(ordered(*value)) == *value));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    /// Runs of any size, merged or not: as by sorting everything.
    #[test]
    fn a_percentile_is_that_of_all_values() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = 11_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut set = ValueSet::open(folder.path(), &[], 0).expect("opens");
        let mut plain: HashMap<u128, Vec<f64>> = HashMap::new();
        for round in 0..40 {
            for _ in 0..random(4000) {
                // Groups of many values and of one; many twins.
                let group = u128::from(random(5) * random(400)) << 90;
                let value = random(if group == 0 { 50 } else { 1 << 30 }) as f64 / 8.0 - 3.0;
                set.insert(group, value).expect("taken");
                plain.entry(group).or_default().push(value);
            }
            for p in [0.0, 0.25, 0.5, 0.95, 1.0] {
                for (group, values) in plain.iter_mut().take(60) {
                    let found = set.percentile(*group, p).expect("read");
                    assert_eq!(found, interpolated(values, p), "round {round}, group {group}, {p}");
                }
            }
            assert_eq!(set.percentile(7, 0.5).expect("read"), None);
            if round % 3 == 0 {
                let runs = set.settle().expect("written");
                assert!(runs.len() < 12, "{runs:?}");
                set = ValueSet::open(folder.path(), &runs, 0).expect("opens");
            }
        }
    }
}
