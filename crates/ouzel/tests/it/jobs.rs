//! Jobs: tables made of tables, as a user runs them.

use super::commands::write;
use super::ouzel;
use serde_json::Value;
use std::path::Path;

const PIPELINE: &str = "source: { file: { path: \"in-*.ndjson\" } }
codec: json
event: { fields: { t: timestamp, customer: text, country: text, bytes: int }, time: t, lateness: 1m }
sinks: [{ lake: { table: requests } }]
";
pub const DAILY: &str = "---
partition_by: [day, country]
checks:
  - not_empty
  - unique: [day, country, customer]
  - range: { column: bytes, max: 1000000 }
owner: data@example.org
---
select cast(t as date) as day, country, customer, count(*) as total, sum(bytes) as bytes
from {{ ref('requests') }} group by 1, 2, 3
";
const HOURLY: &str = "---
partition_by: [hour]
---
select date_part('hour', t) as hour, count(*) as total from {{ ref('requests') }} {% if incremental %}where false{% endif %} group by 1
";
const TOTALS: &str = "---
target: totals
---
select country, sum(total) as total from {{ ref('daily') }} group by 1
";

pub fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "ouzel.yaml", "name: test\n");
    write(folder.path(), "pipelines/web.yaml", PIPELINE);
    write(folder.path(), "jobs/daily.sql", DAILY);
    write(folder.path(), "jobs/a_hourly.sql", &HOURLY.replace("partition_by", "target: hourly\npartition_by"));
    write(folder.path(), "jobs/b_totals.sql", TOTALS);
    folder
}

/// Rows of some days, the same for the same seed: null countries and odd ones among them.
pub fn rows(seed: u64, n: u64, days: std::ops::Range<u64>) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut text = String::new();
    for _ in 0..n {
        let (day, hour) = (days.start + random(days.end - days.start), random(24));
        let country = ["\"DE\"", "\"FR\"", "null", "\"a/b c\""][random(4) as usize];
        text += &format!(
            "{{\"t\":\"2026-11-{:02}T{hour:02}:30:00Z\",\"customer\":\"c{}\",\"country\":{country},\"bytes\":{}}}\n",
            day + 1,
            random(7),
            random(1000)
        );
    }
    text
}

pub fn call(root: &Path, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let root = root.display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["-p", &root, "--format", "json"]).collect();
    let (mut output, mut out, mut err) = ouzel(&args, env);
    // A store may answer too seldom: then it is tried again, as a user would.
    let in_bucket = std::fs::read_to_string(format!("{}/ouzel.yaml", args[args.len() - 3])).is_ok_and(|yaml| yaml.contains("s3"));
    for _ in 0..5 {
        if in_bucket && output.status.code() == Some(4) {
            (output, out, err) = ouzel(&args, env);
        }
    }
    let told = out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    (output.status.code(), told, err)
}

pub fn verified(root: &Path) {
    let (code, told, err) = call(root, &["verify"], &[]);
    assert_eq!(code, Some(0), "{told} {err}");
}

