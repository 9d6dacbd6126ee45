//! Names and paths in an expression's syntax tree: `headers['x-request-id']`, `screen.width`, `tags[0]`.

use super::plan::{SqlError, parse_sql};
use datafusion_sql::sqlparser::ast::{self, AccessExpr, Expr, Ident, Subscript, Value, VisitMut, VisitorMut};
use ouzel_core::Path;
use ouzel_core::path::Step;
use std::ops::ControlFlow;

/// Every name or path an expression mentions, in order, each once.
pub fn raw_paths(sql: &str) -> Result<Vec<Path>, SqlError> {
    let mut found: Vec<Path> = Vec::new();
    let mut parsed = parse(sql)?;
    let _ = parsed.visit(&mut Paths(|path: &Path| {
        if !found.contains(path) {
            found.push(path.clone());
        }
        // Replaced (in this copy), so that the beginning of a path is not taken for one of its own.
        Some(String::new())
    }));
    Ok(found)
}

pub(super) fn parse(sql: &str) -> Result<Expr, SqlError> {
    parse_sql(sql)
}

/// Replaces paths by the columns of the names given for them.
pub(super) fn replace(expr: &mut Expr, column: &dyn Fn(&Path) -> Option<String>) {
    let _ = expr.visit(&mut Paths(column));
}

struct Paths<F>(F);

impl<F: FnMut(&Path) -> Option<String>> VisitorMut for Paths<F> {
    type Break = ();

    // Before its children, so that the longest path is seen whole; what replaces it is a quoted name, whose own
    // visit finds no column of that name to replace.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(path) = as_path(expr)
            && let Some(name) = (self.0)(&path)
        {
            *expr = Expr::Identifier(Ident::with_quote('"', name));
        }
        ControlFlow::Continue(())
    }
}

/// The path an expression is, if it is one.
fn as_path(expr: &Expr) -> Option<Path> {
    match expr {
        Expr::Identifier(ident) => Some(Path(vec![raw_step(ident)])),
        Expr::CompoundIdentifier(idents) => Some(Path(idents.iter().map(raw_step).collect())),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut path = as_path(root)?;
            for access in access_chain {
                match access {
                    AccessExpr::Dot(Expr::Identifier(ident)) => path.0.push(raw_step(ident)),
                    AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => match &value.value {
                        Value::SingleQuotedString(key) => path.0.push(Step::Key(key.clone())),
                        Value::Number(n, _) => path.0.push(Step::Index(n.to_string().parse().ok()?)),
                        _ => return None,
                    },
                    _ => return None,
                }
            }
            Some(path)
        }
        _ => None,
    }
}

/// Inside a record, keys are as they are written.
fn raw_step(ident: &ast::Ident) -> Step {
    Step::Key(ident.value.clone())
}
