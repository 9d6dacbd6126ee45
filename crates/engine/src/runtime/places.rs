//! Where a run reads and where it writes must not be the same place.

use crate::plan::Plan;
use crate::registry::{SinkConfig, SourceConfig};
use ouzel_core::{Error, Result};
use std::path::{Path, PathBuf};

/// Refuses a sink that would overwrite a file of the source, or that of another sink, before either is touched.
pub fn check(plan: &Plan, root: &Path) -> Result<()> {
    let mut written: Vec<PathBuf> = Vec::new();
    for sink in &plan.sinks {
        let SinkConfig::File(file) = &sink.config else { continue };
        let target = real(&root.join(&file.path.value));
        if let SourceConfig::File(source) = &plan.source
            && (source.list(root)?.iter().any(|read| real(read) == target) || source.matches(root, &root.join(&file.path.value)))
        {
            return Err(Error::config(format!(
                "the sink `{}` would overwrite a file that the source reads: write it elsewhere, or narrow the source's path",
                file.path.value
            )));
        }
        if written.contains(&target) {
            return Err(Error::config(format!("two sinks write to `{}`: name another place for one of them", file.path.value)));
        }
        written.push(target);
    }
    Ok(())
}

/// The file itself, whatever it is called; it need not exist.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}
