use super::*;
use crate::tables::table::Table;
use arrow_array::builder::{ListBuilder, StringViewBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::*;
use ouzel_core::{Kind, yaml};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn config(text: &str) -> (LakeSink, String) {
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let node = yaml::parse(&mut report, file, text, &|_| None).expect("yaml");
    let sink: LakeSink = yaml::decode(&mut report, &node).expect("decodes");
    sink.validate(&mut report);
    (sink, report.render(|_, word| word.to_string()))
}

fn writer(app_id: &str) -> Writer {
    Writer { app_id: app_id.into(), pipeline: "web".into() }
}

/// Columns of every kind a pipeline has. Two days and a null day; odd countries.
fn rows(from: i64, n: i64) -> RecordBatch {
    let ids = from..from + n;
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for i in ids.clone() {
        lists.values().append_value(format!("field {i}"));
        lists.append(i % 3 != 0);
    }
    let country = ["DE", "a/b c=%&?#é", "", "x\"'\\:*"];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("text", Arc::new(ids.clone().map(|i| (i % 5 != 0).then(|| format!("text é {i}"))).collect::<StringViewArray>())),
        ("bot", Arc::new(ids.clone().map(|i| (i % 7 != 0).then_some(i as f64 / 4.0)).collect::<Float64Array>())),
        (
            "event_time",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(ids.clone().map(|i| 1_795_564_800_000_000 + i)).with_timezone("UTC"),
            ),
        ),
        ("late", Arc::new(ids.clone().map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        ("_implausible", Arc::new(lists.finish())),
        ("nothing", Arc::new(NullArray::new(n as usize))),
        ("day", Arc::new(ids.clone().map(|i| (i % 10 != 9).then_some(20_782 + (i / 50 % 2) as i32)).collect::<Date32Array>())),
        ("country", Arc::new(ids.map(|i| Some(country[(i / 100 % 4) as usize])).collect::<StringViewArray>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write(lake: &Path, text: &str, app_id: &str, batches: &[RecordBatch]) -> Result<()> {
    let mut sink = config(text).0.open(&lake.into(), batches[0].schema(), writer(app_id), Commits::Own)?;
    let mut encoder = sink.encoder()?;
    for batch in batches {
        sink.write(encoder.encode(batch)?, 0)?;
    }
    sink.close()
}

/// The log's actions of one kind, by version.
fn actions(table: &Path, kind: &str) -> Vec<Vec<Value>> {
    let mut names: Vec<_> = std::fs::read_dir(table.join("_delta_log"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    names.sort();
    let of = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter_map(|v| v.get(kind).cloned()).collect()
    };
    names.iter().map(of).collect()
}

/// Column `n` of all files in the log, as the files have it.
fn numbers(table: &Path) -> Vec<i64> {
    let mut all = Vec::new();
    for add in actions(table, "add").into_iter().flatten() {
        let path = add["path"].as_str().unwrap().replace("%25", "%");
        let file = std::fs::File::open(table.join(path)).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        for batch in reader {
            all.extend_from_slice(batch.unwrap().column_by_name("n").unwrap().as_primitive::<Int64Type>().values());
        }
    }
    all.sort_unstable();
    all
}

#[test]
fn problems_of_a_configuration() {
    assert_eq!(config("table: requests").1, "");
    assert!(config("table: ../etc").1.contains("`../etc` is no name for a table"));
    assert!(config("{ table: t, partition_by: [a, a], commit_every: 0s, commit_rows: 0 }").1.matches("error").count() == 3);
}

#[test]
fn rows_come_back() {
    let lake = tempfile::tempdir().unwrap();
    let text = "{ table: requests, partition_by: [day, country], commit_rows: 150 }";
    write(lake.path(), text, "web/lake", &[rows(0, 100), rows(100, 100), rows(200, 250)]).unwrap();
    write(lake.path(), text, "web/lake", &[rows(450, 50)]).unwrap();
    let table = lake.path().join("requests");
    assert_eq!(numbers(&table), (0..500).collect::<Vec<_>>());

    let transactions: Vec<i64> = actions(&table, "txn").into_iter().flatten().map(|t| t["version"].as_i64().unwrap()).collect();
    assert_eq!(transactions, [1, 2, 3]);
    let info = actions(&table, "commitInfo").pop().unwrap().pop().unwrap();
    assert_eq!(
        (&info["ouzel"]["pipeline"], &info["ouzel"]["rows"], &info["isBlindAppend"]),
        (&"web".into(), &50.into(), &true.into())
    );
    let adds: Vec<Value> = actions(&table, "add").into_iter().flatten().collect();
    assert!(adds.iter().any(|add| add["partitionValues"]["country"] == "a/b c=%&?#é"));
    let add = adds.last().unwrap();
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    assert!(stats["minValues"]["n"].is_i64() && stats["nullCount"]["nothing"] == stats["numRecords"], "{stats}");
    assert!(stats["maxValues"]["event_time"].as_str().unwrap().starts_with("2026-11-25T00:00:00.000"), "{stats}");
    let leftovers = std::fs::read_dir(table.join("_delta_log"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn new_columns_are_added_and_changed_ones_refused() {
    let lake = tempfile::tempdir().unwrap();
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let batch = |columns: &[(&str, &ArrayRef)]| {
        [RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, (*array).clone()))).unwrap()]
    };
    write(lake.path(), "table: t", "a", &batch(&[("n", &n)])).unwrap();
    write(lake.path(), "table: t", "b", &batch(&[("n", &n), ("more", &text)])).unwrap();
    write(lake.path(), "table: t", "a", &batch(&[("n", &n)])).unwrap();
    assert_eq!(numbers(&lake.path().join("t")), [1, 1, 1]);

    let refused = |columns: &[(&str, &ArrayRef)], options: &str| {
        let error = write(lake.path(), &format!("{{ table: t{options} }}"), "a", &batch(columns)).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        error.to_string()
    };
    assert_eq!(
        refused(&[("n", &text)], ""),
        "opening the table `t`: column `n` is `long` in the table and `string` now: give it another name, or write to another table"
    );
    assert!(refused(&[("N", &n)], "").contains("column `N` is called `n` in the table"));
    assert!(refused(&[("n", &n), ("more", &text)], ", partition_by: [more]").contains("partitioned by [], the sink by [more]"));
    assert!(refused(&[("a b", &n)], "").contains("has ' ' in its name"));
    assert!(refused(&[("n", &n)], ", partition_by: [x]").contains("column `x`, which is not among"));
}

#[test]
fn writers_at_once() {
    let lake = tempfile::tempdir().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|t| {
            let lake = lake.path().to_path_buf();
            std::thread::spawn(move || {
                let batches: Vec<RecordBatch> = (0..5).map(|i| rows(t * 100 + i * 10, 10)).collect();
                write(&lake, "{ table: t, commit_rows: 10 }", &format!("writer {t}"), &batches).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let expected: Vec<i64> = (0..4).flat_map(|t| t * 100..t * 100 + 50).collect();
    assert_eq!(numbers(&lake.path().join("t")), expected);
}

#[test]
fn the_older_of_two_runs_is_fenced_off() {
    let lake = tempfile::tempdir().unwrap();
    let mut old = config("{ table: t, commit_rows: 1 }")
        .0
        .open(&lake.path().into(), rows(0, 1).schema(), writer("a"), Commits::Own)
        .unwrap();
    write(lake.path(), "table: t", "a", &[rows(0, 1)]).unwrap();
    let block = old.encoder().unwrap().encode(&rows(1, 1)).unwrap();
    assert_eq!(old.write(block, 0).unwrap_err().kind, Kind::Conflict);
    assert_eq!(numbers(&lake.path().join("t")), [0]);
}

#[test]
fn many_commits_make_checkpoints() {
    let lake = tempfile::tempdir().unwrap();
    let batches: Vec<RecordBatch> = (0..205).map(|i| rows(i, 1)).collect();
    write(lake.path(), "{ table: t, commit_rows: 1 }", "a", &batches).unwrap();
    let table = lake.path().join("t");
    let last = std::fs::read_to_string(table.join("_delta_log/_last_checkpoint")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["version"], 200);
    let columns = Arc::new(Columns::new(&rows(0, 1).schema(), &[]).unwrap());
    assert_eq!(Table::open_or_create(&table.as_path().into(), &columns, "a").unwrap().version(), 205);
}

/// pyarrow, pandas and DuckDB read the table as any user would.
#[test]
fn other_engines_read_it() {
    let python = std::env::var("OUZEL_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let ready =
        Command::new(&python).args(["-c", "import deltalake, duckdb, pyarrow"]).output().is_ok_and(|out| out.status.success());
    if !ready {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "`{python}` has no deltalake, duckdb and pyarrow");
        eprintln!("!!! SKIPPED: `{python}` has no deltalake, duckdb and pyarrow; set OUZEL_TEST_PYTHON");
        return;
    }
    let lake = tempfile::tempdir().unwrap();
    let text = "{ table: requests, partition_by: [day, country], commit_rows: 150 }";
    write(lake.path(), text, "web/lake", &[rows(0, 200), rows(200, 300)]).unwrap();
    let out =
        Command::new(&python).arg("-c").arg(include_str!("read_test.py")).arg(lake.path().join("requests")).output().unwrap();
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    eprintln!("{}", String::from_utf8_lossy(&out.stdout));
}

/// Not a check: `cargo test --release -p ouzel-lake -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed_into_the_lake() {
    let lake = tempfile::tempdir().unwrap();
    let batches: Vec<RecordBatch> = (0..20).map(|i| rows(i * 8192, 8192)).collect();
    let schema = batches[0].schema();
    let watch = Stopwatch::start();
    let mut sink =
        config("{ table: t, partition_by: [late] }").0.open(&lake.path().into(), schema, writer("a"), Commits::Own).unwrap();
    let mut encoder = sink.encoder().unwrap();
    let mut count = 0;
    for _ in 0..12 {
        for batch in &batches {
            sink.write(encoder.encode(batch).unwrap(), 0).unwrap();
            count += batch.num_rows();
        }
    }
    sink.close().unwrap();
    eprintln!("lake, 9 columns: {:.0} rows/s on one thread, {count} rows", count as f64 / watch.seconds());
}
