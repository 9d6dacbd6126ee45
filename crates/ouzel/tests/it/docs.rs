//! Docs that are made are as they would be made now, every example in a doc comment parses, and the tutorial does what it says.

use super::{ouzel, repository};
use ouzel_core::Report;
use ouzel_core::yaml::{decode, parse};
use ouzel_engine::config::{PipelineConfig, ProjectConfig};
use ouzel_engine::registry::{CodecConfig, LookupConfig, SinkConfig, SourceConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_reference_page_is_up_to_date() {
    let (_, made, _) = ouzel(&["schema", "reference"], &[]);
    let kept = std::fs::read_to_string(repository().join("docs/reference.md")).expect("docs/reference.md is there");
    assert!(made == kept, "docs/reference.md is old: ouzel schema reference > docs/reference.md");
}

/// The tutorial, word by word, but for the shell, which needs a terminal.
#[test]
fn the_tutorial_does_what_it_says() {
    let text = std::fs::read_to_string(repository().join("docs/tutorial.md")).expect("the tutorial");
    let folder = tempfile::tempdir().expect("a folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_ouzel")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut done = 0;
    for command in text
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("ouzel ") && !line.contains("# a shell"))
    {
        let mut shell = Command::new("sh");
        let ended =
            shell.args(["-c", command]).current_dir(&folder).env("PATH", &path).stdin(Stdio::null()).output().expect("runs");
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{command}: {out}{err}");
        if command.starts_with("ouzel explain") {
            assert!(out.contains("deny by rule very_unusual_ip"), "{command}: it is of an alert: {out}");
        }
        done += 1;
    }
    assert!(done >= 10, "{done} commands");
    assert!(folder.path().join("denied.parquet").exists());
}

#[test]
fn every_example_in_a_doc_comment_parses() {
    let mut examples = 0;
    let schema = schemars::schema_for!(PipelineConfig).to_value();
    for (name, def) in schema["$defs"].as_object().expect("definitions") {
        for example in yaml_blocks(def) {
            examples += 1;
            match kind_of(name, &schema) {
                Some("SourceConfig") => check::<SourceConfig>(name, &example),
                Some("CodecConfig") => check::<CodecConfig>(name, &example),
                Some("LookupConfig") => check::<LookupConfig>(name, &example),
                Some("SinkConfig") => check::<SinkConfig>(name, &example),
                _ if name == "AlertConfig" => check::<ouzel_detect::alerts::AlertConfig>(name, &example),
                _ if name == "RiskConfig" => check::<ouzel_engine::risk::RiskConfig>(name, &example),
                _ if name == "ListConfig" => check::<ouzel_engine::lists::ListConfig>(name, &example),
                _ if name == "GroupConfig" => check::<ouzel_detect::features::GroupConfig>(name, &example),
                other => panic!("the example of {name} ({other:?}) is checked by nobody"),
            }
        }
    }
    for example in yaml_blocks(&schemars::schema_for!(ProjectConfig).to_value()) {
        examples += 1;
        check::<ProjectConfig>("ProjectConfig", &example);
    }
    for example in yaml_blocks(&schemars::schema_for!(ouzel_detect::schema::SchemaConfig).to_value()) {
        examples += 1;
        check::<ouzel_detect::schema::SchemaConfig>("SchemaConfig", &example);
    }
    for example in yaml_blocks(&schemars::schema_for!(ouzel_engine::jobs::JobConfig).to_value()) {
        examples += 1;
        // Its lists of columns are spelled out before it is read.
        check::<ouzel_engine::jobs::JobConfig>(
            "JobConfig",
            &example.replace("unique: [day, customer]", "unique: { columns: [day, customer] }"),
        );
    }
    assert!(examples >= 14, "only {examples} examples: were the doc comments lost?");
}

fn yaml_blocks(schema: &Value) -> Vec<String> {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(String::from).collect()
}

/// The enum that has this struct as one of its kinds.
fn kind_of<'s>(name: &str, schema: &'s Value) -> Option<&'s str> {
    schema["$defs"].as_object()?.iter().find_map(|(kind, def)| {
        let reference = format!("#/$defs/{name}");
        let has = def["oneOf"]
            .as_array()?
            .iter()
            .any(|v| v["properties"].as_object().is_some_and(|p| p.values().any(|c| c["$ref"] == reference.as_str())));
        has.then_some(kind.as_str())
    })
}

/// Lines that each are an example of their own, or one example of several lines.
fn check<T: DeserializeOwned>(name: &str, example: &str) {
    let parts: Vec<&str> =
        if example.lines().filter(|l| !l.starts_with([' ', '#']) && !l.is_empty()).count() > 1 && is_lines(example) {
            example.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).collect()
        } else {
            vec![example]
        };
    for part in parts {
        let mut report = Report::new();
        let file = report.file(name.to_string(), part.to_string());
        let decoded = parse(&mut report, file, part, &|_| Some("x".into())).and_then(|node| decode::<T>(&mut report, &node));
        assert!(decoded.is_some() && !report.has_errors(), "{}", report.render(|_, w| w.to_string()));
    }
}

/// One flow mapping a line: several examples under one another.
fn is_lines(example: &str) -> bool {
    let first = |l: &str| l.split(':').next().map(str::to_string);
    let keys: Vec<_> = example.lines().filter(|l| !l.trim().is_empty() && !l.starts_with([' ', '#'])).map(first).collect();
    keys.windows(2).any(|w| w[0] == w[1])
}
