//! The proof of meaning (design, section 3), through the whole engine: every feature against a plain model, the same rows
//! under every cut and thread count, a bound on what a key under attack takes, and the direction of the crates.
//!
//! `PROPTEST_CASES=1000 PROPTEST_RNG_SEED=7 cargo test --release -p ouzel-engine --test it -- --nocapture`

mod attack;
mod direction;
mod formats;
mod log;
mod meaning;
mod measures;
mod model;
mod postgres;
mod project;
mod s3;
mod sinks;
mod webhook;
mod weed;
