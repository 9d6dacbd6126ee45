//! The project's own behaviour, by the same specs that users write.

use super::{ouzel, repository};

#[test]
fn the_projects_specs_hold() {
    let folder = repository().join("specs");
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .expect("specs/ is there")
        .filter_map(|e| Some(e.ok()?.path().display().to_string()))
        .filter(|p| p.ends_with(".md"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut args = vec!["test", "-p", "no-such-project"];
    args.extend(files.iter().map(String::as_str));
    let (output, out, err) = ouzel(&args, &[]);
    assert!(output.status.success(), "{err}\n{out}");
    println!("{out}");
}

#[test]
fn the_examples_specs_hold() {
    for example in ["web", "web-bots", "mail-trust", "user-activity", "fingerprints"] {
        let project = repository().join("examples").join(example).display().to_string();
        let (output, out, err) = ouzel(&["test", "-p", &project], &[]);
        assert!(output.status.success(), "{err}\n{out}");
    }
}

#[test]
fn a_spec_that_does_not_hold_fails_and_can_be_blessed() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = folder.path().join("wrong.md");
    let text = "# Wrong\n```yaml pipelines/x.yaml\nsource: { file: { path: a } }\ncodec: json\nevent: { fields: { t: timestamp }, time: t }\nfeatures: [{ by: t, measure: { n: { count: \"*\", within: 1m } } }]\nsinks: [stdout]\n```\n```ndjson input\n{\"t\": 1}\n```\n```ndjson output\n{\"n\": 2}\n```\n```yaml counts\nreceived: 7\n```\n";
    std::fs::write(&spec, text).expect("written");
    let path = spec.display().to_string();
    let (output, _, err) = ouzel(&["test", &path], &[]);
    assert_eq!(output.status.code(), Some(5), "{err}");
    assert!(err.contains("- expected 2\n    + found    1") && err.contains("received: expected 7, found 1"), "{err}");
    let (output, ..) = ouzel(&["test", "--bless", &path], &[]);
    assert!(output.status.success());
    let blessed = std::fs::read_to_string(&spec).expect("still there");
    assert_eq!(blessed, text.replace("{\"n\": 2}", "{\"n\":1}").replace("received: 7", "received: 1"));
    assert!(ouzel(&["test", &path], &[]).0.status.success());
}
