//! Whether a query's rows can be made from some of its tables' rows: then rows that have changed tell which of its rows change, and rows that are new
//! make the rows that are to be added.

use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan};
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why the values of `columns` in what a query gives of some rows of a table, the others whole, need not be all in which its result changes with these
/// rows; `None` where they are.
pub fn obstacle(plan: LogicalPlan, columns: &[String]) -> Result<Option<&'static str>> {
    // Filters come to the rows that they are about: what a filter of groups or of joined rows can see is then only what is made of several.
    let near = Optimizer::with_rules(vec![Arc::new(EliminateOuterJoin::new()), Arc::new(PushDownFilter::new())]);
    let plan = near.optimize(plan, &OptimizerContext::new(), |_, _| {})?;
    let fields = plan.schema().fields().iter().enumerate();
    let columns = fields.filter(|(_, field)| columns.contains(field.name())).map(|(at, _)| at).collect();
    walk(&plan, columns, false)
}

/// Why what a query gives of the new rows of a table, the others whole, need not be all that is new in its result; `None` where it is.
pub fn not_added(plan: &LogicalPlan, table: &str) -> Result<Option<&'static str>> {
    for expr in plan.expressions().iter().filter(|expr| has_query(expr)) {
        let reads_it = |expr: &Expr| {
            let plan = match expr {
                Expr::Exists(exists) => &exists.subquery.subquery,
                Expr::InSubquery(within) => &within.subquery.subquery,
                Expr::ScalarSubquery(query) => &query.subquery,
                Expr::SetComparison(compared) => &compared.subquery.subquery,
                _ => return Ok(false),
            };
            Ok(tables(plan)?.contains(table))
        };
        if expr.exists(reads_it)? {
            return Ok(Some("a query within an expression reads the table that has changed"));
        }
    }
    Ok(match plan {
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => None,
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Unnest(_) => {
            return not_added(plan.inputs()[0], table);
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => return not_added(&sort.input, table),
        LogicalPlan::Union(union) => {
            for input in &union.inputs {
                if !tables(input)?.contains(table) {
                    return Ok(Some("a part of its `union` does not read the table that has changed"));
                }
                let why = not_added(input, table)?;
                if why.is_some() {
                    return Ok(why);
                }
            }
            None
        }
        LogicalPlan::Join(join) => {
            match (tables(&join.left)?.contains(table), tables(&join.right)?.contains(table), join.join_type) {
                (true, true, _) => Some("it joins the table that has changed with itself"),
                (true, _, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti) => {
                    return not_added(&join.left, table);
                }
                (_, true, JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti) => {
                    return not_added(&join.right, table);
                }
                _ => Some("new rows of what it joins change rows that have been written"),
            }
        }
        _ => Some("it does more than select, join and filter"),
    })
}

/// Why what a query gives need not be in the order of the rows that it reads; `None` where it is.
pub fn reordered(plan: &LogicalPlan) -> Option<&'static str> {
    if plan.expressions().iter().any(has_query) {
        return Some("it has a query within an expression");
    }
    match plan {
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => None,
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Unnest(_) => {
            reordered(plan.inputs()[0])
        }
        LogicalPlan::Join(_) => Some("it joins tables"),
        LogicalPlan::Sort(_) => Some("it has an `order by`"),
        LogicalPlan::Union(_) => Some("it has a `union`"),
        _ => Some("it does more than select and filter"),
    }
}

/// `columns`: places in what this gives. `judged`: something above looks at its rows, one by one or in pairs.
fn walk(plan: &LogicalPlan, columns: Vec<usize>, judged: bool) -> Result<Option<&'static str>> {
    if plan.expressions().iter().any(has_query) {
        return Ok(Some("it has a query within an expression"));
    }
    let same = |input: &LogicalPlan, judged| walk(input, columns.clone(), judged);
    Ok(match plan {
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() => None,
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => None,
        LogicalPlan::SubqueryAlias(alias) => return same(&alias.input, judged),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => return same(&sort.input, judged),
        LogicalPlan::Filter(filter) => return same(&filter.input, true),
        LogicalPlan::Projection(projection) => {
            let read = reads(&projection.input, columns.iter().map(|at| &projection.expr[*at]))?;
            return walk(&projection.input, read, judged);
        }
        LogicalPlan::Union(union) => {
            for input in &union.inputs {
                let why = same(input, judged)?;
                if why.is_some() {
                    return Ok(why);
                }
            }
            None
        }
        LogicalPlan::Distinct(Distinct::All(_)) if judged => Some("it filters, joins or adds up what it has made distinct"),
        LogicalPlan::Distinct(Distinct::All(input)) => return same(input, judged),
        LogicalPlan::Aggregate(_) if judged => Some("it filters, joins or adds up again what it has added up"),
        LogicalPlan::Aggregate(aggregate) => {
            let keys = &aggregate.group_expr;
            if keys.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
                return Ok(Some("it groups by sets of columns"));
            }
            if columns.iter().any(|at| *at >= keys.len()) {
                return Ok(Some("a column of `partition_by` is made of what is added up"));
            }
            let read = reads(&aggregate.input, columns.iter().map(|at| &keys[*at]))?;
            return walk(&aggregate.input, read, true);
        }
        LogicalPlan::Join(join) => return joined(join, columns, judged),
        LogicalPlan::Window(_) => Some("it has a window function, which looks at rows that have not changed"),
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) | LogicalPlan::TableScan(_) => Some("it has a `limit`"),
        _ => Some("it does more than select, join, filter and add up"),
    })
}

/// A row of the side that an outer join keeps is there with and without a row of the other side: so it tells as long as nothing looks at what was joined
/// to it.
fn joined(join: &Join, columns: Vec<usize>, judged: bool) -> Result<Option<&'static str>> {
    if !tables(&join.left)?.is_disjoint(&tables(&join.right)?) {
        return Ok(Some("it joins a table with itself"));
    }
    let width = join.left.schema().fields().len();
    let (keeps_left, keeps_right) = match join.join_type {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (false, false),
        JoinType::Left => (true, false),
        JoinType::Right => (false, true),
        _ => return Ok(Some("it has a join that tells of rows that are missing")),
    };
    // A semi-join on the right gives only the columns of the right.
    let first_right = if join.join_type == JoinType::RightSemi { 0 } else { width };
    let (left, right): (Vec<usize>, Vec<usize>) = columns.into_iter().partition(|at| *at < first_right);
    let right: Vec<usize> = right.into_iter().map(|at| at - first_right).collect();
    if (keeps_left || keeps_right) && judged {
        return Ok(Some("it filters, joins or adds up again what an outer join has filled with nulls"));
    }
    if keeps_left && !right.is_empty() || keeps_right && !left.is_empty() {
        return Ok(Some("a column of `partition_by` is of the side of an outer join that may be missing"));
    }
    match walk(&join.left, left, !keeps_left)? {
        None => walk(&join.right, right, !keeps_right),
        why => Ok(why),
    }
}

/// Names of the tables that a query reads.
fn tables(plan: &LogicalPlan) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan {
            found.insert(scan.table_name.table().to_string());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

pub fn has_query(expr: &Expr) -> bool {
    let is_query = |expr: &Expr| {
        Ok(matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
    };
    expr.exists(is_query).unwrap_or(true)
}

/// Places of the columns of `input` that expressions read.
fn reads<'a>(input: &LogicalPlan, exprs: impl Iterator<Item = &'a Expr>) -> Result<Vec<usize>> {
    let columns = exprs.flat_map(|expr| expr.column_refs());
    columns.map(|column| input.schema().index_of_column(column)).collect()
}
