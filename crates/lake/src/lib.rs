//! The lake: Delta tables that any engine reads, on disk or in a bucket. The only crate that names `deltalake`.

pub mod bucket;
pub mod jobs;
pub mod location;
pub mod query;
pub mod tables;

pub use bucket::{Bucket, BucketSettings};
pub use location::Location;
pub use query::{Damage, Queries, quoted};
pub use tables::{Commits, LakeSink, Writer};
