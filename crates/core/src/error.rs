//! One error type. Its kind is what the engine does about it; a kind exists only if someone acts on it.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The project is wrong: refuse to start and tell the user where.
    Config,
    /// This event is wrong: dead-letter it and go on.
    Data,
    /// The outside world does not answer, or answers wrongly: retry, then stop.
    Unavailable,
    /// Someone else was first: read again and retry.
    Conflict,
    /// What a run is to go on from is no longer what it was: refuse, and say what would work.
    Changed,
    /// A bug of ours: stop.
    Internal,
}

/// An error with what was being done, innermost first.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    context: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), context: Vec::new(), source: None }
    }
    pub fn config(message: impl Into<String>) -> Error {
        Error::new(Kind::Config, message)
    }
    pub fn data(message: impl Into<String>) -> Error {
        Error::new(Kind::Data, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(Kind::Unavailable, message)
    }
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(Kind::Internal, message)
    }

    /// Adds what was being done when the error came up, for example "reading `a.log`".
    pub fn context(mut self, doing: impl Into<String>) -> Error {
        self.context.push(doing.into());
        self
    }
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }
    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Adds context to a result; `std::io` errors become [`Kind::Unavailable`].
pub trait ResultExt<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.context(doing()))
    }
}

impl<T> ResultExt<T> for std::io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::unavailable(e.to_string()).context(doing()))
    }
}
