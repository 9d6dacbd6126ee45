//! What jobs would do, have done, and why they do not, for people.

use crate::cli::terminal::{bytes, count, paint, plural};
use anstyle::AnsiColor;
use ouzel_engine::jobs::{Checked, Landing, Outcome, Planned, Progress, Records, RunKind};
use serde_json::Value;
use std::fmt::Write as _;

pub fn planned_text(planned: &Planned, colour: bool) -> String {
    let what = match planned.kind {
        RunKind::Follows => "follows".to_string(),
        RunKind::Nothing => "nothing to do".to_string(),
        RunKind::Full => "is made anew".to_string(),
        RunKind::Incremental if planned.partitions.is_empty() => "gets new rows".to_string(),
        RunKind::Incremental => {
            let n = planned.partitions.len() as u64;
            format!("{} partition{} made anew", count(n), plural(n))
        }
    };
    let mut out = format!("{}: {what}: {}\n", paint(&planned.target, AnsiColor::Cyan, colour), planned.why);
    for source in &planned.sources {
        let from = source.from.map_or("the beginning".to_string(), |from| format!("version {from}"));
        let mut text = format!("{} from {from} to {}", source.table, source.to);
        if source.files_added + source.files_removed > 0 {
            let _ =
                write!(text, ", {} files added, {} removed, {}", source.files_added, source.files_removed, bytes(source.bytes));
        }
        let _ = writeln!(out, "  reads      {text}");
    }
    if let Some(landing) = &planned.landing {
        out.push_str(&landing_text(landing, colour));
    }
    if !planned.partitions.is_empty() {
        let shown: Vec<&str> = planned.partitions.iter().take(8).map(String::as_str).collect();
        let more = planned.partitions.len().saturating_sub(8);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "  partitions {}{more}", shown.join(", "));
    }
    out
}

fn landing_text(landing: &Landing, colour: bool) -> String {
    let n = landing.files as u64;
    let mut out = format!("  takes      {} file{} of {}, {}\n", count(n), plural(n), landing.source, bytes(landing.bytes));
    let warn = |text: &str| paint(text, AnsiColor::Yellow, colour);
    for (file, aside) in landing.aside.iter().take(3) {
        let _ = writeln!(out, "  {}  {file}: {}", warn("set aside"), aside.why);
    }
    if landing.aside.len() > 3 {
        let _ = writeln!(out, "  {}  {} more", warn("set aside"), count(landing.aside.len() as u64 - 3));
    }
    if let Some(records) = &landing.records {
        let _ = writeln!(out, "  records    {}", records_text(records));
    }
    if let Some(first) = landing.changed.first() {
        let others = landing.changed.len() as u64 - 1;
        let others = if others > 0 { format!(" and {} more", count(others)) } else { String::new() };
        let _ = writeln!(
            out,
            "  {}    {first}{others}: taken before, its rows are as they were; `--full-refresh` takes all anew",
            warn("changed")
        );
    }
    if !landing.new_columns.is_empty() {
        let names = landing.new_columns.join(", ");
        let how = match &landing.records {
            None => "`--full-refresh` takes what the first file has",
            Some(_) => "name it in the source's `event` or `select`",
        };
        let _ = writeln!(out, "  {}  {names}: not taken; {how}", warn("new column"));
    }
    if !landing.vanished.is_empty() {
        let _ = writeln!(
            out,
            "  {}   {}: had values in files before, and has none in these",
            warn("vanished"),
            landing.vanished.join(", ")
        );
    }
    out
}

/// How far a run is, `seconds` after it began.
pub fn progress_text(progress: &Progress, seconds: f64) -> String {
    let rows = Some(progress.rows()).filter(|rows| *rows > 0).map(|rows| format!("{} rows", count(rows)));
    let partitions = Some(progress.partitions()).filter(|n| *n > 0).map(|n| format!("{} partition{}", count(n), plural(n)));
    let read = progress.part_read().map(|part| {
        let left = if part > 0.01 { format!(", about {:.0} s left", seconds / part - seconds) } else { String::new() };
        format!("{:.0} % of its files read{left}", 100.0 * part)
    });
    let said: Vec<String> = read.into_iter().chain(rows).chain(partitions).chain([format!("{seconds:.0} s")]).collect();
    said.join(", ")
}

fn records_text(records: &Records) -> String {
    let fates = [
        (records.filtered, "filtered"),
        (records.quarantined, "quarantined"),
        (records.dead_lettered, "dead-lettered"),
        (records.malformed, "with malformed values"),
        (records.implausible, "with implausible ones"),
    ];
    let some = fates.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {} {what}", count(*n)));
    format!("{} read{}", count(records.received), some.collect::<String>())
}

pub fn outcome_text(outcome: &Outcome, colour: bool) -> String {
    let mut out = planned_text(&outcome.planned, colour);
    if outcome.planned.kind != RunKind::Nothing {
        let version = outcome.version.map_or("not published".to_string(), |version| format!("version {version}"));
        let _ = writeln!(
            out,
            "  wrote      {} rows{}{}, in the place of {} file{}, {version}, {:.1} s",
            count(outcome.rows),
            if outcome.added { ", what is new added to what was there" } else { "" },
            match (outcome.updated, outcome.duplicates) {
                (0, 0) => String::new(),
                (0, n) => format!(" ({} left out: others have their key)", count(n)),
                (updated, 0) => format!(" ({} in the place of rows with their key)", count(updated)),
                (updated, n) => {
                    format!(
                        " ({} in the place of rows with their key, {} left out: others have theirs)",
                        count(updated),
                        count(n)
                    )
                }
            },
            outcome.files_removed,
            plural(outcome.files_removed as u64),
            outcome.seconds
        );
    }
    for check in &outcome.checks {
        out.push_str(&check_text(check, colour));
    }
    out
}

/// Of a failing row; all of it is in the JSON.
const SHOWN_CHARS: usize = 200;

pub fn check_text(check: &Checked, colour: bool) -> String {
    let (word, shade) = match (check.ok, check.warns) {
        (true, _) => ("ok", AnsiColor::Green),
        (false, true) => ("warns", AnsiColor::Yellow),
        (false, false) => ("FAILS", AnsiColor::Red),
    };
    let mut text = format!("  check      {}: {}", check.name, paint(word, shade, colour));
    if check.failing > 0 {
        let _ = write!(text, ", {} row{}", count(check.failing), plural(check.failing));
    }
    text.push('\n');
    for row in check.rows.iter().take(3) {
        let row = row.to_string();
        let shown: String = row.chars().take(SHOWN_CHARS).collect();
        let _ = writeln!(text, "             {shown}{}", if shown.len() < row.len() { ".." } else { "" });
    }
    text
}

/// What has stopped a table.
pub fn why_paused(paused: &Value) -> String {
    if let Some(reason) = paused["reason"].as_str() {
        return format!("held by hand ({reason})");
    }
    let names = paused["checks"].as_array().into_iter().flatten().filter_map(|check| check["name"].as_str());
    format!("stopped by the check {}", names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_what_is_left() {
        let progress = Progress::default();
        assert_eq!(progress_text(&progress, 3.0), "3 s");
        progress.reads(1000);
        progress.has_read(250);
        assert_eq!(progress_text(&progress, 3.0), "25 % of its files read, about 9 s left, 3 s");
        progress.has_read(750);
        progress.makes(2);
        progress.has_made(12_345);
        assert_eq!(progress_text(&progress, 5.0), "12,345 rows, 2 partitions, 5 s");
    }
}
