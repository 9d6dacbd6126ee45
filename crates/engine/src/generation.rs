//! Starting anew is a new generation: part of every output's id, so that what an earlier run wrote and what this one writes
//! are never taken for one another. The last one stands in `generation` in the pipeline's folder of state, beside the commits that know
//! it too: it outlives them, and serves pipelines whose state does not last.

use ouzel_connect::sinks::sync_folder;
use ouzel_core::error::{Result, ResultExt};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Takes the next generation of a pipeline, 0 at first.
pub fn next(folder: &Path) -> Result<u32> {
    let next = last(folder)?.map_or(0, |n| n + 1);
    keep(folder, next)?;
    Ok(next)
}

/// The last generation there was.
pub fn last(folder: &Path) -> Result<Option<u32>> {
    let path = folder.join("generation");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            ouzel_core::Error::config(format!("`{}` holds no generation: remove it to begin at 0 again", path.display()))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing(|| format!("reading `{}`", path.display())),
    }
}

/// Remembers a generation as the last.
pub fn keep(folder: &Path, generation: u32) -> Result<()> {
    let (path, new) = (folder.join("generation"), folder.join("generation.new"));
    let doing = || format!("writing `{}`", path.display());
    std::fs::create_dir_all(folder).doing(doing)?;
    let mut file = File::create(&new).doing(doing)?;
    file.write_all(format!("{generation}\n").as_bytes()).and_then(|()| file.sync_all()).doing(doing)?;
    std::fs::rename(&new, &path).doing(doing)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_start_is_the_next_one() {
        let folder = std::env::temp_dir().join(format!("ouzel-generation-{}", std::process::id()));
        let next = || super::next(&folder).expect("writable");
        assert_eq!([next(), next(), next()], [0, 1, 2]);
        std::fs::write(folder.join("generation"), "x").expect("writable");
        assert!(super::next(&folder).is_err());
        std::fs::remove_dir_all(&folder).expect("was made here");
    }
}
