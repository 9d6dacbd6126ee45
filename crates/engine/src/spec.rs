//! Literate tests: a Markdown file of prose, configuration, events and what is to come of them.
//!
//! Fenced blocks with a word after the language mean something; all others are prose:
//!
//! ````text
//! ```yaml pipelines/web.yaml      a file of the project, in place of the project's own
//! ```ndjson input                 what the pipeline's source gives (any language word; `input NAME` names the pipeline)
//! ```ndjson output                one line per row to come; only the keys that are written are compared
//! ```yaml counts                  numbers of the summary; only those written are compared
//! ```text problems                what `validate` says, whole
//! ````
//!
//! A heading of the second level begins a new case; files given before the first are every case's. Each case runs straight,
//! one event at a time and in random cuts on several threads, and killed at every commit and gone on with: rows and counts must be the
//! same each time.

mod cut;
mod markdown;
mod run;

pub use cut::Cuts;
pub use markdown::{Case, Spec, parse};
pub use run::{Outcome, bless, files, run_case};
