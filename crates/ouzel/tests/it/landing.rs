//! Jobs that take files, keep the first row of each key, and add what is new to what is there: as a user runs them.

use super::commands::write;
use super::faults::Asleep;
use super::jobs::{call, recomputed, verified};
use super::ouzel;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PROJECT: &str = "name: test\nsources: { landing: { files: \"in/**/*.parquet\" } }\njobs: { memory: 64MB }\n";
const CLEAN: &str =
    "---\nwrite: append\nunique_key: id\npartition_by: day\n---\nselect *, cast(t as date) as day from {{ source('landing') }}\n";
const DAILY: &str = "---\npartition_by: day\n---\nselect day, customer, count(*) as total, count(amount) filter (where kind = 'a') as a,
       count(distinct session) as sessions, count(distinct kind) filter (where amount > 0) as kinds, sum(amount) as amount,
       min(t) as first, max(session) as last, percentile_cont(amount, 0.95) as p95, percentile_cont(0.5) within group (order by amount desc) as median
from {{ ref('clean') }} group by 1, 2\n";

/// As values of a partition null and the empty text are one.
const KINDS: &str = "---\npartition_by: kind\n---\nselect case when amount > 500 then null else kind end as kind, customer, count(*) as total, count(distinct session) as sessions
from {{ ref('clean') }} group by 1, 2\n";

/// The last row of each id, which may lie in another partition than the one before.
const LATEST: &str = "---\nwrite: merge\nunique_key: id\npartition_by: customer\n---\nselect id, customer, session, amount, kind from {{ source('landing') }} where amount is not null\n";

/// A group column twice and another not at all: rows that look the same are of different groups.
const TWICE: &str = "---\npartition_by: day\n---\nselect day, customer, day as again, count(*) as total from {{ ref('clean') }} group by day, customer, session\n";

fn project() -> tempfile::TempDir {
    project_with("")
}

/// With more in `ouzel.yaml`.
pub fn project_with(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "ouzel.yaml", &format!("{PROJECT}{more}"));
    write(folder.path(), "jobs/clean.sql", CLEAN);
    write(folder.path(), "jobs/daily.sql", DAILY);
    write(folder.path(), "jobs/kinds.sql", KINDS);
    write(folder.path(), "jobs/twice.sql", TWICE);
    write(folder.path(), "jobs/latest.sql", LATEST);
    std::fs::create_dir_all(folder.path().join("in/a")).expect("made");
    folder
}

/// Of the project's jobs this one.
pub fn only(root: &Path, job: &str) {
    for entry in std::fs::read_dir(root.join("jobs")).expect("there").flatten() {
        if entry.file_name() != format!("{job}.sql").as_str() {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    }
}

fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Rows of some days; ids come again now and then, also of other files.
pub fn rows(seed: u64, n: usize, days: std::ops::Range<u64>) -> RecordBatch {
    let mut random = random(seed);
    let mut each = |below: u64| (0..n).map(|_| random(below)).collect::<Vec<u64>>();
    let (ids, hours, customers, sessions, amounts, kinds) = (each(4000), each(24), each(5), each(40), each(1000), each(4));
    // What an id says does not change, but for the day: it is part of the id.
    let day = |id: u64| days.start + id % (days.end - days.start).max(1);
    let t = ids.iter().zip(&hours).map(|(id, hour)| (20_400 + day(*id) as i64) * 86_400_000_000 + *hour as i64 * 3_600_000_000);
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(ids.iter().map(|id| (*id > 0).then(|| format!("{}-{id}", day(*id)))).collect::<StringArray>())),
        ("t", Arc::new(TimestampMicrosecondArray::from_iter_values(t))),
        ("customer", Arc::new(customers.iter().map(|c| (*c > 0).then(|| format!("c{c}"))).collect::<StringArray>())),
        ("session", Arc::new(sessions.iter().map(|s| (*s > 0).then(|| format!("s{s}"))).collect::<StringArray>())),
        ("amount", Arc::new(amounts.iter().map(|a| (*a > 20).then_some(*a as i64 - 100)).collect::<Int64Array>())),
        ("kind", Arc::new(kinds.iter().map(|k| Some(["a", "b", "c", ""][*k as usize])).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).expect("sound")
}

pub fn bytes_of(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("opens");
    writer.write(batch).expect("written");
    writer.into_inner().expect("closed")
}

/// As a good producer does it: the file appears whole.
pub fn land(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let (part, path) = (root.join("in/part"), root.join("in").join(name));
    std::fs::write(&part, bytes).expect("written");
    std::fs::rename(&part, &path).expect("renamed");
    path
}

pub fn run(root: &Path) -> Value {
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!(code, Some(0), "{told} {err}");
    told["jobs"].clone()
}

/// Rows of all files that lie in a table's folder, whether it names them or not.
fn on_disk(folder: &Path) -> i64 {
    let entries = std::fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path());
    let rows = |path: PathBuf| match path.is_dir() {
        true => on_disk(&path),
        false if path.extension().is_some_and(|end| end == "parquet") => {
            let file = SerializedFileReader::new(std::fs::File::open(&path).expect("opens")).expect("whole");
            file.metadata().file_metadata().num_rows()
        }
        false => 0,
    };
    entries.map(rows).sum()
}