/// As [`verified`], and as DuckDB makes the tables from what delta-rs reads: `recompute.py` knows the jobs of these tests.
pub fn recomputed(root: &Path) {
    verified(root);
    let python = std::env::var("OUZEL_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let run_python = |args: &[&std::ffi::OsStr]| std::process::Command::new(&python).args(args).output();
    if !run_python(&["-c".as_ref(), "import deltalake, duckdb, pyarrow".as_ref()]).is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "`{python}` has no deltalake, duckdb and pyarrow");
        eprintln!("!!! SKIPPED: `{python}` has no deltalake, duckdb and pyarrow; set OUZEL_TEST_PYTHON");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recompute.py");
    let told = run_python(&[script.as_os_str(), root.as_os_str()]).expect("runs");
    assert!(told.status.success(), "{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
}

#[test]
fn exactly_the_partitions_that_new_rows_touch_are_made_anew() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 2_000, 0..10));
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["kind"]), (Some(0), &"full".into()), "{err}");
    verified(root);
    for (i, days) in [(1, 9..11), (2, 2..3), (3, 0..12), (4, 20..28)] {
        write(root, &format!("in-{i:02}.ndjson"), &rows(i + 10, 30, days.clone()));
        assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
        let (_, planned, _) = call(root, &["plan"], &[]);
        let before = call(root, &["audit"], &[]).1;
        let (code, told, err) = call(root, &["run"], &[]);
        assert_eq!(code, Some(0), "{err}");
        let partitions = told["jobs"]["daily"]["partitions"].as_array().expect("a list");
        assert_eq!(planned["jobs"]["daily"]["partitions"], told["jobs"]["daily"]["partitions"], "as planned");
        assert_eq!(planned["jobs"]["totals"]["kind"], "follows", "what `daily` will have is not known yet");
        let touched = |name: &str| days.clone().any(|day| name.starts_with(&format!("day=2026-11-{:02}", day + 1)));
        assert!(!partitions.is_empty() && partitions.iter().all(|p| touched(p.as_str().expect("text"))), "{partitions:?}");
        assert_ne!(call(root, &["audit"], &[]).1, before);
        verified(root);
    }
    recomputed(root);
    // What has not changed is not touched; a definition that has is made anew.
    let (_, told, _) = call(root, &["run"], &[]);
    assert!(["daily", "hourly", "totals"].iter().all(|job| told["jobs"][job]["kind"] == "nothing"), "{told}");
    write(root, "jobs/daily.sql", &DAILY.replace("sum(bytes)", "max(bytes)"));
    let (_, told, _) = call(root, &["run"], &[]);
    assert_eq!((&told["jobs"]["daily"]["kind"], &told["jobs"]["totals"]["kind"]), (&"full".into(), &"full".into()));
    verified(root);
    let (_, told, _) = call(root, &["audit", "daily"], &[]);
    let last = &told["jobs"]["daily"][0]["job"];
    assert_eq!(
        (&last["kind"], &last["sources"]["requests"], &last["checks"]["not_empty"]),
        (&"full".into(), &5.into(), &0.into())
    );
}

/// Hundreds of partitions are told apart by a join, and come to the same.
#[test]
fn many_partitions_in_one_run() {
    let folder = project();
    let root = folder.path();
    write(root, "jobs/daily.sql", &DAILY.replace("[day, country]", "[day, country, customer]"));
    write(root, "in-00.ndjson", &rows(1, 3_000, 0..10));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    write(root, "in-01.ndjson", &rows(2, 3_000, 0..12));
    let (code, told, err) = call(root, &["run"], &[]);
    assert!(code == Some(0) && told["jobs"]["daily"]["partitions"].as_array().map_or(0, Vec::len) > 300, "{err}");
    recomputed(root);
    // Thousands, each with one file, however its rows come; two where two writers have it.
    let line = |i: usize| {
        format!(
            "{{\"t\":\"2026-11-{:02}T00:00:00Z\",\"customer\":\"x{}\",\"country\":\"DE\",\"bytes\":1}}\n",
            i % 9 + 1,
            i % 2_000
        )
    };
    write(root, "in-02.ndjson", &(0..18_000).map(line).collect::<String>());
    let sql = "---\ntarget: by_customer\npartition_by: customer\n---\nselect customer, cast(t as date) as day, count(*) as total from {{ ref('requests') }} where customer like 'x%' group by 1, 2\n";
    write(root, "jobs/d_by_customer.sql", sql);
    assert_eq!(call(root, &["run", "web", "by_customer"], &[]).0, Some(0));
    let there = std::process::Command::new("find").arg(root.join("lake/by_customer")).args(["-name", "*.parquet"]).output();
    let files = String::from_utf8_lossy(&there.expect("runs").stdout).lines().count();
    assert!((2_000..=4_000).contains(&files), "{files}");
    assert_eq!(super::landing::number(root, "select count(*) from by_customer"), 18_000);
}

#[test]
fn killed_anywhere_readers_see_the_old_or_the_new_and_the_next_run_makes_it() {
    for point in ["job-written", "job-checked", "job-published"] {
        let folder = project();
        let root = folder.path();
        write(root, "in-00.ndjson", &rows(1, 500, 0..5));
        assert_eq!(call(root, &["run"], &[]).0, Some(0));
        write(root, "in-01.ndjson", &rows(2, 50, 3..6));
        assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
        assert_ne!(call(root, &["run", "daily"], &[("OUZEL_FAULT", &format!("kill:{point}:1"))]).0, Some(0));
        // As of whatever versions it was made of.
        verified(root);
        let (code, told, err) = call(root, &["run"], &[]);
        let kind = if point == "job-published" { "nothing" } else { "incremental" };
        assert_eq!((code, &told["jobs"]["daily"]["kind"]), (Some(0), &kind.into()), "{err}");
        recomputed(root);
    }
}

