//! Checks that stop a table, and who is told: as a user runs them.

use super::commands::write;
use super::jobs::{DAILY, call, project, recomputed, rows};
use serde_json::Value;

#[test]
fn a_check_that_fails_keeps_the_old_data_and_pauses() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    let before = call(root, &["audit"], &[]).1;
    write(root, "in-01.ndjson", "{\"t\":\"2026-11-02T10:00:00Z\",\"customer\":\"c1\",\"country\":\"DE\",\"bytes\":2000000}\n");
    let (code, told, err) = call(root, &["run"], &[]);
    let check = &told["jobs"]["daily"]["checks"][2];
    assert_eq!((code, &check["name"], &check["failing"]), (Some(8), &"range bytes".into(), &1.into()), "{err}");
    assert!(check["rows"][0]["customer"] == "c1" && err.contains("Tell data@example.org"), "{told} {err}");
    assert!(err.contains("totals: held: `daily`, which it reads, is paused"), "{err}");
    assert_eq!(call(root, &["audit"], &[]).1["jobs"]["daily"], before["jobs"]["daily"], "nobody sees it");
    // Paused until somebody says so; and the others go on.
    let (code, told, err) = call(root, &["run"], &[]);
    assert!(code == Some(8) && err.contains("daily: paused") && told["jobs"]["hourly"]["kind"] == "nothing", "{told} {err}");
    assert_eq!(call(root, &["plan", "daily"], &[]).0, Some(8));
    assert_eq!(call(root, &["resume", "daily"], &[]).0, Some(2), "why?");
    assert_eq!(call(root, &["resume", "daily", "--reason", "as agreed"], &[]).1["jobs"]["daily"]["was_paused"], true);
    // The check has been set right: the next run has what the stopped one would have had.
    write(root, "jobs/daily.sql", &DAILY.replace("max: 1000000", "max: 9000000"));
    let (code, _, err) = call(root, &["run"], &[]);
    assert_eq!(code, Some(0), "{err}");
    recomputed(root);
    // One that warns stops nothing; and what only the checks say makes no row anew.
    write(root, "jobs/daily.sql", &DAILY.replace("max: 1000000", "max: 1000000, severity: warn"));
    assert_eq!(call(root, &["run"], &[]).1["jobs"]["daily"]["kind"], "nothing");
    let again = "{\"t\":\"2026-11-02T10:00:00Z\",\"customer\":\"c1\",\"country\":\"DE\",\"bytes\":2000000}\n";
    write(root, "in-02.ndjson", again);
    let (code, told, _) = call(root, &["run"], &[]);
    let daily = &told["jobs"]["daily"];
    assert_eq!((code, &daily["kind"], &daily["checks"][2]["ok"]), (Some(0), &"incremental".into(), &false.into()));
    let mut beside = std::fs::read_dir(root.join("lake/_ouzel/daily")).expect("kept").flatten().map(|entry| entry.path());
    let resumed = beside.find(|path| path.to_string_lossy().contains("resumed-")).expect("kept");
    let resumed = std::fs::read_to_string(resumed).expect("kept");
    assert!(resumed.contains("as agreed") && resumed.contains("range bytes"), "{resumed}");
}

/// Answers each request with the next of these; what it got.
fn receiver(answers: &'static [&'static str]) -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, got) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (stream, answer) in listener.incoming().zip(answers) {
            let Ok(mut stream) = stream else { continue };
            let (mut request, mut bytes) = (String::new(), [0; 4096]);
            let is_whole = |request: &str| {
                let (head, body) = request.split_once("\r\n\r\n")?;
                let length =
                    head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                Some(body.len() >= length.unwrap_or(0))
            };
            while is_whole(&request) != Some(true) {
                match stream.read(&mut bytes) {
                    Ok(n @ 1..) => request.push_str(&String::from_utf8_lossy(&bytes[..n])),
                    _ => break,
                }
            }
            let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = sender.send(request);
        }
    });
    (port, got)
}

