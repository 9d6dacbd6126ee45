//! Asking what was written, and why: `query`, `explain`, `why-not`, `--metrics`.

use super::commands::{project, write};
use super::{ouzel, run};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;

const PIPELINE: &str = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { t: timestamp, ip: ip, path: text, n: { type: int, range: [0, 9] } }, time: t, id: path }
features: [{ by: ip, measure: { hits: { count: \"*\", within: 1m } } }]
scores: { busy: \"least(hits / 10.0, 1.0)\", odd: \"0.5 * busy + 0.25 * cardinality(_implausible)\" }
decision:
  - deny: { rule: odd_and_busy, when: \"odd > 0.3 and hits >= 3\" }
  - allow: { rule: others, when: \"true\" }
sinks: [{ lake: { table: hits } }]
";

fn made() -> tempfile::TempDir {
    let folder = project(PIPELINE);
    let log: String = (0..6).map(|i| format!("{{\"t\":{i},\"ip\":\"10.0.0.1\",\"path\":\"/p{i}\",\"n\":{}}}\n", i * 3)).collect();
    write(folder.path(), "in.ndjson", &log);
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    folder
}

fn call(root: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let root = root.display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["-p", &root]).collect();
    let (output, out, err) = ouzel(&args, &[]);
    (output.status.code(), out, err)
}

#[test]
fn what_was_written_can_be_asked() {
    let folder = made();
    let root = folder.path();
    let sql = "select decision, count(*) as n, max(hits) as most from hits group by decision order by decision";
    let (code, out, err) = call(root, &["query", sql]);
    assert_eq!((code, out.as_str()), (Some(0), "decision  n  most\nallow     4     4\ndeny      2     6\n"), "{err}");
    assert_eq!(call(root, &["query", "--csv", sql]).1, "decision,n,most\nallow,4,4\ndeny,2,6\n");
    assert_eq!(call(root, &["query", "--format", "json", "select n from hits where path = '/p2'"]).1, "{\"n\":6}\n");
    let file = root.join("answer.parquet");
    let (code, out, _) = call(root, &["query", "select * from hits", "-o", &file.display().to_string()]);
    assert!(code == Some(0) && out.is_empty() && file.metadata().expect("written").len() > 100);
    let (code, _, err) = call(root, &["query", "select nonsense from hits"]);
    assert!(code == Some(3) && err.contains("nonsense"), "{err}");
    let (code, _, err) = call(root, &["query", "select 1", "-o", "answer.doc"]);
    assert!(code == Some(3) && err.contains(".parquet"), "{err}");
}

#[test]
fn a_damaged_file_is_named_and_the_rest_is_served() {
    let folder = made();
    let table = folder.path().join("lake/hits");
    let file = std::fs::read_dir(&table)
        .expect("lists")
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "parquet"));
    let file = file.expect("a data file");
    let mut bytes = std::fs::read(&file).expect("reads");
    bytes[100] ^= 4;
    std::fs::write(&file, &bytes).expect("writes");
    let (code, out, err) = call(folder.path(), &["query", "--csv", "select count(*) as n from hits"]);
    assert_eq!((code, out.as_str()), (Some(6), "n\n0\n"));
    assert!(err.contains("is damaged") && err.contains("its 6 rows are left out"), "{err}");
}

#[test]
fn a_decision_is_explained_from_the_lake_and_from_the_log() {
    let folder = made();
    let root = folder.path();
    for id in ["web.0.0.5.0", "/p5"] {
        let (code, out, err) = call(root, &["explain", id]);
        assert_eq!(code, Some(0), "{err}");
        for says in [
            "deny by rule odd_and_busy",
            "found in table hits",
            "implausible: 15 is not between 0 and 9",
            "hits  6  count within 1m, by ip 10.0.0.1",
            "odd = 0.55",
            "0.3  0.5 * busy",
            "yes hits >= 3",
        ] {
            assert!(out.contains(says), "{says}:\n{out}");
        }
    }
    // The log knows what the lake does not keep.
    let (_, out, _) = call(root, &["explain", "web.0.0.1.0", "--replay"]);
    assert!(
        out.contains("{\"t\":1,\"ip\":\"10.0.0.1\",\"path\":\"/p1\",\"n\":3}") && out.contains("allow by rule others"),
        "{out}"
    );
    let (_, out, _) = call(root, &["explain", "web.0.0.5.0", "--format", "json"]);
    let explained: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&explained["rule"], &explained["features"][0]["value"]), (&"odd_and_busy".into(), &6.into()));

    let (code, out, _) = call(root, &["why-not", "web.0.0.3.0", "--rule", "odd_and_busy"]);
    assert!(code == Some(0) && out.contains("did not decide: 1 of its 2 conditions does not hold"), "{out}");
    assert!(out.contains("no  odd > 0.3  odd = 0.2") && out.contains("others decided instead"), "{out}");
    let (code, _, err) = call(root, &["why-not", "web.0.0.3.0", "--rule", "nothing"]);
    assert!(code == Some(2) && err.contains("odd_and_busy, others"), "{err}");
    let (code, _, err) = call(root, &["explain", "web.0.0.77.0"]);
    assert!(code == Some(3) && err.contains("there is no event"), "{err}");
}

#[test]
fn a_run_serves_metrics() {
    let folder = project(PIPELINE);
    let root = folder.path().display().to_string();
    // A pipe that stays open keeps the run alive.
    write(folder.path(), "pipelines/web.yaml", &format!("name: web\n{}", PIPELINE.replace("path: in.ndjson", "path: \"-\"")));
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ouzel"))
        .args(["run", "-p", &root, "--metrics", &free])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"{\"t\":1,\"ip\":\"10.0.0.1\",\"path\":\"/a\",\"n\":1}\n").expect("writes");
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&free).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let mut text = String::new();
    for _ in 0..200 {
        text = ask("/metrics").unwrap_or_default();
        if text.contains("ouzel_events_total{pipeline=\"web\",fate=\"delivered\"} 1") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let missing = ask("/other").unwrap_or_default();
    drop(input);
    let ended = child.wait().expect("ends");
    assert!(ended.success());
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("fate=\"delivered\"} 1"), "{text}");
    assert!(text.contains("ouzel_limit{name=\"journal_bytes\"} 1073741824"), "{text}");
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
}

