//! Reads log files, in name order, as one log. Every byte is handed over: what cannot be read as records
//! (a line without end, corrupt compression) becomes a chunk with a fault, and reading goes on behind it.

mod digest;
mod follow;
#[cfg(test)]
mod follow_tests;
mod open_file;
mod place;
mod reader;
mod rotation;
#[cfg(test)]
mod tests;
mod unchanged;

pub use follow::FollowSource;
pub use reader::FileReader;

use super::{Compression, NewFraming};
use ouzel_core::{Error, OneOrMany, Report, Result, Source, Spanned, error::ResultExt};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Events from files, or from standard input.
///
/// ```yaml
/// file: { path: "logs/*.log.gz" }
/// ```
///
/// All files of one source are one log, in the order of their full paths: name them so that older files come first.
/// A glob (`*`, `?`, `[a-z]`, `**`) passes over directories and hidden files. `-` is standard input: its events
/// pass as they come.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// A path or glob, or a list of them, relative to the project; or `-`.
    pub path: OneOrMany<Spanned<String>>,
    /// By default found out from each file's first bytes.
    #[serde(default)]
    pub compression: Compression,
}

const STANDARD_INPUT: &str = "-";

impl FileSource {
    pub fn validate(&self, report: &mut Report) {
        let paths = &self.path.0;
        if paths.is_empty() {
            report.error(Default::default(), "source `file` has no path").hint("give a path, a glob or `-`");
        }
        for path in paths {
            if path.is_empty() {
                report.error(path.span, "an empty path").hint("give a path, a glob or `-` for standard input");
            } else if path.value == STANDARD_INPUT && paths.len() > 1 {
                report.error(path.span, "standard input cannot be read together with files: their order is undefined");
            } else if let Err(e) = glob::Pattern::new(path) {
                report
                    .error(path.span, format!("invalid glob: {} at character {}", e.msg, e.pos + 1))
                    .hint("write `[[]` for a literal `[`");
            }
        }
    }

    /// Fails where a path names no file, a directory, or a file that cannot be opened.
    pub fn open(self, root: &Path, framing: NewFraming) -> Result<Box<dyn Source>> {
        if self.is_standard_input() {
            let input = Box::new(std::io::stdin());
            return Ok(Box::new(FileReader::from_reader("standard input", input, self.compression, framing)));
        }
        let mut files = Vec::new();
        let packed = framing().packing().is_some();
        for path in self.list(root)? {
            let about = fs::metadata(&path).doing(|| named("opening", &path))?;
            if packed && !about.is_file() {
                return Err(Error::config(format!(
                    "`{}` is no regular file: files of rows are not read from pipes",
                    path.display()
                )));
            }
            // Opening a pipe waits for its writer: not before its turn.
            if about.is_file() {
                fs::File::open(&path).doing(|| named("opening", &path))?;
            }
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into();
            let seen = place::Seen::of(&path).doing(|| named("opening", &path))?;
            files.push(reader::Listed { path, name, seen });
        }
        Ok(Box::new(FileReader::new(files, self.compression, framing)))
    }

    /// The files there are now, in the order in which they are read; empty for standard input.
    pub fn list(&self, root: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        if !self.is_standard_input() {
            for path in &self.path.0 {
                matches(root, path, &mut files)?;
            }
        }
        files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
        files.dedup();
        Ok(files)
    }

    /// Whether a file of this path would be read, were it there.
    pub fn matches(&self, root: &Path, file: &Path) -> bool {
        let options =
            glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..Default::default() };
        self.path.0.iter().any(|path| {
            let pattern = root.join(path.as_str());
            glob::Pattern::new(&pattern.to_string_lossy()).is_ok_and(|p| p.matches_path_with(file, options))
        })
    }

    pub fn is_standard_input(&self) -> bool {
        matches!(self.path.0.as_slice(), [only] if only.value == STANDARD_INPUT)
    }
}

/// Adds the files that one path or glob stands for.
fn matches(root: &Path, path: &str, files: &mut Vec<PathBuf>) -> Result<()> {
    let literal = root.join(path);
    match fs::metadata(&literal) {
        Ok(about) if about.is_dir() => {
            return Err(Error::config(format!(
                "`{path}` is a directory: name its files, for example `{}/*`",
                path.trim_end_matches('/')
            )));
        }
        Ok(_) => {
            files.push(literal);
            return Ok(());
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Err(e).doing(|| named("opening", &literal)),
        Err(_) => {}
    }
    let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let root = PathBuf::from(glob::Pattern::escape(&root.to_string_lossy()));
    let pattern = root.join(path);
    let found =
        glob::glob_with(&pattern.to_string_lossy(), options).map_err(|e| Error::config(format!("invalid glob `{path}`: {e}")))?;
    let before = files.len();
    let mut directory = None;
    for entry in found {
        let entry = entry.map_err(|e| Error::unavailable(e.error().to_string()).context(named("listing", e.path())))?;
        match entry.is_dir() {
            true => directory = Some(entry),
            false => files.push(entry),
        }
    }
    match directory {
        _ if files.len() > before => Ok(()),
        None => Err(Error::config(format!("`{path}` matches no file"))),
        Some(directory) => Err(Error::config(format!("`{path}` matches only directories, such as `{}`", directory.display()))),
    }
}

fn named(doing: &str, path: &Path) -> String {
    format!("{doing} `{}`", path.display())
}
