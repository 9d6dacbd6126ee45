//! Dependencies run one way: ouzel -> engine -> {connect, lake -> detect} -> core.

use serde_json::Value;
use std::process::Command;

/// Which crates of the workspace each may name.
const MAY_NAME: [(&str, &[&str]); 6] = [
    ("ouzel", &["ouzel-engine", "ouzel-connect", "ouzel-lake", "ouzel-detect", "ouzel-core"]),
    ("ouzel-engine", &["ouzel-connect", "ouzel-lake", "ouzel-detect", "ouzel-core"]),
    ("ouzel-lake", &["ouzel-detect", "ouzel-core"]),
    ("ouzel-connect", &["ouzel-core"]),
    ("ouzel-detect", &["ouzel-core"]),
    ("ouzel-core", &[]),
];

#[test]
fn crates_depend_one_way() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = text(&package["name"]);
        let Some((_, allowed)) = MAY_NAME.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!(
                "`{name}` has no place in the order of crates: give it one in this test and in docs/ARCHITECTURE.md"
            ));
            continue;
        };
        // Those for tests and builds too.
        for other in package["dependencies"].as_array().expect("a list") {
            let other = text(&other["name"]);
            if other.starts_with("ouzel") && !allowed.contains(&other) {
                wrong.push(format!("`{name}` must not depend on `{other}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What each crate is kept free of.
#[test]
fn heavy_dependencies_stay_in_their_crates() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = text(&package["name"]);
        for dependency in package["dependencies"].as_array().expect("a list") {
            let dependency_name = text(&dependency["name"]);
            let in_place = match dependency_name {
                _ if dependency_name.starts_with("deltalake") => name == "ouzel-lake",
                _ if dependency_name.starts_with("datafusion") => !["ouzel-core", "ouzel-connect"].contains(&name),
                _ => true,
            };
            if !in_place {
                wrong.push(format!("`{name}` must not depend on `{dependency_name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