#[test]
fn whoever_is_to_know_of_a_stopped_table_is_told_once() {
    let folder = project();
    let root = folder.path();
    // Three tries fail; the next run's second one arrives.
    let (port, got) = receiver(&["500 no", "500 no", "500 no", "503 no", "204 yes", "204 yes"]);
    let notify = format!("jobs: {{ notify: {{ webhook: {{ url: \"http://127.0.0.1:{port}/hook\", secret: s }} }} }}\n");
    write(root, "ouzel.yaml", &format!("name: test\n{notify}"));
    write(root, "in-00.ndjson", "{\"t\":\"2026-11-02T10:00:00Z\",\"customer\":\"c<1>\",\"country\":\"DE\",\"bytes\":2000000}\n");
    let junit = root.join("junit.xml");
    let (code, _, err) = call(root, &["run", "--junit", &junit.display().to_string()], &[]);
    assert!(code == Some(8) && err.contains("nobody could be told"), "{err}");
    let xml = std::fs::read_to_string(&junit).expect("written");
    assert!(xml.contains("<testcase classname=\"daily\" name=\"range bytes\"><failure message=\"1 rows\">"), "{xml}");
    assert!(
        xml.contains("c&lt;1&gt;")
            && xml.contains("<testsuite name=\"totals\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\""),
        "{xml}"
    );
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(8) && !err.contains("nobody"), "{err}");
    let (code, _, err) = call(root, &["run"], &[]);
    assert!(code == Some(8) && !err.contains("nobody"), "{err}");
    let requests: Vec<String> = got.try_iter().collect();
    assert_eq!(requests.len(), 5, "told once: {requests:?}");
    let id = |request: &String| request.lines().find(|line| line.starts_with("webhook-id")).map(String::from);
    assert!(requests.iter().all(|request| id(request) == id(&requests[0]) && request.contains("webhook-signature: v1,")));
    let body: Value = serde_json::from_str(requests[4].split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    assert_eq!(
        (&body["target"], &body["event"], &body["owner"]),
        (&"daily".into(), &"paused".into(), &"data@example.org".into())
    );
    assert_eq!((&body["checks"][0]["name"], &body["checks"][0]["rows"][0]["customer"]), (&"range bytes".into(), &"c<1>".into()));
}

#[test]
fn checks_of_tables_as_they_are() {
    let folder = project();
    let root = folder.path();
    assert_eq!(call(root, &["check", "daily"], &[]).0, Some(3), "there is no table");
    write(root, "in-00.ndjson", &rows(1, 200, 0..3));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    let (code, told, err) = call(root, &["check"], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["checks"][2]["ok"]), (Some(0), &true.into()), "{told} {err}");
    write(root, "jobs/daily.sql", &DAILY.replace("max: 1000000", "max: 10"));
    let junit = root.join("junit.xml");
    let (code, told, _) = call(root, &["check", "--junit", &junit.display().to_string()], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["checks"][2]["ok"]), (Some(9), &false.into()), "{told}");
    assert!(std::fs::read_to_string(&junit).expect("written").contains("<failure"));
    assert_eq!(call(root, &["run"], &[]).1["jobs"]["daily"]["kind"], "nothing", "it has stopped nothing");
}

/// By what a run has, beside those before it, and by how old it is.
#[test]
fn odd_numbers_of_rows_and_old_ones_stop_a_run() {
    let folder = project();
    let root = folder.path();
    let checks = "---\npartition_by: [day, country]\nchecks:\n  - row_count: { max: 5000, around: 80% }\n  - freshness: { column: day, within: 100000d, severity: warn }\n";
    write(root, "jobs/daily.sql", &DAILY.replace("---\npartition_by: [day, country]\nchecks:\n", checks));
    write(root, "in-00.ndjson", &rows(1, 800, 0..10));
    assert_eq!(call(root, &["run", "web", "daily"], &[]).0, Some(0));
    for i in 1..5 {
        write(root, &format!("in-{i:02}.ndjson"), &rows(i + 1, 4, 0..3));
        let (code, told, err) = call(root, &["run", "web", "daily"], &[]);
        assert_eq!((code, &told["jobs"]["daily"]["checks"][1]["ok"]), (Some(0), &true.into()), "{told} {err}");
    }
    // Ten times as many partitions as ever.
    write(root, "in-05.ndjson", &rows(9, 900, 10..28));
    let (code, told, _) = call(root, &["run", "web", "daily"], &[]);
    let check = &told["jobs"]["daily"]["checks"][0];
    assert_eq!((code, &check["name"], &check["ok"]), (Some(8), &"row_count".into(), &false.into()), "{told}");
    assert!(check["rows"][0]["median"].as_u64() < check["rows"][0]["rows"].as_u64(), "{check}");
    write(root, "jobs/daily.sql", &DAILY.replace("checks:\n", "checks:\n  - freshness: { column: day, within: 1s }\n"));
    let resumed = call(root, &["resume", "daily", "--reason", "more came"], &[]);
    assert_eq!(resumed.0, Some(0));
    let (code, told, _) = call(root, &["run", "daily"], &[]);
    assert_eq!((code, &told["jobs"]["daily"]["checks"][0]["name"]), (Some(8), &"freshness day".into()), "{told}");
}
