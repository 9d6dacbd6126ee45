//! Starting anew is a new generation: part of every output's id, so that what an earlier run wrote and what this one writes
//! are never taken for one another. Where state lasts, its commits know the generation; this file does for pipelines whose state
//! does not.

use ouzel_core::error::{Result, ResultExt};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Takes the next generation of a pipeline, 0 at first, and remembers it in `generation` in its folder of state.
pub fn next(folder: &Path) -> Result<u32> {
    let path = folder.join("generation");
    let taken = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().parse::<u32>().map_err(|_| {
            ouzel_core::Error::config(format!("`{}` holds no generation: remove it to begin at 0 again", path.display()))
        })?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).doing(|| format!("reading `{}`", path.display())),
    };
    let next = taken.map_or(0, |n| n + 1);
    let doing = || format!("writing `{}`", path.display());
    std::fs::create_dir_all(folder).doing(doing)?;
    let new = folder.join("generation.new");
    let mut file = File::create(&new).doing(doing)?;
    file.write_all(format!("{next}\n").as_bytes()).and_then(|()| file.sync_all()).doing(doing)?;
    std::fs::rename(&new, &path).and_then(|()| File::open(folder)?.sync_all()).doing(doing)?;
    Ok(next)
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
