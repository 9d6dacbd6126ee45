mod figures;

use super::segment::{Extent, bases, path};
use super::*;
use ouzel_core::{Kind, Result, Run};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn writer(id: u64, epoch: u64) -> Writer {
    Writer { id, epoch }
}

fn open(folder: &Path, settings: &Settings, writer: Writer, committed: Option<End>) -> (Appender, Opening) {
    Appender::open(folder, settings, writer, &committed.unwrap_or_default(), Busy::Wait).expect("opens")
}

fn end_at(position: u64, records: u64) -> Option<End> {
    Some(End { position, offsets: vec![records], upto: records * 10 })
}

/// Records of one partition.
struct Slice {
    partition: u32,
    records: u32,
    data: Vec<u8>,
}

fn slice(partition: u32, records: &[String]) -> Slice {
    let data = records.iter().flat_map(|r| format!("{r}\n").into_bytes()).collect();
    Slice { partition, records: records.len() as u32, data }
}

/// One after another, as a frame.
fn append(appender: &mut Appender, slices: &[Slice], upto: u64) -> Result<u64> {
    let data: Vec<u8> = slices.iter().flat_map(|s| s.data.clone()).collect();
    let run = |s: &Slice| Run { partition: s.partition, records: s.records, bytes: s.data.len() as u32 };
    appender.append(&data, &slices.iter().map(run).collect::<Vec<_>>(), upto)
}

fn numbers(from: usize, n: usize) -> Vec<String> {
    (from..from + n).map(|i| format!("record {i}")).collect()
}

/// Everything, and what was damaged.
fn read(folder: &Path, bytes_max: usize) -> (Vec<String>, Vec<String>) {
    let mut reader = Reader::new(folder, None);
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    while let Some(piece) = reader.next(bytes_max).expect("reads") {
        if piece.damage.is_none() {
            assert!(piece.data.ends_with(b"\n") && !piece.times.is_empty());
        }
        records.extend(String::from_utf8(piece.data).expect("text").lines().map(String::from));
        damage.extend(piece.damage);
    }
    (records, damage)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Two writers, three partitions, small segments, each closed and gone on with now and then: a reader that stops anywhere and goes on finds each record
    /// once, in the order in which they were appended.
    #[test]
    fn what_was_appended_is_read(
        steps in prop::collection::vec((0usize..2, prop::collection::vec((0u32..3, 1usize..9), 0..4), any::<bool>()), 1..30),
        segment_bytes in 200u64..2000,
        bytes_max in 10usize..400,
        stops in 1usize..5,
    ) {
        let folder = TempDir::new().expect("a folder");
        let settings = Settings { partitions: 3, segment_bytes, ..Settings::default() };
        let mut expected: Vec<String> = Vec::new();
        let mut writers: Vec<(Appender, u64, u64)> = (0..2).map(|id| (open(folder.path(), &settings, writer(id, 1), None).0, 1, 0)).collect();
        let mut next = 0;
        for (who, parts, again) in steps {
            let (appender, epoch, upto) = &mut writers[who];
            let mut slices: Vec<Slice> = Vec::new();
            for (partition, n) in parts {
                slices.push(slice(partition, &numbers(next, n)));
                next += n;
            }
            expected.extend(slices.iter().flat_map(|s| std::str::from_utf8(&s.data).expect("text").lines().map(String::from)));
            *upto += 1;
            append(appender, &slices, *upto).expect("appends");
            if again {
                *epoch += 1;
                let position = (*upto % 2 == 0).then(|| appender.end());
                let (new, opening) = open(folder.path(), &settings, writer(who as u64, *epoch), position);
                prop_assert_eq!((opening.holds, opening.cut, opening.damaged.len()), (*upto, 0, 0));
                *appender = new;
            }
        }
        let (records, damage) = read(folder.path(), bytes_max);
        prop_assert_eq!((&records, damage.len()), (&expected, 0));
        // Stopped after some pieces and gone on with from the place, again and again.
        let mut resumed = Vec::new();
        let mut place = None;
        loop {
            let mut reader = Reader::new(folder.path(), place);
            let before = resumed.len();
            for _ in 0..stops {
                let Some(piece) = reader.next(bytes_max).expect("reads") else { break };
                resumed.extend(String::from_utf8(piece.data).expect("text").lines().map(String::from));
            }
            place = Some(reader.place().clone());
            if resumed.len() == before {
                break;
            }
        }
        prop_assert_eq!(&resumed, &expected);
        let held: u64 = contents(folder.path()).expect("there").records.iter().map(|r| r.end).sum();
        prop_assert_eq!((place.map(|p| p.records()), held), (Some(expected.len() as u64), expected.len() as u64));
    }
}