pub fn number(root: &Path, sql: &str) -> i64 {
    let (_, out, err) = ouzel(&["query", sql, "-p", &root.display().to_string(), "--format", "json"], &[]);
    let first: Value = out.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    first.as_object().and_then(|row| row.values().next()?.as_i64()).unwrap_or_else(|| panic!("{sql}: {out} {err}"))
}

#[test]
fn each_file_is_taken_once_and_of_each_key_the_first_row_stays() {
    let folder = project();
    let root = folder.path();
    let mut ids = std::collections::BTreeSet::new();
    let mut without = 0;
    for (i, name) in ["b.parquet", "a/c.parquet", "a.parquet", "a/0.parquet"].iter().enumerate() {
        let batch = rows(i as u64 + 1, 2_000, 0..3);
        let column = batch.column(0).as_any().downcast_ref::<StringArray>().expect("text").clone();
        ids.extend(column.iter().flatten().map(String::from));
        without += column.iter().filter(Option::is_none).count();
        land(root, name, &bytes_of(&batch));
        let jobs = run(root);
        assert_eq!((&jobs["clean"]["landing"]["files"], &jobs["clean"]["version"]), (&1.into(), &(i as u64 + 1).into()));
        assert_eq!(number(root, "select count(*) from clean"), (ids.len() + without) as i64, "a null is like no other");
        let dropped = jobs["clean"]["duplicates"].as_u64().expect("told");
        assert_eq!(jobs["clean"]["rows"].as_u64().expect("told") + dropped, 2_000);
        verified(root);
    }
    assert_eq!(run(root)["clean"]["kind"], "nothing");
    // Checks are of the table, wherever its files are.
    std::fs::rename(root.join("in"), root.join("elsewhere")).expect("renamed");
    assert_eq!(call(root, &["check", "clean"], &[]).0, Some(0));
    std::fs::rename(root.join("elsewhere"), root.join("in")).expect("renamed");
    // The first that came: of two files at once, by name.
    let (_, out, _) = ouzel(&["query", "select min(t) from clean where id = '1-1'", "-p", &root.display().to_string()], &[]);
    land(root, "z.parquet", &bytes_of(&rows(1, 2_000, 0..3)));
    assert_eq!(run(root)["clean"]["duplicates"].as_u64().map(|n| n > 1_900), Some(true));
    let (_, again, _) = ouzel(&["query", "select min(t) from clean where id = '1-1'", "-p", &root.display().to_string()], &[]);
    assert_eq!(out, again);
    recomputed(root);
}

#[test]
fn what_is_new_is_added_to_what_is_there() {
    let folder = project();
    increments(folder.path(), 24, &["lake/daily/_ouzel", "lake/clean/_ouzel"]);
    recomputed(folder.path());
}

