//! The binary as a user has it.

mod alerts;
mod asking;
mod checks;
mod commands;
mod docs;
mod faults;
mod init;
mod jobs;
mod landing;
mod lookups;
mod rebuild;
mod records;
mod resume;
mod s3;
mod spark;
mod specs;
mod streams;
#[path = "../../../engine/tests/it/weed.rs"]
mod weed;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository: as it is at run time, for two clones may share what was built.
fn repository() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("../..")
}

/// Runs the binary; gives what it printed and how it ended.
fn ouzel(args: &[&str], env: &[(&str, &str)]) -> (Output, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ouzel")).args(args).envs(env.iter().copied()).output().expect("the binary starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    (output, out, err)
}

/// `ouzel run`: exit code, the pipelines' summaries by name, what was said.
fn run(root: &Path, more: &[&str], env: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let root = root.display().to_string();
    let args: Vec<&str> = ["run", "-p", &root, "--format", "json"].into_iter().chain(more.iter().copied()).collect();
    let (output, out, err) = ouzel(&args, env);
    let summary: Value = out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    (output.status.code(), summary["pipelines"].clone(), err)
}
