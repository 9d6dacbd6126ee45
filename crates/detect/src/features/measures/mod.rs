pub mod sketch;
pub mod first_seen;
pub mod quantile;
pub mod entropy;
pub mod share;
pub mod distinct;
pub mod multiset;
pub mod aggregate;
pub mod ewma;
pub mod last;
pub mod ordered;
#[cfg(test)]
mod random_log;
