//! Runs that go on where the last one stopped, and what keeps one from doing so.

use super::commands::{project, write};
use super::ouzel;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

pub const PIPELINE: &str = "source: { file: { path: \"in-*.ndjson\" } }
codec: json
event: { fields: { t: timestamp, ip: ip }, time: t }
features: [{ by: ip, measure: { n: { count: \"*\", within: 1h } } }]
decision: [{ deny: \"n > 3\" }, { allow: \"true\" }]
sinks: [{ file: { path: out.ndjson, columns: [_id, ip, n, decision] } }]
";

pub fn log(from: usize, n: usize) -> String {
    (from..from + n).map(|i| format!("{{\"t\":{i},\"ip\":\"10.0.0.{}\"}}\n", i % 7)).collect()
}

/// Exit code, the pipeline's summary, and what was said.
pub fn run(root: &Path, more: &[&str], env: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let (code, summaries, err) = super::run(root, more, env);
    (code, summaries["web"].clone(), err)
}

pub fn rows(root: &Path) -> String {
    std::fs::read_to_string(root.join("out.ndjson")).expect("written")
}

/// A log that is written to all the time is read on with each run, also where others follow it; not where its last line was half written.
#[test]
fn lines_that_are_added_to_the_last_file_are_read_on() {
    let folder = project(PIPELINE);
    let root = folder.path();
    for lines in [30, 30, 70, 150] {
        write(root, "in-1.ndjson", &log(0, lines));
        let (code, summary, err) = run(root, &[], &[]);
        assert_eq!((code, &summary["received"]), (Some(0), &lines.into()), "{err}");
    }
    write(root, "in-1.ndjson", &log(0, 160));
    write(root, "in-2.ndjson", &log(160, 10));
    let (code, summary, err) = run(root, &[], &[]);
    assert_eq!((code, &summary["received"]), (Some(0), &170.into()), "{err}");
    assert_eq!(rows(root), uninterrupted(&[("in-1.ndjson", log(0, 160)), ("in-2.ndjson", log(160, 10))]));
    // Also from its beginning.
    write(root, "in-2.ndjson", &log(160, 20));
    write(root, "pipelines/web.yaml", &PIPELINE.replace("within: 1h", "within: 2h"));
    let (code, summary, err) = run(root, &["--rebuild"], &[]);
    assert_eq!((code, &summary["received"]), (Some(0), &180.into()), "{err}");

    // One that is not the last any more; one whose last line was not whole.
    write(root, "in-1.ndjson", &log(0, 161));
    let (code, _, err) = run(root, &[], &[]);
    assert!(code == Some(6) && err.contains("has grown since it was read"), "{err}");
    write(root, "in-1.ndjson", &log(0, 160));
    write(root, "in-3.ndjson", log(180, 5).trim_end());
    assert_eq!(run(root, &[], &[]).1["received"], 185);
    write(root, "in-3.ndjson", &log(180, 6));
    let (code, _, err) = run(root, &[], &[]);
    assert!(code == Some(6) && err.contains("the last of which was whole"), "{err}");
    // One whose beginning is another.
    write(root, "in-3.ndjson", log(180, 5).trim_end());
    write(root, "in-2.ndjson", &log(161, 30));
    assert_eq!(run(root, &[], &[]).0, Some(6));
}

/// What one run over all of it writes.
fn uninterrupted(logs: &[(&str, String)]) -> String {
    let folder = project(PIPELINE);
    logs.iter().for_each(|(name, text)| write(folder.path(), name, text));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    rows(folder.path())
}

#[test]
fn a_run_goes_on_where_the_last_one_stopped() {
    let folder = project(PIPELINE);
    let root = folder.path();
    let logs = [("in-1.ndjson", log(0, 100)), ("in-2.ndjson", log(100, 50))];
    write(root, logs[0].0, &logs[0].1);
    let (code, summary, _) = run(root, &[], &[]);
    assert_eq!((code, &summary["received"], &summary["resumed"]), (Some(0), &100.into(), &Value::Null));
    let (code, summary, _) = run(root, &[], &[]);
    assert_eq!((code, &summary["received"], &summary["resumed"]["events"]), (Some(0), &100.into(), &100.into()));
    write(root, logs[1].0, &logs[1].1);
    let (code, summary, _) = run(root, &[], &[]);
    assert_eq!((code, &summary["received"], &summary["resumed"]["events"]), (Some(0), &150.into(), &100.into()));
    assert_eq!(rows(root), uninterrupted(&logs));

    // What was read may go, or look newer, as long as it is what it was.
    std::fs::remove_file(root.join("in-1.ndjson")).expect("was there");
    write(root, logs[1].0, &logs[1].1);
    let (code, summary, err) = run(root, &[], &[]);
    assert_eq!((code, &summary["delivered"]), (Some(0), &150.into()), "{err}");

    let (code, summary, _) = run(root, &["--fresh"], &[]);
    assert_eq!((code, &summary["received"], &summary["generation"]), (Some(0), &50.into(), &1.into()));
    assert!(rows(root).starts_with("{\"_id\":\"web.1.0.0.0\""), "{}", rows(root));
}

#[test]
fn killed_at_every_point_of_a_commit_it_ends_the_same() {
    let logs = [("in-1.ndjson", log(0, 3000))];
    let expected = uninterrupted(&logs);
    for point in
        ["commit-begun", "sinks-synced", "delta-written", "delta-synced", "manifest-synced", "manifest-linked", "published"]
    {
        for nth in ["1", "2"] {
            let folder = project(PIPELINE);
            write(folder.path(), logs[0].0, &logs[0].1);
            let (code, ..) = run(folder.path(), &[], &[("OUZEL_FAULT", &format!("kill:{point}:{nth}"))]);
            // The fence is a commit too: what it passes is passed twice.
            let is_reached = nth == "1" || point.starts_with("manifest") || point == "delta-synced";
            assert_eq!(code.is_none(), is_reached, "{point} {nth}: ended with {code:?}");
            let (code, summary, err) = run(folder.path(), &[], &[]);
            assert_eq!((code, &summary["received"]), (Some(0), &3000.into()), "{point} {nth}: {err}");
            assert_eq!(rows(folder.path()), expected, "{point} {nth}");
        }
    }
}

#[test]
fn what_has_changed_is_refused_and_named() {
    let changed = |change: &dyn Fn(&Path), named: &str| {
        let folder = project(PIPELINE);
        write(folder.path(), "in-1.ndjson", &log(0, 100));
        assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
        let before = rows(folder.path());
        change(folder.path());
        let (code, _, err) = run(folder.path(), &[], &[]);
        assert_eq!(code, Some(6), "{named}: {err}");
        assert!(err.contains(named), "{named}: {err}");
        if folder.path().join("out.ndjson").exists() && named != "out.ndjson" {
            assert_eq!(rows(folder.path()), before, "nothing is touched");
        }
        assert_eq!(run(folder.path(), &["--fresh"], &[]).0, Some(0), "{named}: anew");
    };
    changed(&|root| write(root, "in-1.ndjson", &log(0, 100).replacen("10.0.0.1", "10.0.0.9", 1)), "`in-1.ndjson` has changed");
    changed(&|root| write(root, "in-1.ndjson", &format!("{}x", log(1, 100))), "`in-1.ndjson` has changed");
    changed(&|root| write(root, "pipelines/web.yaml", &PIPELINE.replace("within: 1h", "within: 2h")), "`features[0]`");
    changed(&|root| write(root, "pipelines/web.yaml", &PIPELINE.replace("time: t }", "time: t, lateness: 1s }")), "`event`");
    changed(&|root| write(root, "out.ndjson", ""), "out.ndjson");
    changed(
        &|root| {
            for file in std::fs::read_dir(root.join(".ouzel/state/web")).expect("state").flatten() {
                if file.path().extension().is_some_and(|e| e == "delta") {
                    std::fs::write(file.path(), "torn").expect("written");
                }
            }
        },
        "no commit in",
    );
}

#[test]
fn rules_and_scores_may_change() {
    let folder = project(PIPELINE);
    write(folder.path(), "in-1.ndjson", &log(0, 100));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    write(folder.path(), "pipelines/web.yaml", &PIPELINE.replace("n > 3", "n > 5"));
    write(folder.path(), "in-2.ndjson", &log(100, 10));
    let (code, summary, err) = run(folder.path(), &[], &[]);
    assert_eq!((code, &summary["received"]), (Some(0), &110.into()), "{err}");
}

#[test]
fn a_comment_changes_no_definition() {
    let folder = project(&PIPELINE.replace("fields: { t: timestamp, ip: ip }", "schema: schemas/e.yaml"));
    write(folder.path(), "schemas/e.yaml", "fields:\n  t: timestamp\n  ip: ip\n");
    write(folder.path(), "in-1.ndjson", &log(0, 10));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    write(folder.path(), "schemas/e.yaml", "# What an event is.\nfields:\n  t: timestamp\n\n  ip: ip   # the address\n");
    let commented = std::fs::read_to_string(folder.path().join("pipelines/web.yaml")).expect("text");
    write(folder.path(), "pipelines/web.yaml", &format!("# Requests.\n{commented}"));
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert_eq!(code, Some(0), "{err}");
    write(folder.path(), "schemas/e.yaml", "fields:\n  t: timestamp\n  ip: text\n");
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert!(code == Some(6) && err.contains("`schema` is another"), "{err}");
}

#[test]
fn state_of_another_project_or_a_newer_version_is_refused() {
    let folder = project(PIPELINE);
    write(folder.path(), "in-1.ndjson", &log(0, 10));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    write(folder.path(), "ouzel.yaml", "name: other\n");
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert!(code == Some(6) && err.contains("of project `test`, not of `web` of `other`"), "{code:?} {err}");

    write(folder.path(), ".ouzel/state/web/000000000099.manifest", "{\"format\":99}\ncrc32c c4d65f3c\n");
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert!(code == Some(6) && err.contains("newer version of Ouzel (format 99"), "{code:?} {err}");
}

#[test]
fn a_second_process_is_refused() {
    let folder = project(&PIPELINE.replace("in-*.ndjson", "-"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ouzel"));
    command.args(["run", "-p"]).arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = command.spawn().expect("starts");
    while !folder.path().join("out.ndjson").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains(&format!("in use by process {}", first.id())) && err.contains("--take-over"), "{err}");
    drop(first.stdin.take());
    assert!(first.wait().expect("ends").success());
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
}

/// A step that panics on an event dead-letters that event, and the rest goes on.
#[test]
fn an_event_that_makes_a_step_panic_is_dead_lettered() {
    let folder = project(PIPELINE);
    let logs = log(0, 500).replacen("10.0.0.3", "10.0.0.77", 1);
    write(folder.path(), "in-1.ndjson", &logs);
    for (step, dead, rows_out, of_sink) in [("read", 1, 499, 0), ("score", 1, 499, 0), ("encode", 0, 499, 1)] {
        let env = [("OUZEL_FAULT", format!("panic:{step}:10.0.0.77"))];
        let (code, summary, err) = run(folder.path(), &["--fresh"], &[(env[0].0, env[0].1.as_str())]);
        assert_eq!(code, Some(0), "{step}: {err}");
        assert!(!err.contains("panicked at"), "{step}: {err}");
        assert_eq!((&summary["received"], &summary["dead_lettered"]), (&500.into(), &dead.into()), "{step}");
        assert_eq!(summary["sinks"][0]["dead_lettered"], of_sink, "{step}");
        assert_eq!(rows(folder.path()).lines().count(), rows_out, "{step}");
        let root = folder.path().display().to_string();
        let (_, out, _) = ouzel(&["deadletters", "-p", &root, "list", "--format", "json"], &[]);
        let letter: Value = serde_json::from_str(&out).expect("one letter");
        assert_eq!(letter["raw"], "{\"t\":3,\"ip\":\"10.0.0.77\"}", "{step}");
        assert!(letter["reason"].as_str().expect("a reason").contains("panicked: the event holds"), "{letter}");
        // Every other event has the id and the result it has without it.
        let id = format!("web.{}.0.3.0", summary["generation"]);
        assert_eq!(letter["id"], id, "{step}");
    }
}

#[test]
fn a_replay_is_a_generation_of_its_own_from_some_event_on() {
    let folder = project(PIPELINE);
    write(folder.path(), "in-1.ndjson", &log(0, 300));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    let before = rows(folder.path());
    let root = folder.path().display().to_string();
    let (output, out, err) = ouzel(&["replay", "-p", &root, "--from", "web.0.0.200.0", "--format", "json"], &[]);
    assert!(output.status.success(), "{err}");
    let summary: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    let web = &summary["pipelines"]["web"];
    assert_eq!(
        (&web["received"], &web["generation"], &web["sinks"][0]["offered"]),
        (&300.into(), &1.into(), &100.into()),
        "{web}"
    );
    let expected: String = before.lines().skip(200).map(|line| line.replace("web.0.", "web.1.") + "\n").collect();
    assert_eq!(rows(folder.path()), expected, "the same results, under ids of their own");
    assert_eq!(ouzel(&["replay", "-p", &root, "--from", "nonsense"], &[]).0.status.code(), Some(2));
}

/// Rows of a Delta table, as its log counts them.
fn table_rows(root: &Path) -> u64 {
    let log = std::fs::read_dir(root.join("lake/t/_delta_log")).expect("a table").flatten().map(|entry| entry.path());
    let texts =
        log.filter(|path| path.extension().is_some_and(|e| e == "json")).map(|path| std::fs::read_to_string(path).expect("text"));
    let lines: Vec<Value> =
        texts.flat_map(|text| text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect::<Vec<_>>()).collect();
    let stats = lines.iter().filter_map(|action| action["add"]["stats"].as_str());
    stats.map(|stats| serde_json::from_str::<Value>(stats).expect("JSON")["numRecords"].as_u64().expect("a number")).sum()
}

const LAKE: &str = "lake: { table: t, columns: [_id, ip, n] }";

#[test]
fn a_table_gets_the_rows_of_another_log_though_the_state_was_removed() {
    let folder = project(&PIPELINE.replace("file: { path: out.ndjson, columns: [_id, ip, n, decision] }", LAKE));
    write(folder.path(), "in-1.ndjson", &log(0, 100));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    std::fs::remove_dir_all(folder.path().join(".ouzel")).expect("was there");
    write(folder.path(), "in-1.ndjson", &log(5000, 60));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    assert_eq!(table_rows(folder.path()), 160);
}

#[test]
fn sinks_may_come_and_change_places() {
    let with = |sinks: &str| PIPELINE.replace("[{ file: { path: out.ndjson, columns: [_id, ip, n, decision] } }]", sinks);
    let folder = project(&with(&format!("[{{ {LAKE} }}]")));
    write(folder.path(), "in-1.ndjson", &log(0, 100));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    write(folder.path(), "pipelines/web.yaml", &with(&format!("[{{ file: {{ path: out.ndjson }} }}, {{ {LAKE} }}]")));
    write(folder.path(), "in-2.ndjson", &log(100, 10));
    let (code, summary, err) = run(folder.path(), &[], &[]);
    assert_eq!((code, table_rows(folder.path())), (Some(0), 110), "{err}");
    assert!(summary["notes"][0].as_str().expect("a note").contains("`file out.ndjson` is new"), "{summary}");
    assert_eq!(rows(folder.path()).lines().count(), 10);
}

/// Also where every run is too short for a merge of its own: nobody reads hundreds of files at a start.
#[test]
fn files_of_state_stay_few_however_short_the_runs() {
    let folder = project(PIPELINE);
    let mut logs = Vec::new();
    for i in 0..40usize {
        let (name, text) = (format!("in-{i:02}.ndjson"), log(i * 20, 20));
        write(folder.path(), &name, &text);
        logs.push((name, text));
        // Killed in the middle of a merge now and then, it comes to the same.
        let kill = [("OUZEL_FAULT", "kill:merge-written:1")];
        run(folder.path(), &[], if i % 7 == 3 { &kill } else { &[] });
        assert_eq!(run(folder.path(), &[], &[]).0, Some(0), "run {i}");
    }
    let state = std::fs::read_dir(folder.path().join(".ouzel/state/web")).expect("state").count();
    assert!(state < 40, "{state} files");
    let logs: Vec<(&str, String)> = logs.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    assert_eq!(rows(folder.path()), uninterrupted(&logs));
}

#[test]
fn what_was_set_aside_is_listed_shown_tried_again_and_dropped() {
    let folder = project(PIPELINE);
    write(folder.path(), "in-1.ndjson", &(log(0, 5) + "nonsense\n{\"ip\":\"10.0.0.1\"}\n{\"t\":1\n"));
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    let root = folder.path().display().to_string();
    let call = |args: &[&str]| {
        let (output, out, err) = ouzel(&[args, &["-p", &root]].concat(), &[]);
        (output.status.code(), out, err)
    };
    let (code, out, _) = call(&["deadletters"]);
    assert!(code == Some(0) && out.starts_with("web: 2 events\n  web.0.0.5.0  in-1.ndjson:"), "{out}");
    let (_, out, _) = call(&["quarantine", "show", "web.0.0.6.0"]);
    assert!(out.contains("no event time") && out.contains("raw       {\"ip\":\"10.0.0.1\"}"), "{out}");
    let asked = call(&[
        "query",
        "--csv",
        "select pipeline, file, byte, raw from dead_letters union all select pipeline, file, byte, raw from quarantine order by byte",
    ]);
    assert!(
        asked.1.starts_with("pipeline,file,byte,raw\nweb,in-1.ndjson,")
            && asked.1.contains(",nonsense\n")
            && asked.1.lines().count() == 4,
        "{asked:?}"
    );
    let again = folder.path().join("in-2.ndjson").display().to_string();
    assert_eq!(call(&["deadletters", "retry", "web.0.0.5.0", "--to", &again]).0, Some(0));
    assert_eq!(std::fs::read_to_string(&again).expect("written"), "nonsense\n");
    assert_eq!(run(folder.path(), &[], &[]).1["dead_lettered"], 3, "tried again, it failed again");
    assert_eq!(call(&["deadletters", "drop", "web.0.0.9.0"]).0, Some(1), "there is none of that id");
    assert_eq!(call(&["deadletters", "drop"]).0, Some(2), "which?");
    assert_eq!(call(&["deadletters", "drop", "--all"]).0, Some(0));
    assert!(call(&["deadletters"]).1.starts_with("web: 0 events"));
    // The counts of the runs stay, and a run goes on.
    let journal = folder.path().join(".ouzel/state/web/dead_letters.ndjson");
    assert!(journal.exists());
    assert_eq!(run(folder.path(), &[], &[]).1["dead_lettered"], 3);
    assert_eq!(journal.metadata().expect("is there").len(), 0, "all is settled: there is room again");
    write(folder.path(), "in-3.ndjson", "more nonsense\n");
    assert_eq!(run(folder.path(), &[], &[]).1["dead_lettered"], 4);
    assert!(call(&["deadletters"]).1.starts_with("web: 1 event\n"));
    std::fs::remove_file(journal).expect("was there");
    let (code, _, err) = run(folder.path(), &[], &[]);
    assert!(code == Some(6) && err.contains("dead_letters.ndjson") && err.contains("--fresh"), "{code:?} {err}");
}