/// A job that fails holds what reads its table, and nothing else.
#[test]
fn the_others_go_on_where_a_job_fails() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    write(root, "jobs/daily.sql", &DAILY.replace("sum(bytes)", "sum(byte)"));
    let (code, told, err) = call(root, &["run"], &[]);
    let jobs = &told["jobs"];
    assert!(code == Some(3) && err.contains("totals: held: `daily`, which it reads, has failed"), "{code:?} {err}");
    assert!(jobs["daily"]["error"].as_str().is_some_and(|e| e.contains("byte")), "{jobs}");
    assert_eq!((&jobs["hourly"]["kind"], jobs["totals"]["held"].is_string()), (&"full".into(), true), "{jobs}");
    let (code, told, _) = call(root, &["verify"], &[]);
    assert!(code == Some(3) && told["jobs"]["hourly"]["missing"] == 0 && told["jobs"]["daily"]["error"].is_string(), "{told}");
}

#[test]
fn columns_tell_what_they_are_made_of() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    let sql = "---\n---\nwith d as (select *, row_number() over (partition by day order by total) as place from {{ ref('daily') }})
select d.country, upper(concat(d.country, w.customer)) as both, d.total + (select max(bytes) from {{ ref('requests') }}) as more, d.place, 1 as one, count(*) as n
from d join {{ ref('requests') }} as w on d.country = w.country where w.bytes > 0 group by 1, 2, 3, 4, 5
union all select 'x', customer, bytes, 0, 0, 0 from {{ ref('requests') }}\n";
    write(root, "jobs/made.sql", sql);
    let (code, told, err) = call(root, &["lineage", "made"], &[]);
    let columns = &told["jobs"]["made"]["columns"];
    let of = |name: &str| columns[name].as_array().expect("told").iter().map(|o| o.as_str().expect("text")).collect::<Vec<_>>();
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(of("country"), ["daily.country"]);
    assert_eq!(of("both"), ["daily.country", "requests.customer"]);
    assert_eq!(of("more"), ["daily.total", "requests.bytes"]);
    assert_eq!(of("place"), ["daily.day", "daily.total"]);
    assert!(of("one").is_empty() && of("n").is_empty(), "{columns}");
}

#[test]
fn jobs_are_named_by_what_they_are_made_of_and_held_by_hand() {
    let folder = project();
    let root = folder.path();
    write(root, "jobs/b_totals.sql", &TOTALS.replace("target: totals", "target: totals\ntags: [report]"));
    write(root, "in-00.ndjson", &rows(1, 300, 0..3));
    assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
    let ran = |words: &[&str]| {
        let (code, told, err) = call(root, &[&["plan"], words].concat(), &[]);
        let names = told["jobs"].as_object().map(|jobs| jobs.keys().cloned().collect::<Vec<_>>());
        (code, names.unwrap_or_default().join(" "), err)
    };
    for (words, jobs) in [
        (&["+totals"][..], "daily totals"),
        (&["daily+"], "daily totals"),
        (&["tag:report"], "totals"),
        (&["+tag:report", "hourly"], "hourly daily totals"),
        (&["daily+,tag:report"], "totals"),
        (&["owner:data@example.org"], "daily"),
    ] {
        assert_eq!(ran(words).1, jobs, "{words:?}");
    }
    assert!(ran(&["tag:raport"]).0 == Some(2) && ran(&["tag:raport"]).2.contains("there is no job `tag:raport`"));
    assert_eq!(call(root, &["run", "+totals"], &[]).1["jobs"].as_object().map(serde_json::Map::len), Some(2));
    // Held by hand, with the reason.
    assert_eq!(call(root, &["pause", "daily", "--reason", "we move it"], &[]).0, Some(0));
    let (_, told, _) = call(root, &["ls"], &[]);
    assert_eq!(
        (&told["jobs"]["daily"]["paused"]["reason"], &told["jobs"]["totals"]["tags"][0]),
        (&"we move it".into(), &"report".into())
    );
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(8) && err.contains("daily: paused: held by hand (we move it)"), "{code:?} {err}");
    assert_eq!(call(root, &["resume", "daily", "--reason", "moved"], &[]).0, Some(0));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
}

