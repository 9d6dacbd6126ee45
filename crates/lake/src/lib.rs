//! The lake: Delta tables on disk that any engine reads. The only crate that names `deltalake`.

pub mod jobs;
pub mod query;
pub mod tables;

pub use query::{Damage, Queries, quoted};
pub use tables::{Commits, LakeSink, Writer};
