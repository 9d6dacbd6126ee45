//! `ouzel vacuum`: removes files of tables that no version of late needs.

use super::terminal::{count, output_has_colour, paint, plural, say};
use super::validate::load;
use super::{Exit, Format, jobs};
use anstyle::AnsiColor;
use ouzel_core::units::TimeSpan;
use ouzel_engine::Project;
use ouzel_lake::jobs::vacuum::vacuum;
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tables of pipelines and jobs; all of them if none is named.
    names: Vec<String>,
    /// Versions younger than this can still be read; and files younger than this may be of a run that is under way.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    keep: TimeSpan,
    /// Tell only what would be removed.
    #[arg(long)]
    plan: bool,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let project = match load(root) {
        Ok(project) => project,
        Err(exit) => return exit,
    };
    let known = tables(&project);
    if let Some(name) = args.names.iter().find(|name| !known.contains(*name)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        eprintln!("error: no pipeline and no job makes a table `{name}`; known are {}", known.join(", "));
        return Exit::Usage;
    }
    let lake = project.place().lake;
    let (mut all, mut exit) = (Map::new(), Exit::Ok);
    for name in known.iter().filter(|name| args.names.is_empty() || args.names.contains(name)) {
        let removed = lake.has_table(name).and_then(|is_there| match is_there {
            true => vacuum(&lake.join(name), args.keep, args.plan),
            false => Ok(Vec::new()),
        });
        match removed {
            Ok(files) => {
                if format == Format::Text {
                    let (n, title) = (files.len() as u64, paint(name, AnsiColor::Cyan, output_has_colour()));
                    say(&format!("{title}: {} file{} {}", count(n), plural(n), if args.plan { "would go" } else { "removed" }));
                }
                all.insert(name.clone(), json!({ "files": files }));
            }
            Err(e) => {
                all.insert(name.clone(), json!({ "error": e.to_string() }));
                let failed = jobs::told(&e);
                exit = if exit == Exit::Ok { failed } else { exit };
            }
        }
    }
    if format == Format::Json {
        say(&json!({ "tables": all }).to_string());
    }
    exit
}

/// What the project's pipelines and jobs make.
fn tables(project: &Project) -> BTreeSet<String> {
    let jobs = project.jobs.iter().map(|job| job.target.clone());
    project.lake_tables().into_iter().chain(jobs).collect()
}
