//! `ouzel generate`

use super::Exit;
use ouzel_connect::sources::GenerateSource;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write NDJSON; standard output if absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Events per second of event time.
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    /// The same seed and rate give the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &Args) -> Exit {
    if !(args.rate.is_finite() && args.rate > 0.0) {
        eprintln!("error: `--rate` is a number above 0");
        return Exit::Usage;
    }
    let source = GenerateSource::of_web(args.events, args.rate, args.seed);
    let (result, target) = match &args.output {
        Some(path) => {
            let written = File::create(path).and_then(|file| {
                let mut out = BufWriter::new(file);
                source.write_to(&mut out).and_then(|()| out.flush())
            });
            (written, path.display().to_string())
        }
        None => (source.write_to(&mut std::io::stdout().lock()), "standard output".to_string()),
    };
    match result {
        Ok(()) => Exit::Ok,
        // Whoever reads has seen enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Exit::Ok,
        Err(e) => {
            eprintln!("error: writing {target}: {e}");
            Exit::Unavailable
        }
    }
}