#[test]
fn a_score_is_judged_by_labels() {
    let folder = made();
    let root = folder.path();
    // hits are 1 to 6, in the order of paths.
    write(root, "labels.csv", "path,label\n/p0,good\n/p1,good\n/p2,bad\n/p3,good\n/p4,bad\n/p9,bad\n");
    let labels = root.join("labels.csv").display().to_string();
    let call_with = |more: &[&str]| {
        let args = ["evaluate", "--table", "hits", "--labels", &labels, "--key", "path", "--rates", "0,0.4"];
        call(root, &args.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let (code, out, err) = call_with(&["--score", "hits", "--baseline", "-hits", "--positive", "bad", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let about: Value = serde_json::from_str(&out).expect("JSON");
    // /p4 is above all good ones, /p2 above two of three.
    assert!((about["figures"]["auc"].as_f64().unwrap_or(0.0) - 5.0 / 6.0).abs() < 1e-12, "{out}");
    assert_eq!((&about["rates"][0]["recall"], &about["rates"][1]["recall"]), (&0.5.into(), &1.0.into()), "{out}");
    assert_eq!((&about["labels_of_unknown_keys"], &about["keys_without_label"]), (&1.into(), &1.into()));
    let picture = root.join("curves.svg");
    let (code, out, _) =
        call_with(&["--score", "hits", "--positive", "bad", "--svg", &picture.display().to_string(), "--thresholds", "5"]);
    assert!(
        code == Some(0)
            && out.contains("AUC               0.8333")
            && out.contains("1 label of keys that the table does not have"),
        "{out}"
    );
    assert!(std::fs::read_to_string(picture).expect("drawn").contains("<polyline"));

    let (code, _, err) = call_with(&["--score", "hits", "--positive", "worse"]);
    assert!(code == Some(3) && err.contains("no label is `worse`: they are bad, good"), "{err}");
    let (code, _, err) = call_with(&["--score", "hits", "--positive", "bad", "good"]);
    assert!(code == Some(1) && err.contains("nothing to tell apart"), "{code:?} {err}");
    // What is not known yet is neither positive nor negative.
    write(
        root,
        "labels.csv",
        "path,label,known_at\n/p0,good,2026-01-01\n/p1,good,2026-01-01\n/p4,bad,2026-01-02 10:00:00\n/p2,bad,2026-02-01\n",
    );
    let (code, out, err) =
        call_with(&["--score", "hits", "--positive", "bad", "--known-by", "2026-01-02T10:00:00Z", "--format", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let about: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&about["keys"], &about["figures"]["auc"], &about["labels_not_known_yet"]), (&3.into(), &1.0.into(), &1.into()));
    let (code, _, err) = call_with(&["--score", "hits", "--positive", "bad", "--known-by", "tomorrow"]);
    assert!(code == Some(2) && err.contains("`tomorrow` is no time"), "{code:?} {err}");
    write(root, "labels.csv", "path,label\n/p0,good\n/p0,bad\n");
    let (code, _, err) = call_with(&["--score", "hits", "--positive", "bad"]);
    assert!(code == Some(1) && err.contains("line 3: `/p0` is `bad` here and `good` before"), "{code:?} {err}");
}

const RISKY: &str = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { t: timestamp, ip: ip, path: text }, time: t, id: path }
features: [{ by: path, measure: { seen: { count: \"*\", within: 1m } } }]
risk: { by: ip, half_life: 1h, add: { hits: \"1.0\" } }
alerts: [{ name: risky, when: \"risk > 3.5\", per: ip, at_most: { every: 1h } }]
sinks: [{ lake: { table: hits } }, { lake: { table: alerts, only: alerts } }]
";

#[test]
fn an_alert_has_its_evidence_and_an_entity_its_risk() {
    let folder = project(RISKY);
    let root = folder.path();
    let line = |i: u64, ip: &str| {
        let at = format!("2026-01-01T{:02}:{:02}:00Z", i / 6, i % 6 * 10);
        format!("{{\"t\":\"{at}\",\"ip\":\"{ip}\",\"path\":\"/p{i}\"}}\n")
    };
    let log: String = (0..9).map(|i| line(i, if i % 3 == 2 { "10.0.0.2" } else { "10.0.0.1" })).collect();
    write(root, "in.ndjson", &log);
    let (code, _, err) = run(root, &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    let (_, id, _) = call(root, &["query", "--csv", "select _id from alerts where not alert_closing"]);
    let id = id.lines().nth(1).expect("an alert");
    // Of the alert's entity, in the hour until it, the latest first.
    let (code, out, err) = call(root, &["evidence", id, "--format", "json"]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let paths: Vec<&str> = rows.iter().map(|row| row["path"].as_str().expect("text")).collect();
    assert_eq!((code, paths), (Some(0), vec!["/p6", "/p4", "/p3", "/p1"]), "{err}");
    let (_, out, _) = call(root, &["evidence", id, "--within", "5h", "--limit", "2", "--format", "json"]);
    assert_eq!(out.lines().count(), 2);
    let (_, out, _) = call(root, &["evidence", "/p8", "--by", "path", "--format", "json"]);
    assert!(out.lines().count() == 1 && out.contains("/p8"), "{out}");
    let (code, _, err) = call(root, &["evidence", id, "--by", "nobody"]);
    assert!(code == Some(3) && err.contains("no column `nobody`"), "{err}");
    let (code, out, _) = call(root, &["top"]);
    let risk: Vec<&str> = out.lines().skip_while(|line| !line.contains("by risk")).skip(2).take(2).collect();
    assert!(code == Some(0) && risk[0].contains("10.0.0.1") && risk[1].contains("10.0.0.2"), "{out}");
}
