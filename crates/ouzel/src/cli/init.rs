//! `ouzel init`

mod draft;
mod from;

use super::terminal::say;
use super::{Exit, schema};
use ouzel_core::clock::Stopwatch;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to make; it must not exist or be empty.
    dir: PathBuf,
    /// Files with events, compressed or not: their format, fields, time and who acts in them are found out, and a pipeline is
    /// written for them. Without it: an example with made-up traffic.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    from: Vec<PathBuf>,
}

/// The example that comes with the program, file by file.
const FILES: [(&str, &str); 8] = [
    ("ouzel.yaml", include_str!("../../../../examples/web/ouzel.yaml")),
    ("schemas/request.yaml", include_str!("../../../../examples/web/schemas/request.yaml")),
    ("pipelines/web.yaml", include_str!("../../../../examples/web/pipelines/web.yaml")),
    ("jobs/ten_minutes.sql", include_str!("../../../../examples/web/jobs/ten_minutes.sql")),
    ("jobs/daily.sql", include_str!("../../../../examples/web/jobs/daily.sql")),
    ("jobs/networks.sql", include_str!("../../../../examples/web/jobs/networks.sql")),
    ("specs/web.md", include_str!("../../../../examples/web/specs/web.md")),
    ("data/asn.csv", include_str!("../../../../examples/web/data/asn.csv")),
];

pub fn run(args: &Args) -> Exit {
    if let Err(e) = check_empty(&args.dir) {
        eprintln!("error: {e}");
        return Exit::Unavailable;
    }
    if !args.from.is_empty() {
        let watch = Stopwatch::start();
        return match from::make(&args.dir, &args.from) {
            Ok(told) => {
                say(&format!("made {} in {:.1} s\n\n{told}", args.dir.display(), watch.seconds()));
                Exit::Ok
            }
            Err(e) => {
                eprintln!("error: {e}");
                Exit::from(&e)
            }
        };
    }
    match make(&args.dir) {
        Ok(()) => {
            let dir = args.dir.display();
            say(&format!("made {dir}: web traffic with attacks in it"));
            for (file, _) in FILES {
                say(&format!("  {file}"));
            }
            say(&format!(
                "\nnext:\n  ouzel run -p {dir}        score a million requests, and make tables of them\n  ouzel test -p {dir}       run its specs\n  ouzel validate -p {dir}   after each change\n\nyour own log: \
                 ouzel init DIR --from FILE"
            ));
            Exit::Ok
        }
        Err(e) => {
            eprintln!("error: {e}");
            Exit::Unavailable
        }
    }
}

fn check_empty(dir: &Path) -> io::Result<()> {
    if dir.exists() && std::fs::read_dir(dir)?.next().is_some() {
        return Err(io::Error::other(format!("`{}` is not empty: name a new folder", dir.display())));
    }
    Ok(())
}

fn make(dir: &Path) -> io::Result<()> {
    for (file, text) in FILES {
        let path = dir.join(file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)?;
    }
    std::fs::write(dir.join(".gitignore"), "/.ouzel/\n/lake/\n")?;
    schema::write(dir).map(drop)
}
