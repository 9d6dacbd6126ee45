//! Alerts: events worth somebody's attention, at most so many for each entity, those held back counted.
//!
//! All of it is a function of the log: which alerts are raised, and when the count of those held back is told, depends on the events
//! before and on nothing else.

mod config;
mod throttle;

pub use config::{Alert, AlertConfig, AtMost, Raised, Severity};
pub use throttle::{Closing, Throttle};
