//! Delta tables: what a table is made of, and appending to one.
//!
//! [`sink`] takes rows from a pipeline; [`columns`] gives them the table's types; [`partitions`] deals them out;
//! [`files`] writes Parquet files with the [`stats`] that let readers skip them; [`table`] commits the files,
//! if the columns [`fit`].

pub mod sink;
pub mod table;

pub(crate) mod columns;
pub(crate) mod files;
mod fit;
mod partitions;
mod stats;

pub use columns::COMMENT;
pub use sink::{Commits, LakeSink, Writer};
pub use table::Table;
