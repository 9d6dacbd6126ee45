//! Tables that a check, or somebody, has stopped. What is kept of it lies beside the lake's tables: whoever runs its jobs sees it.

use super::checks::Checked;
use super::{Job, Lake};
use crate::config::NotifyConfig;
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::{Error, Kind, Result};
use ouzel_lake::Location;
use ouzel_lake::location::BESIDE;
use serde_json::{Value, json};

const PAUSED: &str = "paused.json";

fn place(lake: &Lake<'_>, target: &str) -> Location {
    lake.lake.join(BESIDE).join(target)
}

/// Why a table is paused, if it is.
pub fn paused(lake: &Lake<'_>, target: &str) -> Result<Option<Value>> {
    let place = place(lake, target);
    let paused = place.read(PAUSED)?.map(|bytes| serde_json::from_slice(&bytes)).transpose();
    paused.map_err(|e| Error::new(Kind::Data, format!("`{PAUSED}` of `{place}`: {e}")))
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
    about["target"] = json!(job.target);
    about["owner"] = json!(job.config.owner);
    about["at"] = json!(WallClock.now_us() / 1000);
    place(lake, &job.target).put(PAUSED, about.to_string().as_bytes())
}

/// Tells, by webhook, that a check has stopped a table, unless that has arrived before. `Err`: it has not.
pub fn notify(lake: &Lake<'_>, project: &str, notify: &NotifyConfig, target: &str) -> Result<()> {
    let Some(paused) = paused(lake, target)?.filter(|paused| paused["checks"].is_array()) else { return Ok(()) };
    // Of its own: what is paused may be another thing by the time that a receiver has answered.
    let (place, told) = (place(lake, target), format!("told-{}.json", paused["at"]));
    if place.read(&told)?.is_some() {
        return Ok(());
    }
    let id = format!("{target}.{}", paused["at"]);
    let mut body = json!({ "_id": id, "event": "paused", "project": project });
    for part in ["target", "owner", "at", "checks"] {
        body[part] = paused[part].clone();
    }
    for check in body["checks"].as_array_mut().into_iter().flatten() {
        if let Some(rows) = check["rows"].as_array_mut() {
            rows.truncate(ROWS_TOLD);
        }
    }
    let NotifyConfig::Webhook(hook) = notify;
    hook.post(&id, body.to_string().as_bytes())?;
    place.put(&told, json!({ "told": id }).to_string().as_bytes())
}

/// Failing rows of a check that go out.
const ROWS_TOLD: usize = 5;

/// Lets a table go on, and keeps who had stopped it, and why it goes on. False if it was not paused.
pub fn resume(lake: &Lake<'_>, target: &str, reason: &str) -> Result<bool> {
    let Some(paused) = paused(lake, target)? else { return Ok(false) };
    let place = place(lake, target);
    let at = WallClock.now_us() / 1000;
    place.put(&format!("resumed-{at}.json"), json!({ "paused": paused, "reason": reason, "at": at }).to_string().as_bytes())?;
    place.remove(PAUSED);
    match place.read(PAUSED)? {
        None => Ok(true),
        Some(_) => Err(Error::unavailable(format!("`{PAUSED}` of `{place}` cannot be removed"))),
    }
}
