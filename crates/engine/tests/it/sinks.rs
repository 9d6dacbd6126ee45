//! What every sink has to keep (design: commit): killed at any moment and gone on with from the last commit, it holds what an
//! uninterrupted run would have written. A new kind of sink adds a line to `KINDS`.

use super::postgres::table_of;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringViewArray};
use ouzel_connect::log::Reader;
use ouzel_connect::streams::{StreamSettings, Streams};
use ouzel_core::{Kind, Prepared, Sink, yaml};
use ouzel_engine::registry::{SinkConfig, SinkContext, Start};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// A sink's settings, and what it holds: the numbers of its rows, in order where it has one.
pub struct Subject {
    pub config: &'static str,
    pub read: fn(&Path) -> Vec<i64>,
}

const KINDS: [Subject; 7] = [
    Subject { config: "file: { path: out.ndjson }", read: |root| ndjson(&text(&root.join("out.ndjson"))) },
    Subject { config: "file: { path: out.csv }", read: |root| csv(&text(&root.join("out.csv"))) },
    Subject { config: "file: { path: out.ndjson.gz }", read: |root| ndjson(&gunzip(&root.join("out.ndjson.gz"))) },
    Subject { config: "file: { path: out.csv.zst }", read: |root| csv(&unzstd(&root.join("out.csv.zst"))) },
    Subject { config: "file: { path: out.parquet }", read: |root| parquet(&root.join("out.parquet")) },
    Subject { config: "lake: { table: t }", read: |root| table(&root.join("lake/t")) },
    Subject { config: "stream: t", read: |root| ndjson(&stream(&root.join("streams/t"))) },
];

/// What happens to a sink.
#[derive(Debug, Clone)]
enum Step {
    /// So many rows are written.
    Write(i64),
    /// A commit, and how far it comes before the process is killed: 0 nothing is done, 1 synced, 2 committed, 3 published.
    Commit(u8),
    /// The process is killed.
    Kill,
    /// Half of what was not committed is done again, and committed.
    Partly,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1i64..50).prop_map(Step::Write),
        2 => Just(Step::Commit(3)),
        1 => (0u8..4).prop_map(Step::Commit),
        1 => Just(Step::Kill),
        1 => Just(Step::Partly),
    ];
    prop::collection::vec(step, 1..12)
}

/// `root`: part of their ids.
fn rows(root: &Path, from: i64, n: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(from..from + n);
    let texts = StringViewArray::from_iter_values((from..from + n).map(|i| format!("row {i}")));
    let ids = StringViewArray::from_iter_values((from..from + n).map(|i| format!("{}.{i}", table_of(root))));
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("text", Arc::new(texts) as _), ("_id", Arc::new(ids) as _)])
        .expect("a batch")
}

fn streams(root: &Path) -> Arc<Streams> {
    let settings = BTreeMap::from([("t".to_string(), StreamSettings::default())]);
    Arc::new(Streams { folder: root.join("streams"), settings })
}

/// Each process that opens a sink has an epoch of its own.
static EPOCH: AtomicU64 = AtomicU64::new(1);

fn open(config: &str, root: &Path, position: Option<String>) -> ouzel_core::Result<Box<dyn Sink>> {
    let config = &config.replace("TABLE", &table_of(root));
    let mut report = ouzel_core::Report::new();
    let file = report.file("p.yaml", config.as_str());
    let node = yaml::parse(&mut report, file, config, &|_| None).expect("yaml");
    let epoch = EPOCH.fetch_add(1, Ordering::Relaxed);
    let sink: SinkConfig = yaml::decode(&mut report, &node).expect("decodes");
    let context = SinkContext {
        root: root.into(),
        lake: ouzel_lake::Location::Folder(root.join("lake")),
        streams: streams(root),
        state: root.join("state"),
        pipeline: "p".into(),
        ordinal: 0,
        start: Start::Lasting { writer: "0-1".into(), epoch, position },
        take_over: false,
        colour: false,
    };
    let mut sink = sink.open(&context, rows(root, 0, 0).schema())?;
    sink.begin()?;
    Ok(sink)
}

/// A run as the engine drives it: what is not committed is written again by the next process.
struct Run<'a> {
    config: &'a str,
    root: &'a Path,
    sink: Box<dyn Sink>,
    /// Rows written, and those committed with the sink's position.
    next: i64,
    committed: (i64, Option<String>),
}

impl Run<'_> {
    fn write(&mut self, to: i64) {
        let from = self.next.max(self.sink.holds() as i64);
        if to > from {
            let block = self.sink.encoder().and_then(|mut e| e.encode(&rows(self.root, from, to - from))).expect("encodes");
            self.sink.write(block, to as u64).expect("is written");
        }
        self.next = to;
    }

    fn commit(&mut self, comes_to: u8) {
        let Prepared { position, sync, publish } = self.sink.prepare(self.next as u64).expect("prepares");
        if comes_to >= 1 {
            sync.map_or(Ok(()), |sync| sync()).expect("syncs");
        }
        if comes_to >= 2 {
            self.committed = (self.next, Some(position));
        }
        if comes_to >= 3 {
            publish.map_or(Ok(()), |publish| publish()).expect("is published");
        } else {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.next = self.committed.0;
        self.sink = open(self.config, self.root, self.committed.1.clone()).expect("goes on");
    }
}

