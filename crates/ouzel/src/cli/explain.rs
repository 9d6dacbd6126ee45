//! `ouzel explain` and `ouzel why-not`

use super::query::told;
use super::terminal::{output_has_colour, paint, say};
use super::validate::load;
use super::{Exit, Format, environment};
use anstyle::AnsiColor;
use ouzel_core::Result;
use ouzel_engine::explain::{Explanation, Tone, explain, find};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `_id` of an output, or the event's own id where the pipeline says which field that is.
    id: String,
    /// Do not look into the lake: run the log again up to the event, which also gives its raw text.
    #[arg(long)]
    replay: bool,
}

#[derive(Debug, clap::Args)]
pub struct WhyNotArgs {
    #[command(flatten)]
    event: Args,
    /// The rule that did not decide.
    #[arg(long, value_name = "NAME")]
    rule: String,
}

pub fn run(root: &Path, args: &Args, format: Format) -> Exit {
    match explanation(root, args) {
        Ok(explanation) => {
            match format {
                Format::Json => say(&serde_json::to_string(&explanation).unwrap_or_default()),
                Format::Text => say(explanation.text(&coloured).trim_end()),
            }
            Exit::Ok
        }
        Err(exit) => exit,
    }
}

pub fn why_not(root: &Path, args: &WhyNotArgs, format: Format) -> Exit {
    let explanation = match explanation(root, &args.event) {
        Ok(explanation) => explanation,
        Err(exit) => return exit,
    };
    let Some(text) = explanation.why_not(&args.rule, &coloured) else {
        let names: Vec<&str> = explanation.rules.iter().map(|rule| rule.name.as_str()).collect();
        eprintln!("error: `{}` has no rule `{}`: its rules are {}", explanation.pipeline, args.rule, names.join(", "));
        return Exit::Usage;
    };
    match format {
        Format::Json => {
            let rule = explanation.rules.iter().find(|rule| rule.name == args.rule);
            say(&serde_json::json!({ "id": explanation.id, "rule": rule, "decided": explanation.rule, "decision": explanation.decision }).to_string());
        }
        Format::Text => say(text.trim_end()),
    }
    Exit::Ok
}

fn explanation(root: &Path, args: &Args) -> std::result::Result<Explanation, Exit> {
    let project = load(root)?;
    let explained = || -> Result<Explanation> {
        let found = find(root, &project, &environment, &args.id, args.replay)?;
        explain(&found)
    };
    explained().map_err(|e| told(&e))
}

fn coloured(text: &str, tone: Tone) -> String {
    let enabled = output_has_colour();
    match tone {
        Tone::Title => paint(text, AnsiColor::Cyan, enabled),
        Tone::Good => paint(text, AnsiColor::Green, enabled),
        Tone::Bad => paint(text, AnsiColor::Red, enabled),
        Tone::Quiet if enabled => format!("\x1b[2m{text}\x1b[0m"),
        Tone::Quiet => text.to_string(),
    }
}
