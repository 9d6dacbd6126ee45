//! One line on the terminal while a run takes its time.

use super::terminal::{count, paint};
use anstyle::AnsiColor;
use ouzel_engine::Progress;
use std::io::{IsTerminal, Write};

/// Shows nothing where standard error is no terminal, and nothing in the first moment.
pub struct ProgressLine {
    enabled: bool,
    shown: bool,
    /// Of each pipeline that runs: what was seen last, and what is said of it.
    running: Vec<Running>,
}

struct Running {
    name: String,
    last: Progress,
    said: String,
}

const QUIET_SECONDS: f64 = 0.5;

impl ProgressLine {
    pub fn new(enabled: bool) -> ProgressLine {
        ProgressLine { enabled: enabled && std::io::stderr().is_terminal(), shown: false, running: Vec::new() }
    }

    pub fn show(&mut self, name: &str, now: Progress) {
        let Some(running) = self.running.iter_mut().find(|r| r.name == name) else {
            // A run that goes on has counts from its first moment: the first look is what later ones are compared with.
            self.running.push(Running { name: name.into(), last: now, said: String::new() });
            return;
        };
        let last = std::mem::replace(&mut running.last, now);
        if !self.enabled || now.seconds < QUIET_SECONDS || now.seconds <= last.seconds {
            return;
        }
        let rate = now.delivered.saturating_sub(last.delivered) as f64 / (now.seconds - last.seconds);
        let part = match now.bytes {
            Some((all, read)) if all > 0 => format!("  {:>3.0} %", 100.0 * read as f64 / all as f64),
            _ => String::new(),
        };
        running.said = format!(
            "{}  {:>13} events  {:>11}/s{part}",
            paint(name, AnsiColor::Cyan, super::terminal::errors_have_colour()),
            count(now.received),
            count(rate as u64),
        );
        self.shown = true;
        let said: Vec<&str> = self.running.iter().map(|r| r.said.as_str()).filter(|said| !said.is_empty()).collect();
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[2K{}  {:.0} s", said.join("  |  "), now.seconds);
        let _ = err.flush();
    }

    /// A pipeline has ended: nothing more is said of it.
    pub fn ended(&mut self, name: &str) {
        self.running.retain(|r| r.name != name);
        self.clear();
    }

    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