#[test]
fn of_each_key_the_last_row_stays() {
    let folder = project();
    let root = folder.path();
    let mut expected: HashMap<String, String> = HashMap::new();
    let (mut without, mut updated, mut dropped) = (Vec::new(), 0, 0);
    for (i, n) in [3_000, 200, 1, 4_000, 500].into_iter().enumerate() {
        let batch = rows(i as u64 + 40, n, 0..3);
        land(root, &format!("{}.parquet", 9 - i), &bytes_of(&batch));
        let text = |column: &str, row: usize| {
            let column = batch.column_by_name(column).expect("there").as_any().downcast_ref::<StringArray>().expect("text");
            column.is_valid(row).then(|| column.value(row).to_string())
        };
        let amounts = batch.column_by_name("amount").expect("there").as_any().downcast_ref::<Int64Array>().expect("numbers");
        let mut seen = std::collections::HashSet::new();
        for row in (0..n).filter(|row| amounts.is_valid(*row)) {
            let said = format!("{:?} {:?} {}", text("customer", row), text("session", row), amounts.value(row));
            let Some(id) = text("id", row) else {
                without.push(said);
                continue;
            };
            match (expected.insert(id.clone(), said).is_some(), seen.insert(id)) {
                (true, true) => updated += 1,
                (_, false) => dropped += 1,
                _ => {}
            }
        }
        let told = &run(root)["latest"];
        assert_eq!((&told["updated"], &told["duplicates"]), (&updated.into(), &dropped.into()), "{told}");
        (updated, dropped) = (0, 0);
        recomputed(root);
    }
    let sql = "select id, customer, session, amount from latest";
    let (_, out, _) = ouzel(&["query", sql, "-p", &root.display().to_string(), "--format", "json"], &[]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said = |row: &Value| {
        format!(
            "{:?} {:?} {}",
            row["customer"].as_str().map(String::from),
            row["session"].as_str().map(String::from),
            row["amount"]
        )
    };
    let mut nameless: Vec<String> = rows.iter().filter(|row| row["id"].is_null()).map(said).collect();
    nameless.sort();
    without.sort();
    assert_eq!(nameless, without, "a null is like no other");
    let found: HashMap<String, String> =
        rows.iter().filter_map(|row| Some((row["id"].as_str()?.to_string(), said(row)))).collect();
    assert_eq!(rows.len(), expected.len() + without.len());
    assert_eq!(found, expected);
}

/// Keys are the same where the table has them the same, whatever digits it does not keep.
#[test]
fn keys_are_those_of_the_table() {
    let folder = project();
    let root = folder.path();
    only(root, "clean");
    let merged = "---\nwrite: merge\nunique_key: t\n---\nselect cast(t as timestamp) as t, n from {{ source('landing') }}\n";
    write(root, "jobs/clean.sql", merged);
    for i in 0..3_i64 {
        let t: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values((0..10).map(|n| n * 1000 + i * 100)));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10).map(|n| n + 100 * i)));
        let batch = RecordBatch::try_from_iter_with_nullable([("t", t, true), ("n", n, true)]).expect("sound");
        land(root, &format!("{i}.parquet"), &bytes_of(&batch));
        run(root);
        verified(root);
        assert_eq!(number(root, "select count(*) from clean"), 10);
        assert_eq!(number(root, "select min(n) from clean"), 100 * i);
    }
}

/// Whatever comes, and wherever a run is killed: as made anew, and with no file twice. `remembered`: folders whose loss is made good.
pub fn increments(root: &Path, upto: u64, remembered: &[&str]) {
    let points = ["job-planned", "job-added", "job-written", "job-checked", "job-published"];
    land(root, "0.parquet", &bytes_of(&rows(1, 3_000, 0..6)));
    assert_eq!(run(root)["daily"]["kind"], "full");
    let mut random = random(5);
    let mut added = 0;
    for i in 1..upto {
        let from = random(5);
        land(
            root,
            &format!("{}.parquet", 100 - i),
            &bytes_of(&rows(i + 1, 1 + random(400) as usize, from..from + 1 + random(4))),
        );
        if i % 2 == 0 {
            let point = format!("kill:{}:{}", points[(i / 2) as usize % points.len()], 1 + random(2));
            call(root, &["run"], &[("OUZEL_FAULT", &point)]);
        }
        let jobs = run(root);
        // Nothing to do where it was killed behind its commit, and anew where its definition says something else.
        added += u64::from(jobs["daily"]["added"] == true);
        assert!(jobs["daily"]["added"] == true || jobs["daily"]["kind"] != "incremental", "{}", jobs["daily"]);
        verified(root);
        // Each change of the definition, and each loss of what is remembered, is made good.
        if i == upto / 2 {
            remembered.iter().for_each(|folder| std::fs::remove_dir_all(root.join(folder)).expect("removed"));
        }
        if i == 9 {
            // The same rows: what is remembered of them stays.
            let range = ["backfill", "daily", "--from", "2025-01-01", "--to", "2027-01-01"];
            assert_eq!(call(root, &range, &[]).0, Some(0));
            verified(root);
        }
        if i == 15 {
            assert_eq!(call(root, &["run", "daily", "--full-refresh"], &[]).0, Some(0));
        }
    }
    assert!(added > upto / 2, "{added}");
}

