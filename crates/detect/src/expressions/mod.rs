//! SQL expressions: parsed, typed and planned once, then evaluated over batches. One dialect and one set of
//! functions everywhere, DataFusion's, plus `known(NAME)`.
//!
//! Promises: an expression is a function of the row alone (`now()`, `random()` and the like are refused), and an
//! error on one row (a division by zero, a cast that fails) is that row's error, not the batch's.

mod bounds;
mod catalog;
mod paths;
mod plan;
mod terms;

pub use paths::raw_paths;
pub use plan::{Expression, Failed, Planner, SqlError};
pub use terms::{conjuncts, summands};

#[cfg(test)]
mod tests;