/// A range of partitions is made anew from what the last run saw; what is not in the source any more goes.
#[test]
fn a_range_is_made_anew() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 600, 0..10));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    let range = ["backfill", "daily", "--from", "2026-11-03", "--to", "2026-11-05"];
    let (code, planned, _) = call(root, &[&range[..], &["--plan"]].concat(), &[]);
    let partitions = planned["jobs"]["daily"]["partitions"].as_array().map_or(0, Vec::len);
    assert_eq!((code, partitions), (Some(0), 12));
    // Only what the last run saw: what came since waits for the next.
    write(root, "in-01.ndjson", &rows(2, 60, 0..10));
    assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
    let (code, told, err) = call(root, &range, &[]);
    assert_eq!((code, &told["jobs"]["daily"]["files_removed"]), (Some(0), &12.into()), "{err}");
    verified_one(root, "daily");
    let (_, told, _) = call(root, &["run", "daily"], &[]);
    assert_eq!(told["jobs"]["daily"]["kind"], "incremental");
    verified_one(root, "daily");
    let (code, _, err) = call(root, &["backfill", "daily", "--from", "soon", "--to", "later"], &[]);
    assert!(code == Some(3) && err.contains("`soon` is no value of `day`"), "{code:?} {err}");
    let (code, _, err) = call(root, &["backfill", "totals", "--from", "a", "--to", "b"], &[]);
    assert!(code == Some(3) && err.contains("only partitions can be made anew"), "{code:?} {err}");
}

#[test]
fn a_damaged_source_makes_no_table() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    write(root, "in-01.ndjson", &rows(2, 200, 0..3));
    assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
    let files = std::fs::read_dir(root.join("lake/requests")).expect("a table").flatten().map(|entry| entry.path());
    let newest =
        files.filter(|path| path.is_file()).max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok()).expect("a file");
    let whole = std::fs::read(&newest).expect("bytes");
    let mut bytes = whole.clone();
    bytes[40] ^= 1;
    std::fs::write(&newest, bytes).expect("written");
    let before = std::fs::read_dir(root.join("lake/daily")).expect("a table").count();
    let (code, _, err) = call(root, &["run", "daily"], &[]);
    assert!(code == Some(6) && err.contains("is damaged"), "{code:?} {err}");
    assert_eq!(std::fs::read_dir(root.join("lake/daily")).expect("a table").count(), before, "nothing is left");
    std::fs::write(&newest, whole).expect("written");
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    recomputed(root);
}

#[test]
fn rows_may_be_added_as_they_come() {
    let folder = project();
    let root = folder.path();
    let errors =
        "---\nwrite: append\n---\nselect t, customer from {{ ref('requests') }} where bytes > {{ var('NOT_SET', '900') }}\n";
    write(root, "jobs/large.sql", errors);
    write(root, "jobs/of_daily.sql", "---\nwrite: append\n---\nselect * from {{ ref('daily') }}\n");
    for i in 0..3 {
        write(root, &format!("in-{i:02}.ndjson"), &rows(i + 1, 300, 0..3));
        let (code, told, err) = call(root, &["run", "web", "large"], &[]);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(told["jobs"]["large"]["kind"], if i == 0 { "full" } else { "incremental" });
        assert!(told["jobs"]["large"]["files_removed"] == 0);
        verified_one(root, "large");
    }
    // Corrected rows cannot be followed by adding.
    assert_eq!(call(root, &["run", "daily", "of_daily"], &[]).0, Some(0));
    write(root, "in-05.ndjson", &rows(9, 30, 0..3));
    let (code, _, err) = call(root, &["run", "web", "daily", "of_daily"], &[]);
    assert!(code == Some(6) && err.contains("rows of `daily` were corrected or deleted"), "{code:?} {err}");
    assert_eq!(call(root, &["run", "of_daily", "--full-refresh"], &[]).0, Some(0));
}

/// Rows added to rows come to what the SQL makes of everything, or are refused.
#[test]
fn rows_are_added_only_where_that_comes_to_the_same() {
    let folder = project();
    let root = folder.path();
    let append = |sql: &str| format!("---\nwrite: append\n---\n{sql}\n");
    write(root, "jobs/customers.sql", "---\n---\nselect customer, min(t) as first from {{ ref('requests') }} group by 1\n");
    let joined = "select t, r.customer, first from {{ ref('requests') }} r left join {{ ref('customers') }} c using (customer)";
    write(root, "jobs/joined.sql", &append(joined));
    write(root, "jobs/counts.sql", &append("select customer, count(*) as n from {{ ref('requests') }} group by 1"));
    let both = "select t from {{ ref('requests') }} union all select first as t from {{ ref('customers') }}";
    write(root, "jobs/both.sql", &append(both));
    write(root, "jobs/pairs.sql", &append("select a.t from {{ ref('requests') }} a join {{ ref('requests') }} b using (t)"));
    write(root, "in-00.ndjson", &rows(1, 300, 0..3));
    let (code, _, err) = call(root, &["run", "web", "customers", "joined", "counts", "both", "pairs"], &[]);
    assert_eq!(code, Some(0), "{err}");
    write(root, "in-01.ndjson", &rows(2, 300, 0..3));
    let (code, told, err) = call(root, &["run", "web", "joined"], &[]);
    assert_eq!(
        (code, &told["jobs"]["joined"]["kind"], &told["jobs"]["joined"]["rows"]),
        (Some(0), &"incremental".into(), &300.into()),
        "{err}"
    );
    verified_one(root, "joined");
    for (job, says) in [
        ("counts", "new rows of `requests` here: it does more than select, join and filter"),
        ("both", "a part of its `union` does not read the table that has changed"),
        ("pairs", "it joins the table that has changed with itself"),
    ] {
        let (code, _, err) = call(root, &["run", job], &[]);
        assert!(code == Some(6) && err.contains(says) && err.contains("purgesert"), "{code:?} {err}");
    }
    write(root, "in-02.ndjson", &rows(3, 300, 0..3));
    let (code, _, err) = call(root, &["run", "web", "customers", "joined"], &[]);
    assert!(code == Some(6) && err.contains("`customers` and `requests` have changed"), "{code:?} {err}");
}

