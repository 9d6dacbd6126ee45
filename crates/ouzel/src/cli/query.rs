//! `ouzel query`: SQL over what the project has written.

mod aside;
mod shell;

use super::terminal::{count, errors_have_colour, output_has_colour, paint};
use super::validate::load;
use super::{Exit, Format};
use anstyle::AnsiColor;
use ouzel_connect::sinks::{FileSink, StdoutSink, stdout::StdoutFormat};
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Error, Report, Result, Sink, Spanned};
use ouzel_lake::Queries;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The query. Without it: a shell on a terminal, standard input elsewhere.
    sql: Option<String>,
    /// Write the rows to a file: CSV, NDJSON or Parquet by its ending, compressed with a further `.gz` or `.zst`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the rows as CSV.
    #[arg(long, conflicts_with = "output")]
    csv: bool,
    /// Rows that are shown as a table; the others are counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    rows: usize,
    /// Do not look whether files hold what was written: quicker on a table that is larger than memory.
    #[arg(long)]
    no_verify: bool,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    match open(root, !args.no_verify) {
        Ok(queries) => with(&queries, root, args, format),
        Err(exit) => exit,
    }
}

/// The lake of a project.
pub fn open(root: &Path, verify: bool) -> std::result::Result<Queries, Exit> {
    let project = load(root)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let queries = Queries::open(&project.place().lake, threads, verify).map_err(|e| told(&e))?;
    aside::offer(&queries, &project);
    Ok(queries)
}

/// Shows a query's rows on standard output.
pub fn show(queries: &Queries, sql: &str, format: Format) -> Exit {
    let args = Args { sql: Some(sql.to_string()), output: None, csv: false, rows: 100, no_verify: false };
    answer(queries, sql, &args, format)
}

fn with(queries: &Queries, root: &Path, args: &Args, format: Format) -> Exit {
    let sql = match &args.sql {
        Some(sql) => sql.clone(),
        None if std::io::stdin().is_terminal() => {
            return shell::run(queries, &root.join(".ouzel"), |sql| answer(queries, sql, args, format));
        }
        None => {
            let mut sql = String::new();
            match std::io::stdin().read_to_string(&mut sql) {
                Ok(_) => sql,
                Err(e) => return told(&Error::unavailable(format!("reading standard input: {e}"))),
            }
        }
    };
    answer(queries, &sql, args, format)
}

/// Runs a query and shows its rows. Damage that it met is told, and fails it.
fn answer(queries: &Queries, sql: &str, args: &Args, format: Format) -> Exit {
    let watch = Stopwatch::start();
    let result = write(queries, sql, args, format);
    let damaged = queries.damaged();
    for problem in &damaged {
        eprintln!("{}: {problem}", paint("damaged", AnsiColor::Red, errors_have_colour()));
    }
    match result {
        Err(e) => told(&e),
        Ok(rows) => {
            if format == Format::Text && !args.csv && std::io::stderr().is_terminal() {
                eprintln!("{} rows in {:.2} s", count(rows), watch.seconds());
            }
            if damaged.is_empty() { Exit::Ok } else { Exit::Changed }
        }
    }
}

fn write(queries: &Queries, sql: &str, args: &Args, format: Format) -> Result<u64> {
    let mut rows = queries.run(sql)?;
    let schema = rows.schema.clone();
    let mut sink: Box<dyn Sink> = match (&args.output, args.csv) {
        (Some(path), _) => file(path)?.open(Path::new(""), schema.clone(), None, false)?,
        (None, csv) => {
            let format = match format {
                _ if csv => StdoutFormat::Csv,
                Format::Json => StdoutFormat::Ndjson,
                Format::Text => StdoutFormat::Table,
            };
            StdoutSink { format, limit: args.rows }.open(Box::new(std::io::stdout()), schema.clone(), output_has_colour())?
        }
    };
    sink.begin()?;
    let mut encoder = sink.encoder()?;
    let mut written = 0;
    // A table's columns are as wide as its first rows need: so these come together.
    let mut first = Vec::new();
    let mut waiting = 0;
    loop {
        let batch = rows.next().transpose()?;
        let at_end = batch.is_none();
        if let Some(batch) = batch {
            waiting += batch.num_rows();
            first.push(batch);
        }
        if waiting >= args.rows.max(8192) || at_end {
            let batch = arrow_select::concat::concat_batches(&schema, &first).map_err(|e| Error::internal(e.to_string()))?;
            written += batch.num_rows() as u64;
            sink.write(encoder.encode(&batch)?, 0)?;
            first.clear();
            waiting = 0;
        }
        if at_end {
            break;
        }
    }
    sink.close()?;
    Ok(written)
}

fn file(path: &Path) -> Result<FileSink> {
    let path = std::path::absolute(path).map_err(|e| Error::unavailable(format!("`{}`: {e}", path.display())))?;
    let sink = FileSink { path: Spanned::nowhere(path.display().to_string()), format: None, compression: None };
    let mut report = Report::new();
    sink.validate(&mut report);
    match report.problems().first() {
        Some(problem) => Err(Error::config(format!("{}: name it `.csv`, `.ndjson` or `.parquet`", problem.message))),
        None => Ok(sink),
    }
}

pub fn told(e: &Error) -> Exit {
    eprintln!("{}: {e}", paint("error", AnsiColor::Red, errors_have_colour()));
    Exit::from(e)
}
