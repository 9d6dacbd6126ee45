//! The vocabulary every other crate speaks: errors, configuration with positions, fields, batches and
//! the traits of the components. No I/O, no SQL engine, no clock but the seam in [`clock`].

pub mod batch;
pub mod clock;
pub mod component;
pub mod error;
pub mod field;
pub mod limits;
pub mod path;
pub mod report;
pub mod secret;
pub mod units;
pub mod wire;
pub mod yaml;

pub use batch::{Broken, Chunk, Column, Decoded, Malformed, Origin};
pub use component::{Decode, Encode, Encoded, Framing, Job, Lookup, Packing, Prepared, Rejected, Run, Sink, Source, Which};
pub use error::{Error, Kind, Result};
pub use field::{FieldType, Wanted};
pub use path::Path;
pub use report::{Problem, Report, Severity, Span};
pub use secret::Secret;
pub use yaml::{Lenient, OneOrMany, Ordered, Spanned, TextOr};
