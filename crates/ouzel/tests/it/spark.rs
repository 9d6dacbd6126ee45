//! Spark with Delta reads the tables that pipelines and jobs write, and writes to one.

use super::commands::write;
use super::jobs::{call, verified};
use super::records;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Python environment with `pyspark` that has Delta's jars in its folder `jars`. `None`, loudly, where there is none; in CI that fails.
fn environment() -> Option<PathBuf> {
    let found = std::env::var_os("OUZEL_TEST_SPARK").map(PathBuf::from).filter(|folder| folder.join("jars").is_dir());
    if found.is_none() {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "no Spark on this machine");
        eprintln!(
            "!!! SKIPPED: no Spark on this machine (OUZEL_TEST_SPARK names a Python environment with `pyspark` and Delta's jars, see .ci/run)"
        );
    }
    found
}

/// A Spark that is asked; it ends with the test.
struct Spark {
    process: Child,
    asked: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Spark {
    /// `lake`: its tables have their names; in queries it is `LAKE`.
    fn start(environment: &Path, lake: &Path) -> Spark {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/spark_read.py");
        let python = environment.join("bin/python");
        let mut process = Command::new(&python)
            .arg(script)
            .args([environment.join("jars"), lake.to_path_buf()])
            .env("PYSPARK_PYTHON", &python)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let (asked, answers) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        Spark { process, asked, answers: BufReader::new(answers).lines() }
    }

    /// Rows as JSON, sorted.
    fn rows(&mut self, query: &str) -> Vec<String> {
        writeln!(self.asked, "{}", query.replace('\n', " ")).expect("asked");
        let answer = self.answers.next().unwrap_or_else(|| panic!("{query}: it has ended")).expect("read");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{query}: {answer}: {e}"))
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn here(root: &Path, sql: &str) -> Vec<String> {
    let mut rows = records::query(root, sql);
    rows.sort();
    rows
}

#[test]
fn spark_reads_what_jobs_and_pipelines_write_and_its_rows_are_found() {
    let Some(environment) = environment() else { return };
    let folder = records::project("json");
    let root = folder.path();
    write(
        root,
        "pipelines/seen.yaml",
        "source: { file: { path: \"in/a/*\" } }\ncodec: json\nevent: { time: t, lateness: 1h, fields: { id: text, t: timestamp, kind: text, n: { type: [int, text] } } }
features: [{ by: kind, measure: { seen: { count: \"*\", within: 1h }, mean: { mean: n, within: 1h } } }]\nsinks: [{ lake: { table: seen, partition_by: [kind] } }]\n",
    );
    let jobs = [
        (
            "daily",
            "partition_by: [day, kind]",
            "select cast(t as date) as day, kind, count(*) as total, sum(n) as n, count(distinct id) as ids, percentile_cont(n, 0.9) as p90 from {{ ref('events') }} group by 1, 2",
        ),
        ("latest", "write: merge\nunique_key: kind\npartition_by: kind", "select kind, id, t, n from {{ ref('events') }}"),
    ];
    for (name, settings, sql) in jobs {
        write(root, &format!("jobs/{name}.sql"), &format!("---\n{settings}\n---\n{sql}\n"));
    }
    for i in 0..4_u64 {
        records::land(root, &format!("a/{i}.json"), records::lines(i + 1, 1_500).as_bytes());
        let (code, told, err) = call(root, &["run"], &[]);
        assert_eq!(code, Some(0), "{told} {err}");
    }
    verified(root);
    // In Spark's words, and in ours.
    let asked = [
        ("select day, kind, total, n, ids, p90 from daily", "select day, kind, total, n, ids, p90 from daily"),
        ("select kind, id, unix_micros(t) as t, n from latest", "select kind, id, cast(t as bigint) as t, n from latest"),
        (
            "select id, unix_micros(t) as t, kind, n, size, kind_title, array_join(_malformed, '|') as m, array_join(_implausible, '|') as i, _file, _row from events",
            "select id, cast(t as bigint) as t, kind, n, size, kind_title, array_to_string(_malformed, '|') as m, array_to_string(_implausible, '|') as i, _file, _row from events",
        ),
        (
            "select _id, kind, n, n_other, seen, _late, _date from seen",
            "select _id, kind, n, n_other, seen, _late, _date from seen",
        ),
        // One partition, by its value; and an old version.
        ("select count(*) as n from daily where kind = 'c/d'", "select count(*) as n from daily where kind = 'c/d'"),
        (
            "select count(*) as n from delta.`LAKE/events` version as of 1",
            "select count(*) as n from events where _file = 'in/a/0.json'",
        ),
    ];
    let mut spark = Spark::start(&environment, &root.join("lake"));
    for (query, ours) in asked {
        let expected = here(root, ours);
        assert!(!expected.is_empty());
        assert_eq!(spark.rows(query), expected, "{query}");
    }
    // Spark changes a table: who only reads it follows, whoever makes it tells.
    write(root, "jobs/totals.sql", "---\n---\nselect kind, sum(total) as total from {{ ref('daily') }} group by 1\n");
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    spark.rows("update delta.`LAKE/daily` set total = total + 1 where kind = 'a'");
    spark.rows("delete from delta.`LAKE/daily` where kind = 'b'");
    assert_eq!(here(root, "select count(*) as n from daily where kind = 'b'"), ["{\"n\":0}"]);
    let (code, told, err) = call(root, &["run", "totals"], &[]);
    assert_eq!((code, &told["jobs"]["totals"]["kind"]), (Some(0), &"full".into()), "{err}");
    verified_but(root, "daily");
    assert_eq!(call(root, &["run", "daily", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    verified(root);
}

/// All tables are as made anew, but for one.
fn verified_but(root: &Path, other: &str) {
    let (_, told, err) = call(root, &["verify"], &[]);
    for (table, counts) in told["jobs"].as_object().expect("told") {
        assert_eq!(counts["missing"] == 0 && counts["surplus"] == 0, table != other, "{told} {err}");
    }
}
