//! Named points before and after each durable step, so that tests can kill a real process there.
//!
//! `OUZEL_FAULT=kill:POINT:N` ends the process, as `kill -9` would, when it comes to the point for the Nth time.
//! `OUZEL_FAULT=stop:POINT:N` puts it to sleep there, as `kill -STOP` would.
//! `OUZEL_FAULT=panic:STEP:TEXT` makes the step (`read`, `score`, `encode`) panic on an event whose raw bytes hold the text. Without
//! the variable nothing is done.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// All points, in the order in which a commit passes them.
pub const POINTS: [&str; 14] = [
    "sinks-opened",
    "commit-begun",
    "sinks-synced",
    "cold-written",
    "delta-written",
    "delta-synced",
    "uploaded",
    "created",
    "manifest-synced",
    "manifest-linked",
    "published",
    "merge-written",
    "cold-merge-written",
    "files-removed",
];

pub fn point(name: &str) {
    static WANTED: OnceLock<Option<(String, String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("OUZEL_FAULT").ok()?;
        let mut parts = text.splitn(3, ':').map(str::to_string);
        let (what, point) = (parts.next()?, parts.next()?);
        Some((what, point, parts.next().and_then(|n| n.parse().ok()).unwrap_or(1)))
    });
    if let Some((what, point, n)) = wanted
        && point == name
        && PASSED.fetch_add(1, Relaxed) + 1 == *n
    {
        match what.as_str() {
            "kill" => std::process::abort(),
            "stop" => {
                let _ = std::process::Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
            }
            _ => {}
        }
    }
}

/// Whether a step is to be tried for panics at all.
pub fn is_poisoned(step: &str) -> bool {
    poison().is_some_and(|(at, _)| at == step)
}

/// Panics if the step is to panic on these bytes.
pub fn poisonous(step: &str, bytes: &[u8]) {
    if let Some((at, text)) = poison()
        && at == step
    {
        assert!(!bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes()), "the event holds `{text}`");
    }
}

fn poison() -> Option<&'static (String, String)> {
    static POISON: OnceLock<Option<(String, String)>> = OnceLock::new();
    let read = || {
        let text = std::env::var("OUZEL_FAULT").ok()?;
        let (step, text) = text.strip_prefix("panic:")?.split_once(':')?;
        Some((step.to_string(), text.to_string()))
    };
    POISON.get_or_init(read).as_ref()
}
