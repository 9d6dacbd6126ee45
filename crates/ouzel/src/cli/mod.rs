//! Commands. Each in a file of its own.

mod aside;
mod evaluate;
mod evidence;
mod exit;
mod explain;
mod generate;
mod graph;
mod init;
mod jobs;
mod junit;
mod metrics;
mod progress;
mod query;
mod reference;
mod run;
mod schema;
mod status;
mod terminal;
mod test;
mod top;
mod vacuum;
mod validate;

pub use exit::Exit;

use clap::{Parser, Subcommand, ValueEnum};
use ouzel_engine::journal::Fate;
use std::path::PathBuf;
use std::process::ExitCode;

/// Behavioural detection on streams: score every event against what its key has done before.
#[derive(Debug, Parser)]
#[command(name = "ouzel", version, about, after_help = exit::HELP)]
struct Cli {
    /// The project directory.
    #[arg(short, long, global = true, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// What is printed: text for people, or JSON for machines.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a project that runs: web traffic with attacks in it.
    Init(init::Args),
    /// Check the project, all problems at once. Reads nothing but the project's own files.
    Validate(validate::Args),
    /// Run pipelines until their sources end; all of them, or those named.
    Run(run::Args),
    /// Run the past again as a new generation of outputs, from some event on; what is before it is run for its state only.
    Replay(run::ReplayArgs),
    /// Run again those jobs that the last run has left undone: failed, stopped by a check, or held.
    Retry(jobs::RetryArgs),
    /// What jobs would do: sources, versions, partitions; nothing is touched.
    Plan(jobs::PlanArgs),
    /// What jobs have done: each commit with the versions, partitions and checks that it is of.
    Audit(jobs::AuditArgs),
    /// Compare a job's table with what the job makes of its sources now: rows that are missing, rows that are too many.
    Verify(jobs::VerifyArgs),
    /// Which columns of their sources the columns of jobs are made of.
    Lineage(jobs::LineageArgs),
    /// Run the checks of jobs on their tables as they are.
    Check(jobs::CheckArgs),
    /// The jobs: what each is made of, its owner, its last version.
    Ls(jobs::LsArgs),
    /// Make partitions of a job's table anew, from one value to another.
    Backfill(jobs::BackfillArgs),
    /// Remove files of tables that no version of the last seven days needs.
    Vacuum(vacuum::Args),
    /// Stop a job until somebody lets it go on.
    Pause(jobs::PauseArgs),
    /// Let a job go on that a check, or somebody, has stopped.
    Resume(jobs::ResumeArgs),
    /// How far each pipeline is, what waits in its stream, and who runs it.
    Status(status::Args),
    /// Draw pipelines and the streams that join them.
    Graph(graph::Args),
    /// Events that cannot be processed: list, show, retry, drop.
    #[command(name = "deadletters")]
    DeadLetters(aside::Args),
    /// Events held for judgement: list, show, retry, drop.
    Quarantine(aside::Args),
    /// Why an event was decided as it was: from its raw text to the rule.
    Explain(explain::Args),
    /// What the entity of an alert, or of an event, had done until then: its events from the lake.
    Evidence(evidence::Args),
    /// What a rule lacked to decide on an event.
    WhyNot(explain::WhyNotArgs),
    /// What stands out in what was written: decisions by rule, alerts by entity, entities by risk, the course of time.
    Top(top::Args),
    /// How well a score tells what labels say: AUC, precision, recall at low false-positive rates, with intervals.
    Evaluate(Box<evaluate::Args>),
    /// SQL over everything that the project has written.
    Query(query::Args),
    /// Run the project's specs: `specs/*.md`.
    Test(test::Args),
    /// Write synthetic traffic with labelled attacks.
    Generate(generate::Args),
    /// Write the JSON schema of the project's files, for editors.
    Schema(schema::Args),
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = match &cli.command {
        Command::Init(args) => init::run(args),
        Command::Validate(args) => validate::run(&cli.project, args, cli.format),
        Command::Run(args) => run::run(&cli.project, args, cli.format),
        Command::Replay(args) => run::replay(&cli.project, args, cli.format),
        Command::Retry(args) => jobs::retry(&cli.project, args, cli.format),
        Command::Plan(args) => jobs::plan(&cli.project, args, cli.format),
        Command::Audit(args) => jobs::audit(&cli.project, args, cli.format),
        Command::Verify(args) => jobs::verify(&cli.project, args, cli.format),
        Command::Lineage(args) => jobs::lineage(&cli.project, args, cli.format),
        Command::Check(args) => jobs::check(&cli.project, args, cli.format),
        Command::Ls(args) => jobs::ls(&cli.project, args, cli.format),
        Command::Backfill(args) => jobs::backfill(&cli.project, args, cli.format),
        Command::Vacuum(args) => vacuum::run(&cli.project, args, cli.format),
        Command::Pause(args) => jobs::pause(&cli.project, args, cli.format),
        Command::Resume(args) => jobs::resume(&cli.project, args, cli.format),
        Command::Status(args) => status::run(&cli.project, args, cli.format),
        Command::Graph(args) => graph::run(&cli.project, args, cli.format),
        Command::DeadLetters(args) => aside::run(&cli.project, args, Fate::DeadLettered, cli.format),
        Command::Quarantine(args) => aside::run(&cli.project, args, Fate::Quarantined, cli.format),
        Command::Explain(args) => explain::run(&cli.project, args, cli.format),
        Command::Evidence(args) => evidence::run(&cli.project, args, cli.format),
        Command::WhyNot(args) => explain::why_not(&cli.project, args, cli.format),
        Command::Top(args) => top::run(&cli.project, args, cli.format),
        Command::Evaluate(args) => evaluate::run(&cli.project, args, cli.format),
        Command::Query(args) => query::run(&cli.project, args, cli.format),
        Command::Test(args) => test::run(&cli.project, args, cli.format),
        Command::Generate(args) => generate::run(args),
        Command::Schema(args) => schema::run(&cli.project, args),
    };
    exit.into()
}

/// The environment as configuration sees it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
