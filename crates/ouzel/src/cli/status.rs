//! `ouzel status`

use super::terminal::{count, errors_have_colour, output_has_colour, paint, say};
use super::validate::load;
use super::{Exit, Format};
use anstyle::AnsiColor;
use ouzel_connect::log::{Place as Read, contents};
use ouzel_core::Result;
use ouzel_engine::checkpoint::{Manifest, Peeked, peek};
use ouzel_engine::graph::reads;
use ouzel_engine::{Pipeline, PipelineSummary, Place};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines; all if none is named.
    names: Vec<String>,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let pipelines = match project.select(&args.names) {
        Ok(pipelines) => pipelines,
        Err(message) => {
            eprintln!("error: {message}");
            return Exit::Usage;
        }
    };
    let place = project.place();
    let mut rows = Vec::new();
    for pipeline in pipelines {
        match Status::of(pipeline, &place) {
            Ok(status) => rows.push(status),
            Err(e) => {
                eprintln!("{}: {}: {e}", paint("error", AnsiColor::Red, errors_have_colour()), pipeline.name);
                return Exit::from(&e);
            }
        }
    }
    match format {
        Format::Json => say(&json!({ "pipelines": rows.iter().map(Status::json).collect::<Vec<_>>() }).to_string()),
        Format::Text => say(table(&rows).trim_end()),
    }
    Exit::Ok
}

struct Status {
    name: String,
    commit: Option<Manifest>,
    held_by: Option<String>,
    /// Records of its stream that it has not committed yet.
    waiting: Option<u64>,
}

impl Status {
    fn of(pipeline: &Pipeline, place: &Place) -> Result<Status> {
        let Peeked { commit, held_by } = peek(&place.of(&pipeline.name), place.mirror(&pipeline.name)?.as_ref())?;
        let waiting = match reads(&pipeline.plan) {
            None => None,
            Some(stream) => {
                let records = contents(&place.streams.folder_of(stream))?.records;
                let position = commit.as_ref().and_then(|c| c.source.as_deref());
                let read = position.and_then(|p| serde_json::from_str::<Read>(p).ok()).unwrap_or_default().offsets;
                let next = |partition: usize| read.get(partition).copied().unwrap_or(0);
                Some(records.iter().enumerate().map(|(n, r)| r.end.saturating_sub(r.start.max(next(n)))).sum())
            }
        };
        Ok(Status { name: pipeline.name.clone(), commit, held_by, waiting })
    }

    fn totals(&self) -> PipelineSummary {
        self.commit.as_ref().map(|c| c.totals.clone()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        let totals = self.totals();
        json!({
            "name": self.name,
            "running": self.held_by,
            "generation": self.commit.as_ref().map(|c| c.generation),
            "commit": self.commit.as_ref().map(|c| c.commit),
            "completed": self.commit.as_ref().map_or(0, |c| c.offset),
            "waiting": self.waiting,
            "received": totals.received, "delivered": totals.delivered, "filtered": totals.filtered,
            "duplicate": totals.duplicate, "quarantined": totals.quarantined, "dead_lettered": totals.dead_lettered,
        })
    }
}

/// `completed`: all events before this one are processed for good.
const HEAD: [&str; 8] = ["pipeline", "completed", "delivered", "filtered", "quarantined", "dead-lettered", "waiting", "running"];

fn table(statuses: &[Status]) -> String {
    let mut rows = vec![HEAD.map(String::from)];
    for status in statuses {
        let totals = status.totals();
        rows.push([
            status.name.clone(),
            status.commit.as_ref().map_or("-".into(), |c| count(c.offset)),
            count(totals.delivered),
            count(totals.filtered + totals.duplicate),
            count(totals.quarantined),
            count(totals.dead_lettered),
            status.waiting.map_or("-".into(), count),
            status.held_by.clone().unwrap_or_else(|| "no".into()),
        ]);
    }
    let widths: Vec<usize> = (0..HEAD.len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, width))| match i {
                0 if n > 0 => paint(&format!("{cell:<width$}"), AnsiColor::Cyan, output_has_colour()),
                0 | 7 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}
