//! A file of lines: whole blocks or nothing, also on a full disk.

use super::csv::CsvEncoder;
use super::file::Compression;
use super::ndjson::NdjsonEncoder;
use arrow_schema::SchemaRef;
use flate2::write::GzEncoder;
use ouzel_core::error::ResultExt;
use ouzel_core::{Encode, Encoded, Error, Kind, Prepared, Result, Sink};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Plain text gathered before it is compressed, so that few small blocks cost no compression ratio.
const COMPRESSED_BLOCK_BYTES: usize = 1 << 20;

/// Bytes up to [`TextFile::length`] are whole rows, and whole compressed members, which may be followed by others:
/// the file may be cut there at any time.
pub struct TextFile {
    file: File,
    path: PathBuf,
    schema: SchemaRef,
    csv: bool,
    compression: Compression,
    /// Not yet compressed.
    pending: Vec<u8>,
    length: u64,
    /// Not a device or pipe: can be cut and synced.
    regular: bool,
    /// Its folder has been synced.
    is_named: bool,
    keep: Keep,
}

/// What becomes of what an earlier run wrote to a file.
#[derive(Debug, Clone, Copy)]
pub enum Keep {
    Nothing,
    /// So many bytes; what lies behind them is cut off.
    Bytes(u64),
    /// The same in a new file under the old name: whoever still writes to the old one writes into nothing.
    BytesOfAnother(u64),
}

impl Keep {
    /// The file as it is, how much of it is kept, and whether it is no pipe or device.
    fn open(self, path: &Path) -> Result<(File, u64, bool)> {
        let there = fs::metadata(path).ok();
        let regular = there.as_ref().is_none_or(fs::Metadata::is_file);
        let length = match self {
            Keep::Bytes(n) | Keep::BytesOfAnother(n) if regular => n,
            _ => 0,
        };
        let bytes = there.map_or(0, |about| about.len());
        if bytes < length {
            let message = format!("`{}` holds {bytes} bytes, of the {length} that were committed to it", path.display());
            return Err(Error::new(Kind::Changed, message));
        }
        let opening = || "opening it".to_string();
        // Of a pipe only the one end can be opened.
        let file = fs::OpenOptions::new()
            .create(true)
            .read(regular && matches!(self, Keep::BytesOfAnother(_)))
            .write(true)
            .truncate(false)
            .open(path)
            .doing(opening)?;
        Ok((file, length, regular))
    }
}

/// A copy of the first bytes of a file under its name, which then is another file. [`Kind::Conflict`]: somebody has done so since it was opened.
pub fn replace_by_copy(file: &mut File, path: &Path, bytes: u64) -> Result<File> {
    let doing = || format!("copying `{}`", path.display());
    check_is(file, path)?;
    let mut new = path.to_path_buf().into_os_string();
    new.push(".taken-over");
    let mut copy = File::create(&new).doing(doing)?;
    file.seek(SeekFrom::Start(0)).doing(doing)?;
    io::copy(&mut file.take(bytes), &mut copy).and_then(|_| copy.sync_all()).doing(doing)?;
    check_is(file, path)?;
    fs::rename(&new, path).doing(doing)?;
    Ok(copy)
}

/// [`Kind::Conflict`]: another file has the name by now, so its process has been taken over.
pub fn check_is(file: &File, path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let doing = || format!("looking at `{}`", path.display());
    let (ours, there) = (file.metadata().doing(doing)?, fs::metadata(path).doing(doing)?);
    match (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
        true => Ok(()),
        false => Err(Error::new(Kind::Conflict, format!("another process has taken over: `{}` is its own", path.display()))),
    }
}

impl TextFile {
    /// [`Kind::Changed`] if there are fewer bytes than are to be kept.
    pub fn open(path: PathBuf, schema: SchemaRef, csv: bool, compression: Compression, keep: Keep) -> Result<TextFile> {
        let doing = || format!("opening `{}` to write", path.display());
        create_parent(&path)?;
        let (file, length, regular) =
            keep.open(&path).map_err(|e| if e.kind == Kind::Changed { e } else { e.context(doing()) })?;
        Ok(TextFile { file, path, schema, csv, compression, pending: Vec::new(), length, regular, is_named: false, keep })
    }

