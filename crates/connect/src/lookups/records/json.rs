//! JSON: one array, or one value a line. A value is an object, or a text or number that is the key itself.

use super::{Each, Place, not_empty};
use ouzel_core::{Error, Result};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

pub(super) fn read(file: &str, text: &str, names: &[&str], each: &mut Each) -> Result<()> {
    let mut values = Values { file, names, each, found: vec![false; names.len()], is_any: false };
    match text.trim_start().as_bytes().first() {
        None => return Err(Error::config(format!("`{file}` is empty: expected JSON; an array of none is `[]`"))),
        Some(b'[') => {
            let mut reader = serde_json::Deserializer::from_str(text);
            let mut failed = None;
            let read = reader.deserialize_seq(Elements { values: &mut values, failed: &mut failed });
            // What is wrong with an element is told better than where the reader was then.
            failed.map_or(Ok(()), Err)?;
            read.and_then(|()| reader.end())
                .map_err(|e| Place::Line(e.line()).error(file, format!("expected a JSON array: {e}")))?;
        }
        Some(_) => {
            for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let place = Place::Line(i + 1);
                let value: Value = serde_json::from_str(line)
                    .map_err(|e| place.error(file, format!("expected one JSON object a line, or an array: {e}")))?;
                values.take(place, &value)?;
            }
        }
    }
    values.finish()
}

struct Values<'a, 'b> {
    file: &'a str,
    names: &'a [&'a str],
    each: &'a mut Each<'b>,
    /// Which names have been seen.
    found: Vec<bool>,
    is_any: bool,
}

impl Values<'_, '_> {
    fn take(&mut self, place: Place, value: &Value) -> Result<()> {
        self.is_any = true;
        let cells: Vec<_> = match value {
            Value::Object(fields) => {
                let cells = self.names.iter().zip(&mut self.found).map(|(name, found)| {
                    let value = fields.get(*name);
                    *found |= value.is_some();
                    value.and_then(cell)
                });
                cells.collect()
            }
            Value::String(_) | Value::Number(_) if self.names.len() == 1 => {
                self.found[0] = true;
                vec![cell(value)]
            }
            Value::String(_) | Value::Number(_) => {
                return Err(place.error(self.file, "expected an object: a key alone has nothing to take"));
            }
            _ => return Err(place.error(self.file, "expected an object or a text")),
        };
        (self.each)(place, &cells).map_err(|e| place.error(self.file, e))
    }

    /// A name that no record has is a mistake.
    fn finish(self) -> Result<()> {
        match self.found.iter().position(|found| !found) {
            Some(i) if self.is_any => Err(Error::config(format!("{}: no record has `{}`", self.file, self.names[i]))),
            _ => Ok(()),
        }
    }
}

/// Texts without their quotes; anything else as it is written.
fn cell(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => not_empty(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// One after the other: an array may be long.
struct Elements<'a, 'b, 'c> {
    values: &'a mut Values<'b, 'c>,
    failed: &'a mut Option<Error>,
}

impl<'de> Visitor<'de> for Elements<'_, '_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(value) = seq.next_element::<Value>()? {
            number += 1;
            if let Err(e) = self.values.take(Place::Entry(number), &value) {
                *self.failed = Some(e);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
