//! One line on the terminal while a run takes its time.

use super::terminal::{count, paint};
use anstyle::AnsiColor;
use ouzel_engine::Progress;
use std::io::{IsTerminal, Write};

/// Shows nothing where standard error is no terminal, and nothing in the first moment.
pub struct ProgressLine {
    name: String,
    enabled: bool,
    shown: bool,
    last: Option<Progress>,
}

const QUIET_SECONDS: f64 = 0.5;

impl ProgressLine {
    pub fn new(name: &str, enabled: bool) -> ProgressLine {
        ProgressLine { name: name.into(), enabled: enabled && std::io::stderr().is_terminal(), shown: false, last: None }
    }

    pub fn show(&mut self, now: Progress) {
        // A run that goes on has counts from its first moment: the first look is what later ones are compared with.
        let Some(last) = self.last.replace(now) else { return };
        if !self.enabled || now.seconds < QUIET_SECONDS || now.seconds <= last.seconds {
            return;
        }
        let rate = now.delivered.saturating_sub(last.delivered) as f64 / (now.seconds - last.seconds);
        let part = match now.bytes {
            Some((all, read)) if all > 0 => format!("  {:>3.0} %", 100.0 * read as f64 / all as f64),
            _ => String::new(),
        };
        self.shown = true;
        let mut err = std::io::stderr().lock();
        let _ = write!(
            err,
            "\r\x1b[2K{}  {:>13} events  {:>11}/s{part}  {:.0} s",
            paint(&self.name, AnsiColor::Cyan, super::terminal::errors_have_colour()),
            count(now.received),
            count(rate as u64),
            now.seconds
        );
        let _ = err.flush();
    }

    pub fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
