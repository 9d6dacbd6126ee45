//! Detection: pure and synchronous. A batch goes in, a batch comes out; time is an argument.

pub mod features;
