//! Sums of groups that new rows can be added to: a query that groups the rows of a table is made of the groups of its new rows, and those that are there.
//!
//! `count` and `sum` of whole numbers are added up, the least of two `min`s is the `min`. `count(distinct x)` becomes a sum of those `x` that a set has not seen
//! before; for `percentile_cont` the values are kept, sorted ([`crate::jobs::groups`]). Anything else is not made in this way.

use super::errors::failed;
use super::row_wise::{has_query, not_added};
use super::{Queries, quoted};
use crate::jobs::groups::{Groups, Memory};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast, when,
};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A query that groups rows.
pub struct Additive {
    input: Arc<LogicalPlan>,
    /// In the order of the result.
    columns: Vec<Column>,
    /// The result's columns, as the query gives them.
    schema: SchemaRef,
    /// Places of the columns by which the table is partitioned.
    partitions: Vec<usize>,
}

/// A column of the result.
enum Column {
    Group(Expr),
    /// Added up by a function.
    Sum {
        expr: Expr,
        by: &'static str,
    },
    /// How many values of `of` there are, each once.
    Distinct {
        of: Expr,
        memory: usize,
    },
    Percentile {
        of: Expr,
        p: f64,
        memory: usize,
    },
}

impl Queries {
    /// Looks whether what a query gives can be made by adding its groups of the new rows of `table` to those that are there. Its columns are known by their names,
    /// `partition_by` among them.
    pub fn additive(&self, sql: &str, table: &str, partition_by: &[String]) -> ouzel_core::Result<Option<Additive>> {
        let planned = self.runtime.block_on(self.context.sql(sql)).map_err(|e| self.told(e))?;
        additive(planned.into_unoptimized_plan(), table, partition_by).map_err(failed)
    }

    /// The groups of the rows that there are now, with what is to be added up. What has to be remembered is.
    pub fn sums(&self, additive: &Additive, groups: &Arc<Groups>) -> ouzel_core::Result<Vec<RecordBatch>> {
        let plan = additive.sums(groups).map_err(failed)?;
        let rows = self.runtime.block_on(async { self.context.execute_logical_plan(plan).await?.collect().await });
        rows.map_err(failed)
    }

    /// The SQL that adds the groups of one table to those of another, which has the same columns but those that are remembered; `old`: none are there.
    pub fn added(&self, additive: &Additive, groups: &Arc<Groups>, old: Option<&str>, new: &str) -> String {
        let grouped: Vec<String> = additive.names(|column| matches!(column, Column::Group(_)));
        let mut columns = Vec::new();
        for (at, (column, field)) in additive.columns.iter().zip(additive.schema.fields()).enumerate() {
            let name = quoted(field.name());
            let by = match column {
                Column::Group(_) => {
                    columns.push(name);
                    continue;
                }
                Column::Sum { by, .. } => *by,
                Column::Distinct { .. } => "sum",
                Column::Percentile { p, memory, .. } => {
                    let udf = format!("__percentile_{at}");
                    let remembered = additive.remembered(groups, Use::Percentile { memory: *memory, p: *p }, &udf);
                    self.context.register_udf(ScalarUDF::new_from_impl(remembered));
                    columns.push(format!("{udf}({}) as {name}", grouped.join(", ")));
                    continue;
                }
            };
            columns.push(format!("arrow_cast({by}({name}), '{}') as {name}", field.data_type()));
        }
        let summed = additive.names(|column| !matches!(column, Column::Percentile { .. })).join(", ");
        let old = old.map_or(String::new(), |old| format!("select {summed} from {} union all ", quoted(old)));
        let rows = format!("{old}select {summed} from {}", quoted(new));
        format!("select {} from ({rows}) as added group by {}", columns.join(", "), grouped.join(", "))
    }
}

impl Additive {
    /// What has to be remembered, beside the result.
    pub fn memories(&self) -> Vec<Memory> {
        let memory = |column: &Column| match column {
            Column::Distinct { .. } => Some(Memory::Distinct),
            Column::Percentile { .. } => Some(Memory::Sorted),
            Column::Group(_) | Column::Sum { .. } => None,
        };
        self.columns.iter().filter_map(memory).collect()
    }

