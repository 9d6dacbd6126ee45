//! What the tests of lookups share.

use super::LookupConfig;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, StringViewArray};
use ouzel_core::{FieldType, Lookup, Report, Result, yaml};
use std::fs;
use std::path::{Path, PathBuf};

/// A lookup, and the problems of its configuration.
pub(super) fn parse(text: &str) -> (Option<LookupConfig>, String) {
    let mut report = Report::new();
    let file = report.file("p.yaml", text);
    let config: Option<LookupConfig> =
        yaml::parse(&mut report, file, text, &|_| None).and_then(|node| yaml::decode(&mut report, &node));
    config.as_ref().inspect(|config| config.validate(&mut report));
    (config, report.render(|_, word| word.to_string()))
}

pub(super) fn good(text: &str) -> LookupConfig {
    let (config, problems) = parse(text);
    assert_eq!(problems, "");
    config.expect("no problems")
}

/// Each mistake and a part of what is said about it.
pub(super) fn check_mistakes(mistakes: &[(&str, &str)]) {
    for (bad, expected) in mistakes {
        let (_, problems) = parse(bad);
        assert!(problems.contains(expected), "{bad}: {problems}");
    }
}

/// A folder of files.
pub(super) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    dir
}

/// What is found of each key: each column as text, nulls as `-`.
pub(super) fn look_up(config: &LookupConfig, root: &Path, wanted: &[bool], keys: &[Option<&str>]) -> Result<Vec<String>> {
    let mut lookup = config.open(&|name| root.join(name), wanted)?.fork();
    Ok(found(config, lookup.as_mut(), keys))
}

/// The same, of one that is open.
pub(super) fn found(config: &LookupConfig, lookup: &mut dyn Lookup, keys: &[Option<&str>]) -> Vec<String> {
    let keys: StringViewArray = keys.iter().copied().collect();
    let columns = lookup.lookup(&keys).expect("never fails");
    let types = config.columns();
    assert_eq!(columns.len(), types.len());
    let column = |(column, (_, kind)): (&arrow_array::ArrayRef, (String, FieldType))| {
        assert_eq!((column.len(), column.data_type()), (keys.len(), &kind.arrow()));
        column.to_data().validate_full().expect("valid arrow data");
        let cell = |i: usize| match kind {
            _ if column.is_null(i) => "-".to_string(),
            FieldType::Int => column.as_primitive::<Int64Type>().value(i).to_string(),
            FieldType::Float => column.as_primitive::<Float64Type>().value(i).to_string(),
            FieldType::Bool => column.as_boolean().value(i).to_string(),
            _ => column.as_string_view().value(i).to_string(),
        };
        (0..keys.len()).map(cell).collect::<Vec<_>>().join(" ")
    };
    columns.iter().zip(types).map(column).collect()
}

/// Each file and a part of why it is refused.
pub(super) fn check_refused(config: &str, file: &str, refused: &[(&[u8], &str)]) {
    for (bytes, expected) in refused {
        let dir = folder(&[(file, bytes)]);
        let error = look_up(&good(config), dir.path(), &[], &[]).expect_err(expected);
        assert_eq!(error.kind, ouzel_core::Kind::Config, "{error}");
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
    }
}

/// The folder of real lists, where there is one.
pub(super) fn real(test: &str) -> Option<PathBuf> {
    let root =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("../../../shared/data/enrichment");
    if !root.is_dir() {
        println!("SKIPPED {test}: no folder {}", root.display());
        return None;
    }
    Some(root)
}
