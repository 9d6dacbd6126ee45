//! Lookup files that are replaced: while a run goes on, and between a run that was killed and the next.

use super::commands::{project, write};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PIPELINE: &str = "source: SOURCE
codec: json
event: { fields: { t: timestamp, ip: ip }, time: t }
lookups: [{ ranges: { of: ip, file: asn.csv, take: { asn: int } } }]
sinks: [{ file: { path: out.ndjson, columns: [_id, ip_asn, _version] } }]
";

fn table(asn: i64) -> String {
    format!("start,end,asn\n10.0.0.0,10.0.0.255,{asn}\n")
}

fn replace(root: &Path, text: &str) {
    write(root, "asn.new", text);
    std::fs::rename(root.join("asn.new"), root.join("asn.csv")).expect("is replaced");
}

/// What was looked up, and the version.
type Row = (i64, String);

fn rows(root: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(root.join("out.ndjson")).unwrap_or_default();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row");
        (row["ip_asn"].as_i64().expect("an asn"), row["_version"].as_str().expect("a version").to_string())
    };
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(row).collect()
}

#[test]
fn a_file_that_is_replaced_is_used_from_a_commit_on_and_a_bad_one_is_told() {
    let folder = project(&PIPELINE.replace("SOURCE", "{ file: { path: \"-\" } }"));
    let root = folder.path();
    replace(root, &table(1));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ouzel"))
        .args(["run", "-p"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let mut sent = 0;
    // Sends events until the output says so.
    let mut until = |what: &str, is_so: &dyn Fn(&[Row]) -> bool| {
        // A minute's worth.
        let last = sent + 3000;
        loop {
            assert!(sent < last, "not {what} after {sent} events: {:?}", rows(root).last());
            input.write_all(format!("{{\"t\":{sent},\"ip\":\"10.0.0.7\"}}\n").as_bytes()).expect("is read");
            sent += 1;
            std::thread::sleep(Duration::from_millis(20));
            if is_so(&rows(root)) {
                return;
            }
        }
    };
    until("begun", &|rows| rows.len() > 2);
    replace(root, &table(2));
    until("replaced", &|rows| rows.last().is_some_and(|(asn, _)| *asn == 2));
    replace(root, "start,end,asn\nnonsense\n");
    let before = rows(root).len();
    until("gone on with", &|rows| rows.len() > before + 150);
    replace(root, &table(3));
    until("replaced again", &|rows| rows.last().is_some_and(|(asn, _)| *asn == 3));
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("asn.csv:2: ") && said.contains("the lookups stay as they were before"), "{said}");
    let rows = rows(root);
    assert_eq!(rows.len(), sent);
    assert!(rows.iter().map(|(asn, _)| asn).is_sorted(), "old after new");
    let mut versions: Vec<&str> = rows.iter().map(|(_, version)| version.as_str()).collect();
    versions.dedup();
    assert_eq!(versions.len(), 3, "{versions:?}");
}

#[test]
fn a_run_that_was_killed_goes_on_with_the_files_it_had() {
    let folder = project(&PIPELINE.replace("SOURCE", "{ file: { path: in.ndjson } }"));
    let root = folder.path();
    let log: String = (0..900_000).map(|i| format!("{{\"t\":{i},\"ip\":\"10.0.0.7\"}}\n")).collect();
    write(root, "in.ndjson", &log);
    replace(root, &table(1));
    let run = |env: &[(&str, &str)]| super::run(root, &[], env);
    // Every commit is cut off before or after it is made; in between the file changes, or makes no sense.
    let mut killed = 0;
    for (n, point) in ["manifest-linked", "sinks-synced", "manifest-linked", "published"].into_iter().enumerate() {
        let kill = format!("kill:{point}:{}", 2);
        let (code, _, err) = run(&[("OUZEL_FAULT", &kill)]);
        assert!(!err.contains("error"), "{err}");
        killed += usize::from(code != Some(0));
        match n {
            1 => replace(root, "nonsense"),
            n => replace(root, &table(n as i64 + 2)),
        }
    }
    // The last ones may come to the end before their second commit.
    assert!(killed >= 2, "{killed}");
    std::fs::remove_file(root.join("asn.csv")).expect("was there");
    // A copy that is not what it was is not used.
    let state = root.join(".ouzel/state/web");
    let copies = || {
        std::fs::read_dir(&state)
            .expect("state")
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "lookup"))
    };
    let change = |to: &str, from: &str| {
        copies().for_each(|path| {
            let text = std::fs::read_to_string(&path).expect("a copy").replace(from, to);
            std::fs::write(&path, text).expect("writable");
        })
    };
    change("10.0.0.254", "10.0.0.255");
    let (code, _, err) = run(&[]);
    assert!(code == Some(6) && err.contains("the copy of `asn.csv`, is damaged"), "{code:?} {err}");
    change("10.0.0.255", "10.0.0.254");
    let (code, summaries, err) = run(&[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(summaries.to_string().contains("the lookups stay as they were before"), "{summaries}");
    let rows = rows(root);
    assert_eq!(rows.len(), 900_000);
    assert!(rows.iter().map(|(asn, _)| asn).is_sorted(), "old after new");
    assert_eq!(rows[0].0, 1);
    // Without state there is nothing to go on with.
    let (code, _, err) = super::run(root, &["--fresh"], &[]);
    assert!(code == Some(3) && err.contains("asn.csv"), "{code:?} {err}");
}
