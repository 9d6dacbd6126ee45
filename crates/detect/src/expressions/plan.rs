//! From SQL text to something that evaluates.

use super::catalog::{asked_known, catalog};
use super::paths;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, SchemaRef};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr_fn::cast;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, Volatility};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use ouzel_core::{Error, Path};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Plans expressions over one set of columns.
pub struct Planner {
    schema: SchemaRef,
    columns: Arc<DFSchema>,
}

/// A planned expression. Cheap to clone; shared by all threads.
#[derive(Debug, Clone)]
pub struct Expression {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    /// The columns it reads, sorted by position: what it is evaluated on.
    inputs: Arc<[usize]>,
    input_schema: SchemaRef,
    /// Names it reads.
    pub reads: BTreeSet<String>,
    /// Names it asks `known(NAME)` of.
    pub asks_known: BTreeSet<String>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub message: String,
    /// A name that is not known, for a "did you mean".
    pub unknown: Option<String>,
    /// True if `unknown` is a function.
    pub is_function: bool,
}

/// A row on which an expression failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub row: u32,
    pub reason: String,
}

impl Planner {
    pub fn new(schema: SchemaRef) -> Result<Planner, Error> {
        let columns = DFSchema::try_from(schema.clone()).map_err(|e| Error::config(e.strip_backtrace()))?;
        Ok(Planner { schema, columns: Arc::new(columns) })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Parses, types and plans. `target`: a type the result is cast to.
    pub fn plan(&self, sql: &str, target: Option<&DataType>) -> Result<Expression, SqlError> {
        self.plan_parsed(paths::parse(sql)?, target)
    }

    /// As [`Planner::plan`], with paths into the raw record replaced by the columns `column` names.
    pub fn plan_with_paths(&self, sql: &str, column: &dyn Fn(&Path) -> Option<String>) -> Result<Expression, SqlError> {
        let mut parsed = paths::parse(sql)?;
        paths::replace(&mut parsed, column);
        self.plan_parsed(parsed, None)
    }

    fn plan_parsed(
        &self,
        parsed: datafusion_sql::sqlparser::ast::Expr,
        target: Option<&DataType>,
    ) -> Result<Expression, SqlError> {
        let options = ParserOptions::new().with_enable_ident_normalization(true);
        let planner = SqlToRel::new_with_options(catalog(), options);
        let logical = planner.sql_to_expr(parsed, &self.columns, &mut PlannerContext::new()).map_err(SqlError::from)?;
        check_deterministic(&logical)?;
        super::bounds::check_sizes(&logical)?;
        let casts = super::bounds::casts_of_text(&logical, &self.columns);
        let asks_known = asked_known(&logical).into_iter().collect();
        let reads: BTreeSet<String> = logical.column_refs().into_iter().map(|c| c.name.clone()).collect();
        let context = SimplifyContext::builder().with_schema(self.columns.clone()).build();
        let simplifier = ExprSimplifier::new(context);
        let mut logical = simplifier.coerce(logical, &self.columns).map_err(SqlError::from)?;
        if let Some(name) = super::bounds::casts_of_text(&logical, &self.columns).into_iter().find(|c| !casts.contains(c)) {
            return Err(SqlError::text(format!(
                "`{name}` is text and is used as a number, which fails for every value that is none: compare with a text ('404'), or write `try_cast({name} as bigint)`"
            )));
        }
        if let Some(target) = target {
            use datafusion_expr::ExprSchemable;
            let own = logical.get_type(&*self.columns).map_err(SqlError::from)?;
            if own != *target {
                logical = cast(logical, target.clone());
            }
        }
        let logical = simplifier.simplify(logical).map_err(SqlError::from)?;
        self.plan_physical(&logical, reads, asks_known)
    }

    fn plan_physical(
        &self,
        logical: &Expr,
        reads: BTreeSet<String>,
        asks_known: BTreeSet<String>,
    ) -> Result<Expression, SqlError> {
        // Planned over the columns it reads only, so that evaluating touches no others.
        let used: BTreeSet<String> = logical.column_refs().into_iter().map(|c| c.name.clone()).collect();
        let inputs: Vec<usize> =
            (0..self.schema.fields().len()).filter(|i| used.contains(self.schema.field(*i).name())).collect();
        let input_schema = Arc::new(self.schema.project(&inputs).map_err(|e| SqlError::text(e.to_string()))?);
        let columns = DFSchema::try_from(input_schema.clone()).map_err(SqlError::from)?;
        let physical = create_physical_expr(logical, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default())
            .map_err(SqlError::from)?;
        let physical = super::bounds::fail_on_overflow(physical).map_err(SqlError::from)?;
        try_on_nulls(&physical, &input_schema)?;
        let data_type = physical.data_type(&input_schema).map_err(SqlError::from)?;
        Ok(Expression { physical, data_type, inputs: inputs.into(), input_schema, reads, asks_known })
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.physical.fmt(f)
    }
}

impl Expression {
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The single column this expression is, if it computes nothing.
    pub fn as_column(&self) -> Option<usize> {
        let is_column = (self.physical.as_ref() as &dyn std::any::Any).is::<datafusion_physical_expr::expressions::Column>();
        (is_column && self.inputs.len() == 1).then(|| self.inputs[0])
    }

