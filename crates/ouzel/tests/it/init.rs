//! `ouzel init --from`: a pipeline for a file that nobody has described.

use super::{ouzel, repository, run};
use std::path::{Path, PathBuf};

fn init(dir: &Path, files: &[&Path]) -> (Option<i32>, String, String) {
    let (dir, files) = (dir.display().to_string(), files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>());
    let args: Vec<&str> = ["init", &dir, "--from"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let (output, out, err) = ouzel(&args, &[]);
    (output.status.code(), out, err)
}

/// Makes a project of a file, and runs it.
fn made(file: &Path) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("made");
    let (code, out, err) = init(&dir, &[file]);
    assert_eq!(code, Some(0), "{}: {err}", file.display());
    let (code, summaries, err) = run(&dir, &[], &[]);
    assert_eq!(code, Some(0), "{}: {err}", file.display());
    let summary = summaries.as_object().and_then(|all| all.values().next()).cloned().unwrap_or_default();
    assert!(summary["delivered"].as_u64() > Some(0), "{}: {summary}", file.display());
    (folder, out)
}

#[test]
fn formats_that_it_has_not_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    };
    let rows = |row: &dyn Fn(usize) -> String| (0..300).map(|i| row(i) + "\n").collect::<String>();
    let (_made, out) = made(&file(
        "orders 2024.csv",
        format!(
            "When,Order ID,User,Amount,Country\n{}",
            rows(&|i| format!("2024-03-01 00:{:02}:{:02},o{i},u{},{}.50,D{}", i / 60, i % 60, i % 9, i * 7, i % 3))
        ),
    ));
    assert!(out.contains("order_id") && out.contains("identity") && out.contains("by user"), "{out}");
    let (_made, out) = made(&file(
        "audit.json",
        rows(&|i| {
            format!(
                "{{\"@timestamp\":\"2024-03-01T00:{:02}:{:02}Z\",\"actor\":{{\"id\":\"a{}\"}},\"src.ip\":\"10.0.0.{}\",\"action\":\"do{}\"}}",
                i / 60,
                i % 60,
                i % 4,
                i % 7,
                i % 5
            )
        }),
    ));
    assert!(out.contains("src_ip") && out.contains("address"), "{out}");
    let (_made, out) = made(&file("plain.tsv", rows(&|i| format!("{}\tu{}\tc{}", 1_700_000_000 + i, i % 5, i % 11))));
    assert!(out.contains("names no columns"), "{out}");
    let (_made, out) = made(&file("untimed.ndjson", rows(&|i| format!("{{\"user\":\"u{}\",\"cmd\":\"c{}\"}}", i % 5, i % 11))));
    assert!(out.contains("no field holds a time"), "{out}");

    // Names that a pipeline has for itself, SQL's own words, objects that are null now and then, blanks behind commas.
    made(&file(
        "odd ${X} 'names'.json",
        rows(&|i| {
            format!(
                "{{\"at\":{},\"ip\":\"10.0.0.{}\",\"event\":\"e{}\",\"decision\":\"d{}\",\"rule\":\"r\",\"alert\":{{\"severity\":{}}},\"session\":{{\"user\":\"u{}\"}},\"error\":{},\"interval\":{i}}}",
                1_700_000_000 + i,
                i % 7,
                i % 5,
                i % 2,
                i % 3,
                i % 4,
                if i % 3 == 0 { "{\"code\":5}" } else { "null" }
            )
        }),
    ));
    let (_made, out) = made(&file(
        "blanks.csv",
        format!("time, user, ip\n{}", rows(&|i| format!("2024-03-01T00:00:{:02}Z, u{}, 10.0.0.{}", i % 60, i % 4, i % 9))),
    ));
    assert!(out.contains("by ip, by user"), "{out}");

    let empty = file("empty.log", String::new());
    let (code, _, err) = init(&folder.path().join("x"), &[&empty]);
    assert!(code == Some(1) && err.contains("is empty") && !folder.path().join("x").exists(), "{code:?} {err}");
    let (code, _, err) = init(&folder.path().join("x"), &[&folder.path().join("nothing.log")]);
    assert!(code == Some(4) && err.contains("nothing.log"), "{code:?} {err}");
}

/// Every log that others made.
#[test]
fn the_real_logs() {
    let data = repository().join("../shared/data");
    if !data.exists() {
        eprintln!("!!! SKIPPED: there is no ../shared/data: real logs are not tried");
        return;
    }
    let logs = [
        ("web/elastic_apache_logs_10k.log.gz", "combined format"),
        ("web/certh_sessions.log.gz", "session"),
        ("web/slrbl_access.log.2021-10-22.gz", "combined format"),
        ("web/httpparams_payload_full.csv.gz", "CSV"),
        ("auth/loghub_OpenSSH_2k.log.gz", "syslog"),
        ("auth/loghub_Linux_2k.log.gz", "syslog"),
        ("auth/elastic_auth_7121.log.gz", "syslog"),
        ("activity/sea_commands.csv.gz", "by user"),
        ("fingerprint/intoli_browsers.ndjson.gz", "JSON"),
    ];
    for (log, says) in logs {
        let path: PathBuf = data.join(log);
        let (_made, out) = made(&path);
        assert!(out.contains(says), "{log}: {out}");
    }
}
