//! Tables that a check has stopped.

use super::checks::Checked;
use super::{Job, Lake};
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result};
use serde_json::{Value, json};
use std::path::PathBuf;

fn pause_file(lake: &Lake<'_>, target: &str) -> PathBuf {
    lake.state.join(target).join("paused.json")
}

/// Why a table is paused, if it is.
pub fn paused(lake: &Lake<'_>, target: &str) -> Result<Option<Value>> {
    let path = pause_file(lake, target);
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::new(Kind::Data, format!("`{}`: {e}", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing(|| format!("reading `{}`", path.display())),
    }
}

/// Stops a table, and keeps which checks have failed.
pub fn pause(lake: &Lake<'_>, job: &Job, checks: &[Checked]) -> Result<()> {
    let failed: Vec<&Checked> = checks.iter().filter(|check| !check.ok && !check.warns).collect();
    write(lake, job, json!({ "checks": failed }))
}

/// Stops a table because somebody says so.
pub fn hold(lake: &Lake<'_>, job: &Job, reason: &str) -> Result<()> {
    write(lake, job, json!({ "reason": reason }))
}

fn write(lake: &Lake<'_>, job: &Job, mut about: Value) -> Result<()> {
    let path = pause_file(lake, &job.target);
    about["target"] = json!(job.target);
    about["owner"] = json!(job.config.owner);
    about["at"] = json!(WallClock.now_us() / 1000);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(lake.state))?;
        std::fs::write(&path, about.to_string())
    };
    write().doing(|| format!("writing `{}`", path.display()))
}

/// Lets a table go on, with who said so and why. False if it was not paused.
pub fn resume(lake: &Lake<'_>, target: &str, reason: &str) -> Result<bool> {
    let path = pause_file(lake, target);
    let Some(paused) = paused(lake, target)? else { return Ok(false) };
    let record = json!({ "paused": paused, "reason": reason, "at": WallClock.now_us() / 1000 }).to_string() + "\n";
    let log = path.with_file_name("resumed.ndjson");
    let write = || -> std::io::Result<()> {
        use std::io::Write as _;
        std::fs::File::options().create(true).append(true).open(&log)?.write_all(record.as_bytes())?;
        std::fs::remove_file(&path)
    };
    write().doing(|| format!("writing `{}`", log.display()))?;
    Ok(true)
}