    /// Positions, in the planner's schema, of the columns it reads.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// Evaluates over `rows` rows of `columns` (in the order of the planner's schema; only [`Expression::inputs`] are
    /// looked at). Rows that fail are null in the result and told in `failed`.
    pub fn evaluate(&self, columns: &[ArrayRef], rows: usize, failed: &mut Vec<Failed>) -> Result<ArrayRef, Error> {
        if let Some(column) = self.as_column() {
            return Ok(columns[column].clone());
        }
        let inputs: Vec<ArrayRef> = self.inputs.iter().map(|i| columns[*i].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.input_schema.clone(), inputs, &options)
            .map_err(|e| Error::internal(format!("an expression was given other columns than it was planned for: {e}")))?;
        self.evaluate_batch(&batch, 0, failed)
    }

    /// On an error the batch is halved until the rows that cause it stand alone.
    fn evaluate_batch(&self, batch: &RecordBatch, first_row: u32, failed: &mut Vec<Failed>) -> Result<ArrayRef, Error> {
        let rows = batch.num_rows();
        match self.physical.evaluate(batch).and_then(|v| v.into_array(rows)) {
            Ok(array) => Ok(array),
            Err(e) if rows <= 1 => {
                failed.push(Failed { row: first_row, reason: e.strip_backtrace() });
                Ok(new_null_array(&self.data_type, rows))
            }
            Err(_) => {
                let half = rows / 2;
                let left = self.evaluate_batch(&batch.slice(0, half), first_row, failed)?;
                let right = self.evaluate_batch(&batch.slice(half, rows - half), first_row + half as u32, failed)?;
                let parts: [&dyn Array; 2] = [&left, &right];
                arrow_select::concat::concat(&parts).map_err(|e| Error::internal(e.to_string()))
            }
        }
    }
}

/// What fails on a row of nulls is wrong in the expression itself, a pattern too large to compile for example.
fn try_on_nulls(physical: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<(), SqlError> {
    let columns = schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch =
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|e| SqlError::text(e.to_string()))?;
    physical.evaluate(&batch).map(drop).map_err(SqlError::from)
}

fn check_deterministic(expr: &Expr) -> Result<(), SqlError> {
    use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut found = None;
    let _ = expr.apply(|e| {
        if let Expr::ScalarFunction(call) = e
            && call.func.signature().volatility != Volatility::Immutable
        {
            found = Some(call.func.name().to_string());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match found {
        None => Ok(()),
        Some(name) => Err(SqlError::text(format!(
            "`{name}()` depends on the clock or on chance: results must be a function of the events alone; use the event's own time"
        ))),
    }
}

impl SqlError {
    pub(super) fn text(message: impl Into<String>) -> SqlError {
        SqlError { message: message.into(), unknown: None, is_function: false }
    }
    /// Names of functions, for a hint.
    pub fn known_functions() -> Vec<&'static str> {
        catalog().function_names()
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> SqlError {
        use datafusion_common::SchemaError;
        match error.find_root() {
            DataFusionError::SchemaError(e, _) => match e.as_ref() {
                SchemaError::FieldNotFound { field, .. } => SqlError {
                    message: format!("unknown name `{}`", field.name),
                    unknown: Some(field.name.clone()),
                    is_function: false,
                },
                other => SqlError::text(other.to_string()),
            },
            DataFusionError::Plan(text) if text.starts_with("Invalid function '") => {
                let name = text["Invalid function '".len()..].split('\'').next().unwrap_or_default().to_string();
                SqlError { message: format!("unknown function `{name}`"), unknown: Some(name), is_function: true }
            }
            root => SqlError::text(tidy(&root.strip_backtrace())),
        }
    }
}

/// DataFusion's own prefixes say nothing to a reader of a pipeline.
fn tidy(message: &str) -> String {
    let mut text = message.trim();
    for prefix in ["Error during planning: ", "SQL error: ", "Schema error: ", "Optimizer rule failed: "] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    let text = text.strip_prefix("ParserError(\"").and_then(|t| t.strip_suffix("\")")).unwrap_or(text);
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_string()
}

/// Parses one expression and nothing after it.
pub(super) fn parse_sql(sql: &str) -> Result<datafusion_sql::sqlparser::ast::Expr, SqlError> {
    // Strings are parsed recursively: the limit keeps a hostile expression from the stack's end.
    let mut parser = DFParserBuilder::new(sql).with_recursion_limit(100).build().map_err(SqlError::from)?;
    let parsed = parser.parse_into_expr().map_err(SqlError::from)?;
    if parsed.alias.is_some() {
        return Err(SqlError::text("an expression has no alias: the name stands before the colon"));
    }
    Ok(parsed.expr)
}
