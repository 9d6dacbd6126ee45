//! State that earlier versions wrote is read by this one, and a run goes on from it as that version would have.
//!
//! `tests/fixtures/state-N` is a project that version N of the format had run over `in-1.ndjson`. Fixtures are never changed; a new version
//! of the format adds one.

use ouzel_engine::runtime::run_recut;
use ouzel_engine::{Control, Options, PipelineSummary, project};
use std::path::Path;
use tempfile::TempDir;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &target),
            false => _ = std::fs::copy(&path, &target).expect("a copy"),
        }
    }
}

/// The rest of the log comes, and the project is run.
fn run(root: &Path) -> (String, PipelineSummary) {
    std::fs::copy(root.join("later.ndjson"), root.join("in-2.ndjson")).expect("a copy");
    let (project, report) = project::load(root, &|_| None);
    let project = project.unwrap_or_else(|| panic!("{}", report.render(|_, word| word.to_string())));
    let options = Options { threads: 2, ..Options::default() };
    let plan = &project.pipelines[0].plan;
    let summary = run_recut(plan, &project.place(), &options, &Control::default(), &|source, _| source).expect("runs");
    (std::fs::read_to_string(root.join("out.ndjson")).expect("written"), summary)
}

#[test]
fn a_run_goes_on_from_state_of_every_version() {
    let fixtures = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("tests/fixtures");
    let mut versions = 0;
    for fixture in std::fs::read_dir(fixtures).expect("fixtures").flatten() {
        let (begun, anew) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        copy(&fixture.path(), begun.path());
        copy(&fixture.path(), anew.path());
        std::fs::remove_dir_all(anew.path().join("state")).expect("was there");
        let (rows, summary) = run(begun.path());
        let resumed = summary.resumed.expect("goes on");
        assert_eq!((resumed.events, summary.received), (200, 300), "{:?}: {:?}", fixture.file_name(), summary.notes);
        assert!(summary.notes.is_empty(), "{:?}", summary.notes);
        assert_eq!(rows, run(anew.path()).0, "{:?}", fixture.file_name());
        versions += 1;
    }
    assert_eq!(versions, 2, "each version of the format has a fixture");
}