    fn names(&self, which: impl Fn(&Column) -> bool) -> Vec<String> {
        let pairs = self.columns.iter().zip(self.schema.fields());
        pairs.filter(|(column, _)| which(column)).map(|(_, field)| quoted(field.name())).collect()
    }

    /// The columns of [`Queries::sums`]: those of the result, and a number without a meaning where values are only kept.
    pub fn schema_of_sums(&self) -> SchemaRef {
        let pairs = self.columns.iter().zip(self.schema.fields());
        let field = |(column, field): (&Column, &FieldRef)| match column {
            Column::Percentile { .. } => Arc::new(Field::new(field.name(), DataType::Int64, true)),
            _ => field.clone(),
        };
        Arc::new(Schema::new(pairs.map(field).collect::<Vec<_>>()))
    }

    fn sums(&self, groups: &Arc<Groups>) -> Result<LogicalPlan> {
        let pairs = || self.columns.iter().zip(self.schema.fields());
        let grouped: Vec<Expr> =
            pairs().filter_map(|(column, _)| if let Column::Group(expr) = column { Some(expr.clone()) } else { None }).collect();
        // Groups are told apart by the values of the result, whatever the types within.
        let keys = pairs().filter_map(|(column, field)| match column {
            Column::Group(expr) => Some(cast(expr.clone(), field.data_type().clone())),
            _ => None,
        });
        let keys: Vec<Expr> = keys.collect();
        let (mut sums, mut names) = (Vec::new(), Vec::new());
        for (at, (column, field)) in pairs().enumerate() {
            let remember = |how: Use, of: &Expr| {
                let udf = Arc::new(ScalarUDF::new_from_impl(self.remembered(groups, how, &format!("__remember_{at}"))));
                sum(udf.call(keys.iter().cloned().chain([of.clone()]).collect()))
            };
            let expr = match column {
                Column::Group(expr) => {
                    names.push((expr.clone(), field.name().clone()));
                    continue;
                }
                Column::Sum { expr, .. } => expr.clone(),
                Column::Distinct { of, memory } => remember(Use::Distinct { memory: *memory }, of),
                Column::Percentile { of, memory, .. } => remember(Use::Collect { memory: *memory }, of),
            };
            let alias = format!("__sum_{at}");
            sums.push(expr.alias(&alias));
            names.push((datafusion::prelude::col(alias), field.name().clone()));
        }
        let plan = LogicalPlanBuilder::from(self.input.as_ref().clone()).aggregate(grouped, sums)?;
        let (schema, types) = (plan.schema().clone(), self.schema_of_sums());
        let named = |(expr, name): (Expr, String)| -> Result<Expr> {
            let column = match &expr {
                Expr::Column(column) => Expr::Column(column.clone()),
                other => Expr::Column(datafusion::common::Column::from_name(other.schema_name().to_string())),
            };
            let of = types.field_with_name(&name)?.data_type().clone();
            Ok(column.cast_to(&of, &schema)?.alias(name))
        };
        plan.project(names.into_iter().map(named).collect::<Result<Vec<_>>>()?)?.build()
    }

    fn remembered(&self, groups: &Arc<Groups>, how: Use, name: &str) -> Remembered {
        let grouped = self.columns.iter().enumerate().filter(|(_, column)| matches!(column, Column::Group(_)));
        let partitions =
            grouped.enumerate().filter(|(_, (at, _))| self.partitions.contains(at)).map(|(place, _)| place).collect();
        let keys = self.names(|column| matches!(column, Column::Group(_))).len();
        let types = self.columns.iter().zip(self.schema.fields());
        let types =
            types.filter(|(column, _)| matches!(column, Column::Group(_))).map(|(_, field)| field.data_type().clone()).collect();
        Remembered {
            name: name.into(),
            groups: groups.clone(),
            how,
            partitions,
            keys,
            types,
            signature: Signature::any(keys + how.own(), Volatility::Volatile),
        }
    }
}