/// Pages of what is remembered that do not hold what was written are of no use, and do no harm.
#[test]
fn damage_of_what_is_remembered_changes_no_number() {
    let folder = project();
    let root = folder.path();
    land(root, "0.parquet", &bytes_of(&rows(1, 3_000, 0..2)));
    run(root);
    for (i, table) in ["daily", "clean"].iter().enumerate() {
        for entry in std::fs::read_dir(root.join(format!("lake/{table}/_ouzel"))).expect("there").flatten() {
            let Ok(files) = std::fs::read_dir(entry.path()) else { continue };
            for file in files.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "run")) {
                let mut bytes = std::fs::read(file.path()).expect("read");
                let middle = bytes.len() / 3;
                bytes[middle] ^= 16;
                bytes[1] ^= 16;
                std::fs::write(file.path(), bytes).expect("written");
            }
        }
        land(root, &format!("{}.parquet", i + 1), &bytes_of(&rows(1, 3_000, 0..2)));
        run(root);
        recomputed(root);
    }
}

#[test]
fn what_cannot_be_taken_is_set_aside_and_the_others_go_on() {
    let folder = project();
    let root = folder.path();
    let good = bytes_of(&rows(1, 500, 0..2));
    land(root, "1.parquet", &good);
    land(root, "2.parquet", &good[..good.len() / 2]);
    land(root, "3.parquet", b"id,t\n1,2\n");
    land(root, "4.parquet", &bytes_of(&rows(2, 500, 0..2).project(&[0, 1, 2, 3, 4]).expect("fewer")));
    // It ends well, and cannot be read in its middle.
    let mut broken = bytes_of(&rows(3, 500, 0..2));
    broken[60..400].fill(0xa5);
    land(root, "5.parquet", &broken);
    land(root, "6.parquet", &bytes_of(&rows(4, 500, 0..2)));
    let amount = rows(5, 10, 0..2);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"; 10]));
    let named = |batch: &RecordBatch| -> Vec<(String, ArrayRef)> {
        let schema = batch.schema();
        schema.fields().iter().map(|field| field.name().clone()).zip(batch.columns().to_vec()).collect()
    };
    let others = named(&amount).into_iter().map(|(name, column)| {
        let other = name == "amount";
        (name, if other { text.clone() } else { column })
    });
    land(root, "7.parquet", &bytes_of(&RecordBatch::try_from_iter(others).expect("sound")));
    let more =
        RecordBatch::try_from_iter(named(&amount).into_iter().chain([("extra".to_string(), text.clone())])).expect("sound");
    land(root, "8.parquet", &bytes_of(&more));
    let planned = call(root, &["plan", "clean"], &[]).1["jobs"]["clean"]["landing"].clone();
    assert_eq!(planned["files"], 4, "a footer tells nothing of what is before it: {planned}");
    let landing = run(root)["clean"]["landing"].clone();
    assert_eq!((&landing["files"], &landing["new_columns"][0]), (&3.into(), &"extra".into()), "{landing}");
    let why = |name: &str| landing["aside"][name]["why"].as_str().unwrap_or_default().to_string();
    assert!(
        why("2.parquet").contains("no whole Parquet file") && why("3.parquet").contains("no whole Parquet file"),
        "{landing}"
    );
    assert!(
        why("4.parquet").contains("no column `kind`") && why("7.parquet").contains("column `amount` is of type Utf8"),
        "{landing}"
    );
    assert!(why("5.parquet").contains("cannot be read"), "{landing}");
    let named = number(root, "select count(*) from clean");
    assert_eq!(on_disk(&root.join("lake/clean")), named, "nothing is left of the run that came upon it");
    verified(root);
    // Not looked at again before it has changed; then it is taken.
    assert_eq!(run(root)["clean"]["kind"], "nothing");
    std::fs::remove_file(root.join("in/2.parquet")).expect("removed");
    land(root, "2.parquet", &bytes_of(&rows(6, 300, 0..2)));
    let landing = run(root)["clean"]["landing"].clone();
    assert_eq!((&landing["files"], landing["aside"].as_object().map(serde_json::Map::len)), (&1.into(), Some(4)), "{landing}");
    verified(root);
    // One that was taken and has changed is told; its rows are as they were, until everything is taken anew.
    land(root, "6.parquet", &bytes_of(&rows(7, 200, 0..2)));
    let jobs = run(root);
    assert_eq!((&jobs["clean"]["kind"], &jobs["clean"]["landing"]["changed"][0]), (&"nothing".into(), &"6.parquet".into()));
    let (code, _, err) = call(root, &["verify", "clean"], &[]);
    assert!(code == Some(6) && err.contains("1 of the 4 files that it has taken are gone or have changed"), "{code:?} {err}");
    assert_eq!(call(root, &["run", "--full-refresh"], &[]).0, Some(0));
    verified(root);
    // Where files are gone, another definition is not made of the others alone.
    std::fs::remove_file(root.join("in/1.parquet")).expect("removed");
    write(root, "jobs/clean.sql", &CLEAN.replace("select *", "select id as other, *"));
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(
        code == Some(6)
            && err.contains("1 of the files that it took are gone: made anew, the table would lose their rows. Set it back"),
        "{code:?} {err}"
    );
}

