//! 
pub mod sinks;
pub mod sources;
pub mod lookups;
pub mod codecs;
