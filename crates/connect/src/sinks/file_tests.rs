use super::*;
use arrow_array::{Int64Array, RecordBatch, StringViewArray};
use ouzel_core::{Encoded, Kind, yaml};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;

fn config(text: &str) -> (FileSink, String) {
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let node = yaml::parse(&mut report, file, text, &|_| None).expect("yaml");
    let sink: FileSink = yaml::decode(&mut report, &node).expect("decodes");
    sink.validate(&mut report);
    (sink, report.render(|_, word| word.to_string()))
}

fn rows(from: i64) -> RecordBatch {
    let n = Int64Array::from_iter_values(from..from + 2);
    let t = StringViewArray::from_iter_values((from..from + 2).map(|i| format!("row {i}")));
    RecordBatch::try_from_iter([("n", Arc::new(n) as _), ("t", Arc::new(t) as _)]).unwrap()
}

/// Gives the position behind what was written.
fn write(root: &Path, path: &str, position: Option<&str>, batches: &[RecordBatch]) -> String {
    let (config, problems) = config(&format!("path: {path}"));
    assert_eq!(problems, "");
    let mut sink = config.open(root, rows(0).schema(), position, false).unwrap();
    sink.begin().unwrap();
    let mut encoder = sink.encoder().unwrap();
    for batch in batches {
        sink.write(encoder.encode(batch).unwrap(), 0).unwrap();
    }
    let position = sink.prepare(0).unwrap().position;
    sink.close().unwrap();
    position
}

#[test]
fn formats_follow_the_ending() {
    let check = |text: &str, format, compression| {
        let (sink, problems) = config(text);
        assert_eq!((sink.resolved_format(), sink.resolved_compression(), problems.as_str()), (format, compression, ""), "{text}");
    };
    check("path: a.ndjson", Some(FileFormat::Ndjson), Compression::None);
    check("path: d.csv/a.JSONL.gz", Some(FileFormat::Ndjson), Compression::Gzip);
    check("path: a.csv.zst", Some(FileFormat::Csv), Compression::Zstd);
    check("path: a.parquet", Some(FileFormat::Parquet), Compression::None);
    check("{ path: a.out, format: csv, compression: gzip }", Some(FileFormat::Csv), Compression::Gzip);
    assert!(config("path: d.csv/out").1.contains("hint: add `format: ndjson`"));
    assert!(config("path: a.parquet.gz").1.contains("compressed inside"));
    assert!(config("path: ''").1.contains("the path is empty"));
}

#[test]
fn replaces_then_appends() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    write(folder.path(), "new/a.csv", None, &[rows(0)]);
    let position = write(folder.path(), "new/a.csv", None, &[rows(2)]);
    write(folder.path(), "new/a.csv", Some(&position), &[rows(4)]);
    assert_eq!(read("new/a.csv"), "n,t\n2,row 2\n3,row 3\n4,row 4\n5,row 5\n");
    write(folder.path(), "a.ndjson", None, &[]);
    assert_eq!(read("a.ndjson"), "");
    write(folder.path(), "a.csv", None, &[]);
    assert_eq!(read("a.csv"), "n,t\n");
}

#[test]
fn compressed_files_can_be_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let expected = "n,t\n0,row 0\n1,row 1\n2,row 2\n3,row 3\n";
    for name in ["a.csv.gz", "a.csv.zst"] {
        let position = write(folder.path(), name, None, &[rows(0)]);
        write(folder.path(), name, Some(&position), &[rows(2)]);
        let file = File::open(folder.path().join(name)).unwrap();
        let mut text = String::new();
        match name {
            "a.csv.gz" => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
            _ => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
        };
        assert_eq!(text, expected, "{name}");
    }
}

#[test]
fn parquet_appears_when_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let mut sink = config("path: a.parquet").0.open(folder.path(), rows(0).schema(), None, false).unwrap();
    sink.begin().unwrap();
    sink.write(Encoded::Rows(rows(0)), 0).unwrap();
    assert!(!path.exists());
    sink.write(Encoded::Rows(rows(2)), 0).unwrap();
    sink.close().unwrap();
    let read: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap())
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let read: Vec<i64> =
        read.iter().flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()).collect();
    assert_eq!(read, [0, 1, 2, 3]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_full_disk_is_told_with_the_path() {
    for format in ["ndjson", "csv"] {
        if !Path::new("/dev/full").exists() {
            eprintln!("SKIPPED: no /dev/full");
            return;
        }
        let (config, _) = config(&format!("{{ path: /dev/full, format: {format} }}"));
        let error = config.open(Path::new("/"), rows(0).schema(), None, false).and_then(|mut sink| {
            let block = sink.encoder()?.encode(&rows(0))?;
            sink.write(block, 0)
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.to_string().contains("writing `/dev/full` after 0 bytes: No space left on device"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let (config, _) = config("path: /dev/null/x/a.csv");
    let error = config.open(Path::new("/"), rows(0).schema(), None, false).err().expect("fails");
    assert!(error.to_string().starts_with("making the folder `/dev/null/x`: "), "{error}");
}

/// One is put to sleep when it has opened its file, another takes over and ends, the first wakes up: the engine sees in between
/// that it was taken over, unless it was looking when that happened.
#[test]
fn who_was_taken_over_writes_into_nothing() {
    for name in ["a.ndjson", "a.csv.gz", "a.parquet"] {
        let folder = tempfile::tempdir().unwrap();
        let open = |position: Option<&str>, take_over| {
            config(&format!("path: {name}")).0.open(folder.path(), rows(0).schema(), position, take_over).unwrap()
        };
        let put = |sink: &mut Box<dyn Sink>, from| {
            let block = sink.encoder().unwrap().encode(&rows(from)).unwrap();
            sink.write(block, 0).unwrap();
            sink.prepare(0).unwrap().position
        };
        let mut first = open(None, false);
        first.begin().unwrap();
        let position = put(&mut first, 0);
        drop(first);

        let mut sleeper = open(Some(&position), false);
        let mut successor = open(Some(&position), true);
        successor.begin().unwrap();
        put(&mut successor, 2);
        sleeper.begin().unwrap();
        put(&mut sleeper, 7);
        put(&mut successor, 4);
        successor.close().unwrap();
        let whole = fs::read(folder.path().join(name)).unwrap();
        let _ = sleeper.close();
        assert!(fs::read(folder.path().join(name)).unwrap() == whole, "{name}");
        if name == "a.ndjson" {
            assert_eq!(String::from_utf8(whole).unwrap().lines().count(), 6);
        }
    }
}

/// One that takes over is itself put to sleep and taken over, when it is about to put its copy in place.
#[test]
fn who_is_taken_over_while_it_takes_over_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let position = write(folder.path(), "a.csv", None, &[rows(0)]);
    let open = || config("path: a.csv").0.open(folder.path(), rows(0).schema(), Some(&position), true).unwrap();
    let mut sleeper = open();
    let mut successor = open();
    successor.begin().unwrap();
    let block = successor.encoder().unwrap().encode(&rows(2)).unwrap();
    successor.write(block, 0).unwrap();
    let theirs = fs::read(folder.path().join("a.csv")).unwrap();
    assert_eq!(sleeper.begin().err().map(|e| e.kind), Some(Kind::Conflict));
    assert_eq!(fs::read(folder.path().join("a.csv")).unwrap(), theirs);
}