/// Two runs of one table at once: one of them has it, the other is told.
#[test]
fn of_two_runs_at_once_one_is_told() {
    let folder = project();
    two_at_once(folder.path());
    recomputed(folder.path());
}

pub fn two_at_once(root: &Path) {
    land(root, "0.parquet", &bytes_of(&rows(1, 500, 0..2)));
    run(root);
    for point in ["job-planned", "job-written", "job-checked"] {
        land(root, &format!("{point}.parquet"), &bytes_of(&rows(2, 500, 0..2)));
        let slow = Asleep::at(root, &[], point);
        let before = number(root, "select count(*) from clean");
        run(root);
        let (code, err) = slow.wake();
        assert!(code == Some(7) && err.contains("somebody else has written"), "{point}: {code:?} {err}");
        assert!(number(root, "select count(*) from clean") >= before);
        assert_eq!(run(root)["clean"]["kind"], "nothing");
        verified(root);
    }
}

/// Duplicates among the rows that a pipeline, or another job, has written.
#[test]
fn the_first_row_of_each_key_of_a_table() {
    let folder = project();
    let root = folder.path();
    write(root, "jobs/clean.sql", &CLEAN.replace("unique_key: id\n", ""));
    write(
        root,
        "jobs/once.sql",
        "---\nwrite: append\nunique_key: [customer, session]\n---\nselect customer, session, t from {{ ref('clean') }}\n",
    );
    for i in 0..4_u64 {
        land(root, &format!("{}.parquet", 9 - i), &bytes_of(&rows(i + 1, 20, 0..3)));
        run(root);
        verified(root);
        let named = "from once where customer is not null and session is not null";
        let pairs = number(root, &format!("select count(*) {named}"));
        assert_eq!(pairs, number(root, &format!("select count(*) from (select distinct customer, session {named}) as pairs")));
    }
}

/// As somebody runs it who has gone into the project's folder.
#[test]
fn from_within_the_project() {
    let folder = project();
    land(folder.path(), "a/0.parquet", &bytes_of(&rows(1, 100, 0..2)));
    let ouzel = |args: &[&str]| -> Value {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ouzel"));
        let ended = command.args(args).args(["--format", "json"]).current_dir(folder.path()).output().expect("starts");
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_slice(&ended.stdout).expect("JSON")
    };
    for pattern in ["in/**/*.parquet", "./in/a/*.parquet", "in/../in/a/0.parquet"] {
        write(folder.path(), "ouzel.yaml", &PROJECT.replace("in/**/*.parquet", pattern));
        let told = ouzel(&["run", "--full-refresh"]);
        let landing = &told["jobs"]["clean"]["landing"];
        assert!(landing["files"] == 1 && landing["aside"].is_null(), "{pattern}: {told}");
    }
    write(
        folder.path(),
        "ouzel.yaml",
        &format!(
            "{PROJECT}stores: {{ lake: {{ local: {{ path: ../{}/lake }} }} }}\n",
            folder.path().file_name().expect("named").display()
        ),
    );
    ouzel(&["run", "--full-refresh"]);
    land(folder.path(), "a/1.parquet", &bytes_of(&rows(2, 100, 0..2)));
    assert_eq!(ouzel(&["run"])["jobs"]["latest"]["kind"], "incremental");
    ouzel(&["verify"]);
}

