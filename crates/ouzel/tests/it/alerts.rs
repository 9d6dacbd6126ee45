//! Alerts: raised, held back, counted, closed; the same however the run was cut.

use super::commands::{project, write};
use super::{ouzel, run};
use serde_json::{Value, json};
use std::path::Path;

const PIPELINE: &str = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { t: timestamp, ip: ip, ok: bool }, time: t, lateness: 10s }
features: [{ by: ip, measure: { bad: { count: \"*\", within: 1m, where: \"not ok\" } } }]
decision: [{ deny: { rule: many, when: \"bad > 3\" } }, { allow: { rule: others, when: \"true\" } }]
alerts:
  - name: failures
    when: \"bad > 3 and not ok\"
    severity: high
    message: \"{bad} failures from {ip}\"
    per: ip
    at_most: { every: 1m }
    tags: [attack.t1110]
  - { name: any_failure, when: \"not ok\", severity: info }
sinks:
  - file: { path: events.ndjson, columns: [_id, ip, bad] }
  - file: { path: alerts.ndjson, only: alerts }
  - lake: { table: alerts, only: alerts, where: \"alert_name = 'failures'\" }
";

/// An event a second; `10.0.0.1` fails for half a minute, then all is quiet for two.
fn log() -> String {
    (0..400).map(|i| format!("{{\"t\":{i},\"ip\":\"10.0.0.{}\",\"ok\":{}}}\n", 1 + i % 2, i > 60 || i % 2 == 1)).collect()
}

fn alerts(root: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(root.join("alerts.ndjson")).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_is_held_back_is_told_by_the_next_or_by_a_closing() {
    let folder = project(PIPELINE);
    write(folder.path(), "in.ndjson", &log());
    let (code, summary, err) = run(folder.path(), &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    let counts = &summary["web"]["alerts"];
    assert_eq!(counts["any_failure"], json!({ "raised": 31, "suppressed": 0 }));
    // From the fourth failure (t = 6) to the last (t = 60): one is told, 27 are held back.
    assert_eq!(counts["failures"], json!({ "raised": 1, "suppressed": 27 }));
    let all = alerts(folder.path());
    let failures: Vec<&Value> = all.iter().filter(|a| a["alert_name"] == "failures").collect();
    assert_eq!(failures.len(), 2);
    let (first, closing) = (failures[0], failures[1]);
    assert_eq!((&first["alert_message"], &first["alert_entity"]), (&json!("4 failures from 10.0.0.1"), &json!("ip=10.0.0.1")));
    assert_eq!((&first["_id"], &first["alert_event"]), (&json!("web.0.0.6.1"), &json!("web.0.0.6.0")));
    assert_eq!((&first["alert_severity"], &first["alert_tags"]), (&json!("high"), &json!(["attack.t1110"])));
    assert_eq!((&closing["alert_closing"], &closing["alert_suppressed"]), (&json!(true), &json!(27)));
    assert_eq!(closing["alert_time"], "1970-01-01T00:01:06.000000Z");
    let (_, out, _) =
        ouzel(&["query", "-p", &folder.path().display().to_string(), "--csv", "select count(*) as n from alerts"], &[]);
    assert_eq!(out, "n\n2\n");
}

#[test]
fn killed_at_every_point_they_are_the_same() {
    // A file that has grown would be refused: what comes in eight parts is eight files.
    let pipeline = PIPELINE.replace("path: in.ndjson", "path: \"in-*.ndjson\"");
    let lines: Vec<String> = log().lines().map(|line| format!("{line}\n")).collect();
    let part = |root: &Path, part: usize| write(root, &format!("in-{part}.ndjson"), &lines[part * 50..(part + 1) * 50].concat());
    let straight = project(&pipeline);
    (0..8).for_each(|n| part(straight.path(), n));
    assert_eq!(run(straight.path(), &[], &[]).0, Some(0));
    let wanted = std::fs::read_to_string(straight.path().join("alerts.ndjson")).expect("written");
    for point in ["commit-begun", "delta-written", "manifest-linked", "published"] {
        let folder = project(&pipeline);
        for n in 0..8 {
            part(folder.path(), n);
            let fault = format!("kill:{point}:{}", 1 + n % 2);
            run(folder.path(), &[], &[("OUZEL_FAULT", &fault)]);
        }
        let (code, summary, err) = run(folder.path(), &[], &[]);
        assert_eq!(code, Some(0), "{err}");
        assert!(std::fs::read_to_string(folder.path().join("alerts.ndjson")).expect("written") == wanted, "{point}");
        assert_eq!(summary["web"]["alerts"]["failures"]["suppressed"], 27, "{point}");
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    let wrong =
        PIPELINE.replace("{bad} failures", "{baad} failures").replace("per: ip", "per: pi").replace("every: 1m", "every: 0s");
    let folder = project(&wrong);
    let (output, _, err) = ouzel(&["validate", "-p", &folder.path().display().to_string()], &[]);
    assert_eq!(output.status.code(), Some(3));
    for told in ["did you mean `bad`", "unknown field `pi`", "must be longer than 0"] {
        assert!(err.contains(told), "{told}: {err}");
    }
    // A row of an event has no alert.
    let folder = project(&PIPELINE.replace("columns: [_id, ip, bad]", "columns: [_id, alert_name]"));
    let (output, _, err) = ouzel(&["validate", "-p", &folder.path().display().to_string()], &[]);
    assert!(output.status.code() == Some(3) && err.contains("alert_name"), "{err}");
    let folder = project(&PIPELINE.replace("alerts:\n  - name", "other:\n  - name"));
    assert_eq!(ouzel(&["validate", "-p", &folder.path().display().to_string()], &[]).0.status.code(), Some(3));
}

#[test]
fn lists_decide_before_rules_until_their_time() {
    let lists = "lists:\n  - allow: { of: ip, file: lists/friends.csv }\n  - deny: { of: ip, file: lists/foes.csv }\nalerts:";
    let folder = project(
        &PIPELINE
            .replacen("alerts:", lists, 1)
            .replace("columns: [_id, ip, bad]", "columns: [ip, decision, rule, ip_allow_reason]"),
    );
    let root = folder.path();
    write(root, "lists/friends.csv", "value,until,reason,author\n10.0.0.1,1970-01-01T00:00:20Z,our own scanner,kim\n");
    write(root, "lists/foes.csv", "value,until,reason,author\n10.0.0.1,,stuffing,lee\n10.0.0.9,,,\n");
    write(root, "in.ndjson", &log());
    let (code, _, err) = run(root, &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    let text = std::fs::read_to_string(root.join("events.ndjson")).expect("written");
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let at = |i: usize| (rows[i]["decision"].as_str().unwrap_or_default(), rows[i]["rule"].as_str().unwrap_or_default());
    assert_eq!(at(18), ("allow", "list_ip_allow"));
    assert_eq!(rows[18]["ip_allow_reason"], "our own scanner");
    assert_eq!(at(20), ("deny", "list_ip_deny"), "the first list's time is over");
    assert_eq!(at(21), ("allow", "others"));
    let (_, out, _) = ouzel(&["explain", "-p", &root.display().to_string(), "web.0.0.18.0"], &[]);
    assert!(out.contains("list_ip_allow -> allow: decided") && out.contains("our own scanner") && out.contains("kim"), "{out}");
}

/// An event that is dated far ahead is told, and silences nobody.
#[test]
fn one_event_far_ahead_holds_nothing_back() {
    let folder = project(PIPELINE);
    let line = |t: String| format!("{{\"t\":\"{t}\",\"ip\":\"10.0.0.1\",\"ok\":false}}\n");
    let mut log: String = (0..50).map(|i| line(format!("2024-03-01T00:00:{i:02}Z"))).collect();
    log += &line("9999-01-01T00:00:00Z".into());
    log += &(0..300).map(|i| line(format!("2024-03-01T00:{:02}:{:02}Z", 5 + i / 60, i % 60))).collect::<String>();
    write(folder.path(), "in.ndjson", &log);
    let (code, summary, err) = run(folder.path(), &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    let raised = summary["web"]["alerts"]["failures"]["raised"].as_u64().unwrap_or(0);
    assert!((5..=8).contains(&raised), "{summary}");
}

/// A row on which an alert's sink panics is dead-lettered; the others go on.
#[test]
fn an_alert_that_makes_a_sink_panic_is_dead_lettered() {
    let folder = project(&PIPELINE.replace("  - file: { path: events.ndjson, columns: [_id, ip, bad] }\n", ""));
    let root = folder.path();
    write(root, "in.ndjson", &log());
    let (code, summary, err) = run(root, &[], &[("OUZEL_FAULT", "panic:encode:\"t\":4,")]);
    assert_eq!(code, Some(0), "{err}");
    let sink = &summary["web"]["sinks"][0];
    assert_eq!((&sink["dead_lettered"], &sink["delivered"]), (&json!(1), &json!(32)), "{summary}");
}