/// Where a changed row alone does not tell which rows change, everything is made anew.
#[test]
fn sql_that_judges_what_it_has_made_is_made_anew() {
    for (sql, kind) in [
        ("select day, customer, sum(total) as n from {{ ref('daily') }} group by 1, 2 having sum(total) > 40", "full"),
        ("select day, customer, sum(total) as n from {{ ref('daily') }} group by 1, 2 having customer > 'c3'", "incremental"),
        (
            "select day, max(n) as n from (select day, customer, sum(total) as n from {{ ref('daily') }} group by 1, 2) group by 1",
            "full",
        ),
        ("select max(day) as day, customer from {{ ref('daily') }} group by 2", "full"),
        ("select day, customer, rank() over (partition by customer order by day) as n from {{ ref('daily') }}", "full"),
        ("select day, customer from {{ ref('daily') }} order by day desc, customer limit 20", "full"),
        ("select day, customer from {{ ref('daily') }} where total > (select avg(total) from {{ ref('daily') }})", "full"),
        ("select a.day, count(*) as n from {{ ref('daily') }} a join {{ ref('daily') }} b using (customer) group by 1", "full"),
        (
            "select d.day, d.customer from {{ ref('daily') }} d left join {{ ref('hourly') }} h on h.total = d.total where h.hour is null",
            "full",
        ),
        ("select d.day, d.customer from {{ ref('daily') }} d left anti join {{ ref('hourly') }} h on h.total = d.total", "full"),
        (
            "select d.day, h.hour from {{ ref('daily') }} d left join {{ ref('hourly') }} h on h.total = d.total where d.total > 1",
            "incremental",
        ),
        (
            "select * from (select distinct day, customer from {{ ref('daily') }}) union all select distinct day, country from {{ ref('daily') }}",
            "incremental",
        ),
    ] {
        let folder = project();
        let root = folder.path();
        write(root, "jobs/judged.sql", &format!("---\npartition_by: [day]\n---\n{sql}\n"));
        write(root, "in-00.ndjson", &rows(1, 600, 0..6));
        assert_eq!(call(root, &["run"], &[]).0, Some(0));
        for i in 1..3 {
            write(root, &format!("in-{i:02}.ndjson"), &rows(i + 1, 12, i..i + 3));
            let (code, told, err) = call(root, &["run"], &[]);
            assert_eq!((code, &told["jobs"]["judged"]["kind"]), (Some(0), &kind.into()), "{sql}: {err}");
            verified(root);
        }
    }
}

/// What was there of two rows that are both gone is gone.
#[test]
fn both_rows_of_a_join_may_go_at_once() {
    let folder = project();
    let root = folder.path();
    let side = "---\npartition_by: [day]\n---\nselect distinct cast(t as date) as day, customer from {{ ref('requests') }}";
    for name in ["left", "right"] {
        write(root, &format!("jobs/{name}.sql"), side);
    }
    let joined = "---\npartition_by: [day]\n---\nselect l.day, count(*) as n from {{ ref('left') }} l join {{ ref('right') }} r on l.day = r.day and l.customer = r.customer group by 1";
    write(root, "jobs/joined.sql", joined);
    let alone = "{\"t\":\"2026-11-29T10:00:00Z\",\"customer\":\"gone\",\"country\":\"DE\",\"bytes\":2}\n";
    write(root, "in-00.ndjson", &(alone.to_string() + &rows(1, 200, 0..3)));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    for name in ["left", "right"] {
        write(root, &format!("jobs/{name}.sql"), &format!("{side} where customer <> 'gone'"));
    }
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!((code, &told["jobs"]["joined"]["kind"]), (Some(0), &"incremental".into()), "{err}");
    let partitions = told["jobs"]["joined"]["partitions"].as_array().expect("a list");
    assert!(partitions.iter().any(|name| name == "day=2026-11-29"), "{partitions:?}");
    verified(root);
}

