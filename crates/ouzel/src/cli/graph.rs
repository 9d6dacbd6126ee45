//! `ouzel graph`

use super::terminal::{bytes, count, output_has_colour, paint, say};
use super::validate::load;
use super::{Exit, Format};
use anstyle::AnsiColor;
use ouzel_connect::log::{Contents, contents};
use ouzel_engine::graph::{reads, writes};
use ouzel_engine::{Pipeline, Project};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For Graphviz: `ouzel graph --dot | dot -Tsvg > graph.svg`.
    #[arg(long)]
    dot: bool,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let text = match (format, args.dot) {
        (Format::Json, _) => as_json(&project).to_string(),
        (Format::Text, true) => dot(&project),
        (Format::Text, false) => Drawing::of(&project),
    };
    say(text.trim_end());
    Exit::Ok
}

/// A tree from each source to what comes of it.
struct Drawing<'p> {
    project: &'p Project,
    drawn: BTreeSet<String>,
    out: String,
}

/// What is below a line, and how far in.
enum Below<'p> {
    Pipeline(&'p Pipeline),
    Stream(String),
    Sink(String),
}

impl<'p> Drawing<'p> {
    fn of(project: &'p Project) -> String {
        let mut drawing = Drawing { project, drawn: BTreeSet::new(), out: String::new() };
        let mut sources: Vec<String> = Vec::new();
        for pipeline in project.pipelines.iter().filter(|p| reads(&p.plan).is_none()) {
            let source = pipeline.plan.source.describe();
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        for source in sources {
            drawing.out += &format!("{source}\n");
            let below = project.pipelines.iter().filter(|p| p.plan.source.describe() == source).map(Below::Pipeline).collect();
            drawing.branches(below, "");
        }
        drawing.out
    }

    fn branches(&mut self, below: Vec<Below<'p>>, indent: &str) {
        let last = below.len().saturating_sub(1);
        for (i, one) in below.into_iter().enumerate() {
            let (sign, deeper) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.out += &format!("{indent}{sign}");
            self.branch(one, &format!("{indent}{deeper}"));
        }
    }

    fn branch(&mut self, one: Below<'p>, indent: &str) {
        match one {
            Below::Sink(sink) => self.out += &format!("{sink}\n"),
            Below::Pipeline(pipeline) => {
                self.out += &format!("{}\n", paint(&pipeline.name, AnsiColor::Cyan, output_has_colour()));
                let sinks = pipeline.plan.sinks.iter().map(|sink| match sink.config.stream() {
                    Some(stream) => Below::Stream(stream.name().to_string()),
                    None => Below::Sink(sink.config.key()),
                });
                self.branches(sinks.collect(), indent);
            }
            Below::Stream(name) if !self.drawn.insert(name.clone()) => self.out += &format!("stream {name}, as above\n"),
            Below::Stream(name) => {
                self.out += &format!("stream {name}{}\n", about(self.project, &name));
                let readers = self.project.pipelines.iter().filter(|p| reads(&p.plan) == Some(&name));
                self.branches(readers.map(Below::Pipeline).collect(), indent);
            }
        }
    }
}

/// How a stream is kept and what it holds.
fn about(project: &Project, stream: &str) -> String {
    let place = project.place();
    let mut about = Vec::new();
    if let Some(settings) = place.streams.settings.get(stream) {
        about.extend(settings.key.iter().map(|key| format!("key {key}")));
        if settings.log.partitions > 1 {
            about.push(format!("{} partitions", settings.log.partitions));
        }
    }
    let Contents { bytes: size, records } = contents(&place.streams.folder_of(stream)).unwrap_or_default();
    if size > 0 {
        about.push(format!("{} records", count(records.iter().map(|r| r.end - r.start).sum())));
        about.push(bytes(size));
    }
    if about.is_empty() { String::new() } else { format!("  ({})", about.join(", ")) }
}

fn as_json(project: &Project) -> serde_json::Value {
    let pipelines: Vec<_> = project
        .pipelines
        .iter()
        .map(|p| {
            let sinks: Vec<String> = p.plan.sinks.iter().map(|s| s.config.key()).collect();
            json!({ "name": p.name, "source": p.plan.source.describe(), "sinks": sinks })
        })
        .collect();
    let place = project.place();
    let streams: Vec<_> = place
        .streams
        .settings
        .iter()
        .map(|(name, settings)| {
            let held = contents(&place.streams.folder_of(name)).unwrap_or_default();
            let records: u64 = held.records.iter().map(|r| r.end - r.start).sum();
            let partitions = settings.log.partitions;
            json!({ "name": name, "key": settings.key, "partitions": partitions, "records": records, "bytes": held.bytes })
        })
        .collect();
    json!({ "pipelines": pipelines, "streams": streams })
}

fn dot(project: &Project) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = format!("digraph {} {{\n  rankdir=LR\n  node [shape=box]\n", quoted(&project.name));
    for pipeline in &project.pipelines {
        let name = quoted(&pipeline.name);
        out += &format!("  {name} [style=filled]\n  {} -> {name}\n", quoted(&pipeline.plan.source.describe()));
        for sink in &pipeline.plan.sinks {
            out += &format!("  {name} -> {}\n", quoted(&sink.config.key()));
        }
        for stream in writes(&pipeline.plan) {
            out += &format!("  {} [shape=cds]\n", quoted(&format!("stream {stream}")));
        }
    }
    out + "}\n"
}
