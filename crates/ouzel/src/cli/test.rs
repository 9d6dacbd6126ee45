//! `ouzel test`

use super::terminal::{errors_have_colour, paint, plural, say};
use super::{Exit, Format};
use anstyle::AnsiColor;
use ouzel_engine::spec::{self, Outcome};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec files; all of `specs/` if none is named.
    files: Vec<PathBuf>,
    /// Write what came in place of what was expected.
    #[arg(long)]
    bless: bool,
}

pub fn run(project: &Path, args: &Args, format: Format) -> Exit {
    let files = if args.files.is_empty() { spec::files(project) } else { Ok(args.files.clone()) };
    let files = match files {
        Ok(files) if files.is_empty() => {
            eprintln!("error: there are no specs in `{}`: write one, `specs/NAME.md`", project.join("specs").display());
            return Exit::Usage;
        }
        Ok(files) => files,
        Err(e) => {
            eprintln!("error: {e}");
            return Exit::Unavailable;
        }
    };
    let colour = errors_have_colour();
    let (mut passed, mut failed) = (0u64, 0u64);
    let mut results = Vec::new();
    for file in files {
        match run_file(project, &file, args.bless) {
            Ok(outcomes) => {
                for (name, outcome) in outcomes {
                    let ok = outcome.failures.is_empty();
                    if ok {
                        passed += 1
                    } else {
                        failed += 1
                    }
                    if format == Format::Text {
                        let sign =
                            if ok { paint("ok", AnsiColor::Green, colour) } else { paint("FAILED", AnsiColor::Red, colour) };
                        eprintln!("{}: {name} ... {sign}", file.display());
                        outcome.failures.iter().for_each(|f| eprintln!("  {f}"));
                    }
                    results.push(
                        json!({ "file": file.display().to_string(), "case": name, "passed": ok, "failures": outcome.failures }),
                    );
                }
            }
            Err(message) => {
                failed += 1;
                eprintln!("{}: {message}", file.display());
                results.push(json!({ "file": file.display().to_string(), "passed": false, "failures": [message] }));
            }
        }
    }
    match format {
        Format::Json => say(&format!("{}", json!({ "passed": passed, "failed": failed, "cases": results }))),
        Format::Text if args.bless => {
            say(&format!("{} case{} blessed where they differed", passed + failed, plural(passed + failed)))
        }
        Format::Text => say(&format!("{passed} passed, {failed} failed")),
    }
    if failed > 0 && !args.bless { Exit::SpecFailed } else { Exit::Ok }
}

fn run_file(project: &Path, file: &Path, bless: bool) -> Result<Vec<(String, Outcome)>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let parsed = spec::parse(&text).map_err(|(line, message)| format!("{line}: {message}"))?;
    if parsed.cases.is_empty() {
        return Err("no case: a case has an `input` or a `problems` block".into());
    }
    let mut outcomes = Vec::new();
    for case in &parsed.cases {
        let scratch = Scratch::new()?;
        outcomes.push(spec::run_case(project, case, &scratch.0));
    }
    if bless && outcomes.iter().any(|o| !o.failures.is_empty()) {
        let pairs: Vec<_> = parsed.cases.iter().zip(&outcomes).collect();
        std::fs::write(file, spec::bless(&text, &pairs)).map_err(|e| e.to_string())?;
    }
    Ok(parsed.cases.into_iter().map(|c| c.name).zip(outcomes).collect())
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ouzel-spec-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).map_err(|e| format!("making `{}`: {e}", folder.display()))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
