//! Jobs that take files of records: whatever the format, as a pipeline reads them, each file whole or not at all. As a user runs them.

use super::commands::write;
use super::jobs::{call, verified};
use super::landing::{bytes_of, number};
use super::ouzel;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_avro::writer::{WriterBuilder, format::AvroOcfFormat};
use ouzel_core::clock::{Clock, WallClock};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

/// What a source and a pipeline have in common.
const READING: &str = "select: { kind: \"coalesce(nullif(kind, ''), 'none')\", size: \"cast(n as int) * 2\" }
where: \"n is null or n <> 13\"
event:
  time: t
  fields:
    id: text
    t: timestamp
    kind: text
    n: { type: int, range: [0, 100] }
    strict: { type: int, on_malformed: quarantine }
    hard: { type: int, on_malformed: reject }
lookups: [{ table: { of: kind, file: kinds.csv, key: kind, take: { title: text } } }]
";

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

pub fn project(codec: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let source = format!("sources:\n  landing:\n    files: \"in/**/*\"\n    codec: {codec}\n{}", indented(READING));
    write(root, "ouzel.yaml", &format!("name: test\n{source}"));
    write(root, "jobs/events.sql", "---\nwrite: append\n---\nselect * from {{ source('landing') }}\n");
    write(root, "kinds.csv", "kind,title\na,The a\nb,The b\nnone,Nothing\n");
    std::fs::create_dir_all(root.join("in/a")).expect("made");
    folder
}

/// As a good producer does it.
pub fn land(root: &Path, name: &str, bytes: &[u8]) {
    let (part, path) = (root.join("part"), root.join("in").join(name));
    std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
    std::fs::write(&part, bytes).expect("written");
    std::fs::rename(&part, &path).expect("renamed");
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("ended")
}

fn run(root: &Path) -> Value {
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!(code, Some(0), "{told} {err}");
    told["jobs"]["events"].clone()
}

