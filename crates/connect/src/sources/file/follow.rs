//! Follows one log file as it is written, through rotation by rename and by truncation. Together with the files it has been rotated to,
//! it is one log: each is read to its end, then the next one.

use super::open_file::{Open, open};
use super::place::{At, Seen};
use super::reader::Listed;
use super::rotation::{Head, Sibling, newer, same};
use super::{named, rotation};
use crate::sources::compression::Decompressed;
use crate::sources::{Compression, NewFraming};
use ouzel_core::clock::{Clock, Stopwatch, WallClock};
use ouzel_core::{Chunk, Error, Kind, Origin, Report, Result, Source, Spanned, error::ResultExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Events from one log file while it is written, as `tail -F` would show it; the run goes on until it is told to stop.
///
/// ```yaml
/// follow: { path: /var/log/nginx/access.log }
/// ```
///
/// The file may be rotated by renaming (a new one is begun) and by truncation (`copytruncate`): what is left in the old one is read first, also
/// where it was rotated several times, or compressed, while nothing ran. Files that it has been rotated to lie in its folder, under
/// names that begin with its own (`access.log.1`, `access.log-20260131.gz`), and are known by their first bytes. A line without an end waits for it.
/// Where what had not been read cannot be found any more, that is a dead letter, and reading goes on with what there is. Truncation without a copy
/// loses what was written since the last look, milliseconds before.
/// To follow several files, follow each with a pipeline of its own that writes to a stream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowSource {
    /// The file, relative to the project. It need not be there yet; its folder must be.
    pub path: Spanned<String>,
}

impl FollowSource {
    pub fn validate(&self, report: &mut Report) {
        if self.path.is_empty() {
            report.error(self.path.span, "an empty path").hint("give the path of a log file");
        } else if self.path.contains(['*', '?']) {
            report.error(self.path.span, "one file is followed, not a pattern").hint(
                "follow each file with a pipeline of its own that writes to a stream: in which order lines of several came would not be known otherwise",
            );
        }
    }

    pub fn open(self, root: &Path, framing: NewFraming) -> Result<Box<dyn Source>> {
        let path = root.join(self.path.as_str());
        match path.metadata() {
            Ok(about) if !about.is_file() => return Err(Error::config(format!("`{}` is no regular file", path.display()))),
            Ok(_) => drop(open(&path)?),
            Err(_) => {
                let folder = path.parent().unwrap_or(root);
                folder.read_dir().doing(|| format!("looking for `{}`", path.display()))?;
            }
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into();
        let mut follower = Follower { path, name, framing, place: Place::default(), current: None, lost: None };
        // So that its place can be told before anything is read.
        follower.open_next()?;
        Ok(Box::new(follower))
    }
}

struct Follower {
    path: PathBuf,
    /// As people know it.
    name: Arc<str>,
    framing: NewFraming,
    /// In the file that was read last, unless one is open.
    place: Place,
    current: Option<Current>,
    /// What cannot be found any more, to be told before anything else.
    lost: Option<String>,
}

/// Where the log has been read up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    head: Head,
    /// Tells an empty file from others.
    #[serde(default)]
    inode: u64,
    /// Bytes read of this file, after decompression.
    position: u64,
    at: Option<At>,
    /// Last modified, nanoseconds since 1970; 0 before the first file.
    modified: i128,
    /// It was read to its end.
    done: bool,
    /// Files read before it that were last modified at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    twins: Vec<Head>,
}

struct Current {
    open: Open,
    path: PathBuf,
    /// To look at it; not to read.
    file: File,
    head: Head,
    /// The head is of all the bytes it is going to be of.
    is_known: bool,
    /// It may still be written to.
    live: bool,
    /// Since something came.
    silent: Stopwatch,
    /// Nothing has come since, so that its beginning is looked at before more is read.
    idle: bool,
}

/// Who has a renamed file open goes on writing to it for a while.
const QUIET_US: i128 = 1_000_000;
const LOOK: Duration = Duration::from_millis(5);
/// Between looks for a file that is not there, and how many.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOKS: usize = 5;
/// After so long without anything an empty chunk is handed over, so that whoever reads can look at other things.
const SILENT_AFTER_S: f64 = 0.02;