fn additive(plan: LogicalPlan, table: &str, partition_by: &[String]) -> Result<Option<Additive>> {
    let LogicalPlan::Projection(result) = &plan else { return Ok(None) };
    let LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, schema, .. }) = result.input.as_ref() else {
        return Ok(None);
    };
    if group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) || !sound(input, group_expr, aggr_expr)? {
        return Ok(None);
    }
    if not_added(input, table)?.is_some() {
        return Ok(None);
    }
    let mut columns = Vec::new();
    let mut told = BTreeSet::new();
    let mut memories = 0;
    for expr in &result.expr {
        let bare = expr.clone().unalias_nested().data;
        let Expr::Column(column) = &bare else { return Ok(None) };
        let at = schema.index_of_column(column)?;
        let column = match at.checked_sub(group_expr.len()) {
            // Each group column has one place in the result.
            None => told.insert(at).then(|| Column::Group(group_expr[at].clone())),
            Some(at) => aggregate(&aggr_expr[at], input, &mut memories)?,
        };
        let Some(column) = column else { return Ok(None) };
        columns.push(column);
    }
    let fields = plan.schema().fields();
    let partitions: Vec<usize> =
        partition_by.iter().filter_map(|name| fields.iter().position(|field| field.name() == name)).collect();
    let by_groups = partitions.iter().all(|at| matches!(columns[*at], Column::Group(_)));
    // And each has one: else groups that differ in what is not told would be taken for one.
    if told.len() != group_expr.len() || !by_groups || partitions.len() != partition_by.len() {
        return Ok(None);
    }
    let floats = |at: &usize| matches!(columns[*at], Column::Group(_)) && fields[*at].data_type().is_floating();
    if (0..fields.len()).any(|at| floats(&at) || fields[at].data_type().is_nested()) {
        return Ok(None);
    }
    let schema = Arc::new(Schema::new(
        fields.iter().map(|f| Arc::new(Field::new(f.name(), f.data_type().clone(), true))).collect::<Vec<_>>(),
    ));
    Ok(Some(Additive { input: input.clone(), columns, schema, partitions }))
}

