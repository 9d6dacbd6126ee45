//! Named points before and after each durable step, so that tests can kill a real process there.
//!
//! `OUZEL_FAULT=kill:POINT:N` ends the process, as `kill -9` would, when it comes to the point for the Nth time. Without the
//! variable a point does nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// All points, in the order in which a commit passes them.
pub const POINTS: [&str; 9] = [
    "commit-begun",
    "sinks-synced",
    "delta-written",
    "delta-synced",
    "manifest-synced",
    "manifest-linked",
    "published",
    "merge-written",
    "files-removed",
];

pub fn point(name: &str) {
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("OUZEL_FAULT").ok()?;
        let mut parts = text.strip_prefix("kill:")?.splitn(2, ':');
        Some((parts.next()?.to_string(), parts.next().and_then(|n| n.parse().ok()).unwrap_or(1)))
    });
    if let Some((point, n)) = wanted
        && point == name
        && PASSED.fetch_add(1, Relaxed) + 1 == *n
    {
        std::process::abort();
    }
}