fn verified_one(root: &Path, job: &str) {
    let (code, told, err) = call(root, &["verify", job], &[]);
    assert_eq!(code, Some(0), "{told} {err}");
}

#[test]
fn what_is_wrong_with_a_job_is_told() {
    for (sql, says) in [
        ("select 1", "jobs/daily.sql:1:1: error: a job begins with its settings between two lines `---`"),
        ("---\npartitoin_by: [day]\n---\nselect 1", "jobs/daily.sql:2:1: error: unknown field `partitoin_by`"),
        ("---\nchecks: [{ unique: [a], at_most: x }]\n---\nselect 1", "jobs/daily.sql:2:"),
        (
            "---\nchecks: [{ not_null: { columns: [a], at_most: many } }]\n---\nselect 1",
            "is neither a number of rows nor a part of them",
        ),
        ("---\n---\nselect *\nfrom {{ rev('requests') }}", "jobs/daily.sql:4:1: error: rev is unknown"),
        ("---\n---\nselect * from {{ ref('request') }}", "did you mean `requests`?"),
        ("---\n---\nselect * from {{ ref('totals') }}", "read one another in a circle: totals, daily"),
        ("---\ntarget: requests\n---\nselect 1 as a", "the table `requests` is written by a pipeline"),
    ] {
        let folder = project();
        write(folder.path(), "jobs/daily.sql", sql);
        let (output, out, err) = ouzel(&["validate", "-p", &folder.path().display().to_string()], &[]);
        let told = out + &err;
        assert!(output.status.code() == Some(3) && told.contains(says), "{sql}: {told}");
    }
    let folder = project();
    write(folder.path(), "in-00.ndjson", &rows(1, 10, 0..3));
    write(folder.path(), "jobs/daily.sql", "---\npartition_by: [month]\n---\nselect custommer from {{ ref('requests') }}");
    let (code, _, err) = call(folder.path(), &["run", "web", "daily"], &[]);
    assert!(code == Some(3) && err.contains("jobs/daily.sql") && err.contains("custommer"), "{code:?} {err}");
    write(folder.path(), "jobs/daily.sql", "---\npartition_by: [month]\n---\nselect customer from {{ ref('requests') }}");
    let (code, _, err) = call(folder.path(), &["run", "daily"], &[]);
    assert!(code == Some(3) && err.contains("`month`"), "{code:?} {err}");
    let (code, _, err) = call(folder.path(), &["run", "dayly"], &[]);
    assert!(code == Some(2) && err.contains("dayly"), "{code:?} {err}");
}

