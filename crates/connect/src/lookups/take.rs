//! What a lookup takes from its file: columns by name, each of a type.

use super::columns::{Columns, Values};
use arrow_array::{BooleanArray, Float64Array, Int64Array};
use hashbrown::HashMap;
use ouzel_core::{FieldType, Ordered, Report, Spanned};
use std::borrow::Cow;

/// Names of columns to their types, as the configuration gives them.
pub(super) type Take = Ordered<Spanned<FieldType>>;

/// The cells of a record that are taken, in order; an empty one is `None`.
pub(super) type Cells<'a> = [Option<Cow<'a, str>>];

/// `columns`: those of the file, if the configuration names them; `key` is one of them, too.
pub(super) fn validate(take: &Take, columns: Option<&[Spanned<String>]>, key: Option<&Spanned<String>>, report: &mut Report) {
    for (name, kind) in &take.0 {
        if !matches!(kind.value, FieldType::Text | FieldType::Int | FieldType::Float | FieldType::Bool) {
            report
                .error(kind.span, format!("`{}` cannot be looked up as `{}`", name.value, kind.value))
                .hint("take text, int, float or bool");
        }
    }
    let Some(columns) = columns else { return };
    let names = || columns.iter().map(|column| column.as_str());
    for (i, column) in columns.iter().enumerate() {
        if names().take(i).any(|earlier| earlier == column.as_str()) {
            report.error(column.span, format!("column `{}` is given twice", column.value));
        }
    }
    for name in take.0.iter().map(|(name, _)| name).chain(key) {
        if !names().any(|column| column == name.as_str()) {
            report.error(name.span, format!("the file has no column `{}`", name.value)).did_you_mean(name, names());
        }
    }
}

/// The columns that are added; of a list, whether the key is in it.
pub(super) fn columns(take: &Take, prefix: &str) -> Vec<(String, FieldType)> {
    if take.0.is_empty() {
        return vec![(format!("{prefix}_listed"), FieldType::Bool)];
    }
    take.0.iter().map(|(name, kind)| (format!("{prefix}_{}", name.value), kind.value.clone())).collect()
}

/// The values read so far. Many keys have the same values: each set of values is one row.
pub(super) struct Rows {
    columns: Vec<Column>,
    sets: HashMap<Vec<u8>, u32>,
    set: Vec<u8>,
}

struct Column {
    kind: FieldType,
    is_wanted: bool,
    values: Collected,
}

enum Collected {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
}

impl Rows {
    pub fn new(take: &Take, wanted: &[bool]) -> Rows {
        let column = |(i, (_, kind)): (usize, &(Spanned<String>, Spanned<FieldType>))| Column {
            kind: kind.value.clone(),
            is_wanted: wanted.get(i).copied().unwrap_or(true),
            values: match kind.value {
                FieldType::Int => Collected::Int(Vec::new()),
                FieldType::Float => Collected::Float(Vec::new()),
                FieldType::Bool => Collected::Bool(Vec::new()),
                _ => Collected::Text(Vec::new()),
            },
        };
        Rows { columns: take.0.iter().enumerate().map(column).collect(), sets: HashMap::new(), set: Vec::new() }
    }

    /// The row of these values.
    pub fn add(&mut self, cells: &Cells) -> Result<u32, String> {
        if cells.len() != self.columns.len() {
            return Err(format!("expected {} values, found {}", self.columns.len(), cells.len()));
        }
        self.set.clear();
        for cell in cells {
            let cell = cell.as_deref().unwrap_or_default();
            self.set.extend_from_slice(&(cell.len() as u32).to_le_bytes());
            self.set.extend_from_slice(cell.as_bytes());
        }
        if let Some(row) = self.sets.get(self.set.as_slice()) {
            return Ok(*row);
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.add(cell.as_deref())?;
        }
        let row = self.sets.len() as u32;
        self.sets.insert(self.set.clone(), row);
        Ok(row)
    }

    pub fn finish(self) -> Columns {
        let column = |column: Column| {
            let values = column.is_wanted.then(|| match column.values {
                Collected::Text(values) => Values::texts(values.iter().map(Option::as_deref)),
                Collected::Int(values) => Values::Int(Int64Array::from(values)),
                Collected::Float(values) => Values::Float(Float64Array::from(values)),
                Collected::Bool(values) => Values::Bool(BooleanArray::from(values)),
            });
            (column.kind.arrow(), values)
        };
        self.columns.into_iter().map(column).collect()
    }
}

impl Column {
    fn add(&mut self, cell: Option<&str>) -> Result<(), String> {
        let cell = cell.map(str::trim).filter(|cell| !cell.is_empty());
        let bad = || format!("`{}` is no `{}`", cell.unwrap_or_default(), self.kind);
        match &mut self.values {
            Collected::Text(values) => values.push(cell.map(String::from)),
            Collected::Int(values) => values.push(cell.map(str::parse).transpose().map_err(|_| bad())?),
            Collected::Float(values) => values.push(cell.map(str::parse).transpose().map_err(|_| bad())?),
            Collected::Bool(values) => values.push(match cell.map(str::to_ascii_lowercase).as_deref() {
                None => None,
                Some("true" | "t" | "yes" | "1") => Some(true),
                Some("false" | "f" | "no" | "0") => Some(false),
                Some(_) => return Err(bad()),
            }),
        }
        Ok(())
    }
}