/// Expressions give the same of the same row, and look at nothing else.
fn sound(input: &LogicalPlan, groups: &[Expr], aggregates: &[Expr]) -> Result<bool> {
    let mut sound = groups.iter().chain(aggregates).all(|expr| !expr.is_volatile() && !has_query(expr));
    input.apply(|node| {
        sound &= node.expressions().iter().all(|expr| !expr.is_volatile());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sound)
}

fn aggregate(expr: &Expr, input: &LogicalPlan, memories: &mut usize) -> Result<Option<Column>> {
    let bare = expr.clone().unalias_nested().data;
    let Expr::AggregateFunction(function) = &bare else { return Ok(None) };
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = &function.params;
    if null_treatment.is_some() {
        return Ok(None);
    }
    let of = |at: usize| args[at].get_type(input.schema());
    // What a filter leaves out is null.
    let filtered = |of: &Expr| match filter {
        Some(filter) => when(filter.as_ref().clone(), of.clone()).end(),
        None => Ok(of.clone()),
    };
    let mut remember = || {
        *memories += 1;
        *memories - 1
    };
    Ok(match (function.func.name(), distinct, args.len()) {
        ("count", true, 1) if order_by.is_empty() && !of(0)?.is_floating() && !of(0)?.is_nested() => {
            Some(Column::Distinct { of: filtered(&args[0])?, memory: remember() })
        }
        ("count", false, _) if order_by.is_empty() => Some(Column::Sum { expr: bare, by: "sum" }),
        ("sum", false, 1) if order_by.is_empty() && (of(0)?.is_integer() || matches!(of(0)?, DataType::Decimal128(..))) => {
            Some(Column::Sum { expr: bare, by: "sum" })
        }
        ("min", false, 1) if order_by.is_empty() && !of(0)?.is_nested() => Some(Column::Sum { expr: bare, by: "min" }),
        ("max", false, 1) if order_by.is_empty() && !of(0)?.is_nested() => Some(Column::Sum { expr: bare, by: "max" }),
        ("percentile_cont", false, 2) if of(0)?.is_numeric() => {
            let Expr::Literal(p, _) = &args[1] else { return Ok(None) };
            let Ok(ScalarValue::Float64(Some(p))) = p.cast_to(&DataType::Float64) else { return Ok(None) };
            if !(0.0..=1.0).contains(&p) {
                return Ok(None);
            }
            let descending = order_by.first().is_some_and(|order| !order.asc);
            let p = if descending { 1.0 - p } else { p };
            Some(Column::Percentile { of: filtered(&cast(args[0].clone(), DataType::Float64))?, p, memory: remember() })
        }
        _ => None,
    })
}

/// A function of a group, and of a value, that remembers.
#[derive(Clone)]
struct Remembered {
    name: String,
    groups: Arc<Groups>,
    how: Use,
    /// Places, among the group's columns, of those by which the table is partitioned.
    partitions: Vec<usize>,
    /// Number of the group's columns.
    keys: usize,
    types: Vec<DataType>,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    /// 1 for a value that is new, 0 for others.
    Distinct { memory: usize },
    /// Keeps values; 0.
    Collect { memory: usize },
    /// What the group's values come to.
    Percentile { memory: usize, p: f64 },
}

impl Use {
    /// Arguments beside the group's columns.
    fn own(self) -> usize {
        usize::from(!matches!(self, Use::Percentile { .. }))
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Remembered {
    fn eq(&self, other: &Remembered) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.groups, &other.groups)
    }
}

impl Eq for Remembered {}

impl Hash for Remembered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Remembered {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.how.own() == 0 { DataType::Float64 } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let keys = arrays[..self.keys].iter().zip(&self.types).map(|(array, of)| arrow_cast::cast(array, of));
        let keys = keys.collect::<std::result::Result<Vec<_>, _>>()?;
        let told = |e: ouzel_core::Error| datafusion::error::DataFusionError::External(Box::new(e));
        let secret = self.groups.secret();
        let hashes = |columns: &[ArrayRef]| match columns {
            [] => Ok(vec![0; rows]),
            columns => secret.hashes_with_nulls(columns).map_err(told),
        };
        let parts = hashes(&self.partitions.iter().map(|at| keys[*at].clone()).collect::<Vec<_>>())?;
        match self.how {
            Use::Distinct { memory } => {
                let value = &arrays[self.keys];
                let all: Vec<ArrayRef> = keys.iter().chain([value]).cloned().collect();
                let each = parts.into_iter().zip(hashes(&all)?).enumerate();
                let fresh = self.groups.fresh(memory, each.map(|(row, of)| value.is_valid(row).then_some(of))).map_err(told)?;
                Ok(ColumnarValue::Array(Arc::new(fresh.into_iter().map(|fresh| Some(i64::from(fresh))).collect::<Int64Array>())))
            }
            Use::Collect { memory } => {
                let values = arrow_cast::cast(&arrays[self.keys], &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>();
                let each = parts.into_iter().zip(hashes(&keys)?).zip(values.iter());
                let each = each.map(|((part, group), value)| value.map(|value| (part, (group, value))));
                self.groups.collect(memory, each).map_err(told)?;
                Ok(ColumnarValue::Array(Arc::new(Int64Array::from(vec![0; rows]))))
            }
            Use::Percentile { memory, p } => {
                let each: Vec<(u128, u128)> = parts.into_iter().zip(hashes(&keys)?).collect();
                let found = self.groups.percentiles(memory, p, &each).map_err(told)?;
                Ok(ColumnarValue::Array(Arc::new(Float64Array::from(found))))
            }
        }
    }

    fn return_field_from_args(&self, args: datafusion::logical_expr::ReturnFieldArgs) -> Result<FieldRef> {
        let _ = args;
        Ok(Arc::new(Field::new(&self.name, self.return_type(&[])?, true)))
    }
}