/// A Delta table that others write is followed by its versions, as those of the lake are.
#[test]
fn tables_of_others_are_followed() {
    let (shop, ours) = (project(), tempfile::tempdir().expect("a folder"));
    let (shop, root) = (shop.path(), ours.path());
    std::fs::rename(shop.join("jobs"), shop.join("no-jobs")).expect("renamed");
    write(root, "ouzel.yaml", &format!("name: test\nsources: {{ shop: {{ delta: \"{}/lake/requests\" }} }}\n", shop.display()));
    write(root, "jobs/daily.sql", &DAILY.replace("ref('requests')", "source('shop')"));
    write(root, "jobs/raw.sql", "---\nwrite: append\n---\nselect t, customer from {{ source('shop') }} where country = 'DE'\n");
    write(root, "jobs/totals.sql", TOTALS);
    // Nobody has written yet.
    let (code, told, err) = call(root, &["run"], &[]);
    assert!(
        code == Some(0) && told["jobs"]["daily"]["why"].as_str().is_some_and(|why| why.contains("not there yet")),
        "{told} {err}"
    );
    for i in 0..4 {
        write(shop, &format!("in-{i}.ndjson"), &rows(i + 1, 200, i..i + 2));
        assert_eq!(call(shop, &["run"], &[]).0, Some(0));
        let (code, told, err) = call(root, &["run"], &[]);
        let kind = if i == 0 { "full" } else { "incremental" };
        assert_eq!(
            (code, &told["jobs"]["daily"]["kind"], &told["jobs"]["raw"]["kind"]),
            (Some(0), &kind.into(), &kind.into()),
            "{err}"
        );
        verified(root);
    }
    assert_eq!(call(root, &["run"], &[]).1["jobs"]["daily"]["kind"], "nothing");
    let (_, told, _) = call(root, &["lineage", "daily"], &[]);
    assert_eq!(told["jobs"]["daily"]["columns"]["bytes"], serde_json::json!(["source shop.bytes"]));
    // One that is put in its place is another, with as many versions or more.
    std::fs::rename(shop.join("lake"), shop.join("old")).expect("renamed");
    std::fs::remove_dir_all(shop.join(".ouzel")).expect("removed");
    for i in 0..6 {
        write(shop, &format!("in-9{i}.ndjson"), &rows(i + 50, 50, i..i + 2));
        assert_eq!(call(shop, &["run"], &[]).0, Some(0));
    }
    let (code, told, err) = call(root, &["run"], &[]);
    let why = told["jobs"]["raw"]["why"].as_str().unwrap_or_default();
    assert!(code == Some(0) && why.contains("is another"), "{told} {err}");
    verified(root);
    let (_, told, _) = call(root, &["check"], &[]);
    assert_eq!(told["jobs"]["daily"]["checks"][1]["ok"], true, "{told}");
    for (yaml, why) in [
        ("{ files: a, delta: b }", "either `files` or `delta`"),
        ("{}", "either `files` or `delta`"),
        ("{ delta: b, codec: json }", "has columns already"),
        ("{ delta: \"s3://b\" }", "names nothing in a bucket"),
        ("{ delta: b, region: x }", "this is a folder"),
    ] {
        write(root, "ouzel.yaml", &format!("name: test\nsources: {{ shop: {yaml} }}\n"));
        let (code, _, err) = call(root, &["plan"], &[]);
        assert!(code == Some(3) && err.contains(why) && err.contains("ouzel.yaml:2"), "{yaml}: {err}");
    }
}

/// What a run has left undone is run again, as it was asked to.
#[test]
fn what_failed_is_tried_again() {
    let folder = project();
    let root = folder.path();
    let (code, told, err) = call(root, &["retry"], &[]);
    assert_eq!((code, &told["jobs"]), (Some(0), &serde_json::json!({})), "{err}");
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    write(root, "jobs/daily.sql", &DAILY.replace("max: 1000000", "max: 1"));
    let (code, _, err) = call(root, &["run", "--full-refresh", "daily", "totals", "hourly"], &[]);
    assert_eq!(code, Some(8), "{err}");
    assert_eq!(call(root, &["retry"], &[]).0, Some(8), "it is paused");
    assert_eq!(call(root, &["resume", "daily", "--reason", "set right"], &[]).0, Some(0));
    write(root, "jobs/daily.sql", DAILY);
    let (code, told, err) = call(root, &["retry"], &[]);
    let names: Vec<&str> = told["jobs"].as_object().expect("told").keys().map(String::as_str).collect();
    assert_eq!((code, names), (Some(0), vec!["daily", "totals"]), "{err}");
    assert_eq!((&told["jobs"]["daily"]["kind"], &told["jobs"]["totals"]["kind"]), (&"full".into(), &"full".into()));
    let (_, out, _) = ouzel(&["retry", "-p", &root.display().to_string()], &[]);
    assert!(out.contains("nothing undone"), "{out}");
    recomputed(root);
    // A run that was killed has ended nothing; jobs behind a pipeline that failed have not begun.
    call(root, &["run", "--full-refresh", "hourly"], &[("OUZEL_FAULT", "kill:job-written:1")]);
    assert_eq!(call(root, &["retry"], &[]).1["jobs"]["hourly"]["kind"], "full");
    let pipeline = std::fs::read_to_string(root.join("pipelines/web.yaml")).expect("there");
    write(root, "pipelines/web.yaml", &pipeline.replace("bytes: int", "bytes: text"));
    let (code, _, err) = call(root, &["run"], &[]);
    assert_ne!(code, Some(0), "{err}");
    assert_eq!(call(root, &["retry"], &[]).1["jobs"]["hourly"]["kind"], "nothing");
}

