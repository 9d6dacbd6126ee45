//! The lock that whoever appends holds. A process that is paused while it holds it can be passed over: the lock is another file then, which the
//! others find when they have got the old one.

use super::Busy;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Lock {
    path: PathBuf,
    file: File,
}

/// An append, even one that begins a segment on a slow disk, takes less.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Lock {
    pub fn open(folder: &Path) -> io::Result<Lock> {
        let path = folder.join("lock");
        let file = create(&path)?;
        Ok(Lock { path, file })
    }

    /// True if its holder was passed over.
    pub fn take(&mut self, busy: Busy) -> io::Result<bool> {
        let mut waited = Duration::ZERO;
        loop {
            match busy {
                Busy::Wait => self.file.lock()?,
                Busy::TakeOver => match self.file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                        std::thread::sleep(LOOK_EVERY);
                        waited += LOOK_EVERY;
                        continue;
                    }
                    // Somebody else has passed over it already.
                    Err(TryLockError::WouldBlock) if !self.is_the_lock()? => {
                        self.file = create(&self.path)?;
                        waited = Duration::ZERO;
                        continue;
                    }
                    Err(TryLockError::WouldBlock) => {
                        match fs::remove_file(&self.path) {
                            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                            _ => {}
                        }
                        self.file = create(&self.path)?;
                        self.file.lock()?;
                        return Ok(true);
                    }
                    Err(TryLockError::Error(e)) => return Err(e),
                },
            }
            if self.is_the_lock()? {
                return Ok(false);
            }
            self.file = create(&self.path)?;
        }
    }

    pub fn release(&self) -> io::Result<()> {
        self.file.unlock()
    }

    /// Whether it has not been passed over.
    pub fn is_the_lock(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(there) => Ok(there.ino() == self.file.metadata()?.ino()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options().create(true).write(true).truncate(false).open(path)
}
