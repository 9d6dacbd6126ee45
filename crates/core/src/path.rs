//! A path into a raw record: `headers['x-request-id']`, `screen.width`, `tags[0]`.

use std::fmt;

/// Steps from the root of a record to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Key(String),
    /// Position in an array, from 0.
    Index(usize),
}

impl Path {
    /// The path of one top-level key.
    pub fn key(name: impl Into<String>) -> Path {
        Path(vec![Step::Key(name.into())])
    }
    /// The name, if the path is a single key.
    pub fn as_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Key(name)] => Some(name),
            _ => None,
        }
    }

    /// The key of the record it begins with.
    pub fn first_key(&self) -> Option<&str> {
        match self.0.first() {
            Some(Step::Key(name)) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if i == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, "['{name}']")?,
                Step::Index(n) => write!(f, "[{n}]")?,
            }
        }
        Ok(())
    }
}
