//! Exit codes, the same for every command.

use ouzel_core::{Error, Kind};
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// Something failed that is none of the below.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The project is wrong.
    Invalid = 3,
    /// A file or server outside cannot be read or written.
    Unavailable = 4,
    /// A spec does not hold.
    SpecFailed = 5,
    /// What a run is to go on from is not what it was: input files, definitions, outputs or the state itself.
    Changed = 6,
    /// Another process holds the state, or has taken it over.
    Held = 7,
    /// A check has stopped a job, or its table is paused.
    Paused = 8,
    /// `ouzel check`: a check does not hold.
    CheckFailed = 9,
    /// Stopped by Ctrl-C before the sources ended; what was read is complete.
    Interrupted = 130,
}

pub const HELP: &str = "\
Exit codes:
  0    done
  1    failed
  2    the command line is wrong
  3    the project is wrong (`ouzel validate` tells where)
  4    a file or server outside cannot be read or written
  5    a spec does not hold
  6    what the run is to go on from has changed: input files, definitions, outputs, state
  7    another process holds the state, or has taken it over
  8    a check has stopped a job, or its table is paused (`ouzel resume`)
  9    `ouzel check`: a check does not hold
  130  stopped by Ctrl-C; what was read is complete";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        match error.kind {
            Kind::Config => Exit::Invalid,
            Kind::Unavailable => Exit::Unavailable,
            Kind::Changed => Exit::Changed,
            Kind::Conflict => Exit::Held,
            Kind::Data | Kind::Internal => Exit::Failed,
        }
    }
}
