//! What the terminal can do, and how numbers look on it.

use anstyle::{AnsiColor, Style};
use ouzel_core::{Report, Severity};
use std::io::IsTerminal;

/// Colours on standard error.
pub fn errors_have_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Colours on standard output.
pub fn output_has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

pub fn paint(text: &str, colour: AnsiColor, enabled: bool) -> String {
    if !enabled {
        return text.to_string();
    }
    let style = Style::new().fg_color(Some(colour.into())).bold();
    format!("{style}{text}{style:#}")
}

/// Prints to standard output, with a line end. A reader that has gone ends the command quietly, a full disk loudly.
pub fn say(text: &str) {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(super::Exit::Ok as i32),
        Err(e) => {
            eprintln!("error: writing standard output: {e}");
            std::process::exit(super::Exit::Unavailable as i32);
        }
    }
}

/// All problems of a report, as text.
pub fn render(report: &Report, colour: bool) -> String {
    report.render(|severity, word| match severity {
        Severity::Error => paint(word, AnsiColor::Red, colour),
        Severity::Warning => paint(word, AnsiColor::Yellow, colour),
    })
}

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `s` of `3 files`.
pub fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_have_thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(super::count(n), text);
        }
    }
}
