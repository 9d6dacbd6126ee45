//! A job's SQL: `{{ ref('table') }}`, `{{ source('files') }}`, `{{ this }}`, `{{ var('NAME', 'default') }}`, `{% if incremental %}`, `{{ interval.from }}`.

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};
use ouzel_lake::quoted;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// What a template is told.
pub struct Given<'a> {
    /// The table that is made.
    pub this: &'a str,
    /// The SQL sees only what is new.
    pub incremental: bool,
    /// The times, RFC 3339, between which what is new was committed.
    pub interval: Option<(String, String)>,
}

pub struct Rendered {
    pub sql: String,
    /// Tables that it names by `ref`.
    pub reads: BTreeSet<String>,
    /// Sources that it names by `source`.
    pub files: BTreeSet<String>,
}

/// What stands in SQL for a source of files.
pub fn table_of_source(source: &str) -> String {
    format!("source {source}")
}

/// `Err`: the line, from 1, and what is wrong there.
pub fn render(sql: &str, given: &Given<'_>) -> Result<Rendered, (u32, String)> {
    let reads: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let files: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let (seen, seen_files) = (reads.clone(), files.clone());
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.add_function("ref", move |table: String| -> String {
        let quoted = quoted(&table);
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(table);
        quoted
    });
    templates.add_function("source", move |source: String| -> String {
        let quoted = quoted(&table_of_source(&source));
        seen_files.lock().unwrap_or_else(PoisonError::into_inner).insert(source);
        quoted
    });
    templates.add_function("var", |name: String, default: Option<String>| -> Result<String, Error> {
        std::env::var(&name).ok().or(default).ok_or_else(|| {
            Error::new(
                ErrorKind::UndefinedError,
                format!("the variable `{name}` is not set: set it in the environment, or give a default"),
            )
        })
    });
    let (from, to) = given.interval.clone().unzip();
    let interval = context! { from, to };
    let told = context! { this => quoted(given.this), incremental => given.incremental, interval => interval };
    let rendered = templates.render_str(sql, told);
    let sql =
        rendered.map_err(|e| (e.line().unwrap_or(1) as u32, e.detail().map_or_else(|| e.kind().to_string(), String::from)))?;
    let take = |names: Arc<Mutex<BTreeSet<String>>>| std::mem::take(&mut *names.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Rendered { sql: sql.trim().trim_end_matches(';').to_string(), reads: take(reads), files: take(files) })
}
