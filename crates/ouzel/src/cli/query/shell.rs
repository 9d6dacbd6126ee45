//! The interactive shell: history, completion, statements over several lines.

use crate::cli::Exit;
use crate::cli::terminal::say;
use ouzel_lake::Queries;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper};
use std::path::Path;

const HELP: &str = "\
SQL, ended by `;`. Tab completes names.
  .tables   what there is
  .columns TABLE
  .quit     or Ctrl-D";

const WORDS: [&str; 28] = [
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "limit",
    "having",
    "join",
    "left join",
    "on",
    "as",
    "and",
    "or",
    "not",
    "in",
    "is null",
    "is not null",
    "between",
    "like",
    "case when",
    "then",
    "else",
    "end",
    "count(*)",
    "distinct",
    "desc",
    "over",
    "partition by",
];

/// Asks for queries until there are no more. `folder`: where the history is kept.
pub fn run(queries: &Queries, folder: &Path, mut answer: impl FnMut(&str) -> Exit) -> Exit {
    let mut names: Vec<String> = WORDS.iter().map(|word| word.to_string()).collect();
    let tables = queries.tables();
    for table in &tables {
        names.extend(queries.columns(table));
        names.push(table.clone());
    }
    names.sort();
    names.dedup();
    let mut editor = match Editor::<Words, DefaultHistory>::new() {
        Ok(editor) => editor,
        Err(e) => {
            eprintln!("error: no shell on this terminal: {e}");
            return Exit::Failed;
        }
    };
    editor.set_helper(Some(Words { names }));
    let history = folder.join("history");
    let _ = editor.load_history(&history);
    say(&format!("tables: {}\n`.help` tells what can be asked", tables.join(", ")));
    loop {
        match editor.readline("ouzel> ") {
            Ok(line) => {
                let line = line.trim();
                let _ = editor.add_history_entry(line);
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (None, _) => {}
                    (Some(".quit" | ".exit"), _) => break,
                    (Some(".help"), _) => say(HELP),
                    (Some(".tables"), _) => say(&queries.tables().join("\n")),
                    (Some(".columns"), Some(table)) => say(&queries.columns(table).join("\n")),
                    _ => drop(answer(line.trim_end_matches(';'))),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(_) => break,
        }
    }
    if std::fs::create_dir_all(folder).is_ok() {
        let _ = editor.save_history(&history);
    }
    Exit::Ok
}

struct Words {
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..at]
            .rfind(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
        let word = &line[start..at];
        let fits = self.names.iter().filter(|name| !word.is_empty() && name.to_lowercase().starts_with(&word.to_lowercase()));
        Ok((start, fits.map(|name| Pair { display: name.clone(), replacement: name.clone() }).collect()))
    }
}

impl Validator for Words {
    /// A statement goes on until its `;`.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input().trim();
        let ended = line.is_empty() || line.starts_with('.') || line.ends_with(';');
        Ok(if ended { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Helper for Words {}
