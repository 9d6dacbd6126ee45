//! `ouzel validate`

use super::terminal::{errors_have_colour, plural, render, say};
use super::{Exit, Format, environment};
use ouzel_core::{Report, Severity};
use ouzel_engine::{Project, project};
use serde_json::json;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also open files and servers outside: sources, lookups.
    #[arg(long)]
    connect: bool,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    let (project, report) = project::load(root, &environment);
    let (errors, warnings) = (report.count(Severity::Error) as u64, report.count(Severity::Warning) as u64);
    let mut outside = Vec::new();
    if let (Some(project), true) = (&project, args.connect) {
        for pipeline in &project.pipelines {
            outside.extend(pipeline.plan.connect(&project.place()).into_iter().map(|e| format!("{}: {e}", pipeline.file)));
        }
        for job in &project.jobs {
            outside.extend(job.connect().into_iter().map(|e| format!("{}: {e}", job.file)));
        }
    }
    let exit = match (&project, outside.is_empty()) {
        (None, _) => Exit::Invalid,
        (Some(_), false) => Exit::Unavailable,
        (Some(_), true) => Exit::Ok,
    };
    if format == Format::Json {
        say(&format!("{}", as_json(&report, &outside, exit == Exit::Ok)));
        return exit;
    }
    eprint!("{}", render(&report, errors_have_colour()));
    for problem in &outside {
        eprintln!("error: {problem}");
    }
    if let (Some(project), Exit::Ok) = (&project, exit) {
        let pipelines = project.pipelines.iter().map(|pipeline| pipeline.name.clone());
        let names: Vec<String> = pipelines.chain(project.jobs.iter().map(|job| job.target.clone())).collect();
        let warned = if warnings > 0 { format!(", {warnings} warning{}", plural(warnings)) } else { String::new() };
        say(&format!("{}: valid ({}){warned}", project.name, names.join(", ")));
    } else {
        let errors = errors + outside.len() as u64;
        eprintln!("{errors} error{}, {warnings} warning{}", plural(errors), plural(warnings));
    }
    exit
}

/// Loads a project for a command that needs a good one. Problems are printed.
pub fn load(root: &Path) -> Result<Project, Exit> {
    let (project, report) = project::load(root, &environment);
    eprint!("{}", render(&report, errors_have_colour()));
    project.ok_or_else(|| {
        let errors = report.count(Severity::Error) as u64;
        eprintln!("{errors} error{}", plural(errors));
        Exit::Invalid
    })
}

fn as_json(report: &Report, outside: &[String], valid: bool) -> serde_json::Value {
    let mut problems: Vec<serde_json::Value> = report
        .problems()
        .iter()
        .map(|p| {
            json!({
                "severity": if p.severity == Severity::Error { "error" } else { "warning" },
                "file": report.file_name(p.span), "line": p.span.line, "column": p.span.column,
                "message": p.message, "hint": p.hint,
            })
        })
        .collect();
    problems.extend(outside.iter().map(|m| json!({ "severity": "error", "message": m })));
    json!({ "valid": valid, "problems": problems })
}
