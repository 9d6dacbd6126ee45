//! `ouzel deadletters` and `ouzel quarantine`: what has been set aside.

use super::terminal::{self, count, plural};
use super::validate::load;
use super::{Exit, Format};
use ouzel_core::Error;
use ouzel_engine::journal::{Entry, Fate, Journaled};
use ouzel_engine::registry::CodecConfig;
use ouzel_engine::{Place, Project};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Only of this pipeline, or of the job that makes this table.
    #[arg(long, global = true, value_name = "NAME")]
    pipeline: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The newest events, a line each; what is done if nothing is said.
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Whole events: reason, origin and raw bytes.
    Show {
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Writes the raw events to a new file, to be read as input again, and takes them off the list.
    Retry {
        /// All, if none is named.
        ids: Vec<String>,
        /// A file that is not there yet, for example one that the source's glob finds.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Takes events off the list for good.
    Drop {
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All there are.
        #[arg(long)]
        all: bool,
    },
}

pub fn run(root: &Path, args: &Args, fate: Fate, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let all = journals(&project);
    if let Some(name) = args.pipeline.as_ref().filter(|name| all.iter().all(|journal| journal.name != **name)) {
        let known: Vec<&str> = all.iter().map(|journal| journal.name.as_str()).collect();
        eprintln!("error: there is no pipeline `{name}`, and no job that reads records; known are {}", known.join(", "));
        return Exit::Usage;
    }
    let mut exit = Exit::Ok;
    let mut found = 0;
    for journal in all.iter().filter(|journal| args.pipeline.as_ref().is_none_or(|name| journal.name == *name)) {
        let done = journal.open(fate).and_then(|mut journaled| act(journal, &mut journaled, args.what.as_ref(), format));
        match done {
            Ok(n) => found += n,
            Err(e) => {
                eprintln!("error: {}: {e}", journal.name);
                exit = Exit::from(&e);
            }
        }
    }
    let asked: &[String] = match &args.what {
        Some(What::Show { ids } | What::Retry { ids, .. } | What::Drop { ids, .. }) => ids,
        _ => &[],
    };
    if found < asked.len() && exit == Exit::Ok {
        eprintln!("error: {} of the {} ids named are not there", asked.len() - found, asked.len());
        return Exit::Failed;
    }
    exit
}

/// What one pipeline, or one job, has set aside.
pub struct SetAside {
    pub name: String,
    place: Place,
    is_job: bool,
    /// Why its records make no file of their own.
    no_file: Option<&'static str>,
}

/// Of all pipelines, and of the jobs that read records.
pub fn journals(project: &Project) -> Vec<SetAside> {
    let of = |name: &str, codec: &CodecConfig, is_job| {
        let no_file = match codec {
            codec if codec.has_header() => Some("their file's header says what their cells are"),
            codec if codec.framing().packing().is_some() => Some("their format is no text, and they are kept as JSON"),
            _ => None,
        };
        SetAside { name: name.to_string(), place: project.place(), is_job, no_file }
    };
    let pipelines = project.pipelines.iter().map(|pipeline| of(&pipeline.name, &pipeline.plan.codec, false));
    let jobs = project.jobs.iter().filter_map(|job| {
        let reading = job.source.as_ref()?.reading.as_ref()?;
        Some(of(&job.target, &reading.plan.codec, true))
    });
    pipelines.chain(jobs).collect()
}

impl SetAside {
    pub fn open(&self, fate: Fate) -> ouzel_core::Result<Journaled> {
        match self.is_job {
            true => Journaled::open(&ouzel_engine::jobs::set_aside(&self.place.lake, &self.name)?, fate, None),
            false => Journaled::open(&self.place.of(&self.name), fate, self.place.mirror(&self.name)?),
        }
    }
}

/// Gives how many events it was about.
fn act(journal: &SetAside, journaled: &mut Journaled, what: Option<&What>, format: Format) -> ouzel_core::Result<usize> {
    let pipeline = journal.name.as_str();
    let mut entries: Vec<Entry> = journaled.entries()?.collect();
    match what {
        None => list(pipeline, &entries, 20, format),
        Some(What::List { limit }) => list(pipeline, &entries, *limit, format),
        Some(What::Show { ids }) => {
            entries.retain(|entry| ids.contains(&entry.id));
            entries.iter().for_each(|entry| show(pipeline, entry, format));
        }
        Some(What::Retry { ids, to }) => {
            entries.retain(|entry| ids.is_empty() || ids.contains(&entry.id));
            if let (Some(why), false) = (journal.no_file, entries.is_empty()) {
                let message = format!("these records cannot be read again from a file of their own: {why}. `show` has them");
                return Err(Error::config(message));
            }
            if !entries.is_empty() {
                journaled.take_back(&entries, to)?;
                terminal::say(&format!("{pipeline}: {} written to {}", events(entries.len()), to.display()));
            }
        }
        Some(What::Drop { ids, all }) => {
            entries.retain(|entry| *all || ids.contains(&entry.id));
            journaled.settle(&entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>())?;
            terminal::say(&format!("{pipeline}: {} dropped", events(entries.len())));
        }
    }
    Ok(entries.len())
}

fn events(n: usize) -> String {
    format!("{} event{}", count(n as u64), plural(n as u64))
}

fn list(pipeline: &str, entries: &[Entry], limit: usize, format: Format) {
    let newest = &entries[entries.len().saturating_sub(limit)..];
    if format == Format::Json {
        return newest.iter().for_each(|entry| show(pipeline, entry, format));
    }
    terminal::say(&format!("{pipeline}: {}", events(entries.len())));
    let width = newest.iter().map(|entry| entry.id.len()).max().unwrap_or(0);
    for entry in newest {
        let reason: String = entry.reason.chars().take(100).collect();
        terminal::say(&format!("  {:<width$}  {}:{}  {reason}", entry.id, entry.origin.0, entry.origin.1));
    }
    if newest.len() < entries.len() {
        terminal::say(&format!("  and {} before; `list --limit N` shows more", count((entries.len() - newest.len()) as u64)));
    }
}

fn show(pipeline: &str, entry: &Entry, format: Format) {
    let (origin, position) = &entry.origin;
    terminal::say(&match format {
        Format::Json => json!({
            "pipeline": pipeline, "id": entry.id, "origin": origin, "position": position, "reason": entry.reason, "raw": entry.text(),
        })
        .to_string(),
        Format::Text => format!(
            "{}\n  pipeline  {pipeline}\n  origin    {origin}, byte {position}\n  reason    {}\n  raw       {}",
            entry.id,
            entry.reason,
            entry.text()
        ),
    });
}