    /// Bytes written that are whole rows.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn put(&mut self, data: Vec<u8>) -> Result<()> {
        if self.compression == Compression::None {
            return self.append(&data);
        }
        let before = self.pending.len();
        self.pending.extend_from_slice(&data);
        if self.pending.len() < COMPRESSED_BLOCK_BYTES {
            return Ok(());
        }
        // A block that is refused is not kept, so that it may come again.
        self.flush().inspect_err(|_| self.pending.truncate(before))
    }

    /// Compresses what is pending as a member of its own.
    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let member = compress(&self.pending, self.compression).doing(|| format!("compressing for `{}`", self.path.display()))?;
        self.append(&member)?;
        self.pending.clear();
        Ok(())
    }

    fn append(&mut self, block: &[u8]) -> Result<()> {
        match self.file.write_all(block) {
            Ok(()) => {
                self.length += block.len() as u64;
                Ok(())
            }
            Err(e) => Err(self.cut_back(e)),
        }
    }

    /// Removes the part of a block that was still written, so that a reader finds whole rows only.
    fn cut_back(&mut self, e: io::Error) -> Error {
        let mut error = Error::unavailable(format!("writing `{}` after {} bytes: {e}", self.path.display(), self.length));
        if self.regular {
            let cut = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            if let Err(cut) = cut {
                error = error.context(format!("its last row may be incomplete ({cut})"));
            }
        }
        error
    }
}

impl Sink for TextFile {
    fn begin(&mut self) -> Result<()> {
        let doing = || format!("opening `{}` to write", self.path.display());
        if self.regular {
            if let Keep::BytesOfAnother(_) = self.keep {
                self.file = replace_by_copy(&mut self.file, &self.path, self.length)?;
            }
            self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length))).doing(doing)?;
        }
        if self.csv && self.length == 0 {
            self.put(CsvEncoder::header(&self.schema))?;
        }
        Ok(())
    }

    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(if self.csv { Box::new(CsvEncoder::new()) } else { Box::new(NdjsonEncoder::new(&self.schema)) })
    }

    fn write(&mut self, block: Encoded, _upto: u64) -> Result<()> {
        match block {
            Encoded::Bytes { data, .. } => self.put(data),
            Encoded::Rows(_) | Encoded::Runs { .. } => Err(Error::internal("a text file takes encoded rows")),
        }
    }

    fn tick(&mut self) -> Result<()> {
        self.flush()
    }

    fn prepare(&mut self, _offset: u64) -> Result<Prepared> {
        self.flush()?;
        if !self.regular {
            return Ok(Prepared::default());
        }
        let (file, path) = (self.file.try_clone().doing(|| format!("syncing `{}`", self.path.display()))?, self.path.clone());
        let first = !std::mem::replace(&mut self.is_named, true);
        let sync = move || {
            file.sync_data().doing(|| format!("syncing `{}`", path.display()))?;
            if first { sync_parent(&path) } else { Ok(()) }
        };
        let position = serde_json::json!({ "length": self.length }).to_string();
        Ok(Prepared { position, sync: Some(Box::new(sync)), publish: None })
    }

    fn close(&mut self) -> Result<()> {
        self.flush()?;
        if self.length == 0 && self.compression != Compression::None {
            // Tools take a file without any member for a damaged one.
            let member = compress(&[], self.compression).doing(|| format!("compressing for `{}`", self.path.display()))?;
            self.append(&member)?;
        }
        if self.regular {
            self.file.sync_all().doing(|| format!("syncing `{}`", self.path.display()))?;
            sync_parent(&self.path)?;
        }
        Ok(())
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

fn compress(data: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(data.to_vec()),
        Compression::Zstd => zstd::bulk::compress(data, 1),
        Compression::Gzip => {
            let mut member = GzEncoder::new(Vec::with_capacity(data.len() / 4), flate2::Compression::fast());
            member.write_all(data)?;
            member.finish()
        }
    }
}

/// Makes the folders a file lies in.
pub(super) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).doing(|| format!("making the folder `{}`", parent.display())),
        None => Ok(()),
    }
}

/// A file's name is durable only when its folder is.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).doing(|| format!("syncing the folder `{}`", folder.display()))
}

pub(super) fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}
