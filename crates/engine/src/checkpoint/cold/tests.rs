use super::*;
use ouzel_core::Kind;
use ouzel_core::wire::{Wire, put_bytes};
use std::fs::File;

const SEED: u64 = 7;

fn entry(key: &str, newest: i64, state: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(key.as_bytes(), &mut out);
    newest.put(&mut out);
    out.extend_from_slice(&(state.len() as u32).to_le_bytes());
    out.extend_from_slice(state);
    out
}

/// Keys that leave one after the other, as one run each; which files they lie in.
fn files(folder: &Path, runs: &[Vec<(String, i64, String)>]) -> Manifest {
    let mut manifest = Manifest { seed: SEED, dead_at: vec![99], commit: 40, ..Manifest::default() };
    let cold = Cold::empty(SEED, 1);
    for (n, keys) in runs.iter().enumerate() {
        let mut leaving = Leaving::default();
        for (key, newest, state) in keys {
            leaving.add(&cold, key.as_bytes(), &entry(key, *newest, state.as_bytes()));
        }
        let new = cold.leave(0, &[leaving]).expect("builds").expect("keys leave");
        let (name, image) = (format!("{n}.cold"), new.run.image().expect("not written yet"));
        std::fs::write(folder.join(&name), &*image).expect("writable");
        manifest.cold.push(ColdFile { group: 0, name, bytes: image.len() as u64, entries: new.run.entries });
    }
    manifest
}

fn state_of(finder: &mut Finder, key: &str) -> Option<Vec<u8>> {
    finder.find(key.as_bytes()).expect("sound").map(<[u8]>::to_vec)
}

#[test]
fn a_key_is_found_before_and_after_its_run_is_written() {
    let cold = Cold::empty(SEED, 2);
    assert!(cold.finder(0).is_none());
    let mut shards = [Leaving::default(), Leaving::default()];
    for n in 0..20_000 {
        let key = format!("key {n}");
        shards[n % 2].add(&cold, key.as_bytes(), &entry(&key, n as i64, format!("state of {n}").as_bytes()));
    }
    let new = cold.leave(0, &shards).expect("builds").expect("keys leave");
    assert!(cold.finder(1).is_none());
    let mut finder = cold.finder(0).expect("keys have left");
    let check = |finder: &mut Finder| {
        for n in 0..20_000 {
            let key = format!("key {n}");
            assert_eq!(state_of(finder, &key), Some(entry(&key, n, format!("state of {n}").as_bytes())));
            assert_eq!(state_of(finder, &format!("no key {n}")), None);
        }
    };
    check(&mut finder);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.cold");
    std::fs::write(&path, &*new.run.image().expect("not written yet")).expect("writable");
    new.run.settle(File::open(&path).expect("readable"));
    assert!(new.run.image().is_none());
    check(&mut finder);
}

#[test]
fn what_a_newer_run_says_of_a_key_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    // Every run has some keys of the ones before, and one that is dead.
    let runs: Vec<Vec<(String, i64, String)>> = (0..8)
        .map(|run| {
            let keys = (run * 100..run * 100 + 300).map(|n| (format!("key {n}"), 100 + run, format!("{n} of run {run}")));
            keys.chain([(format!("dead {run}"), 99, "dead".into())]).collect()
        })
        .collect();
    let mut manifest = files(folder.path(), &runs);
    let newest = |n: i64| (n / 100).min(7);
    let check = |cold: &Cold| {
        let mut finder = cold.finder(0).expect("keys have left");
        for n in 0..1000 {
            let expected = entry(&format!("key {n}"), 100 + newest(n), format!("{n} of run {}", newest(n)).as_bytes());
            assert_eq!(state_of(&mut finder, &format!("key {n}")), Some(expected), "key {n}");
        }
    };
    let cold = Cold::open(folder.path(), &manifest, 1).expect("sound");
    check(&cold);
    assert!(state_of(&mut cold.finder(0).expect("runs"), "dead 7").is_some());
    let merged = cold.merge_due(folder.path(), &manifest, 3).expect("eight runs are too many").run().expect("merges");
    assert_eq!(merged.of.last(), manifest.cold.last().map(|file| &file.name));
    cold.replace(&merged);
    check(&cold);
    assert_eq!(state_of(&mut cold.finder(0).expect("runs"), "dead 7"), None);
    assert_eq!(cold.groups[0].read().expect("sound").len(), 8 - merged.of.len() + 1);
    manifest.cold.retain(|file| !merged.of.contains(&file.name));
    manifest.cold.push(merged.file);
    check(&Cold::open(folder.path(), &manifest, 1).expect("sound"));
}

#[test]
fn every_flipped_byte_and_every_cut_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys: Vec<_> = (0..200).map(|n| (format!("key {n}"), n, "x".repeat(40))).collect();
    let manifest = files(folder.path(), std::slice::from_ref(&keys));
    let (path, bytes) = (folder.path().join("0.cold"), manifest.cold[0].bytes);
    let sound = std::fs::read(&path).expect("readable");
    let read = || Cold::open(folder.path(), &manifest, 1).and_then(|cold| cold.verify());
    read().expect("sound");
    for at in 0..sound.len() {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, &flipped).expect("writable");
        let error = read().expect_err("flipped");
        assert_eq!(error.kind, Kind::Data, "byte {at}: {error}");
        assert!(error.to_string().contains("0.cold"), "{error}");
        std::fs::write(&path, &sound[..at]).expect("writable");
        assert_eq!(read().expect_err("cut").kind, Kind::Data, "cut at {at} of {bytes}");
    }
    std::fs::remove_file(&path).expect("there");
    assert_eq!(read().expect_err("missing").kind, Kind::Data);
}