/// A log of frames of ten records in one segment, and where each frame ends.
fn log_of(folder: &Path, frames: usize) -> Vec<u64> {
    let (mut appender, _) = open(folder, &Settings::default(), writer(7, 1), None);
    (0..frames)
        .map(|i| append(&mut appender, &[slice(0, &numbers(i * 10, 10))], (i as u64 + 1) * 100).expect("appends"))
        .collect()
}

#[test]
fn a_torn_end_is_cut_at_every_byte_and_gone_on_from() {
    let folder = TempDir::new().expect("a folder");
    let ends = log_of(folder.path(), 3);
    let segment = path(folder.path(), 0);
    let whole = fs::read(&segment).expect("readable");
    for cut in ends[1]..ends[2] {
        fs::write(&segment, &whole[..cut as usize]).expect("writable");
        assert_eq!(read(folder.path(), 1 << 20).0, numbers(0, 20), "a reader waits for the rest");
        let (mut appender, opening) = open(folder.path(), &Settings::default(), writer(7, 2), end_at(ends[0], 10));
        assert_eq!((opening.holds, opening.cut), (200, cut - ends[1]), "cut at {cut}");
        append(&mut appender, &[slice(0, &numbers(20, 10))], 300).expect("appends");
        assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 30), Vec::new()), "cut at {cut}");
        drop(appender);
        // Killed in the middle of an append, beside another writer that goes on.
        fs::write(&segment, &whole[..ends[1] as usize]).expect("writable");
        let (mut other, _) = open(folder.path(), &Settings::default(), writer(8, 1), None);
        let end = append(&mut other, &[slice(0, &numbers(20, 1))], 1).expect("appends");
        let torn = &whole[ends[1] as usize..cut as usize];
        fs::write(&segment, [&fs::read(&segment).expect("readable"), torn].concat()).expect("writable");
        assert_eq!(other.end().position, end);
        append(&mut other, &[slice(0, &numbers(21, 1))], 2).expect("appends");
        assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 22), Vec::new()), "torn by another at {cut}");
    }
}

#[test]
fn every_flipped_byte_is_named_and_the_rest_served() {
    let folder = TempDir::new().expect("a folder");
    let ends = log_of(folder.path(), 5);
    let segment = path(folder.path(), 0);
    let whole = fs::read(&segment).expect("readable");
    // The frame that begins the segment holds no records: a header with one part.
    let begins = 88;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        fs::write(&segment, &flipped).expect("writable");
        // What was committed is not cut off, however it reads.
        let (mut appender, opening) = open(folder.path(), &Settings::default(), writer(7, 2), end_at(ends[4], 50));
        assert_eq!((opening.cut, opening.damaged.len()), (0, 1), "byte {at}");
        let frame = ends.iter().filter(|end| **end <= at as u64).count();
        append(&mut appender, &[slice(0, &numbers(50, 10))], 600).expect("appends");
        let (records, damage) = read(folder.path(), 1 << 20);
        if (at as u64) < begins {
            assert_eq!((records, damage.len()), (numbers(0, 60), 0), "byte {at}");
            continue;
        }
        let expected = [numbers(0, frame * 10), numbers(frame * 10 + 10, 50 - frame * 10)].concat();
        assert_eq!(records, expected, "byte {at}");
        let which = format!("records {} to {}", frame * 10, frame * 10 + 9);
        assert!(damage.len() == 1 && damage[0].contains(&which), "byte {at}: {damage:?}");
    }
}

