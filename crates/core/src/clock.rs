//! The one seam through which wall-clock time enters. Detection never uses it: there, time is an argument.

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
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => after.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        }
    }
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
