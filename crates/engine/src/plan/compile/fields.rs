//! Fields: those that are declared, and those that `select` makes.

use super::super::{FieldPlan, Select, sql};
use super::Compiler;
use crate::config::PipelineConfig;
use arrow_schema::{DataType, Field, Schema};
use ouzel_core::path::Step;
use ouzel_core::{FieldType, Path, Span, Wanted};
use ouzel_detect::expressions::{Expression, Planner, raw_paths};
use ouzel_detect::schema::{FieldSpec, SchemaConfig, check_name};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl Compiler<'_> {
    /// One column per declared field. Those that `select` overrides are not decoded.
    pub(super) fn declare_fields(&mut self, schema: &SchemaConfig, config: &PipelineConfig) {
        let spans: BTreeMap<&str, Span> = schema.fields.0.iter().map(|(n, _)| (n.value.as_str(), n.span)).collect();
        for spec in schema.fields(self.report) {
            let span = spans.get(spec.name.as_str()).copied().unwrap_or_default();
            self.columns.add(&spec.name, spec.first_type().arrow(), span, self.report);
            let overridden = config.select.0.iter().any(|(name, _)| name.value == spec.name);
            let decoded = (!overridden).then(|| {
                self.wanted.push(Wanted { path: Path::key(spec.name.clone()), types: spec.types.clone(), any_text: false });
                self.wanted.len() - 1
            });
            self.fields.push(FieldPlan { spec, decoded, other: None });
        }
    }

    /// Expressions over declared fields and paths into the raw record.
    pub(super) fn select(&mut self, config: &PipelineConfig) -> Option<Select> {
        let mut select = Select::default();
        let mut schema: Vec<Field> = Vec::new();
        for (i, field) in self.fields.iter().enumerate() {
            if let Some(decoded) = field.decoded {
                select.inputs.push(decoded);
                schema.push(self.columns.field(i).clone());
            }
        }
        let declared: HashSet<String> = schema.iter().map(|f| f.name().clone()).collect();
        let mut raw: Vec<(Path, String)> = Vec::new();
        for (_, sql) in &config.select.0 {
            for path in raw_paths(&sql.value).unwrap_or_default() {
                let is_field =
                    path.0.first().is_some_and(|step| matches!(step, Step::Key(k) if declared.contains(&k.to_ascii_lowercase())));
                if is_field || raw.iter().any(|(p, _)| *p == path) {
                    continue;
                }
                let column = format!("${path}");
                schema.push(Field::new(&column, DataType::Utf8View, true));
                self.wanted.push(Wanted { path: path.clone(), types: vec![FieldType::Text], any_text: true });
                select.inputs.push(self.wanted.len() - 1);
                raw.push((path, column));
            }
        }
        let planner = Planner::new(Arc::new(Schema::new(schema))).ok()?;
        let column_of = |path: &Path| raw.iter().find(|(p, _)| p == path).map(|(_, column)| column.clone());
        for (name, sql) in &config.select.0 {
            check_name(name, self.report);
            let expression = match planner.plan_with_paths(&sql.value, &column_of) {
                Ok(expression) => expression,
                Err(e) => {
                    sql::tell(&planner, Some(&sql.value), sql.span, e, self.report);
                    continue;
                }
            };
            let field = match self.fields.iter().position(|f| f.spec.name == name.value) {
                Some(field) => {
                    self.check_select_type(field, &expression, name.span);
                    field
                }
                None => {
                    let Some(of) = field_type(expression.data_type()) else {
                        self.report
                            .error(
                                sql.span,
                                format!(
                                    "`{}` is {}: no type a field can have",
                                    name.value,
                                    ouzel_detect::describe(expression.data_type())
                                ),
                            )
                            .hint("cast it, for example `cast(... as text)`");
                        continue;
                    };
                    self.columns.add(&name.value, of.arrow(), name.span, self.report);
                    self.fields.push(FieldPlan { spec: FieldSpec::plain(name.value.clone(), of), decoded: None, other: None });
                    self.fields.len() - 1
                }
            };
            select.made.push((field, expression));
        }
        Some(select)
    }

    fn check_select_type(&mut self, field: usize, expression: &Expression, span: Span) {
        let to = self.fields[field].spec.first_type().arrow();
        let from = expression.data_type();
        if *from != to && !arrow_cast::can_cast_types(from, &to) {
            self.report.error(
                span,
                format!(
                    "`{}` is declared {}, the expression is {}",
                    self.fields[field].spec.name,
                    self.fields[field].spec.first_type(),
                    ouzel_detect::describe(from)
                ),
            );
        }
    }
}

/// The field type of an expression's type.
fn field_type(of: &DataType) -> Option<FieldType> {
    Some(match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FieldType::Text,
        of if of.is_integer() => FieldType::Int,
        of if of.is_floating() || of.is_decimal() => FieldType::Float,
        DataType::Boolean => FieldType::Bool,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => FieldType::Timestamp,
        DataType::List(item) | DataType::LargeList(item) => match field_type(item.data_type())? {
            FieldType::List(_) => return None,
            of => FieldType::List(Box::new(of)),
        },
        _ => return None,
    })
}
