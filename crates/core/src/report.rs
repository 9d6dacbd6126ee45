//! Problems of a project, all of them, each with its place: file, line, column, snippet, hint.

use std::fmt::Write;
use std::sync::Arc;

/// A stretch of a configuration file. Lines and columns from 1; `len` in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Index into [`Report::files`].
    pub file: u32,
    pub line: u32,
    pub column: u32,
    pub len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The project does not run.
    Error,
    /// It runs, perhaps not as meant.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
}

/// Collects problems over all files of a project.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name (relative to the project) and text of each file read.
    files: Vec<(Arc<str>, Arc<str>)>,
    problems: Vec<Problem>,
}

impl Report {
    pub fn new() -> Report {
        Report::default()
    }

    /// Adds a file, so that problems can point into it.
    pub fn file(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> u32 {
        self.files.push((name.into(), text.into()));
        self.files.len() as u32 - 1
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Problem { severity: Severity::Error, span, message: message.into(), hint: None })
    }
    pub fn warn(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Problem { severity: Severity::Warning, span, message: message.into(), hint: None })
    }
    pub fn push(&mut self, problem: Problem) -> &mut Problem {
        self.problems.push(problem);
        self.problems.last_mut().expect("just pushed")
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
    pub fn file_name(&self, span: Span) -> &str {
        self.files.get(span.file as usize).map_or("?", |(name, _)| name)
    }
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|p| p.severity == severity).count()
    }

    /// All problems, in order of files and lines, as text. `paint` colours a word by its severity.
    pub fn render(&self, paint: impl Fn(Severity, &str) -> String) -> String {
        let mut problems: Vec<&Problem> = self.problems.iter().collect();
        problems.sort_by_key(|p| (p.span.file, p.span.line, p.span.column));
        problems.dedup();
        let mut out = String::new();
        for p in problems {
            self.render_one(&mut out, p, &paint);
        }
        out
    }

    fn render_one(&self, out: &mut String, p: &Problem, paint: &impl Fn(Severity, &str) -> String) {
        let word = match p.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Span { line, column, len, .. } = p.span;
        let name = self.file_name(p.span);
        if line == 0 {
            let _ = writeln!(out, "{name}: {}: {}", paint(p.severity, word), p.message);
        } else {
            let _ = writeln!(out, "{name}:{line}:{column}: {}: {}", paint(p.severity, word), p.message);
            let text = self.files.get(p.span.file as usize).map_or("", |(_, text)| text);
            if let Some(source) = text.lines().nth(line as usize - 1) {
                let margin = line.to_string().len().max(4);
                let room = source.chars().count().saturating_sub(column as usize - 1).max(1);
                let carets = "^".repeat((len as usize).clamp(1, room));
                let shown: String = source.chars().map(|c| if c == '\t' { ' ' } else { c }).take(160).collect();
                let _ = writeln!(out, "{line:>margin$} | {shown}");
                if (column as usize) <= 160 {
                    let pad = " ".repeat(column as usize - 1);
                    let _ = writeln!(out, "{:>margin$} | {pad}{}", "", paint(p.severity, &carets));
                }
            }
        }
        if let Some(hint) = &p.hint {
            let _ = writeln!(out, "hint: {hint}");
        }
    }
}

impl Problem {
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Problem {
        self.hint = Some(hint.into());
        self
    }
    /// Hints at the nearest of the names that would have been right.
    pub fn did_you_mean<'a>(&mut self, given: &str, names: impl IntoIterator<Item = &'a str>) -> &mut Problem {
        match did_you_mean(given, names) {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

/// The name that was meant, if one is near in whatever case; else those there are. `None`: there are none.
pub fn did_you_mean<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let lower = given.to_lowercase();
    let best = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(given.len()) / 4)
        .min();
    if let Some((_, name)) = best {
        return Some(format!("did you mean `{name}`?"));
    }
    let shown: Vec<String> = names.iter().take(24).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 24 { ", ..." } else { "" };
    (!names.is_empty()).then(|| format!("known are {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_place() {
        let mut report = Report::new();
        let file = report.file("pipelines/web.yaml", "source:\n  kafka:\n    topic: logins\n");
        let span = Span { file, line: 3, column: 5, len: 5 };
        report.error(span, "unknown field `topic`").did_you_mean("topic", ["topics", "brokers"]);
        assert_eq!(
            report.render(|_, word| word.to_string()),
            "pipelines/web.yaml:3:5: error: unknown field `topic`\n   3 |     topic: logins\n     |     ^^^^^\nhint: did you mean `topics`?\n"
        );
    }
}
