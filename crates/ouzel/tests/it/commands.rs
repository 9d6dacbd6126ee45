//! Commands: what they print, how they end.

use super::ouzel;
use std::path::Path;

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn project(pipeline: &str) -> tempfile::TempDir {
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
    let dead = std::fs::read_to_string(folder.path().join(".ouzel/dead_letters/web.ndjson")).expect("written");
    assert!(
        dead.contains("\"raw\":\"nonsense\"") && dead.contains("\"id\":\"web.0.0.2.0\"") || !dead.contains("web.0"),
        "{dead}"
    );
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
    assert_eq!((out.as_str(), err.as_str()), ("web: valid (web)\n", ""));
    assert!(ouzel(&["test", "-p", &root], &[]).0.status.success());
}

#[test]
fn generated_traffic_is_the_same_for_the_same_seed() {
    let (_, a, _) = ouzel(&["generate", "--events", "1000"], &[]);
    let (_, b, _) = ouzel(&["generate", "--events", "2000"], &[]);
    assert_eq!(a.lines().count(), 1_000);
    assert!(b.starts_with(&a));
}
