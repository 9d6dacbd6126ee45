//! A project on disk, and runs of its one pipeline.

use crate::measures::{Group, Of};
use ouzel_core::{Error, Result, Source};
use ouzel_engine::runtime::{Recut, STOPPED_DEAD, run_recut};
use ouzel_engine::spec::Cuts;
use ouzel_engine::{Control, Options, PipelineSummary, Place, Plan, project};
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

/// How a log is run.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub cuts: Cuts,
    pub threads: usize,
    /// With a commit at each cut, and killed at every so many commits until it is through.
    pub killed: Option<u64>,
    /// Bytes of the state that may stay in memory over a commit.
    pub memory: Option<u64>,
}

impl How {
    /// Not killed, with all in memory.
    pub fn plain(cuts: Cuts, threads: usize) -> How {
        How { cuts, threads, killed: None, memory: None }
    }
}

/// A folder to run in.
pub struct Folder(TempDir);

impl Folder {
    /// In memory where that can be: what is killed here is not the machine, so nothing hangs on a disk.
    pub fn new() -> Folder {
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        Folder(folder.expect("a temporary folder"))
    }

    pub fn write(&self, log: &str) {
        std::fs::write(self.0.path().join("in.ndjson"), log).expect("the input is written");
    }

    /// What was written, and what was done.
    pub fn run(&self, plan: &Plan, how: How) -> Result<(String, PipelineSummary)> {
        let options = Options {
            threads: how.threads,
            commit_each_batch: how.killed.is_some(),
            die_after_commits: how.killed,
            ..Options::default()
        };
        self.run_with(plan, options, how.memory, &|source, framing| how.cuts.apply(source, framing))
    }

    /// With another source in place of the pipeline's.
    pub fn run_of(
        &self,
        plan: &Plan,
        threads: usize,
        source: &dyn Fn(Box<dyn Source>) -> Box<dyn Source>,
    ) -> Result<(String, PipelineSummary)> {
        self.run_with(plan, Options { threads, ..Options::default() }, None, &|own, _| source(own))
    }

    fn run_with(
        &self,
        plan: &Plan,
        options: Options,
        memory: Option<u64>,
        recut: Recut<'_>,
    ) -> Result<(String, PipelineSummary)> {
        let root = self.0.path();
        let (lake, state, lasting) =
            (ouzel_lake::Location::Folder(root.join("lake")), root.join("state"), options.die_after_commits.is_some());
        let place = Place {
            project: "meaning".into(),
            root: root.into(),
            lake,
            streams: Arc::default(),
            state,
            lasting,
            memory,
            bucket: None,
        };
        // Each run is the first of its project, so that ids are the same.
        let _ = std::fs::remove_dir_all(&place.state);
        let mut runs = 0;
        let summary = loop {
            // Every other run has room for all keys: what it writes of one is older than what the next takes from memory.
            let place = Place { memory: memory.filter(|_| runs % 2 == 1), ..place.clone() };
            runs += 1;
            match run_recut(plan, &place, &options, &Control::default(), recut) {
                Err(e) if e.message() == STOPPED_DEAD => {}
                ended => break ended?,
            }
        };
        let rows = std::fs::read_to_string(root.join("out.ndjson")).map_err(|e| Error::internal(e.to_string()))?;
        Ok((rows, summary))
    }
}
