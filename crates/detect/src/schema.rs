//! Fields of an event: their types, their domains, and what is done with values that are malformed or implausible.

mod domain;

pub use domain::{Domain, Verdicts};

use ouzel_core::{FieldType, OneOrMany, Ordered, Report, Span, Spanned, TextOr};
use schemars::JsonSchema;
use serde::Deserialize;

/// The fields of an event, in a file of its own (`schemas/request.yaml`).
///
/// ```yaml
/// fields:
///   event_time:  timestamp
///   status:      { type: int, range: [100, 599] }
///   fonts:       { type: [list<text>, text] }
///   color_depth: { type: int, one_of: [8, 15, 16, 24, 30, 32, 48], on_malformed: keep }
/// conditions:
///   bytes_of_nothing: "status != 304 or coalesce(bytes, 0) = 0"
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaConfig {
    /// Name to type, or to type and domain. The short form is the type alone.
    pub fields: Ordered<TextOr<FieldConfig>>,
    /// SQL conditions over several fields. Where one is false, its name is in `_implausible`; null counts as true.
    #[serde(default)]
    pub conditions: Ordered<Spanned<String>>,
}

/// One field.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// One type or several. The first is the column's type; a value read as another of them leaves the column null and
    /// is kept as text in `NAME_other`.
    #[serde(rename = "type")]
    pub types: OneOrMany<FieldType>,
    /// The values that can be true.
    pub one_of: Option<Vec<Spanned<String>>>,
    /// Least and greatest value that can be true; `null` leaves an end open. Numbers only.
    pub range: Option<Spanned<(Option<f64>, Option<f64>)>>,
    /// A regular expression the whole text or a part of it must match (anchor it with `^` and `$`).
    pub matches: Option<Spanned<String>>,
    /// Least and greatest length: characters of a text, items of a list.
    pub length: Option<Spanned<(Option<u32>, Option<u32>)>>,
    /// What becomes of an event whose value cannot be read as any of the types.
    #[serde(default)]
    pub on_malformed: Policy,
    /// What becomes of an event whose value reads well and cannot be true.
    #[serde(default)]
    pub on_implausible: Policy,
}

/// What becomes of an event with a bad value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Scored like any other; the field is named in `_malformed` or `_implausible`.
    #[default]
    Keep,
    /// Set aside, with its reason and raw text.
    Quarantine,
    /// Dead-lettered.
    Reject,
}

/// A field as checked.
#[derive(Debug, Clone)]
pub struct FieldSpec {
    pub name: String,
    pub types: Vec<FieldType>,
    pub domain: Domain,
    pub on_malformed: Policy,
    pub on_implausible: Policy,
}

impl FieldSpec {
    pub fn plain(name: impl Into<String>, of: FieldType) -> FieldSpec {
        FieldSpec {
            name: name.into(),
            types: vec![of],
            domain: Domain::default(),
            on_malformed: Policy::Keep,
            on_implausible: Policy::Keep,
        }
    }
    /// The type of its column.
    pub fn first_type(&self) -> &FieldType {
        &self.types[0]
    }
}

impl SchemaConfig {
    /// The fields, as far as they are right; problems go to the report.
    pub fn fields(&self, report: &mut Report) -> Vec<FieldSpec> {
        self.fields
            .0
            .iter()
            .filter_map(|(name, config)| {
                check_name(name, report);
                match config {
                    TextOr::Text(text) => match text.parse() {
                        Ok(of) => Some(FieldSpec::plain(name.value.clone(), of)),
                        Err(message) => {
                            report.error(name.span, message);
                            None
                        }
                    },
                    TextOr::Full(config) => config.spec(name, report),
                }
            })
            .collect()
    }
}

impl FieldConfig {
    fn spec(&self, name: &Spanned<String>, report: &mut Report) -> Option<FieldSpec> {
        let Some(first) = self.types.0.first() else {
            report.error(name.span, format!("field `{}` has no type", name.value)).hint("for example `type: text`");
            return None;
        };
        Some(FieldSpec {
            name: name.value.clone(),
            types: self.types.0.clone(),
            domain: Domain::compile(self, first, report),
            on_malformed: self.on_malformed,
            on_implausible: self.on_implausible,
        })
    }
}

/// Names are SQL names: lower case, so that they need no quotes.
pub fn check_name(name: &Spanned<String>, report: &mut Report) {
    let text = name.value.as_str();
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !good {
        report
            .error(name.span, format!("`{text}` is no name"))
            .hint("names begin with a lower-case letter and go on with lower-case letters, digits and `_`; map another spelling with `select`");
    }
}

/// True if the name is given already; tells it.
pub fn check_unique(known: &[String], name: &str, span: Span, report: &mut Report) -> bool {
    let given = known.iter().any(|k| k == name);
    if given {
        report
            .error(span, format!("the name `{name}` is taken already"))
            .hint("fields, lookups, features and scores share one set of names");
    }
    given
}
