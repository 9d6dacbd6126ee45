//! An expression taken apart, to tell what it is made of.

use super::SqlError;
use super::paths::parse;
use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr};

/// What an expression adds up, as SQL; itself if it is no sum.
pub fn summands(sql: &str) -> Result<Vec<String>, SqlError> {
    split(sql, &BinaryOperator::Plus)
}

/// The conditions that all must be true for a condition to be; itself if there is but one.
pub fn conjuncts(sql: &str) -> Result<Vec<String>, SqlError> {
    split(sql, &BinaryOperator::And)
}

fn split(sql: &str, at: &BinaryOperator) -> Result<Vec<String>, SqlError> {
    let mut parts = Vec::new();
    let mut left = vec![parse(sql)?];
    while let Some(expression) = left.pop() {
        match expression {
            Expr::Nested(inner) => left.push(*inner),
            Expr::BinaryOp { left: first, op, right } if op == *at => {
                left.push(*right);
                left.push(*first);
            }
            other => parts.push(other.to_string()),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_conjunctions_are_taken_apart_in_order() {
        assert_eq!(summands("0.5 * a + (b + 2) - c").unwrap(), ["0.5 * a + (b + 2) - c"], "a difference is one term");
        assert_eq!(summands("0.5 * a + (b + 2)").unwrap(), ["0.5 * a", "b", "2"]);
        assert_eq!(conjuncts("a > 1 and (b or c) and not d").unwrap(), ["a > 1", "b OR c", "NOT d"]);
        assert_eq!(conjuncts("true").unwrap(), ["true"]);
        assert!(conjuncts("a >").is_err());
    }
}
