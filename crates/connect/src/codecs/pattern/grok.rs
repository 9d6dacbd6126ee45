//! `%{NAME:field:type}` made plain regular expression.

use super::names;
use ouzel_core::{FieldType, Ordered, Report, Span, Spanned};

/// Definitions within definitions, at most. Circles end here too.
const DEPTH_MAX: usize = 32;
/// Bytes of an expression with all names written out.
const EXPANDED_BYTES_MAX: usize = 256 << 10;

/// The names that may be used.
pub(super) struct Grok<'a> {
    own: &'a Ordered<Spanned<String>>,
}

/// An expression without grok's names.
pub(super) struct Expanded {
    pub regex: String,
    /// Types that were given.
    types: Vec<(String, FieldType)>,
    /// Names that grok gave, to tell one that comes twice.
    names: Vec<String>,
    /// Places in it are places in what was written.
    is_as_written: bool,
}

/// What is wrong with an expression.
#[derive(Debug)]
pub(super) struct Trouble {
    pub message: String,
    hint: Option<&'static str>,
    /// A grok name that is none.
    unknown: Option<String>,
    /// Where it is, if it is in a definition.
    within: Option<Span>,
}

impl Trouble {
    fn new(message: String) -> Trouble {
        Trouble { message, hint: None, unknown: None, within: None }
    }

    /// What the compiler of regular expressions says, in one line.
    pub fn of_regex(error: &regex::Error, expanded: &Expanded) -> Trouble {
        let regex::Error::Syntax(text) = error else {
            return Trouble::new(format!("the pattern does not compile: {error}"));
        };
        let what = text.rsplit("error: ").next().unwrap_or(text).trim();
        // The line before the last has a mark under the fault, behind four blanks.
        let mark = text.lines().rev().nth(1).filter(|line| line.trim_start().starts_with('^')).and_then(|line| line.find('^'));
        let at = match mark {
            Some(column) if column >= 4 && expanded.is_as_written => format!(" at character {}", column - 3),
            _ => String::new(),
        };
        let mut trouble = Trouble::new(format!("the pattern does not compile: {what}{at}"));
        if what.contains("look-around") {
            trouble.hint = Some("say what is to be there instead of what is not, or write several `patterns`");
        }
        trouble
    }
}

impl Expanded {
    /// Fields in the order of their groups, with the types that were given.
    pub fn fields(&self) -> Vec<(String, Option<FieldType>)> {
        let names = regex::Regex::new(&self.regex).map(|r| r.capture_names().flatten().map(String::from).collect::<Vec<_>>());
        let of = |name: &str| self.types.iter().find(|(n, _)| n == name).map(|(_, of)| of.clone());
        names.unwrap_or_default().into_iter().map(|name| (name.clone(), of(&name))).collect()
    }
}

impl<'a> Grok<'a> {
    pub fn new(own: &'a Ordered<Spanned<String>>) -> Grok<'a> {
        Grok { own }
    }

    /// Writes all names out.
    pub fn expand(&self, pattern: &str) -> Result<Expanded, Trouble> {
        let mut out =
            Expanded { regex: String::new(), types: Vec::new(), names: Vec::new(), is_as_written: !pattern.contains("%{") };
        self.write(pattern, 0, &mut out)?;
        Ok(out)
    }

    fn write(&self, pattern: &str, depth: usize, out: &mut Expanded) -> Result<(), Trouble> {
        let mut rest = pattern;
        while let Some(at) = rest.find("%{") {
            self.push(&rest[..at], out)?;
            let inner = &rest[at + 2..];
            let end = inner.find('}').ok_or_else(|| Trouble::new("`%{` without its `}`".into()))?;
            self.part(&inner[..end], depth, out)?;
            rest = &inner[end + 1..];
        }
        self.push(rest, out)
    }

    fn push(&self, text: &str, out: &mut Expanded) -> Result<(), Trouble> {
        if out.regex.len() + text.len() > EXPANDED_BYTES_MAX {
            return Err(Trouble::new(format!("longer than {} KiB with its names written out", EXPANDED_BYTES_MAX >> 10)));
        }
        out.regex.push_str(text);
        Ok(())
    }

    /// `NAME`, `NAME:field` or `NAME:field:type`.
    fn part(&self, part: &str, depth: usize, out: &mut Expanded) -> Result<(), Trouble> {
        let mut parts = part.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let (pattern, span) = self.definition(name)?;
        if depth == DEPTH_MAX {
            return Err(Trouble::new(format!("`%{{{name}}}` stands for itself, or names are nested deeper than {DEPTH_MAX}")));
        }
        match parts.next() {
            None => self.push("(?:", out)?,
            Some(field) => {
                let mut characters = field.chars();
                let good = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                    && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
                if !good {
                    let mut trouble = Trouble::new(format!("`{field}` in `%{{{part}}}` is no name of a field"));
                    trouble.hint = Some("letters, digits and `_`, not a digit first");
                    return Err(trouble);
                }
                if out.names.iter().any(|name| name == field) {
                    return Err(Trouble::new(format!("two groups are called `{field}`")));
                }
                if let Some(of) = parts.next() {
                    let of = of.parse().map_err(|_| {
                        let mut trouble = Trouble::new(format!("`{of}` in `%{{{part}}}` is no type"));
                        trouble.hint = Some("types are text, int, float, bool, timestamp, ip, json");
                        trouble
                    })?;
                    out.types.push((field.into(), of));
                }
                out.names.push(field.into());
                self.push(&format!("(?<{field}>"), out)?;
            }
        }
        self.write(pattern, depth + 1, out).map_err(|mut trouble| {
            trouble.within = trouble.within.or(span);
            trouble
        })?;
        self.push(")", out)
    }

    /// What a name stands for, and where that was written, if in the project.
    fn definition(&self, name: &str) -> Result<(&str, Option<Span>), Trouble> {
        if let Some((_, text)) = self.own.0.iter().rev().find(|(own, _)| own.value == name) {
            return Ok((&text.value, Some(text.span)));
        }
        names::find(name).map(|text| (text, None)).ok_or_else(|| {
            let mut trouble = Trouble::new(format!("unknown grok name `{name}`"));
            trouble.unknown = Some(name.into());
            trouble
        })
    }

    /// Tells a trouble at its place.
    pub fn tell(&self, trouble: Trouble, span: Span, report: &mut Report) {
        let problem = report.error(trouble.within.unwrap_or(span), trouble.message);
        if let Some(hint) = trouble.hint {
            problem.hint(hint);
        }
        if let Some(unknown) = trouble.unknown {
            let own = self.own.0.iter().map(|(name, _)| name.value.as_str());
            let known: Vec<&str> = own.chain(names::all()).collect();
            problem.did_you_mean(&unknown, known);
        }
    }
}
