//! A project on disk, and runs of its one pipeline.

use crate::measures::{Group, Of};
use ouzel_core::{Chunk, Error, Result, Source};
use ouzel_engine::runtime::run_recut;
use ouzel_engine::{Control, Options, PipelineSummary, Plan, project};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What the event says about time.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Microseconds.
    pub lateness: i64,
    /// Microseconds.
    pub duplicates_within: Option<i64>,
    /// Too late events are quarantined, not delivered.
    pub quarantines: bool,
    /// `None`: the default, which no log here reaches.
    pub exact_up_to: Option<usize>,
}

/// The plan of a pipeline with these measures, from `in.ndjson` to `out.ndjson`, in whichever folder it runs.
pub fn plan(groups: &[Group], settings: &Settings) -> Arc<Plan> {
    let seconds = |micros: i64| format!("{}s", micros / 1_000_000);
    let mut yaml = format!(
        "name: p\nsource: {{ file: {{ path: in.ndjson }} }}\ncodec: json\nevent:\n  time: t\n  lateness: {}\n  id: id\n",
        seconds(settings.lateness)
    );
    if let Some(within) = settings.duplicates_within {
        yaml += &format!("  duplicates_within: {}\n", seconds(within));
    }
    if settings.quarantines {
        yaml += "  too_late: quarantine\n";
    }
    if let Some(entries) = settings.exact_up_to {
        yaml += &format!("  exact_up_to: {entries}\n");
    }
    yaml += "  fields: { seq: int, t: timestamp, id: text, who: text, place: text, kind: text, code: int, big: int, amount: float, ok: bool }\n";
    yaml += "features:\n";
    let mut columns = String::new();
    for group in groups {
        yaml += &format!("  - by: [{}]\n    measure:\n", group.by.join(", "));
        for measure in &group.measures {
            yaml += &format!("      {}\n", measure.yaml());
            for column in measure.columns() {
                let is_time = measure.of == Of::Time;
                columns +=
                    &if is_time { format!(", {column}: \"cast({column} as bigint)\"") } else { format!(", {column}: {column}") };
            }
        }
    }
    yaml += &format!("sinks:\n  - file: {{ path: out.ndjson, columns: {{ seq: seq, _id: _id, _late: _late{columns} }} }}\n");
    plan_of(&yaml)
}

/// The plan of a pipeline.
pub fn plan_of(yaml: &str) -> Arc<Plan> {
    let root = TempDir::new().expect("a temporary folder");
    std::fs::create_dir(root.path().join("pipelines")).expect("a folder");
    std::fs::write(root.path().join("ouzel.yaml"), "name: meaning\n").expect("a file");
    std::fs::write(root.path().join("pipelines/p.yaml"), yaml).expect("a file");
    let (project, report) = project::load(root.path(), &|_| None);
    let Some(project) = project else { panic!("{yaml}\n{}", report.render(|_, word| word.to_string())) };
    project.pipelines[0].plan.clone()
}

/// How a log is cut into chunks, and by how many threads it is worked on.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub cuts: Cuts,
    pub threads: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Cuts {
    /// As the source gives them.
    None,
    /// After each line.
    Each,
    /// After one line of so many, by chance.
    OneOf(u64, u64),
}

/// A folder to run in.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(TempDir::new().expect("a temporary folder"))
    }

    pub fn write(&self, log: &str) {
        std::fs::write(self.0.path().join("in.ndjson"), log).expect("the input is written");
    }

    /// What was written, and what was done.
    pub fn run(&self, plan: &Plan, how: How) -> Result<(String, PipelineSummary)> {
        self.run_of(plan, how.threads, &|source| Box::new(Cutter { source, cuts: how.cuts, random: 0, ready: VecDeque::new() }))
    }

    /// With another source in place of the pipeline's.
    pub fn run_of(
        &self,
        plan: &Plan,
        threads: usize,
        source: &dyn Fn(Box<dyn Source>) -> Box<dyn Source>,
    ) -> Result<(String, PipelineSummary)> {
        let root: &Path = self.0.path();
        // Each run is the first of its project, so that ids are the same.
        let _ = std::fs::remove_dir_all(root.join(".ouzel"));
        let options = Options { threads, colour: false };
        let summary =
            run_recut(plan, root, &root.join("lake"), &options, &Control::default(), &mut |_| {}, &|own, _| source(own))?;
        let rows = std::fs::read_to_string(root.join("out.ndjson")).map_err(|e| Error::internal(e.to_string()))?;
        Ok((rows, summary))
    }
}

struct Cutter {
    source: Box<dyn Source>,
    cuts: Cuts,
    random: u64,
    ready: VecDeque<Chunk>,
}

impl Source for Cutter {
    fn next(&mut self) -> Result<Option<Chunk>> {
        if let Cuts::None = self.cuts {
            return self.source.next();
        }
        while self.ready.is_empty() {
            let Some(chunk) = self.source.next()? else { return Ok(None) };
            let mut start = 0;
            let data = chunk.data.as_slice();
            let ends = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            let ends: Vec<usize> = ends.filter(|_| self.cuts_here()).chain([data.len()]).collect();
            for end in ends.into_iter().filter(|end| *end > 0) {
                if end > start {
                    let mut part = chunk.clone();
                    part.data = chunk.data.slice_with_length(start, end - start);
                    part.origin.position += start as u64;
                    self.ready.push_back(part);
                    start = end;
                }
            }
        }
        Ok(self.ready.pop_front())
    }
}

impl Cutter {
    fn cuts_here(&mut self) -> bool {
        match self.cuts {
            Cuts::None => false,
            Cuts::Each => true,
            Cuts::OneOf(lines, seed) => {
                // SplitMix64 (Steele, Lea, Flood 2014).
                self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (self.random ^ seed).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)).is_multiple_of(lines)
            }
        }
    }
}
