//! The outside world: sources, codecs, lookups, sinks. No SQL engine: what bytes mean is said in columns.

pub mod codecs;
pub mod log;
pub mod lookups;
pub mod sinks;
pub mod sniff;
pub mod sources;
pub mod streams;