#[test]
fn what_was_never_synced_is_cut_off_after_a_power_cut() {
    let folder = TempDir::new().expect("a folder");
    let (mut appender, _) = open(folder.path(), &Settings::default(), writer(7, 1), None);
    let first = append(&mut appender, &[slice(0, &numbers(0, 10))], 100).expect("appends");
    appender.sync().wait(first).expect("syncs");
    let second = append(&mut appender, &[slice(0, &numbers(10, 10))], 200).expect("appends");
    append(&mut appender, &[slice(0, &numbers(20, 10))], 300).expect("appends");
    drop(appender);
    // The third frame reached the disk, a page of the second did not.
    let segment = path(folder.path(), 0);
    let mut bytes = fs::read(&segment).expect("readable");
    let page = second as usize - 20..second as usize;
    bytes[page].fill(0);
    fs::write(&segment, &bytes).expect("writable");
    let (mut appender, opening) = open(folder.path(), &Settings::default(), writer(7, 2), end_at(first, 10));
    assert_eq!((opening.holds, opening.damaged.len()), (100, 0));
    assert!(opening.cut > 0);
    append(&mut appender, &[slice(0, &numbers(10, 20))], 300).expect("appends");
    assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 30), Vec::new()));
    // A page of zeros is nothing.
    let end = appender.end();
    drop(appender);
    fs::write(&segment, [fs::read(&segment).expect("readable"), vec![0; 4096]].concat()).expect("writable");
    let (appender, opening) = open(folder.path(), &Settings::default(), writer(7, 3), Some(end.clone()));
    assert_eq!((opening.cut, opening.holds), (4096, 300));
    drop(appender);
    // Less than was committed is refused.
    fs::write(&segment, &fs::read(&segment).expect("readable")[..first as usize]).expect("writable");
    let shorter = Appender::open(folder.path(), &Settings::default(), writer(7, 4), &end, Busy::Wait);
    assert_eq!(shorter.err().expect("refused").kind, Kind::Changed);
    let place = Place { at: end.position, skip: 0, offsets: vec![30] };
    assert_eq!(Reader::new(folder.path(), Some(place)).next(1).expect_err("refused").kind, Kind::Changed);
}

/// A writer does not take another's damaged frame for a torn one, and cut it off.
#[test]
fn what_another_wrote_is_not_cut_off_for_damage() {
    let folder = TempDir::new().expect("a folder");
    let (mut one, _) = open(folder.path(), &Settings::default(), writer(7, 1), None);
    let (mut other, _) = open(folder.path(), &Settings::default(), writer(8, 1), None);
    append(&mut one, &[slice(0, &numbers(0, 5))], 5).expect("appends");
    let end = append(&mut one, &[slice(0, &numbers(5, 5))], 10).expect("appends");
    let segment = path(folder.path(), 0);
    let mut bytes = fs::read(&segment).expect("readable");
    bytes[end as usize - 3] ^= 1;
    fs::write(&segment, &bytes).expect("writable");
    append(&mut other, &[slice(0, &numbers(10, 5))], 5).expect("appends");
    append(&mut one, &[slice(0, &numbers(15, 5))], 20).expect("appends");
    let (records, damage) = read(folder.path(), 1 << 20);
    assert_eq!(records, [numbers(0, 5), numbers(10, 10)].concat());
    assert!(damage.len() == 1 && damage[0].contains("records 5 to 9 of partition 0"), "{damage:?}");
}

#[test]
fn a_segment_that_was_only_begun_is_nothing() {
    let folder = TempDir::new().expect("a folder");
    let ends = log_of(folder.path(), 2);
    fs::write(path(folder.path(), ends[1]), b"\xf5OZ").expect("writable");
    let (mut appender, opening) = open(folder.path(), &Settings::default(), writer(7, 2), end_at(ends[1], 20));
    assert_eq!((opening.cut, opening.holds), (3, 200));
    append(&mut appender, &[slice(0, &numbers(20, 1))], 300).expect("appends");
    assert_eq!(bases(folder.path()).expect("there"), [0]);
    assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 21), Vec::new()));
}

#[test]
fn a_later_epoch_fences_the_earlier() {
    let folder = TempDir::new().expect("a folder");
    let (mut sleeper, _) = open(folder.path(), &Settings::default(), writer(7, 1), None);
    append(&mut sleeper, &[slice(0, &numbers(0, 1))], 1).expect("appends");
    let (mut other, _) = open(folder.path(), &Settings::default(), writer(8, 9), None);
    let (mut successor, opening) = open(folder.path(), &Settings::default(), writer(7, 2), None);
    assert_eq!(opening.holds, 1);
    assert_eq!(append(&mut sleeper, &[slice(0, &numbers(1, 1))], 2).expect_err("fenced").kind, Kind::Conflict);
    append(&mut successor, &[slice(0, &numbers(1, 1))], 2).expect("appends");
    append(&mut other, &[slice(0, &numbers(2, 1))], 1).expect("another writer is not concerned");
    assert_eq!(read(folder.path(), 1 << 20).0, numbers(0, 3));
}

