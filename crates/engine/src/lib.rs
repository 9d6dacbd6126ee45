//! From a project directory to running pipelines. Owns the registry of components, the plan of a pipeline and every thread.

pub mod checkpoint;
pub mod config;
pub mod explain;
pub mod fault;
mod generation;
pub mod graph;
pub mod jobs;
pub mod journal;
pub mod lists;
pub mod plan;
pub mod project;
pub mod registry;
pub mod risk;
pub mod runtime;
pub mod spec;
pub mod summary;

pub use plan::Plan;
pub use project::{Pipeline, Project};
pub use runtime::{Control, Ended, Options, Place, Progress, RebuildFrom, run, run_joined};
pub use summary::{PipelineSummary, Resumed, SinkSummary};
