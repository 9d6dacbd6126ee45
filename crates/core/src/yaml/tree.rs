//! Text to tree. Anchors, tags and several documents are refused: configuration is read by people.

use crate::{Report, Span};
use saphyr_parser::{Event, Parser, ScalarStyle};

/// Nesting of a configuration file.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text after substitution; `plain` if unquoted, so that it may be a number, a boolean or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In file order; keys are scalars.
    Map(Vec<(Node, Node)>),
}

/// Parses one document. Problems go to the report; `None` if there is no tree.
/// `env` gives the value of an environment variable.
pub fn parse(report: &mut Report, file: u32, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { file, env, report, stack: Vec::new(), root: None };
    let lines: Vec<&str> = text.lines().collect();
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => {
                let at = place(file, &span, &lines);
                if !builder.event(event, at) {
                    return None;
                }
            }
            Err(e) => {
                let at = Span { file, line: e.marker().line() as u32, column: e.marker().col() as u32 + 1, len: 1 };
                builder.report.error(at, format!("invalid YAML: {}", e.info()));
                return None;
            }
        }
    }
    let empty = Span { file, line: 1, column: 1, len: 1 };
    builder.root.or(Some(Node { span: empty, value: Value::Scalar { text: String::new(), plain: true } }))
}

/// Where an event of the parser stands. Its end may lie behind blanks that follow the value.
fn place(file: u32, span: &saphyr_parser::Span, lines: &[&str]) -> Span {
    let (line, column) = (span.start.line(), span.start.col());
    let mut len = 1;
    if line == span.end.line() {
        let source = lines.get(line.wrapping_sub(1)).copied().unwrap_or_default();
        let text: String = source.chars().skip(column).take(span.end.col().saturating_sub(column)).collect();
        len = text.trim_end().chars().count().max(1);
    }
    Span { file, line: line as u32, column: column as u32 + 1, len: len as u32 }
}

struct Builder<'a> {
    file: u32,
    env: &'a dyn Fn(&str) -> Option<String>,
    report: &'a mut Report,
    stack: Vec<Open>,
    root: Option<Node>,
}

enum Open {
    List(Span, Vec<Node>),
    /// The second is a key that waits for its value.
    Map(Span, Option<Node>, Vec<(Node, Node)>),
}

impl Builder<'_> {
    /// False if reading on makes no sense.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        match event {
            Event::Scalar(text, style, _, tag) => {
                if tag.is_some() {
                    self.report.error(span, "tags are not supported here").hint("quote the value");
                }
                let plain = style == ScalarStyle::Plain;
                let text = self.substitute(&text, span);
                self.add(Node { span, value: Value::Scalar { text, plain } });
            }
            Event::SequenceStart(..) => self.stack.push(Open::List(span, Vec::new())),
            Event::MappingStart(..) => self.stack.push(Open::Map(span, None, Vec::new())),
            Event::SequenceEnd => {
                if let Some(Open::List(span, items)) = self.stack.pop() {
                    self.add(Node { span, value: Value::List(items) });
                }
            }
            Event::MappingEnd => {
                if let Some(Open::Map(span, _, pairs)) = self.stack.pop() {
                    self.add(Node { span, value: Value::Map(pairs) });
                }
            }
            Event::Alias(_) => {
                self.report.error(span, "anchors and aliases are not supported").hint("write the value out");
                return false;
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.report
                    .error(span, "a second document in one file")
                    .hint("one file, one document: make it a file of its own");
                return false;
            }
            _ => {}
        }
        if self.stack.len() > DEPTH_MAX {
            self.report.error(span, format!("nested deeper than {DEPTH_MAX} levels"));
            return false;
        }
        true
    }

    fn add(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, key @ None, _)) => *key = Some(node),
            Some(Open::Map(_, key, pairs)) => {
                let key = key.take().expect("matched above");
                let Value::Scalar { text, .. } = &key.value else {
                    self.report.error(key.span, "a key must be a plain word");
                    return;
                };
                if pairs.iter().any(|(k, _)| matches!(&k.value, Value::Scalar { text: t, .. } if t == text)) {
                    self.report.error(key.span, format!("`{text}` is given twice"));
                    return;
                }
                pairs.push((key, node));
            }
        }
    }

    /// `${NAME}` and `${NAME:-default}`; `$${` stands for `${`.
    fn substitute(&mut self, text: &str, span: Span) -> String {
        if !text.contains("${") {
            return text.to_string();
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                self.report.error(span, "`${` without its `}`").hint("write `$${` for a literal `${`");
                return out;
            };
            let inner = &rest[at + 2..at + end];
            let (name, default) = inner.split_once(":-").map_or((inner, None), |(n, d)| (n, Some(d)));
            match (self.env)(name).filter(|v| !v.is_empty() || default.is_none()).or(default.map(String::from)) {
                Some(value) => out.push_str(&value),
                None => {
                    self.report
                        .error(Span { file: self.file, ..span }, format!("the environment variable `{name}` is not set"))
                        .hint(format!("set it, or give a default: `${{{name}:-...}}`"));
                }
            }
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        out
    }
}
