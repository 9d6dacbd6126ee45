//! The binary as a user has it.

mod commands;
mod docs;
mod resume;
mod specs;
mod streams;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the binary; gives what it printed and how it ended.
fn ouzel(args: &[&str], env: &[(&str, &str)]) -> (Output, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ouzel")).args(args).envs(env.iter().copied()).output().expect("the binary starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    (output, out, err)
}