/// Rows of a query, as JSON.
pub fn query(root: &Path, sql: &str) -> Vec<String> {
    let (output, out, err) = ouzel(&["query", sql, "-p", &root.display().to_string(), "--format", "json"], &[]);
    assert!(output.status.success(), "{err}");
    out.lines().map(String::from).collect()
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

/// Lines of JSON: sound ones, and every kind of bad one.
pub fn lines(seed: u64, n: u64) -> String {
    let mut random = random(seed);
    let mut text = String::new();
    for i in 0..n {
        let kind = ["a", "b", "", "c/d"][random(4) as usize];
        let number = ["1", "2", "13", "\"x\"", "1000", "null"][random(6) as usize];
        let time = if random(40) == 0 { "\"never\"".to_string() } else { format!("{}", 1_760_000_000 + random(1_000_000)) };
        let strict = if random(30) == 0 { "\"no\"" } else { "1" };
        let hard = if random(30) == 0 { "\"no\"" } else { "1" };
        match random(50) {
            0 => text += "this is no record\n",
            1 => text += "\n",
            _ => {
                text += &format!(
                    "{{\"id\":\"{seed}-{i}\",\"t\":{time},\"kind\":\"{kind}\",\"n\":{number},\"strict\":{strict},\"hard\":{hard}}}\n"
                );
            }
        }
    }
    text
}

/// A job takes the rows that a pipeline with the same words takes of the same files, and sets the same records aside; killed and gone on with, in pieces.
#[test]
fn a_job_reads_records_as_a_pipeline_does() {
    let (job, pipeline) = (project("json"), project("json"));
    write(pipeline.path(), "ouzel.yaml", "name: test\n");
    std::fs::remove_dir_all(pipeline.path().join("jobs")).expect("removed");
    let source = "source: { file: { path: \"in/**/*\" } }\ncodec: json\nsinks: [{ lake: { table: events } }]\n";
    write(pipeline.path(), "pipelines/events.yaml", &format!("{source}{READING}"));
    let points = ["job-planned", "job-written", "job-checked", "job-published"];
    for i in 0..10_u64 {
        for part in 0..3 {
            let text = lines(10 * i + part + 1, 300 * (part + 1));
            let (name, bytes) = match part {
                0 => (format!("{i}.json"), text.into_bytes()),
                1 => (format!("a/{i}.json.gz"), gzip(text.as_bytes())),
                _ => (format!("{i}-2.json.zst"), zstd::encode_all(text.as_bytes(), 3).expect("packed")),
            };
            land(job.path(), &name, &bytes);
            land(pipeline.path(), &name, &bytes);
        }
        if i % 2 == 1 {
            let point = format!("kill:{}:1", points[(i / 2) as usize % points.len()]);
            assert_eq!(call(job.path(), &["run"], &[("OUZEL_FAULT", &point)]).0, None, "{point} is passed");
        }
        let told = run(job.path());
        let records = &told["landing"]["records"];
        if told["kind"] != "nothing" {
            let sum = ["filtered", "quarantined", "dead_lettered"]
                .iter()
                .map(|fate| records[fate].as_u64().expect("told"))
                .sum::<u64>();
            assert_eq!(records["received"].as_u64().expect("told"), told["rows"].as_u64().expect("told") + sum);
        }
        verified(job.path());
    }
    let (code, told, err) = super::run(pipeline.path(), &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    let columns = "id, t, kind, n, strict, hard, size, kind_title, _malformed, _implausible, _reasons, _raw";
    let sql = format!("select {columns} from events order by id");
    let (of_job, of_pipeline) = (query(job.path(), &sql), query(pipeline.path(), &sql));
    assert!(of_job.len() > 4_000, "{}", of_job.len());
    assert_eq!(of_job, of_pipeline);
    for (table, count) in [("dead_letters", "dead_lettered"), ("quarantine", "quarantined")] {
        let sql = format!("select reason, replace(file, 'in/', '') as file, byte, raw from {table} order by file, byte");
        let (of_job, of_pipeline) = (query(job.path(), &sql), query(pipeline.path(), &sql));
        assert_eq!(of_job, of_pipeline, "{table}");
        assert_eq!(of_job.len() as u64, told["events"][count].as_u64().expect("told"), "{table}");
    }
    // A record is found by its file and its place there.
    let first =
        query(job.path(), "select _file, _row from events where id = '1-0' or id = '1-1' or id = '1-2' order by _row limit 1");
    assert!(first[0].starts_with("{\"_file\":\"in/0.json\",\"_row\":"), "{first:?}");
    // Made anew, nothing is set aside twice.
    let before = number(job.path(), "select count(*) from dead_letters");
    assert_eq!(call(job.path(), &["run", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(number(job.path(), "select count(*) from dead_letters"), before);
    verified(job.path());
    let (_, told, _) = call(job.path(), &["audit"], &[]);
    assert_eq!(told["jobs"]["events"][0]["job"]["records"]["dead_lettered"].as_i64(), Some(before));
    // And they are looked at, and dropped, as those of a pipeline.
    let root = job.path().display().to_string();
    let (_, out, _) = ouzel(&["deadletters", "-p", &root], &[]);
    assert!(out.contains(&format!("events: {before} events")) && out.contains("expected an object"), "{out}");
    let (output, out, err) = ouzel(&["deadletters", "drop", "--all", "-p", &root], &[]);
    assert!(output.status.success() && out.contains("dropped"), "{out} {err}");
    assert_eq!(number(job.path(), "select count(*) from dead_letters"), 0);
}

/// The same rows in every format.
#[test]
fn every_format_gives_the_same_rows() {
    let ids: Vec<String> = (0..500).map(|n| format!("i{n}")).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(StringArray::from_iter_values(&ids))),
        ("t", Arc::new(Int64Array::from_iter_values((0..500).map(|n| 1_760_000_000 + n)))),
        ("kind", Arc::new(StringArray::from_iter_values((0..500).map(|n| ["a", "b", "none"][n % 3])))),
        ("n", Arc::new(Int64Array::from_iter_values((0..500).map(|n| n % 90)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("sound");
    let mut avro = WriterBuilder::new(batch.schema().as_ref().clone()).build::<_, AvroOcfFormat>(Vec::new()).expect("opens");
    avro.write(&batch).expect("written");
    avro.finish().expect("ended");
    let kind = |n: usize| ["a", "b", "none"][n % 3];
    let each = |line: &dyn Fn(usize, &str, &str, usize) -> String| -> Vec<u8> {
        (0..500).map(|n| line(1_760_000_000 + n, &ids[n], kind(n), n % 90)).collect::<String>().into_bytes()
    };
    let json = |t, id: &str, kind: &str, n| format!("{{\"id\":\"{id}\",\"t\":{t},\"kind\":\"{kind}\",\"n\":{n}}}\n");
    let csv = each(&|t, id, kind, n| format!("{id};{t};\"{kind}\";{n}\n"));
    let array = format!("[{}]", String::from_utf8(each(&json)).expect("text").trim_end().replace('\n', ","));
    let log = each(&|t, id, kind, n| format!("<{t}> {id} did {kind} ({n})\n"));
    let formats: [(&str, Vec<u8>); 7] = [
        ("json", each(&json)),
        ("{ json: { records: array } }", array.into_bytes()),
        ("{ csv: { delimiter: ';' } }", [b"id;t;kind;n\n".to_vec(), csv.clone()].concat()),
        ("{ csv: { delimiter: ';', header: false, columns: [id, t, kind, n] } }", csv),
        ("{ pattern: { pattern: '^<(?<t>[0-9]+)> (?<id>[^ ]+) did (?<kind>[^ ]+) .(?<n>[0-9]+).$' } }", log),
        ("avro", avro.into_inner()),
        ("parquet", bytes_of(&batch)),
    ];
    let mut expected: Option<Vec<String>> = None;
    for (codec, bytes) in formats {
        let folder = project(codec);
        let root = folder.path();
        let packed = codec == "avro" || codec == "parquet";
        land(root, "day=2026-11-01/site=a%2Fb/1", &if packed { bytes.clone() } else { gzip(&bytes) });
        land(root, "day=2026-11-02/site=c/1", &bytes);
        assert_eq!(run(root)["rows"], 988, "{codec}: 12 are filtered");
        verified(root);
        let rows = query(
            root,
            "select id, t, kind, n, size, kind_title, day, site, _malformed, _file, _row from events order by _file, _row",
        );
        assert!(rows[0].contains("\"day\":\"2026-11-01\",\"site\":\"a/b\""), "{}", rows[0]);
        match &expected {
            None => expected = Some(rows),
            Some(expected) => assert_eq!(&rows, expected, "{codec}"),
        }
    }
}

/// What an access log has by itself needs no words; and folders say columns of Parquet files as well.
#[test]
fn access_logs_and_parquet_in_folders_that_say_something() {
    let folder = project("json");
    let root = folder.path();
    write(
        root,
        "ouzel.yaml",
        "name: test\nsources:\n  landing: { files: \"in/**/*.log\", codec: { access_log: { format: combined } } }\n  days: { files: \"in/**/*.parquet\" }\n",
    );
    write(
        root,
        "jobs/days.sql",
        "---\nwrite: append\npartition_by: day\n---\nselect * from {{ source('days') }} where day is null or day <> 'x'\n",
    );
    let line = "66.249.66.1 - - [17/May/2015:10:05:03 +0000] \"GET /robots.txt HTTP/1.1\" 200 120 \"-\" \"Googlebot/2.1\"\n";
    land(root, "1.log", line.repeat(100).as_bytes());
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
    let bytes = bytes_of(&RecordBatch::try_from_iter([("n", n)]).expect("sound"));
    for day in ["2026-11-01", "x", "__HIVE_DEFAULT_PARTITION__"] {
        land(root, &format!("day={day}/1.parquet"), &bytes);
    }
    assert_eq!(run(root)["rows"], 100);
    verified(root);
    assert_eq!(query(root, "select distinct status, path from events"), ["{\"status\":200,\"path\":\"/robots.txt\"}"]);
    assert_eq!(
        query(root, "select day, sum(n) as n from days group by 1 order by 1"),
        ["{\"day\":\"2026-11-01\",\"n\":45}", "{\"day\":null,\"n\":45}"]
    );
    // A file in a folder that says nothing lacks the column; one in a folder that says more is taken without it.
    land(root, "2.parquet", &bytes);
    land(root, "day=2026-11-02/hour=3/1.parquet", &bytes);
    let (_, told, _) = call(root, &["run"], &[]);
    let landing = &told["jobs"]["days"]["landing"];
    assert!(landing["aside"]["2.parquet"]["why"].as_str().is_some_and(|why| why.contains("no column `day`")), "{landing}");
    assert_eq!((&landing["files"], &landing["new_columns"]), (&1.into(), &vec!["hour"].into()));
    verified(root);
}

/// Files that are not whole, or are something else, are set aside with the reason, and looked at again when they have changed.
#[test]
fn a_file_that_is_not_whole_is_set_aside() {
    let line = |n: usize| format!("{{\"id\":\"{n}\",\"t\":1760000000,\"kind\":\"a\",\"n\":1}}\n");
    let good: String = (0..2_000).map(line).collect();
    let folder = project("json");
    let root = folder.path();
    let packed = gzip(good.as_bytes());
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("opens");
    encoder.include_checksum(true).and_then(|()| encoder.write_all(good.as_bytes())).expect("written");
    let mut broken = encoder.finish().expect("ended");
    let middle = broken.len() / 2;
    broken[middle] ^= 0x10;
    let bad: [(&str, Vec<u8>, &str); 5] = [
        ("1.gz", packed[..packed.len() / 2].to_vec(), "not whole: corrupt gzip"),
        ("2.json", good.as_bytes()[..good.len() - 7].to_vec(), "ends in the middle of a record"),
        ("3.json", b"\x7fELF\x02\x01\x01 this\nis a program\n".to_vec(), "none of its 2 records can be read"),
        ("4.zst", broken, "not whole: corrupt zstd"),
        ("5.json", vec![b'x'; 17 << 20], "none of its 1 records can be read"),
    ];
    for (name, bytes, _) in &bad {
        land(root, name, bytes);
    }
    let told = run(root);
    assert_eq!((&told["kind"], &told["landing"]["files"]), (&"nothing".into(), &0.into()), "{told}");
    land(root, "6.json", good.as_bytes());
    land(root, "7.json", b"");
    let told = run(root);
    assert_eq!((&told["rows"], &told["landing"]["files"]), (&2_000.into(), &2.into()), "{told}");
    for (name, _, why) in &bad {
        let found = told["landing"]["aside"][name]["why"].as_str().unwrap_or_default();
        assert!(found.contains(why), "{name}: {found}");
    }
    assert_eq!(run(root)["kind"], "nothing");
    assert_eq!(number(root, "select count(*) from dead_letters"), 0, "they are told as files");
    land(root, "1.gz", &packed);
    land(root, "2.json", &good.as_bytes()[..good.len() - 1]);
    let told = run(root);
    assert_eq!((&told["rows"], &told["landing"]["files"]), (&4_000.into(), &2.into()), "a line feed may be missing: {told}");
    verified(root);

    let folder = project("csv");
    let root = folder.path();
    land(root, "1.csv", b"id,t,kind,n\n1,1760000000,a,1\n2,1760000000,a,1\n");
    land(root, "2.csv", b"id,t,kind\n3,1760000000,a\n");
    land(root, "3.csv", b"n,kind,t,id,more\n1,a,1760000000,4,x\n");
    land(root, "4.csv", b"some,thing,else\n1,2,3\n");
    land(root, "5.csv", b"id,t,kind,n\n5,1760000000,a,1\n6,17600");
    let told = run(root);
    let why = |name: &str| told["landing"]["aside"][name]["why"].as_str().unwrap_or_default();
    assert!(
        why("2.csv").contains("no column `n`") && why("4.csv").contains("no column") && why("5.csv").contains("in the middle"),
        "{told}"
    );
    assert_eq!(query(root, "select id from events order by id"), ["{\"id\":\"1\"}", "{\"id\":\"2\"}", "{\"id\":\"4\"}"]);
    verified(root);
}

/// What is new in records, and what is gone from them, is told.
#[test]
fn drift_is_told_both_ways() {
    let folder = project("json");
    let root = folder.path();
    let record = |more: &str| format!("{{\"id\":\"1\",\"t\":1760000000,\"strict\":1{more}}}\n").into_bytes();
    land(root, "1", &record(",\"kind\":\"a\",\"n\":3,\"unread\":1"));
    let told = run(root);
    assert_eq!((&told["landing"]["new_columns"], &told["landing"]["vanished"]), (&Value::Null, &Value::Null), "{told}");
    land(root, "2", &record(",\"kind\":\"a\",\"unread\":1,\"fresh\":2,\"hard\":3"));
    let told = run(root);
    assert_eq!(
        (&told["landing"]["new_columns"], &told["landing"]["vanished"]),
        (&vec!["fresh"].into(), &vec!["n", "size"].into()),
        "{told}"
    );
    land(root, "3", &record(",\"kind\":\"a\",\"n\":3,\"fresh\":2,\"hard\":3"));
    let told = run(root);
    assert_eq!(
        (&told["landing"]["new_columns"], &told["landing"]["vanished"]),
        (&Value::Null, &Value::Null),
        "told once: {told}"
    );
    // Other words make other rows of the same files; what could not be read is tried again.
    land(root, "4", b"id,t,kind,n,strict,hard\n9,1760000000,a,1,1,1\n");
    assert!(run(root)["landing"]["aside"]["4"]["why"].is_string());
    let yaml = std::fs::read_to_string(root.join("ouzel.yaml")).expect("there");
    write(
        root,
        "ouzel.yaml",
        &yaml.replace("size: \"cast(n as int) * 2\"", "size: \"cast(n as int) * 3\", fresh: \"cast(fresh as int)\""),
    );
    let (_, out, _) = ouzel(&["plan", "-p", &root.display().to_string()], &[]);
    assert!(out.contains("says something else"), "{out}");
    let folder_gone = root.join("in/4");
    std::fs::remove_file(&folder_gone).expect("removed");
    let told = run(root);
    assert_eq!((&told["kind"], &told["rows"]), (&"full".into(), &3.into()), "{told}");
    assert_eq!(
        query(root, "select size, fresh from events order by _file"),
        ["{\"size\":9,\"fresh\":null}", "{\"size\":null,\"fresh\":2}", "{\"size\":9,\"fresh\":2}"]
    );
    verified(root);
}

/// Malformed rows are a fault of ours and stop a run; implausible ones are a signal.
#[test]
fn malformed_and_implausible_rows_have_checks_of_their_own() {
    let folder = project("json");
    let root = folder.path();
    let job = |checks: &str, columns: &str| {
        let sql = format!("---\nwrite: append\nchecks: {checks}\n---\nselect {columns} from {{{{ source('landing') }}}}\n");
        write(root, "jobs/events.sql", &sql);
    };
    job("[malformed, implausible]", "*");
    let record = |n: &str| format!("{{\"id\":\"1\",\"t\":1760000000,\"kind\":\"a\",\"n\":{n},\"hard\":1}}\n");
    land(root, "1", (record("1") + &record("2000")).as_bytes());
    let told = run(root);
    let check = |told: &Value, i: usize| told["checks"][i].clone();
    assert_eq!(
        (&check(&told, 0)["ok"], &check(&told, 1)["ok"], &check(&told, 1)["failing"]),
        (&true.into(), &false.into(), &1.into()),
        "{told}"
    );
    let worse = record("1").repeat(6) + &record("\"x\"") + "no record\n" + &record("1").replace("\"hard\":1", "\"hard\":\"z\"");
    land(root, "2", worse.as_bytes());
    let (code, told, err) = call(root, &["run"], &[]);
    let malformed = &told["jobs"]["events"]["checks"][0];
    assert_eq!((code, &malformed["name"], &malformed["failing"]), (Some(8), &"malformed".into(), &3.into()), "{told} {err}");
    assert!(malformed["rows"].to_string().contains("record at byte"), "why is told: {malformed}");
    // A third of the nine may fail, whether the table has the column or not.
    assert_eq!(call(root, &["resume", "events", "--reason", "known"], &[]).0, Some(0));
    job("[{ malformed: { at_most: \"34%\" } }, { implausible: { severity: block } }]", "id, kind, n");
    let (code, told, err) = call(root, &["run"], &[]);
    let checks = &told["jobs"]["events"]["checks"];
    assert_eq!(
        (code, &checks[0]["failing"], &checks[0]["ok"], &checks[1]["failing"]),
        (Some(8), &3.into(), &true.into(), &1.into()),
        "{told} {err}"
    );
    assert_eq!(call(root, &["resume", "events", "--reason", "known"], &[]).0, Some(0));
    job("[{ malformed: { severity: warn } }, implausible]", "id, kind, n");
    assert_eq!(run(root)["rows"], 9);
    let (code, told, err) = call(root, &["check"], &[]);
    assert_eq!((code, &told["jobs"]["events"]["checks"][0]["failing"]), (Some(0), &3.into()), "{told} {err}");
    // A table of tables has them by their columns.
    write(root, "jobs/more.sql", "---\nchecks: [malformed]\n---\nselect id from {{ ref('events') }}\n");
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(3) && err.contains("select it"), "{code:?} {err}");
}

/// What is wrong with a source is told before anything runs.
#[test]
fn a_source_of_records_is_checked() {
    let folder = project("json");
    let root = folder.path();
    let told = |yaml: &str| {
        write(root, "ouzel.yaml", &format!("name: test\nsources:\n  landing: {yaml}\n"));
        let (output, _, err) = ouzel(&["validate", "-p", &root.display().to_string()], &[]);
        assert_eq!(output.status.code(), Some(3), "{err}");
        err
    };
    let (output, _, err) = ouzel(&["validate", "--connect", "-p", &root.display().to_string()], &[]);
    assert_eq!(output.status.code(), Some(0), "{err}");
    std::fs::rename(root.join("kinds.csv"), root.join("other.csv")).expect("renamed");
    let (output, _, err) = ouzel(&["validate", "--connect", "-p", &root.display().to_string()], &[]);
    assert!(output.status.code() == Some(4) && err.contains("kinds.csv"), "{err}");
    assert!(told("{ files: \"in/*\", where: \"true\" }").contains("need a `codec`"));
    assert!(told("{ files: \"in/*\", codec: json }").contains("fields are not known"));
    assert!(told("{ files: \"in/*\", codec: jsn }").contains("json"));
    assert!(told("{ files: \"in/*\", codec: json, event: { fields: { a: text }, time: a } }").contains("time is a timestamp"));
    assert!(told("{ files: \"in/*\", codec: json, event: { fields: { a: text } }, where: \"b = 1\" }").contains("ouzel.yaml:3"));
    let err = told("{ files: \"in/*\", codec: json, event: { fields: { a: text }, lateness: 1m } }");
    assert!(err.contains("lateness"), "{err}");
    assert!(!err.contains("there is no source"), "told once: {err}");
}

/// A job that takes all that there is of a source, with these words.
fn small(source: &str, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "ouzel.yaml", &format!("name: test\nsources:\n  landing: {source}\n"));
    write(
        folder.path(),
        "jobs/events.sql",
        &format!("---\nwrite: append\n{settings}\n---\nselect * from {{{{ source('landing') }}}}\n"),
    );
    std::fs::create_dir_all(folder.path().join("in")).expect("made");
    folder
}

const IDS: &str = "{ files: \"in/**/*\", codec: json, event: { fields: { id: text } } }";

fn ids(root: &Path) -> Vec<String> {
    let rows = query(root, "select id from events order by id");
    rows.iter().map(|row| row.replace("{\"id\":", "").replace(['}', '"'], "")).collect()
}

/// Files are known by where they lie, also where the source's pattern begins further down or further up.
#[test]
fn a_pattern_that_begins_elsewhere_takes_no_file_twice() {
    let folder = small(IDS, "");
    let root = folder.path();
    let begin_with =
        |files: &str| write(root, "ouzel.yaml", &format!("name: test\nsources:\n  landing: {}\n", IDS.replace("in/**/*", files)));
    land(root, "a/1", b"{\"id\":\"1\"}\n");
    run(root);
    begin_with("in/a/*");
    land(root, "a/2", b"{\"id\":\"2\"}\n");
    let told = run(root);
    assert_eq!((&told["landing"]["files"], ids(root)), (&1.into(), vec!["1".to_string(), "2".into()]), "{told}");
    begin_with("in/*/*");
    land(root, "b/1", b"{\"id\":\"3\"}\n");
    assert_eq!((run(root)["landing"]["files"].clone(), ids(root).len()), (1.into(), 3));
    verified(root);
    // Another folder whose files have the same names is another.
    std::fs::create_dir_all(root.join("other/a")).expect("made");
    std::fs::write(root.join("other/a/1"), "{\"id\":\"4\"}\n\n").expect("written");
    begin_with("other/*/*");
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(6) && err.contains("lies in `other` now"), "{code:?} {err}");
    assert_eq!(call(root, &["run", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(ids(root), ["4"]);
}

/// What is opened and not closed is not whole, wherever it was cut; what is only wrong is.
#[test]
fn a_file_is_whole_if_all_that_it_opens_is_closed() {
    let id = |codec: &str| IDS.replace("codec: json", &format!("codec: {codec}"));
    let all: [(&str, &[&str], &[&str]); 5] = [
        (
            "{ json: { records: array } }",
            &["[{\"id\":\"1\"},{\"id\":\"2\"}", "[\n{\"id\":\"1\"},\n", "[{\"id\":\"1\"},{\n\"id\":\n"],
            &["[{\"id\":\"1\"},3]", "[]", "[{\"id\":\"1\"}]\n"],
        ),
        (
            "{ json: { path: a.b } }",
            &["{\"a\":{\"b\":[{\"id\":\"1\"}]", "{\"a\":{\"b\":[{\"id\":\"1\"}"],
            &["{\"a\":{\"b\":[{\"id\":\"1\"}],\"c\":[1]},\"d\":{}}"],
        ),
        (
            "{ json: { records: concatenated } }",
            &["{\n\"id\":\"1\"\n}\n{\n\"id\":\n"],
            &["{\n\"id\":\"1\"\n}{\n\"id\":\"2\"}", "{\"id\":\"1\"}\nwhat\n"],
        ),
        ("csv", &["id\n1\n\"line one\n", "id,n\n1,2\n3"], &["id\n1\n\"line one\nline two\"\n", "id\n1", "id,n\n1,2\n1,2,3\n"]),
        (
            "json",
            &["{\"id\":\"1\"}\n{\"id\":"],
            &["{\"id\":\"1\"}", "{\"id\":\"1\"}\n\u{1}nonsense\n{\"id\":\n", "{\"id\":\"1\"}\n{\"id\":\"2\",\"n\":\"no\"}"],
        ),
    ];
    for (codec, torn, whole) in all {
        let source = id(codec).replace("{ id: text }", "{ id: text, n: { type: int, on_malformed: reject } }");
        for (text, is_whole) in torn.iter().map(|text| (text, false)).chain(whole.iter().map(|text| (text, true))) {
            let folder = small(&source, "");
            land(folder.path(), "1", text.as_bytes());
            let told = run(folder.path());
            assert_eq!(told["landing"]["files"], u64::from(is_whole), "{codec}: {text}: {told}");
        }
    }
}

/// A definition that has changed loses no rows, and has verdicts of its own.
#[test]
fn other_words_lose_no_rows() {
    let folder = small(IDS, "");
    let root = folder.path();
    land(root, "1", b"{\"id\":\"1\"}\n");
    land(root, "2", b"{\"id\":\"2\"}\n");
    run(root);
    land(root, "1", b"{\"id\":\"1\"}\n{\"id\":");
    write(root, "ouzel.yaml", &format!("name: test\nsources:\n  landing: {}\n", IDS.replace("id: text", "id: text, n: int")));
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(6) && err.contains("`1`") && err.contains("--full-refresh"), "{code:?} {err}");
    assert_eq!(ids(root), ["1", "2"]);
    assert_eq!(call(root, &["run", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(ids(root), ["2"]);

    let folder = small(IDS, "");
    let root = folder.path();
    land(root, "1", b"{\"id\":\"1\"}\n");
    run(root);
    let yaml = std::fs::read_to_string(root.join("ouzel.yaml")).expect("there");
    write(root, "ouzel.yaml", &yaml.replace("codec: json", "codec: csv"));
    land(root, "2", b"{\"id\":\"2\"}\n");
    assert_eq!(call(root, &["run"], &[]).0, Some(6), "nothing of it is CSV");
    write(root, "ouzel.yaml", &yaml);
    assert_eq!((run(root)["landing"]["files"].clone(), ids(root).len()), (1.into(), 2));
    verified(root);
}

/// The first file says what a header must have, however the files come together.
#[test]
fn headers_are_judged_the_same_in_every_order() {
    let folder = small(&IDS.replace("codec: json", "codec: csv").replace("{ id: text }", "{ id: text, n: int }"), "");
    let root = folder.path();
    land(root, "a", b"id\n1\n");
    run(root);
    land(root, "b", b"id,n\n2,2\n");
    land(root, "c", b"id\n3\n");
    assert_eq!(run(root)["landing"]["files"], 2);
    verified(root);
    land(root, "d", b"id\n4\n");
    assert_eq!(run(root)["landing"]["files"], 1);
    assert_eq!(call(root, &["run", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(ids(root), ["1", "2", "3", "4"]);
    verified(root);
}

/// Folders say columns by the first file that is taken: no marker, no text beside the data.
#[test]
fn what_is_not_taken_says_no_column() {
    let folder = small(IDS, "");
    let root = folder.path();
    land(root, "README", b"These are the events.\n");
    land(root, "_SUCCESS", b"");
    land(root, "a=1/torn", b"{\"id\":");
    land(root, "day=2026-11-01/1", b"{\"id\":\"1\"}\n");
    let told = run(root);
    assert_eq!(
        (&told["landing"]["files"], told["landing"]["aside"].as_object().map(|aside| aside.len())),
        (&2.into(), Some(2)),
        "{told}"
    );
    assert_eq!(query(root, "select day, id from events"), ["{\"day\":\"2026-11-01\",\"id\":\"1\"}"]);
    verified(root);
    // A column is within files, or said by their folders.
    let folder = small("{ files: \"in/**/*\" }", "");
    let root = folder.path();
    let day: ArrayRef = Arc::new(StringArray::from(vec!["2026-11-01"]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    land(root, "1", &bytes_of(&RecordBatch::try_from_iter([("day", day), ("n", n.clone())]).expect("sound")));
    land(root, "day=2026-11-02/2", &bytes_of(&RecordBatch::try_from_iter([("n", n)]).expect("sound")));
    let told = run(root);
    let why = told["landing"]["aside"]["day=2026-11-02/2"]["why"].as_str().unwrap_or_default();
    assert!(why.contains("in the name of its folder"), "{told}");
}

/// What was dropped stays dropped, and what comes in its place is shown; records that make no file of their own are not written to one.
#[test]
fn records_that_were_set_aside_are_known_by_their_file() {
    let folder = small(IDS, "");
    let root = folder.path();
    write(root, "jobs/events.sql", "---\nload: full\n---\nselect * from {{ source('landing') }}\n");
    let bad = |root: &Path| number(root, "select count(*) from dead_letters");
    land(root, "export", b"{\"id\":\"1\"}\nbad\n");
    run(root);
    assert_eq!(bad(root), 1);
    let at = root.display().to_string();
    assert!(ouzel(&["deadletters", "drop", "--all", "-p", &at], &[]).0.status.success());
    // Left by a run that was killed two days ago.
    let begun = WallClock.now_us() - 172_800_000_000;
    let left = root.join(format!("lake/events/_ouzel/aside-{begun:x}-1-1-dead_letters.ndjson"));
    std::fs::write(&left, "{}\n").expect("written");
    land(root, "export", b"{\"id\":\"2\"}\nworse\n");
    run(root);
    assert_eq!(bad(root), 1, "another file");
    assert!(!left.exists());
    let to = root.join("again").display().to_string();
    assert!(ouzel(&["deadletters", "retry", "--to", &to, "-p", &at], &[]).0.status.success());

    let folder = small(&IDS.replace("codec: json", "codec: csv"), "");
    let root = folder.path();
    land(root, "1", b"id,n\n1,2\n1\n");
    run(root);
    let (output, _, err) = ouzel(&["deadletters", "retry", "--to", &to, "-p", &root.display().to_string()], &[]);
    assert!(output.status.code() == Some(3) && err.contains("header") && bad(root) == 1, "{err}");
}

/// A part is one of the records, where the table does not tell them.
#[test]
fn parts_of_records_are_of_records() {
    let folder = small(&IDS.replace("{ id: text }", "{ id: text, n: int }"), "checks: [{ malformed: { at_most: \"1%\" } }]");
    let root = folder.path();
    let job = std::fs::read_to_string(root.join("jobs/events.sql")).expect("there");
    write(root, "jobs/events.sql", &job.replace("select *", "select id").replace("}}\n", "}} where id = '1'\n"));
    let record = |n: usize| format!("{{\"id\":\"{n}\",\"n\":{}}}\n", if n.is_multiple_of(200) { "\"x\"" } else { "1" });
    land(root, "1", (0..1000).map(record).collect::<String>().as_bytes());
    let told = run(root);
    assert_eq!((&told["rows"], &told["checks"][0]["failing"]), (&1.into(), &5.into()), "{told}");
    assert_eq!(call(root, &["check"], &[]).0, Some(0));
}