/// A process is paused in the middle of an append, passed over, and wakes up.
#[test]
fn what_a_sleeper_still_writes_is_nothing() {
    let folder = TempDir::new().expect("a folder");
    let settings = Settings::default();
    let (mut sleeper, _) = open(folder.path(), &settings, writer(7, 1), None);
    let (mut other, _) = open(folder.path(), &settings, writer(8, 1), None);
    let end = append(&mut sleeper, &[slice(0, &numbers(0, 5))], 5).expect("appends");
    let mut reader = Reader::new(folder.path(), None);
    assert_eq!(reader.next(1 << 20).expect("reads").expect("there").data.iter().filter(|b| **b == b'\n').count(), 5);
    let held = fs::File::open(folder.path().join("lock")).expect("there");
    held.lock().expect("locks");
    let taken = Appender::open(folder.path(), &settings, writer(7, 2), &End::default(), Busy::TakeOver).expect("passes over it");
    let (mut successor, opening) = taken;
    assert_eq!((opening.holds, successor.end().position > end), (5, true));
    // It wakes up where it was: it had the lock, and knew where the end was.
    let mut bytes = fs::read(path(folder.path(), 0)).expect("there");
    let stray = bytes[88..].to_vec();
    bytes.extend_from_slice(&stray);
    fs::write(path(folder.path(), 0), &bytes).expect("writable");
    held.unlock().expect("unlocks");
    assert_eq!(append(&mut sleeper, &[slice(0, &numbers(9, 1))], 6).expect_err("fenced").kind, Kind::Conflict);
    append(&mut successor, &[slice(0, &numbers(5, 5))], 10).expect("appends");
    append(&mut other, &[slice(0, &numbers(10, 5))], 5).expect("appends");
    assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 15), Vec::new()));
    let piece = reader.next(1 << 20).expect("reads").expect("there");
    assert_eq!((piece.data.starts_with(b"record 5\n"), piece.damage), (true, None));
    let (_, opening) = open(folder.path(), &settings, writer(7, 3), None);
    assert_eq!(opening.holds, 10);
    assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 15), Vec::new()));
}

/// Whoever was passed over in the middle of an append finds out, whichever writer it was.
#[test]
fn a_writer_that_was_passed_over_stops() {
    let folder = TempDir::new().expect("a folder");
    let (mut paused, _) = open(folder.path(), &Settings::default(), writer(8, 1), None);
    paused.lock.take(Busy::Wait).expect("locks");
    let taken = Appender::open(folder.path(), &Settings::default(), writer(7, 1), &End::default(), Busy::TakeOver);
    let (mut successor, _) = taken.expect("passes over it");
    let end = paused.put(b"late\n", &[Run { partition: 0, records: 1, bytes: 5 }], 1).expect("writes where it was");
    assert!(!paused.lock.is_the_lock().expect("looks"), "so its append fails");
    assert!(end > successor.base);
    append(&mut successor, &[slice(0, &numbers(0, 3))], 3).expect("appends");
    assert_eq!(read(folder.path(), 1 << 20), (numbers(0, 3), Vec::new()));
    // An earlier epoch does not come after a later one.
    let earlier = Appender::open(folder.path(), &Settings::default(), writer(7, 0), &End::default(), Busy::Wait);
    assert_eq!(earlier.err().expect("refused").kind, Kind::Conflict);
}

/// The segment a quiet writer stands in is removed as too old, and those after it.
#[test]
fn a_quiet_writer_goes_on_where_the_log_is() {
    for busy in 1..40 {
        let folder = TempDir::new().expect("a folder");
        let settings = Settings { segment_bytes: 300, keep_bytes: Some(300), ..Settings::default() };
        let (mut quiet, _) = open(folder.path(), &settings, writer(8, 1), None);
        let (mut other, _) = open(folder.path(), &settings, writer(7, 1), None);
        append(&mut quiet, &[slice(0, &numbers(0, 1))], 1).expect("appends");
        for i in 0..busy {
            append(&mut other, &[slice(0, &numbers(1 + i, 1))], i as u64 + 1).expect("appends");
        }
        append(&mut quiet, &[slice(0, &numbers(1 + busy, 1))], 2).expect("appends");
        append(&mut other, &[slice(0, &numbers(2 + busy, 1))], busy as u64 + 1).expect("appends");
        let (records, damage) = read(folder.path(), 1 << 20);
        assert_eq!((records.as_slice(), damage.len()), (&numbers(0, busy + 3)[busy + 3 - records.len()..], 0), "{busy}");
        assert!(records.len() >= 2, "{busy}");
    }
}