/// SQL that looks at several rows is never run over some of the files alone.
#[test]
fn what_looks_at_several_rows_sees_all_files() {
    let folder = project();
    let root = folder.path();
    only(root, "clean");
    // Too large to be read together, when they are read in their order.
    let mut random = random(3);
    for i in 0..3 {
        let noise = (0..40_000).map(|_| format!("{:016x}", random(u64::MAX)).repeat(1 + random(20) as usize));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values((0..40_000).map(|n| n % 7)));
        let batch = RecordBatch::try_from_iter([("n", n), ("noise", Arc::new(StringArray::from_iter_values(noise)) as ArrayRef)]);
        land(root, &format!("{i}.parquet"), &bytes_of(&batch.expect("sound")));
    }
    let whole = "---\nload: full\n---\nselect n, count(*) as rows, count(distinct noise) as noises from {{ source('landing') }} group by 1\n";
    write(root, "jobs/clean.sql", whole);
    assert_eq!(run(root)["clean"]["rows"], 7, "of each group one row");
    assert_eq!(number(root, "select sum(rows) from clean"), 120_000);
    verified(root);
    std::fs::remove_dir_all(root.join("lake")).expect("removed");
    for (front, sql, says) in [
        ("write: append", "select n, count(*) as rows from X group by 1", "cannot follow new files here"),
        ("write: append", "select distinct n from X", "cannot follow new files here"),
        ("write: append\nunique_key: n", "select n, noise from X order by noise", "it has an `order by`"),
        ("write: append\nunique_key: n", "select x.n from X as x join X as y on x.n = y.n", "it joins tables"),
        ("write: merge\nunique_key: n", "select n from X union all select -n from X", "it has a `union`"),
        ("write: merge\nunique_key: n", "select n, max(noise) as m from X group by 1", "it does more than select and filter"),
    ] {
        let sql = sql.replace('X', "{{ source('landing') }}");
        write(root, "jobs/clean.sql", &format!("---\n{front}\n---\n{sql}\n"));
        let (code, _, err) = call(root, &["run"], &[]);
        assert!(code == Some(3) && err.contains(says) && err.contains("in another"), "{sql}: {code:?} {err}");
        assert!(!root.join("lake/clean").exists(), "nothing is made");
    }
}

#[test]
fn what_is_wrong_with_a_job_of_files_is_told() {
    for (job, says) in [
        ("---\nwrite: append\n---\nselect * from {{ source('landed') }}", "there is no source `landed` in `ouzel.yaml`"),
        ("---\npartition_by: day\n---\nselect * from {{ source('landing') }}", "let a job with `write: append` take the files"),
        ("---\nunique_key: id\n---\nselect * from {{ source('landing') }}", "say `write: append`"),
    ] {
        let folder = project();
        write(folder.path(), "jobs/clean.sql", job);
        let (output, out, err) = ouzel(&["validate", "-p", &folder.path().display().to_string()], &[]);
        let told = out + &err;
        assert!(output.status.code() == Some(3) && told.contains(says), "{job}: {told}");
    }
    let folder = project();
    let root = folder.path();
    assert_eq!(run(root)["clean"]["why"], "there is no file that it can take");
    land(root, "0.parquet", &bytes_of(&rows(1, 50, 0..2)));
    write(root, "jobs/clean.sql", &CLEAN.replace("unique_key: id", "unique_key: ident"));
    let (code, _, err) = call(root, &["run", "clean"], &[]);
    assert!(code == Some(3) && err.contains("`unique_key` names `ident`, which the SQL does not give"), "{code:?} {err}");
    write(root, "ouzel.yaml", &PROJECT.replace("in/**", "on/**"));
    let (code, _, err) = call(root, &["run", "clean"], &[]);
    assert!(code == Some(3) && err.contains("there is no folder") && err.contains("source `landing`"), "{code:?} {err}");
}
