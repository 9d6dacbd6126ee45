//! SQL problems at their place.

use ouzel_core::{Report, Span, Spanned};
use ouzel_detect::expressions::{Expression, Planner, SqlError};

/// Plans an expression; a problem goes to the report.
pub(super) fn plan(planner: &Planner, sql: &Spanned<String>, report: &mut Report) -> Option<Expression> {
    planner.plan(&sql.value, None).map_err(|e| tell(planner, Some(&sql.value), sql.span, e, report)).ok()
}

/// Plans a condition.
pub(super) fn condition(planner: &Planner, sql: &Spanned<String>, report: &mut Report) -> Option<Expression> {
    let expression = plan(planner, sql, report)?;
    use arrow_schema::DataType::{Boolean, Null};
    if !matches!(expression.data_type(), Boolean | Null) {
        report.error(
            sql.span,
            format!("expected a condition (true or false), this is {}", ouzel_detect::describe(expression.data_type())),
        );
        return None;
    }
    Some(expression)
}

pub(super) fn tell(planner: &Planner, sql: Option<&str>, span: Span, error: SqlError, report: &mut Report) {
    let place = sql.and_then(|sql| within(sql, span, error.unknown.as_deref()?)).unwrap_or(span);
    let problem = report.error(place, error.message);
    if let Some(name) = &error.unknown {
        if error.is_function {
            let near: Vec<&str> = SqlError::known_functions();
            // The list of all functions helps nobody: only a near miss is worth a hint.
            problem.did_you_mean(name, near);
            if problem.hint.as_deref().is_some_and(|h| h.starts_with("known are")) {
                problem.hint("functions are those of DataFusion SQL, and known(NAME)");
            }
        } else {
            let schema = planner.schema();
            problem.did_you_mean(name, schema.fields().iter().map(|f| f.name().as_str()).filter(|n| !n.starts_with('$')));
        }
    }
}

/// The place of a name in an expression that stands on one line.
fn within(sql: &str, span: Span, name: &str) -> Option<Span> {
    let quoted = span.len as usize == sql.chars().count() + 2;
    if !quoted && span.len as usize != sql.chars().count() {
        return None;
    }
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let lower = sql.to_ascii_lowercase();
    let at = lower
        .match_indices(name)
        .find(|(i, _)| !word(sql[..*i].chars().next_back()) && !word(sql[i + name.len()..].chars().next()))?
        .0;
    let before = sql[..at].chars().count() as u32 + u32::from(quoted);
    Some(Span { column: span.column + before, len: name.chars().count() as u32, ..span })
}
