//! A log that is written, rotated and truncated while it is followed, and while it is not.

use super::FollowSource;
use crate::sources::NewFraming;
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Chunk, Framing, Source, Spanned};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

struct Lines;
impl Framing for Lines {
    fn split(&mut self, data: &[u8]) -> usize {
        memchr::memrchr(b'\n', data).map_or(0, |n| n + 1)
    }
    fn last_byte(&self) -> Option<u8> {
        Some(b'\n')
    }
}

fn follow(folder: &Path) -> Box<dyn Source> {
    let framing: NewFraming = Box::new(|| Box::new(Lines));
    FollowSource { path: Spanned::nowhere("a.log".into()) }.open(folder, framing).expect("opens")
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("opens");
    file.write_all(text.as_bytes()).expect("written");
}

/// Reads until so many bytes have come; gives up after a while.
fn read(source: &mut dyn Source, bytes: usize) -> String {
    let (mut text, waited) = (String::new(), Stopwatch::start());
    while text.len() < bytes && waited.seconds() < 20.0 {
        text += &of(&source.next().expect("readable").expect("never ends"));
    }
    text
}

fn of(chunk: &Chunk) -> String {
    let text = String::from_utf8_lossy(&chunk.data).into_owned();
    chunk.fault.as_ref().map_or(text, |fault| format!("!{fault}!"))
}

/// Nothing more comes, for now.
fn silent(source: &mut dyn Source) {
    for _ in 0..3 {
        assert_eq!(of(&source.next().expect("readable").expect("never ends")), "");
    }
}

fn gzip(path: &Path) {
    let mut gz =
        flate2::write::GzEncoder::new(File::create(path.with_extension("log.1.gz")).expect("created"), Default::default());
    gz.write_all(&fs::read(path).expect("there")).expect("written");
    gz.finish().expect("finished");
    fs::remove_file(path).expect("was there");
}

#[test]
fn lines_come_as_they_are_written_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("a.log");
    let mut source = follow(folder.path());
    silent(source.as_mut());
    append(&log, "one\ntwo\nthr");
    assert_eq!(read(source.as_mut(), 8), "one\ntwo\n");
    silent(source.as_mut());
    append(&log, "ee\n");
    assert_eq!(read(source.as_mut(), 6), "three\n");
    assert!(source.whereabouts().contains("a.log, byte 14"), "{}", source.whereabouts());
}

#[test]
fn what_is_left_of_a_renamed_file_comes_first_and_its_writer_may_be_slow() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("a.log");
    let mut old = File::create(&log).expect("created");
    old.write_all(b"1\n2\n").expect("written");
    let mut source = follow(folder.path());
    assert_eq!(read(source.as_mut(), 4), "1\n2\n");
    old.write_all(b"3\n").expect("written");
    fs::rename(&log, folder.path().join("a.log.1")).expect("renamed");
    append(&log, "5\n");
    assert_eq!(read(source.as_mut(), 2), "3\n");
    old.write_all(b"4\nhalf").expect("written");
    assert_eq!(read(source.as_mut(), 8), "4\nhalf5\n");
    append(&log, "6\n");
    assert_eq!(read(source.as_mut(), 2), "6\n");
}

#[test]
fn what_was_truncated_is_found_in_its_copy() {
    for copied in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        append(&log, "1\n2\n");
        let mut source = follow(folder.path());
        assert_eq!(read(source.as_mut(), 4), "1\n2\n");
        silent(source.as_mut());
        append(&log, "3\n4");
        if copied {
            fs::copy(&log, folder.path().join("a.log.1")).expect("copied");
        }
        // As short as nothing, or as long as before and more.
        OpenOptions::new().write(true).truncate(true).open(&log).expect("truncated");
        append(&log, "a new beginning, which is longer than what was there\n");
        let expected = if copied { "3\n4" } else { "" }.to_string() + "a new beginning, which is longer than what was there\n";
        assert_eq!(read(source.as_mut(), expected.len()), expected, "copied: {copied}");
        silent(source.as_mut());
    }
}

/// Every way of rotating, with the reader stopped at every place, gives each line once and in order.
#[test]
fn another_run_finds_its_place_wherever_it_is_by_now() {
    let lines: Vec<String> = (0..40).map(|i| format!("line {i} {}\n", "x".repeat(i * 7))).collect();
    for way in ["nothing", "renamed", "renamed twice", "compressed", "copied", "gone"] {
        for stop in [0, 1, 17, 20] {
            let folder = tempfile::tempdir().expect("a folder");
            let log = folder.path().join("a.log");
            let mut before = String::new();
            let mut source = follow(folder.path());
            for line in &lines[..stop] {
                append(&log, line);
                before += &read(source.as_mut(), line.len());
            }
            // Its end has been seen, or not.
            if stop == 17 {
                silent(source.as_mut());
            }
            let position = source.position().expect("known");
            drop(source);
            append(&log, &lines[stop..30].concat());
            let named = |name: &str| folder.path().join(name);
            match way {
                "renamed" => fs::rename(&log, named("a.log-20260101")).expect("renamed"),
                "renamed twice" => {
                    fs::rename(&log, named("a.log.2")).expect("renamed");
                    append(&log, &lines[30..35].concat());
                    fs::rename(&log, named("a.log.1")).expect("renamed");
                }
                "compressed" => gzip(&log),
                "copied" => {
                    fs::copy(&log, named("a.log.1")).expect("copied");
                    File::create(&log).expect("truncated");
                }
                "gone" => fs::remove_file(&log).expect("removed"),
                _ => {}
            }
            append(&log, &if way == "renamed twice" { lines[35..].concat() } else { lines[30..].concat() });
            let mut source = follow(folder.path());
            source.resume(&position).expect("found");
            let (all, rest) = (lines.concat(), lines[30..].concat());
            match (way, stop) {
                // The file was not there yet: it is as if it had begun now.
                ("gone" | "renamed" | "compressed" | "copied", 0) => assert!(read(source.as_mut(), rest.len()).ends_with(&rest)),
                ("renamed twice", 0) => assert!(read(source.as_mut(), 1).ends_with(&lines[35..].concat())),
                ("gone", _) => {
                    let after = read(source.as_mut(), rest.len() + 100);
                    assert!(after.starts_with("!`a.log` was rotated since") && after.ends_with(&rest), "{stop}: {after}");
                }
                _ => {
                    let after = read(source.as_mut(), all.len() - before.len());
                    assert_eq!(before + &after, all, "{way}, stopped behind {stop}");
                }
            }
            silent(source.as_mut());
        }
    }
}

#[test]
fn what_cannot_be_followed_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("a.log")).expect("created");
    let open = |folder: &Path| FollowSource { path: Spanned::nowhere("a.log".into()) }.open(folder, Box::new(|| Box::new(Lines)));
    assert!(open(folder.path()).err().expect("a folder").to_string().contains("no regular file"));
    assert!(open(&folder.path().join("none")).err().expect("no folder").to_string().contains("looking for"));
}

/// A run that was killed before its first commit has told where it began.
#[test]
fn where_it_begins_is_known_before_anything_is_read() {
    for first in ["", "1\n"] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        append(&log, first);
        let position = follow(folder.path()).position().expect("known");
        append(&log, "2\n");
        fs::rename(&log, folder.path().join("a.log.1")).expect("renamed");
        append(&log, "3\n");
        let mut source = follow(folder.path());
        source.resume(&position).expect("found");
        let all = format!("{first}2\n3\n");
        assert_eq!(read(source.as_mut(), all.len()), all);
    }
}
