pub mod distinct;
pub mod share;
pub mod entropy;
pub mod quantile;
pub mod first_seen;
pub mod multiset;
pub mod sketch;
pub mod aggregate;
pub mod ewma;
pub mod last;
pub mod ordered;
#[cfg(test)]
mod random_log;