fn hold(subject: &Subject, steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    let sink = open(subject.config, root, None).expect("opens");
    let mut run = Run { config: subject.config, root, sink, next: 0, committed: (0, None) };
    let mut all = 0;
    for step in steps {
        match step {
            Step::Write(n) => {
                all += n;
                run.write(all);
            }
            Step::Commit(comes_to) => run.commit(*comes_to),
            Step::Kill => run.kill(),
            Step::Partly => {
                run.write(run.next + (all - run.next) / 2);
                run.commit(3);
            }
        }
    }
    run.write(all);
    run.commit(3);
    run.sink.finish().expect("comes to its end");
    // Killed between the last commit and the end, it is closed by the next process.
    run.kill();
    run.write(all);
    run.sink.finish().expect("comes to its end");
    run.sink.close().expect("closes");
    prop_assert_eq!((subject.read)(root), (0..all).collect::<Vec<_>>(), "{}", subject.config);
    // Closed and gone on with, it goes on.
    run.kill();
    run.write(all + 3);
    run.sink.finish().expect("comes to its end");
    run.commit(3);
    run.sink.close().expect("closes");
    prop_assert_eq!((subject.read)(root), (0..all + 3).collect::<Vec<_>>(), "{}, gone on with", subject.config);
    let left = std::fs::read_dir(root).expect("a folder").count();
    prop_assert!(left <= 1, "{}: something is left behind", subject.config);
    Ok(())
}

#[test]
fn every_sink_holds_each_row_once_however_often_it_is_killed() {
    KINDS.iter().for_each(|subject| hold_often(subject, 40));
}

pub fn hold_often(subject: &Subject, cases: u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&steps(), |steps| hold(subject, &steps)).unwrap_or_else(|e| panic!("{}: {e}", subject.config));
}

/// A run may have to go back to a commit before its last, when it is damaged: also after it has ended.
#[test]
fn every_sink_goes_back_to_an_earlier_commit() {
    for subject in &KINDS {
        let folder = TempDir::new().expect("a folder");
        let sink = open(subject.config, folder.path(), None).expect("opens");
        let mut run = Run { config: subject.config, root: folder.path(), sink, next: 0, committed: (0, None) };
        let mut commits = Vec::new();
        for to in [10, 25, 40] {
            run.write(to);
            run.commit(3);
            commits.push(run.committed.clone());
        }
        run.sink.close().expect("closes");
        for earlier in commits.iter().rev() {
            run.committed = earlier.clone();
            run.kill();
            run.write(40);
            run.commit(3);
            run.sink.close().expect("closes");
            assert_eq!((subject.read)(folder.path()), (0..40).collect::<Vec<_>>(), "{} from {}", subject.config, earlier.0);
        }
    }
}

#[test]
fn what_was_committed_and_is_gone_is_told() {
    for config in ["file: { path: out.ndjson }", "file: { path: out.parquet }", "stream: t"] {
        let folder = TempDir::new().expect("a folder");
        let mut run = Run {
            config,
            root: folder.path(),
            sink: open(config, folder.path(), None).expect("opens"),
            next: 0,
            committed: (0, None),
        };
        run.write(5);
        run.commit(3);
        for file in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let removed =
                if file.path().is_dir() { std::fs::remove_dir_all(file.path()) } else { std::fs::remove_file(file.path()) };
            removed.expect("was there");
        }
        let error = open(config, folder.path(), run.committed.1).err().expect("is refused");
        assert_eq!(error.kind, Kind::Changed);
        assert!(error.to_string().contains("committed to it"), "{error}");
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).expect("there")).read_to_string(&mut text).expect("gzip");
    text
}

fn unzstd(path: &Path) -> String {
    let mut text = String::new();
    zstd::Decoder::new(std::fs::File::open(path).expect("there")).expect("zstd").read_to_string(&mut text).expect("zstd");
    text
}

fn ndjson(text: &str) -> Vec<i64> {
    text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row")["n"].as_i64().expect("a number")).collect()
}

fn stream(folder: &Path) -> String {
    let mut reader = Reader::new(folder, None);
    let mut text = String::new();
    while let Some(piece) = reader.next(1000).expect("readable") {
        assert_eq!(piece.damage, None);
        text += std::str::from_utf8(&piece.data).expect("text");
    }
    text
}

fn csv(text: &str) -> Vec<i64> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("n,text,_id"));
    lines.map(|line| line.split(',').next().and_then(|n| n.parse().ok()).expect("a row")).collect()
}

fn parquet(path: &Path) -> Vec<i64> {
    let file = std::fs::File::open(path).expect("there");
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|b| b.build()).expect("Parquet");
    batches.flat_map(|batch| batch.expect("a batch").column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// The rows of the files that the table's log names.
fn table(path: &Path) -> Vec<i64> {
    let mut log: Vec<_> = std::fs::read_dir(path.join("_delta_log")).expect("a table").flatten().map(|e| e.path()).collect();
    log.retain(|path| path.extension().is_some_and(|e| e == "json"));
    log.sort();
    let mut numbers = Vec::new();
    for line in log.iter().flat_map(|path| text(path).lines().map(String::from).collect::<Vec<_>>()) {
        let action: Value = serde_json::from_str(&line).expect("an action");
        if let Some(file) = action["add"]["path"].as_str() {
            numbers.extend(parquet(&path.join(file)));
        }
    }
    numbers.sort();
    numbers
}
