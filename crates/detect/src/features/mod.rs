//! Features: what a key has done in a window of time.

pub mod measure;
pub mod measures;
