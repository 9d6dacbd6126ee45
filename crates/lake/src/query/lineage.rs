//! Which columns of its tables each column of a query is made of.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use std::collections::BTreeSet;

/// Table and column.
pub type Origin = (String, String);

/// The columns that a query's values come from, by column, in its order. What only decides which rows there are (filters, keys of joins) is not among them, and
/// `count(*)` has none.
pub fn lineage(plan: &LogicalPlan) -> Result<Vec<(String, BTreeSet<Origin>)>> {
    let names = plan.schema().fields().iter().map(|field| field.name().clone());
    Ok(names.zip(origins(plan)?).collect())
}

fn origins(plan: &LogicalPlan) -> Result<Vec<BTreeSet<Origin>>> {
    let width = plan.schema().fields().len();
    let found = match plan {
        LogicalPlan::TableScan(scan) => {
            let table = scan.table_name.table();
            let fields = scan.projected_schema.fields().iter();
            fields.map(|field| BTreeSet::from([(table.to_string(), field.name().clone())])).collect()
        }
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => vec![BTreeSet::new(); width],
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            origins(plan.inputs()[0])?
        }
        LogicalPlan::Distinct(Distinct::All(input)) => origins(input)?,
        LogicalPlan::Distinct(Distinct::On(on)) => of_exprs(&on.input, &on.select_expr)?,
        LogicalPlan::Projection(projection) => of_exprs(&projection.input, &projection.expr)?,
        LogicalPlan::Aggregate(aggregate) => {
            let mut found = of_exprs(&aggregate.input, &aggregate.group_expr)?;
            found.extend(of_exprs(&aggregate.input, &aggregate.aggr_expr)?);
            found
        }
        LogicalPlan::Window(window) => {
            let mut found = origins(&window.input)?;
            found.extend(of_exprs(&window.input, &window.window_expr)?);
            found
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (origins(&join.left)?, origins(&join.right)?);
            match join.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti => left,
                JoinType::RightSemi | JoinType::RightAnti => right,
                _ => left.into_iter().chain(right).collect(),
            }
        }
        LogicalPlan::Union(union) => {
            let mut found = vec![BTreeSet::new(); width];
            for input in &union.inputs {
                found.iter_mut().zip(origins(input)?).for_each(|(all, more)| all.extend(more));
            }
            found
        }
        _ => Vec::new(),
    };
    if found.len() == width {
        return Ok(found);
    }
    // Of what is not known better: each is made of everything.
    let mut all = BTreeSet::new();
    for input in plan.inputs() {
        all.extend(origins(input)?.into_iter().flatten());
    }
    Ok(vec![all; width])
}

fn of_exprs(input: &LogicalPlan, exprs: &[Expr]) -> Result<Vec<BTreeSet<Origin>>> {
    let below = origins(input)?;
    let of = |expr: &Expr| {
        let mut found = BTreeSet::new();
        for column in expr.column_refs() {
            if let Some(at) = input.schema().maybe_index_of_column(column) {
                found.extend(below[at].iter().cloned());
            }
        }
        expr.apply(|part| {
            if let Expr::ScalarSubquery(query) = part {
                found.extend(origins(&query.subquery)?.into_iter().flatten());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    };
    exprs.iter().map(of).collect()
}
