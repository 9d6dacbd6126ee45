//! YAML with positions: a tree whose every node knows its place, variables from the environment, and
//! decoding into structs that goes on after a problem, so that all of them are told at once.

mod de;
mod tree;
mod wrap;

pub use de::decode;
pub use tree::{Node, Value, parse};
pub use wrap::{Lenient, OneOrMany, Ordered, Spanned, TextOr};

#[cfg(test)]
mod tests;