/// What a job says of its columns is in the table's schema, also where it says so later.
#[test]
fn columns_say_what_they_are() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    let say = |columns: &str| write(root, "jobs/daily.sql", &DAILY.replace("owner:", &format!("columns: {columns}\nowner:")));
    let comments = || {
        let mut found = Vec::new();
        let log = root.join("lake/daily/_delta_log");
        let mut files: Vec<_> = std::fs::read_dir(log).expect("there").flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "json")) {
            for line in std::fs::read_to_string(file).expect("read").lines() {
                let action: Value = serde_json::from_str(line).expect("JSON");
                let Some(schema) = action["metaData"]["schemaString"].as_str() else { continue };
                let schema: Value = serde_json::from_str(schema).expect("JSON");
                let fields = schema["fields"].as_array().expect("fields");
                found = fields
                    .iter()
                    .filter_map(|field| Some(format!("{}: {}", field["name"].as_str()?, field["metadata"]["comment"].as_str()?)))
                    .collect();
            }
        }
        found
    };
    say("{ total: \"Requests.\", day: \"Of the event's time, UTC.\" }");
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    assert_eq!(comments(), ["day: Of the event's time, UTC.", "total: Requests."]);
    say("{ total: \"Requests, all of them.\", bytes: \"Sent.\" }");
    write(root, "in-01.ndjson", &rows(2, 20, 0..1));
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["kind"]), (Some(0), &"incremental".into()), "words make no row anew: {err}");
    assert_eq!(comments(), ["day: Of the event's time, UTC.", "total: Requests, all of them.", "bytes: Sent."]);
    let (_, out, _) = ouzel(&["lineage", "daily", "-p", &root.display().to_string()], &[]);
    assert!(out.contains("requests.bytes  (Sent.)"), "{out}");
    verified(root);
    say("{ totl: \"Requests.\" }");
    write(root, "in-02.ndjson", &rows(3, 20, 0..1));
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(3) && err.contains("describes `totl`") && err.contains("`total`"), "{err}");
}

/// Files that no version of late needs go, those of the version of now stay, whatever partitions are called; who has not run meanwhile makes its table anew.
#[test]
fn files_that_nobody_needs_are_removed() {
    let folder = project();
    let root = folder.path();
    write(
        root,
        "jobs/c_by_country.sql",
        "---\ntarget: by_country\npartition_by: country\n---\nselect country, sum(total) as total from {{ ref('daily') }} group by 1\n",
    );
    for i in 0..5 {
        write(root, &format!("in-0{i}.ndjson"), &rows(i + 1, 100, 0..4));
        assert_eq!(call(root, &["run", "web", "daily"], &[]).0, Some(0));
        if i == 1 {
            assert_eq!(call(root, &["run"], &[]).0, Some(0));
        }
    }
    let files = |table: &str| {
        let found = std::process::Command::new("find").arg(root.join("lake").join(table)).args(["-name", "*.parquet"]).output();
        String::from_utf8_lossy(&found.expect("runs").stdout).lines().count()
    };
    let left = root.join("lake/daily/day=2026-11-01/country=DE/left-by-a-killed-run.parquet");
    std::fs::write(&left, "half").expect("written");
    let before = (files("requests"), files("daily"));
    let (code, told, err) = call(root, &["vacuum"], &[]);
    assert_eq!(
        (code, told["tables"]["daily"]["files"].as_array().map(Vec::len)),
        (Some(0), Some(0)),
        "all of it is young: {err}"
    );
    let (_, told, _) = call(root, &["vacuum", "--keep", "0s", "--plan"], &[]);
    assert!(told["tables"]["daily"]["files"].as_array().is_some_and(|files| files.len() > 5), "{told}");
    assert_eq!((files("requests"), files("daily")), before);
    let (code, again, err) = call(root, &["vacuum", "--keep", "0s"], &[]);
    assert_eq!((code, &again), (Some(0), &told), "{err}");
    assert!(!left.exists() && files("daily") < before.1 && files("requests") == before.0);
    let number = |table: &str| super::landing::number(root, &format!("select count(*) from {table}"));
    assert_eq!(number("requests"), 500);
    // The files that it would look at, of versions between, have gone.
    let (code, told, err) = call(root, &["plan", "by_country"], &[]);
    let why = told["jobs"]["by_country"]["why"].as_str().unwrap_or_default();
    assert!(code == Some(0) && why.contains("changed rows do not tell") && why.contains("cannot be read"), "{told} {err}");
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    verified(root);
    write(root, "in-09.ndjson", &rows(9, 20, 0..1));
    let (code, told, err) = call(root, &["run"], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["kind"]), (Some(0), &"incremental".into()), "{err}");
    recomputed(root);
    let (code, _, err) = call(root, &["vacuum", "other"], &[]);
    assert!(code == Some(2) && err.contains("known are by_country, daily, hourly, requests, totals"), "{err}");
}
