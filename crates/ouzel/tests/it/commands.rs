//! Commands: what they print, how they end.

use super::ouzel;
use std::path::Path;

pub fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

pub fn project(pipeline: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "ouzel.yaml", "name: test\n");
    write(folder.path(), "pipelines/web.yaml", pipeline);
    folder
}

const PIPELINE: &str = "source: { file: { path: \"in.ndjson\" } }
codec: json
event: { fields: { t: timestamp, ip: ip }, time: t }
features: [{ by: ip, measure: { n: { count: \"*\", within: 1m } } }]
decision: [{ deny: \"n > 1\" }, { allow: \"true\" }]
sinks: [{ file: { path: out.ndjson, columns: [ip, n, decision] } }]
";

#[test]
fn run_ends_with_counts_that_add_up() {
    let folder = project(PIPELINE);
    write(
        folder.path(),
        "in.ndjson",
        "{\"t\":1,\"ip\":\"10.0.0.1\"}\n{\"t\":2,\"ip\":\"10.0.0.1\"}\nnonsense\n{\"ip\":\"10.0.0.1\"}\n",
    );
    let root = folder.path().display().to_string();
    let (output, out, err) = ouzel(&["run", "-p", &root, "--format", "json"], &[]);
    assert!(output.status.success(), "{err}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().expect("a last line")).expect("JSON");
    let web = &last["pipelines"]["web"];
    for (count, n) in
        [("received", 4), ("delivered", 2), ("filtered", 0), ("duplicate", 0), ("quarantined", 1), ("dead_lettered", 1)]
    {
        assert_eq!(web[count], n, "{count} in {web}");
    }
    let rows = std::fs::read_to_string(folder.path().join("out.ndjson")).expect("written");
    assert_eq!(
        rows,
        "{\"ip\":\"10.0.0.1\",\"n\":1,\"decision\":\"allow\"}\n{\"ip\":\"10.0.0.1\",\"n\":2,\"decision\":\"deny\"}\n"
    );
    let dead = std::fs::read_to_string(folder.path().join(".ouzel/state/web/dead_letters.ndjson")).expect("written");
    assert!(dead.contains("\"raw\":\"nonsense\"") && dead.contains("\"id\":\"web.0.0.2.0\""), "{dead}");
}

#[test]
fn exit_codes() {
    let folder = project(PIPELINE);
    let root = folder.path().display().to_string();
    let code = |args: &[&str]| ouzel(args, &[]).0.status.code();
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["validate", "-p", &root]), Some(0), "validate reads nothing outside the project");
    assert_ne!(code(&["validate", "--connect", "-p", &root]), Some(0), "the input is missing");
    assert_eq!(code(&["validate", "-p", "/no/such/folder"]), Some(3));
    assert_eq!(code(&["run", "-p", &root, "no-such-pipeline"]), Some(2));
    write(folder.path(), "pipelines/web.yaml", &PIPELINE.replace("count", "cuont"));
    assert_eq!(code(&["run", "-p", &root]), Some(3));
}

#[test]
fn init_makes_a_project_that_is_valid_and_tested() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("shop").display().to_string();
    assert!(ouzel(&["init", &root], &[]).0.status.success());
    assert_eq!(ouzel(&["init", &root], &[]).0.status.code(), Some(4), "not over what is there");
    let (output, out, err) = ouzel(&["validate", "-p", &root, "--connect"], &[]);
    assert!(output.status.success(), "{err}");
    assert_eq!((out.as_str(), err.as_str()), ("web: valid (web, networks, ten_minutes, daily)\n", ""));
    assert!(ouzel(&["test", "-p", &root], &[]).0.status.success());
}

#[test]
fn generated_traffic_is_the_same_for_the_same_seed() {
    let (_, a, _) = ouzel(&["generate", "--events", "1000"], &[]);
    let (_, b, _) = ouzel(&["generate", "--events", "2000"], &[]);
    assert_eq!(a.lines().count(), 1_000);
    assert!(b.starts_with(&a));
}

#[test]
fn a_run_never_writes_over_what_it_reads() {
    let over = |sinks: &str, source: &str| {
        let text =
            PIPELINE.replace("in.ndjson", source).replace("[{ file: { path: out.ndjson, columns: [ip, n, decision] } }]", sinks);
        let folder = project(&text);
        write(folder.path(), "in.ndjson", "{\"t\":1,\"ip\":\"10.0.0.1\"}\n");
        let (output, _, err) = ouzel(&["run", "-p", &folder.path().display().to_string()], &[]);
        assert_eq!(output.status.code(), Some(3), "{sinks}: {err}");
        assert_eq!(std::fs::metadata(folder.path().join("in.ndjson")).expect("still there").len(), 24, "{sinks}");
    };
    over("[{ file: { path: in.ndjson } }]", "in.ndjson");
    over("[{ file: { path: \"./pipelines/../in.ndjson\", format: ndjson } }]", "in.ndjson");
    over("[{ file: { path: out.ndjson } }]", "*.ndjson");
    over("[{ file: { path: out.ndjson } }, { file: { path: ./out.ndjson } }]", "in.ndjson");
}

#[test]
fn a_run_that_fails_has_counts() {
    let folder = project(PIPELINE);
    let sink = "/dev/full";
    if !Path::new(sink).exists() {
        eprintln!("SKIPPED: there is no {sink} here");
        return;
    }
    let text = PIPELINE.replace("out.ndjson", sink).replace("columns:", "format: ndjson, columns:");
    write(folder.path(), "pipelines/web.yaml", &text);
    write(folder.path(), "in.ndjson", &"{\"t\":1,\"ip\":\"10.0.0.1\"}\n".repeat(10));
    let (output, out, err) = ouzel(&["run", "-p", &folder.path().display().to_string(), "--format", "json"], &[]);
    assert_eq!(output.status.code(), Some(4), "{err}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().expect("a last line")).expect("JSON");
    let web = &last["pipelines"]["web"];
    assert_eq!((web["received"].as_u64(), web["in_flight"].as_u64()), (Some(10), Some(10)), "{web}");
    assert!(web["error"].as_str().is_some_and(|e| e.contains(sink)), "{web}");
}

#[test]
fn full_standard_output_is_an_error_not_a_panic() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        eprintln!("SKIPPED: there is no /dev/full here");
        return;
    };
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_ouzel"))
        .args(["schema", "pipeline"])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("starts");
    assert_eq!(status.code(), Some(4));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_on_silent_input() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let folder = project(&PIPELINE.replace("in.ndjson", "-"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_ouzel"))
        .args(["run", "--format", "json", "-p", &folder.path().display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"{\"t\":1,\"ip\":\"10.0.0.1\"}\n").expect("written");
    // The event is there and written at once, though the input stays open.
    let out = folder.path().join("out.ndjson");
    for _ in 0..2_000 {
        if std::fs::read(&out).is_ok_and(|rows| rows.ends_with(b"\n")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(std::fs::read(&out).is_ok_and(|rows| rows.ends_with(b"\n")), "a lone event waits for nothing");
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(signal.success());
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(130));
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a last line")).expect("JSON");
    assert_eq!(last["pipelines"]["web"]["delivered"], 1);
    drop(input);
}
