use super::*;
use crate::Report;
use serde::Deserialize;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Shop {
    name: Spanned<String>,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    by: OneOrMany<String>,
    #[serde(default)]
    sinks: Vec<Lenient<SinkKind>>,
    #[serde(default)]
    scores: Ordered<TextOr<Full>>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum SinkKind {
    File(FileSink),
    Stdout(StdoutSink),
}
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct FileSink {
    path: String,
}
#[derive(Debug, Deserialize, PartialEq)]
struct StdoutSink {}
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Full {
    onnx: String,
}

fn read(text: &str) -> (Option<Shop>, String) {
    let mut report = Report::new();
    let file = report.file("ouzel.yaml", text);
    let env = |name: &str| (name == "HOME_PORT").then(|| "8080".to_string());
    let shop = parse(&mut report, file, text, &env).and_then(|node| decode(&mut report, &node));
    (shop, report.render(|_, word| word.to_string()))
}

#[test]
fn short_forms_variables_and_places() {
    let (shop, problems) = read(
        "name: shop\nport: ${HOME_PORT}\nby: ip\nsinks:\n - file: { path: \"${OUT:-out}/a$${b}\" }\n - stdout\nscores:\n  b: \"1 + 1\"\n  a: { onnx: m }\n",
    );
    assert_eq!(problems, "");
    let shop = shop.expect("decodes");
    assert_eq!((shop.name.span.line, shop.name.span.column), (1, 7));
    assert_eq!((shop.port, shop.by.0), (8080, vec!["ip".to_string()]));
    assert_eq!(shop.sinks[0].0, Some(SinkKind::File(FileSink { path: "out/a${b}".into() })));
    assert_eq!(shop.sinks[1].0, Some(SinkKind::Stdout(StdoutSink {})));
    let names: Vec<&str> = shop.scores.0.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn all_problems_at_once() {
    let (shop, problems) = read("name: shop\nprot: 1\nsinks:\n - file: { pth: a }\n - fil: {}\nport: many\n");
    assert!(shop.is_none());
    for expected in [
        "2:1: error: unknown field `prot`",
        "did you mean `port`?",
        "4:12: error: unknown field `pth`",
        "missing field `path`",
        "5:4: error: unknown kind `fil`",
        "did you mean `file`?",
        "6:7: error: expected a whole number, 0 or more, found `many`",
    ] {
        assert!(problems.contains(expected), "{expected} in\n{problems}");
    }
}

#[test]
fn what_yaml_refuses() {
    for (text, expected) in [
        ("a: [1", "invalid YAML"),
        ("name: a\nname: b", "`name` is given twice"),
        ("name: *x", "error"),
        ("name: ${NOPE}", "the environment variable `NOPE` is not set"),
        ("name: a\n---\nname: b", "a second document"),
        ("- a", "expected a mapping, found a list"),
        ("", "missing field `name`"),
    ] {
        let (_, problems) = read(text);
        assert!(problems.contains(expected), "{text}: {expected} in\n{problems}");
    }
    let deep = "[".repeat(5000);
    assert!(read(&deep).1.contains("error"));
}
