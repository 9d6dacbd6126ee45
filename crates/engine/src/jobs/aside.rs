//! Records that a job has set aside: kept beside its table, in files that its commits name.

use crate::journal;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Result};
use ouzel_lake::Location;
use ouzel_lake::jobs::landing::Ledger;
use ouzel_lake::location::{BESIDE, LEFT_FOR, sync_folder, unique};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Of the names of such files.
const ASIDE: &str = "aside-";
/// Of the folder of this machine that has them all.
const FOLDER: &str = "aside";

/// Puts what was set aside in some folders, one behind another, beside a table. The names of the files, which a commit is to tell.
pub fn store(table: &Location, folders: &[PathBuf]) -> Result<Vec<String>> {
    let beside = table.join(BESIDE);
    let mut stored = Vec::new();
    for kind in journal::files(Path::new("")) {
        let parts: Vec<PathBuf> = folders.iter().map(|folder| folder.join(&kind)).filter(|part| part.exists()).collect();
        if parts.is_empty() {
            continue;
        }
        let name = format!("{ASIDE}{}-{}", unique(), kind.display());
        let folder = beside.writing_folder();
        let path = folder.join(&name);
        let doing = || format!("writing `{}`", path.display());
        fs::create_dir_all(&folder).doing(doing)?;
        let mut file = File::create(&path).doing(doing)?;
        for part in parts {
            File::open(&part).and_then(|mut part| io::copy(&mut part, &mut file)).doing(doing)?;
        }
        file.sync_all().doing(doing)?;
        sync_folder(&folder)?;
        beside.send(&name)?;
        stored.push(name);
    }
    Ok(stored)
}

/// Removes files of what was set aside that no commit tells of any more, or that a killed run has left: those that were begun a day ago or earlier.
pub fn sweep(table: &Location, named: &[String]) -> Result<()> {
    let beside = table.join(BESIDE);
    let old = |name: &String| {
        let begun = name.strip_prefix(ASIDE).and_then(|rest| i64::from_str_radix(rest.split('-').next()?, 16).ok());
        begun.is_some_and(|begun| WallClock.now_us() - begun > LEFT_FOR.as_micros() as i64)
    };
    let left = beside.files(None)?.into_iter().filter(|name| old(name) && !named.contains(name));
    left.for_each(|name| beside.remove(&name));
    Ok(())
}

/// Takes such files away again: no commit has told of them.
pub fn discard(table: &Location, stored: &[String]) {
    stored.iter().for_each(|name| table.join(BESIDE).remove(name));
}

/// A folder of this machine with all that a table's commits have set aside, as a pipeline's folder of state has it. What of it was settled is told there.
pub fn folder(lake: &Location, target: &str) -> Result<PathBuf> {
    let table = lake.join(target);
    let folder = table.beside()?.join(FOLDER);
    let named = Ledger::read(&table)?.aside;
    if named.is_empty() && !folder.exists() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).doing(|| format!("making the folder `{}`", folder.display()))?;
    let (copy, part) = (folder.join(format!(".{}", unique())), folder.join(format!(".{}", unique())));
    for path in journal::files(&folder) {
        let kind = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let doing = || format!("writing `{}`", part.display());
        let mut whole = File::create(&part).doing(doing)?;
        for name in named.iter().filter(|name| name.ends_with(&kind)) {
            if !table.join(BESIDE).fetch(name, &copy)? {
                return Err(Error::unavailable(format!(
                    "`{name}`, which the table `{target}` names, is gone from its folder `{BESIDE}`"
                )));
            }
            File::open(&copy).and_then(|mut copy| io::copy(&mut copy, &mut whole)).doing(doing)?;
        }
        fs::rename(&part, &path).doing(doing)?;
    }
    let _ = fs::remove_file(copy);
    Ok(folder)
}
