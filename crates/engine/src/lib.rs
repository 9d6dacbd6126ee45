//! From a project directory to running pipelines. Owns the registry of components, the plan of a pipeline and every thread.

pub mod config;
mod generation;
pub mod journal;
pub mod plan;
pub mod project;
pub mod registry;
pub mod runtime;
pub mod spec;
pub mod summary;

pub use plan::Plan;
pub use project::{Pipeline, Project};
pub use runtime::{Control, Ended, Options, Progress, run};
pub use summary::{PipelineSummary, SinkSummary};
