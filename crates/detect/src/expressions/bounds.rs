//! What keeps an expression from taking memory without bound, from wrapping around, and from failing on ordinary values.

use super::plan::SqlError;
use arrow_schema::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;
use std::sync::Arc;

/// What a function of this kind may make of one event at most: characters or items.
const SIZE_MAX: i64 = 65_536;

/// Functions whose result is as long as an argument says, and which arguments those are.
const SIZED: [(&str, std::ops::Range<usize>); 9] = [
    ("repeat", 1..2),
    ("lpad", 1..2),
    ("rpad", 1..2),
    ("array_repeat", 1..2),
    ("array_resize", 1..2),
    ("range", 0..3),
    ("generate_series", 0..3),
    ("gen_series", 0..3),
    ("list_repeat", 1..2),
];

/// Sizes must stand in the expression: taken from an event, they would let it buy memory.
pub(super) fn check_sizes(expr: &Expr) -> Result<(), SqlError> {
    let mut wrong = None;
    let _ = expr.apply(|e| {
        if let Expr::ScalarFunction(call) = e
            && let Some((name, sizes)) = SIZED.iter().find(|(name, _)| *name == call.func.name())
            && !call.args.iter().enumerate().filter(|(i, _)| sizes.contains(i)).all(|(_, arg)| is_small(arg))
        {
            wrong = Some(*name);
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match wrong {
        None => Ok(()),
        Some(name) => {
            Err(SqlError::text(format!("the size that `{name}()` makes must be a number of at most {SIZE_MAX} written here")))
        }
    }
}

fn is_small(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => n.abs() <= SIZE_MAX,
        Expr::Literal(ScalarValue::UInt64(Some(n)), _) => *n <= SIZE_MAX as u64,
        Expr::Negative(inner) => is_small(inner),
        _ => false,
    }
}

/// Text columns that an expression casts to a number, by name.
pub(super) fn casts_of_text(expr: &Expr, columns: &DFSchema) -> Vec<String> {
    let mut names = Vec::new();
    let _ = expr.apply(|e| {
        if let Expr::Cast(cast) = e
            && cast.field.data_type().is_numeric()
            && let Expr::Column(column) = cast.expr.as_ref()
            && matches!(cast.expr.get_type(columns), Ok(DataType::Utf8View | DataType::Utf8))
        {
            names.push(column.name.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}

/// Integer arithmetic beyond 64 bits is an error of that row, not a number of the other sign.
pub(super) fn fail_on_overflow(physical: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let transformed = physical.transform_up(|e| {
        let any: &dyn std::any::Any = e.as_ref();
        Ok(match any.downcast_ref::<BinaryExpr>() {
            Some(binary) => {
                let strict =
                    BinaryExpr::new(binary.left().clone(), *binary.op(), binary.right().clone()).with_fail_on_overflow(true);
                Transformed::yes(Arc::new(strict) as Arc<dyn PhysicalExpr>)
            }
            None => Transformed::no(e),
        })
    })?;
    Ok(transformed.data)
}