impl Source for Follower {
    fn next(&mut self) -> Result<Option<Chunk>> {
        if let Some(reason) = self.lost.take() {
            let origin = Origin { name: self.name.clone(), position: self.place.position, header: None };
            return Ok(Some(Chunk { origin, fault: Some(reason), ..Chunk::empty() }));
        }
        let silent = Stopwatch::start();
        loop {
            if let Some(chunk) = self.piece()? {
                return Ok(Some(chunk));
            }
            if silent.seconds() >= SILENT_AFTER_S {
                return Ok(Some(Chunk::empty()));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn position(&self) -> Option<String> {
        let reading = |current: &Current| Place { twins: self.place.twins.clone(), ..current.place(false) };
        let place = self.current.as_ref().map_or_else(|| self.place.clone(), reading);
        serde_json::to_string(&place).ok()
    }

    fn resume(&mut self, position: &str) -> Result<()> {
        self.place = serde_json::from_str(position)
            .map_err(|e| Error::new(Kind::Changed, format!("the state is of another kind of source ({e})")))?;
        self.current = None;
        let Place { modified, done, position, .. } = self.place.clone();
        if modified == 0 {
            return Ok(());
        }
        match self.find_again()? {
            Some(found) => self.go_on(found),
            None if done => Ok(()),
            None => {
                self.place.done = true;
                self.lost = Some(format!(
                    "`{}` was rotated since {position} bytes of it had been read, and what followed them cannot be found beside it",
                    self.name
                ));
                Ok(())
            }
        }
    }

    fn whereabouts(&self) -> String {
        match &self.current {
            Some(current) => format!("{}, byte {}", current.open.name(), current.open.position()),
            None => self.name.to_string(),
        }
    }
}

impl Follower {
    /// What there is now.
    fn piece(&mut self) -> Result<Option<Chunk>> {
        loop {
            let Some(current) = &mut self.current else {
                match self.open_next()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            if current.live && current.idle && !current.is_as_read()? {
                self.truncated()?;
                continue;
            }
            if let Some(chunk) = current.open.next()? {
                current.idle = false;
                current.silent = Stopwatch::start();
                current.note_head()?;
                return Ok(Some(chunk));
            }
            if !current.live {
                let place = current.place(true);
                self.done(place);
                self.current = None;
                continue;
            }
            current.idle = true;
            if !current.is_at(&self.path) && current.is_quiet() {
                // What is left of its last line is handed over.
                current.end();
                continue;
            }
            return Ok(None);
        }
    }

    fn done(&mut self, place: Place) {
        let before = std::mem::replace(&mut self.place, place);
        if before.modified == self.place.modified {
            self.place.twins = before.twins;
            self.place.twins.extend(Some(before.head).filter(|head| *head != self.place.head));
        }
    }

    /// The oldest file that is newer than the one read last; false if there is none yet.
    fn open_next(&mut self) -> Result<bool> {
        let first = newer(&self.path, self.place.modified, &[&[self.place.head], self.place.twins.as_slice()].concat())?
            .into_iter()
            .find(|s| !s.is_empty());
        let path = match first {
            // Only what came after what was read: at the very beginning nothing has been missed.
            Some(sibling) if self.place.modified > 0 => sibling.path,
            _ => self.path.clone(),
        };
        self.current = match self.opened(&path) {
            Ok(current) => Some(current),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).doing(|| named("opening", &path)),
        };
        Ok(true)
    }

    /// The file was cut: what had not been read of it is in its copy, if there is one.
    fn truncated(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        // What it begins with now is another file's.
        current.is_known = true;
        let place = current.place(true);
        self.done(place);
        let copy = self.find()?;
        match copy.filter(|copy| copy.path != current.path && self.place.head.bytes > 0) {
            Some(copy) => self.go_on(copy),
            None => {
                // Half a line is all that is left of it.
                current.live = false;
                current.open.cut_off();
                self.current = Some(current);
                Ok(())
            }
        }
    }

    /// It may be between two names just now.
    fn find_again(&self) -> Result<Option<Sibling>> {
        for _ in 0..LOOKS {
            if let Some(found) = self.find()? {
                return Ok(Some(found));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.find()
    }

    /// The file that a place is in, wherever it is by now.
    fn find(&self) -> Result<Option<Sibling>> {
        same(&self.path, &self.place.head, self.place.inode, self.place.position)
    }

    fn go_on(&mut self, found: Sibling) -> Result<()> {
        let mut current = self.opened(&found.path).doing(|| named("opening", &found.path))?;
        current.open.skip_to(self.place.position, self.place.at.unwrap_or(At::Record))?;
        current.head = self.place.head;
        self.current = Some(current);
        Ok(())
    }

    fn opened(&self, path: &Path) -> io::Result<Current> {
        if path == self.path {
            return Current::open(path, self.name.clone(), &self.framing, true);
        }
        let name = format!("{} ({})", self.name, path.file_name().unwrap_or_default().to_string_lossy());
        let mut content = rotation::Content::open(path)?;
        let head = content.head(rotation::HEAD_BYTES)?;
        let mut current = Current::open(path, name.into(), &self.framing, content.is_plain())?;
        if !content.is_plain() {
            (current.head, current.is_known) = (head, true);
        }
        Ok(current)
    }
}

impl Current {
    /// Whoever has a plain file open may write to it, also where it has been renamed.
    fn open(path: &Path, name: Arc<str>, framing: &NewFraming, plain: bool) -> io::Result<Current> {
        let file = File::open(path)?;
        let compression = if plain { Compression::None } else { Compression::Auto };
        let input = Decompressed::new(Box::new(file.try_clone()?), compression);
        let listed = Listed { path: path.to_path_buf(), name, seen: Seen { bytes: Some(0), modified: 0 } };
        let mut open = Open::new(listed, input, framing());
        if plain {
            open.follow();
        }
        let (path, head, silent) = (path.to_path_buf(), Head::default(), Stopwatch::start());
        Ok(Current { open, path, file, head, is_known: false, live: plain, silent, idle: true })
    }

    /// Nothing more is written to it.
    fn end(&mut self) {
        self.live = false;
        self.open.end();
    }

    /// Whether the path still stands for this file. One that cannot be looked at just now may.
    fn is_at(&self, path: &Path) -> bool {
        match (path.metadata(), self.file.metadata()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
            (Err(e), _) => e.kind() != io::ErrorKind::NotFound,
            _ => true,
        }
    }

    /// Nobody has written to it for a while.
    fn is_quiet(&self) -> bool {
        let written = self.file.metadata().map_or(i128::MAX, |about| rotation::modified(&about) / 1000);
        let age = i128::from(WallClock.now_us()).saturating_sub(written);
        age >= QUIET_US || self.silent.seconds() * 1e6 >= QUIET_US as f64
    }

    /// It is at least as long as what was read, and begins as it did.
    fn is_as_read(&self) -> Result<bool> {
        let length = self.file.metadata().doing(|| named("reading", &self.path))?.len();
        let is_same =
            || -> io::Result<bool> { Ok(self.head.bytes == 0 || rotation::head_of(&self.file, self.head.bytes)? == self.head) };
        Ok(length >= self.open.bytes_read() && is_same().doing(|| named("reading", &self.path))?)
    }

    /// The first bytes, until there are enough of them.
    fn note_head(&mut self) -> Result<()> {
        self.head = self.head_now().doing(|| named("reading", &self.path))?;
        Ok(())
    }

    fn head_now(&self) -> io::Result<Head> {
        if self.is_known || self.head.bytes == rotation::HEAD_BYTES {
            return Ok(self.head);
        }
        rotation::head_of(&self.file, self.file.metadata()?.len().min(rotation::HEAD_BYTES))
    }

    fn place(&self, done: bool) -> Place {
        let (modified, inode) = self.file.metadata().map_or((0, 0), |about| (rotation::modified(&about), about.ino()));
        let head = self.head_now().unwrap_or(self.head);
        Place {
            head,
            inode,
            position: self.open.position(),
            at: Some(self.open.at()),
            modified: modified.max(1),
            done,
            twins: Vec::new(),
        }
    }
}
