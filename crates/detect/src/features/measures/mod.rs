pub mod aggregate;
pub mod decayed_sum;
pub mod distinct;
pub mod entropy;
pub mod ewma;
pub mod first_seen;
pub mod last;
pub mod multiset;
pub mod ordered;
pub mod quantile;
#[cfg(test)]
mod random_log;
pub mod rank;
pub mod share;
pub mod sketch;
pub mod surprise;
