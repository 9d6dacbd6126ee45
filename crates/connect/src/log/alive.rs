//! Whether somebody may still write to a stream: a lock that ends with its process, however that ends.

use ouzel_core::error::{Result, ResultExt};
use std::fs::{self, File, TryLockError};
use std::path::Path;

/// As long as it is there, readers that have read everything wait for more.
pub struct Alive(#[expect(dead_code, reason = "the lock is held until it is closed")] File);

impl Alive {
    pub fn hold(folder: &Path) -> Result<Alive> {
        let doing = || format!("opening the stream in `{}`", folder.display());
        fs::create_dir_all(folder).doing(doing)?;
        let file = open(folder).doing(doing)?;
        // Somebody who looks whether anyone writes holds it for a moment.
        file.lock_shared().doing(doing)?;
        Ok(Alive(file))
    }

    /// Forgets whoever holds it: one of them may be paused for good.
    pub fn pass_over(folder: &Path) -> Result<()> {
        match fs::remove_file(folder.join("writers")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).doing(|| format!("opening the stream in `{}`", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether anyone may write.
    pub fn anyone(folder: &Path) -> Result<bool> {
        let doing = || format!("reading the stream in `{}`", folder.display());
        let file = match File::open(folder.join("writers")) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).doing(doing),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(e).doing(doing),
        }
    }
}

fn open(folder: &Path) -> std::io::Result<File> {
    File::options().create(true).write(true).truncate(false).open(folder.join("writers"))
}