#[test]
fn what_is_too_old_or_too_much_goes_by_whole_segments() {
    let folder = TempDir::new().expect("a folder");
    let settings = Settings { segment_bytes: 1000, keep_bytes: Some(3000), ..Settings::default() };
    let (mut appender, _) = open(folder.path(), &settings, writer(7, 1), None);
    let mut reader = Reader::new(folder.path(), None);
    let first = reader.next(200).expect("reads");
    assert!(first.is_none());
    let mut slow = None;
    for i in 0..100 {
        append(&mut appender, &[slice(0, &numbers(i * 10, 10))], i as u64).expect("appends");
        if i == 2 {
            // It reads a little and falls behind.
            let mut reader = Reader::new(folder.path(), None);
            reader.next(100).expect("reads");
            slow = Some(reader.place().clone());
        }
    }
    let Extent { begin, end } = extent(folder.path()).expect("there");
    assert!(begin > 0 && end - begin >= 3000 && end - begin < 3000 + 2 * 1300, "{begin} to {end}");
    let (records, damage) = read(folder.path(), 1 << 20);
    assert!(damage.is_empty() && records.len() < 600);
    assert_eq!(records, numbers(1000 - records.len(), records.len()), "the newest are there, without a gap");
    let missed = Reader::new(folder.path(), slow).next(100).expect_err("refused");
    let told = format!("to {} of partition 0 were removed before they were read", 999 - records.len());
    assert!(missed.kind == Kind::Changed && missed.to_string().contains(&told), "{missed}");
    // Whoever has read everything misses nothing.
    let mut reader = Reader::new(folder.path(), None);
    while reader.next(1 << 20).expect("reads").is_some() {}
    let place = reader.place().clone();
    for i in 100..120 {
        append(&mut appender, &[slice(0, &numbers(i * 10, 10))], i as u64).expect("appends");
    }
    let piece = Reader::new(folder.path(), Some(place.clone())).next(11).expect("reads").expect("there");
    assert_eq!((place.records(), piece.data.as_slice()), (1000, b"record 1000\n".as_slice()));

    // By age: nothing that is younger goes.
    let folder = TempDir::new().expect("a folder");
    for (keep_us, kept) in [(i64::MAX / 2, true), (0, false)] {
        let settings = Settings { segment_bytes: 500, keep_us: Some(keep_us), ..Settings::default() };
        let (mut appender, _) = open(folder.path(), &settings, writer(7, 1), None);
        for i in 0..20 {
            append(&mut appender, &[slice(0, &numbers(i * 10, 10))], i as u64).expect("appends");
            std::thread::sleep(std::time::Duration::from_micros(10));
        }
        assert_eq!(bases(folder.path()).expect("there")[0] == 0, kept);
    }
}

#[test]
fn readers_follow_while_several_write() {
    const EACH: usize = 500;
    let folder = TempDir::new().expect("a folder");
    let settings = Settings { segment_bytes: 5000, ..Settings::default() };
    let records = std::thread::scope(|scope| {
        let alive = Alive::hold(folder.path()).expect("holds");
        for id in 0..2 {
            let (folder, settings) = (folder.path(), &settings);
            scope.spawn(move || {
                let (mut appender, _) = open(folder, settings, writer(id, 1), None);
                for i in 0..EACH {
                    append(&mut appender, &[slice(0, &[format!("{id} {i}")])], i as u64 + 1).expect("appends");
                    if i % 50 == 0 {
                        appender.sync().wait(appender.end().position).expect("syncs");
                    }
                }
            });
        }
        let reading = scope.spawn(|| {
            let mut reader = Reader::new(folder.path(), None);
            let mut records = String::new();
            loop {
                let anyone = Alive::anyone(folder.path()).expect("looks");
                match reader.next(1000).expect("reads") {
                    Some(piece) => {
                        assert_eq!(piece.damage, None);
                        records += std::str::from_utf8(&piece.data).expect("text");
                    }
                    None if anyone && records.lines().count() < 2 * EACH => std::thread::yield_now(),
                    None => break,
                }
            }
            records
        });
        let records = reading.join().expect("reads");
        drop(alive);
        records
    });
    for id in 0..2 {
        let own: Vec<&str> = records.lines().filter(|r| r.starts_with(&id.to_string())).collect();
        assert_eq!(own, (0..EACH).map(|i| format!("{id} {i}")).collect::<Vec<_>>());
    }
    assert!(!Alive::anyone(folder.path()).expect("looks"));
}
