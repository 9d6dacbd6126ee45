//! The one seam through which wall-clock time enters. Detection never uses it: there, time is an argument.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Microseconds since 1970-01-01T00:00:00Z.
pub trait Clock: Send + Sync {
    fn now_us(&self) -> i64;
}

/// The machine's clock.
pub struct WallClock;

impl Clock for WallClock {
    fn now_us(&self) -> i64 {
        #[allow(clippy::disallowed_methods, reason = "the seam itself")]
        let now = std::time::SystemTime::now();
        let now = match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => after.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        };
        now + step()
    }
}

/// With `OUZEL_FAULT=clock` somebody sets the clock back and forward, by up to a day, before each look at it: no result may depend on it.
fn step() -> i64 {
    const DAY_US: u64 = 86_400_000_000;
    static STEPS: OnceLock<bool> = OnceLock::new();
    static LOOKS: AtomicU64 = AtomicU64::new(1);
    if !STEPS.get_or_init(|| std::env::var("OUZEL_FAULT").is_ok_and(|fault| fault == "clock")) {
        return 0;
    }
    let look = LOOKS.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (look % (2 * DAY_US)) as i64 - DAY_US as i64
}

/// Elapsed wall time, for progress and for pacing commits; never part of a result.
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        #[allow(clippy::disallowed_methods, reason = "the seam itself")]
        Stopwatch(std::time::Instant::now())
    }
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
