use super::*;
use crate::{Commits, LakeSink, Writer};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Date32Array, Int64Array, StringViewArray};
use ouzel_core::Kind;
use ouzel_core::{Report, yaml};
use std::fs;
use std::path::{Path, PathBuf};

/// A table of so many commits, three rows each, one a partition.
fn table(lake: &Path, commits: i64) {
    let text = "table: t\npartition_by: [day]\n";
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let node = yaml::parse(&mut report, file, text, &|_| None).expect("yaml");
    let sink: LakeSink = yaml::decode(&mut report, &node).expect("decodes");
    let rows = |from: i64| {
        let n = Int64Array::from_iter_values(from..from + 3);
        let text = StringViewArray::from_iter_values((from..from + 3).map(|i| format!("row {i}")));
        let day = Date32Array::from(vec![Some(20_000), Some(20_001), None]);
        RecordBatch::try_from_iter([("n", Arc::new(n) as _), ("text", Arc::new(text) as _), ("day", Arc::new(day) as _)])
            .expect("rows")
    };
    for commit in 0..commits {
        let writer = Writer { app_id: format!("test.{commit}"), pipeline: "p".into() };
        let mut sink = sink.clone().open(&lake.into(), rows(0).schema(), writer, Commits::Own).expect("opens");
        let block = sink.encoder().and_then(|mut e| e.encode(&rows(3 * commit))).expect("encodes");
        sink.write(block, 0).expect("writes");
        sink.close().expect("closes");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("lists").flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path if path.to_string_lossy().ends_with(".parquet") && !path.to_string_lossy().contains("_delta_log") => {
                found.push(path)
            }
            _ => {}
        }
    }
    found.sort();
    found
}

fn sum(queries: &Queries, sql: &str) -> i64 {
    let batches = queries.all(sql).expect("answers");
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[test]
fn rows_come_back_with_the_values_of_their_partitions() {
    let lake = tempfile::tempdir().expect("a folder");
    table(lake.path(), 3);
    let queries = Queries::open(&lake.path().into(), 2, true).expect("opens");
    assert_eq!(queries.tables(), ["t"]);
    assert_eq!(queries.columns("t"), ["n", "text", "day"]);
    assert_eq!(sum(&queries, "select sum(n) from t"), 36);
    assert_eq!(sum(&queries, "select sum(n) from t where day = date '2024-10-04'"), 3 * 3);
    assert_eq!(sum(&queries, "select sum(n) from t where day is null and n > 2"), 5 + 8);
    assert_eq!(sum(&queries, "select count(*) from t where text = 'row 4' and day > date '2024-01-01'"), 1);
    assert!(queries.damaged().is_empty());
    let wrong = queries.run("select nothing from t").err().expect("no such column");
    assert_eq!(
        (wrong.kind, wrong.to_string().as_str()),
        (Kind::Config, "there is no column `nothing`: known are `n`, `text`, `day`")
    );
    let told = |sql: &str| queries.run(sql).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(told("select TEXT from t"), "there is no column `TEXT`: did you mean `text`?");
    assert_eq!(told("select 1 from tt"), "there is no table `tt`: did you mean `t`?");
    assert!(told("selekt 1").starts_with("this is no SQL: Expected"), "{}", told("selekt 1"));
}

/// Whatever bit flips, in whatever file: nothing of the file is served, the rest is, and the file is named.
#[test]
fn a_flipped_bit_is_found_and_the_rest_is_served() {
    let lake = tempfile::tempdir().expect("a folder");
    table(lake.path(), 2);
    let files = files(lake.path());
    assert_eq!(files.len(), 6);
    let whole = sum(&Queries::open(&lake.path().into(), 2, true).expect("opens"), "select sum(n) from t");
    for file in &files {
        let bytes = fs::read(file).expect("reads");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(sum_of_name(&name), Some(crc32c::crc32c(&bytes)), "{name}");
        let mut sums = Vec::new();
        for at in (0..bytes.len()).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(file, &damaged).expect("writes");
            let queries = Queries::open(&lake.path().into(), 2, true).expect("opens");
            sums.push(sum(&queries, "select coalesce(sum(n), 0) from t"));
            let told = queries.damaged();
            assert!(told.len() == 1 && told[0].contains(&name) && told[0].contains("its 1 rows are left out"), "{told:?}");
        }
        assert!(sums.iter().all(|sum| *sum == sums[0] && *sum <= whole), "{sums:?}");
        fs::write(file, &bytes[..bytes.len() / 2]).expect("writes");
        let queries = Queries::open(&lake.path().into(), 2, true).expect("opens");
        assert_eq!(sum(&queries, "select coalesce(sum(n), 0) from t"), sums[0]);
        assert!(queries.damaged()[0].contains("bytes, of the"));
        fs::remove_file(file).expect("is removed");
        let queries = Queries::open(&lake.path().into(), 2, true).expect("opens");
        assert_eq!(sum(&queries, "select coalesce(sum(n), 0) from t"), sums[0]);
        assert!(queries.damaged()[0].contains("cannot be read"));
        fs::write(file, &bytes).expect("writes");
    }
}

/// What stands in the place of DataFusion's functions gives the same, and more exactly.
#[test]
fn functions_of_our_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let queries = Queries::open(&folder.path().into(), 2, false).expect("opens");
    let one = |sql: &str| {
        let rows = queries.all(sql).expect(sql);
        arrow_cast::display::array_value_to_string(rows[0].column(0), 0).expect("text")
    };
    let values = "(values (1.0), (2.0), (4.0), (null), (11.0)) as t(x)";
    assert_eq!(one(&format!("select percentile_cont(x, 0.5) from {values}")), "3.0");
    assert_eq!(one(&format!("select percentile_cont(0.75) within group (order by x) from {values}")), "5.75");
    assert_eq!(one(&format!("select percentile_cont(0.75) within group (order by x desc) from {values}")), "1.75");
    assert_eq!(one(&format!("select percentile_cont(x, 0.5) filter (where x > 2) from {values}")), "7.5");
    assert_eq!(one("select percentile_cont(x, 0.3333333333333) from (values (0), (300000000)) as t(x)"), "99999999.99999");
    assert_eq!(one("select percentile_cont(distinct x, 0.5) from (values (1), (1), (1), (5)) as t(x)"), "3.0");
    for zone in ["UTC", "+00:00", "Europe/Berlin"] {
        for (unit, berlin, utc) in [
            ("hour", "2026-11-24T12:00:00+01:00", "2026-11-24T12:00:00Z"),
            ("day", "2026-11-24T00:00:00+01:00", "2026-11-24T00:00:00Z"),
            ("month", "2026-11-01T00:00:00+01:00", "2026-11-01T00:00:00Z"),
        ] {
            let times = "(values (timestamp '2026-11-24T12:34:56.789Z')) as t(x)";
            let sql = format!("select date_trunc('{unit}', arrow_cast(x, 'Timestamp(µs, \"{zone}\")')) from {times}");
            assert_eq!(one(&sql), if zone == "Europe/Berlin" { berlin } else { utc }, "{sql}");
        }
    }
}
