//! Columns made by picking from a small table: texts are shared, not copied.

use arrow_array::builder::{StringViewBuilder, make_view};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray, new_null_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::DataType;
use std::sync::Arc;

/// Stands for "not found".
pub(super) const NO_ROW: u32 = u32::MAX;

/// The values of one column of a table.
#[derive(Debug)]
pub(super) enum Values {
    Text(StringViewArray),
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
}

impl Values {
    /// Each text once; equal texts share their bytes.
    pub fn texts<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Values {
        let mut builder = StringViewBuilder::new().with_deduplicate_strings().with_fixed_block_size(1 << 20);
        texts.for_each(|text| builder.append_option(text));
        Values::Text(builder.finish())
    }

    /// The values of these rows, null for [`NO_ROW`] and beyond.
    pub fn pick(&self, rows: &[u32]) -> ArrayRef {
        match self {
            Values::Text(values) => pick_text(values, rows),
            Values::Int(values) => {
                let at = values.values();
                let picked: ScalarBuffer<i64> = rows.iter().map(|&row| at.get(row as usize).copied().unwrap_or(0)).collect();
                Arc::new(Int64Array::new(picked, nulls(values, rows)))
            }
            Values::Float(values) => {
                let at = values.values();
                let picked: ScalarBuffer<f64> = rows.iter().map(|&row| at.get(row as usize).copied().unwrap_or(0.0)).collect();
                Arc::new(Float64Array::new(picked, nulls(values, rows)))
            }
            Values::Bool(values) => {
                let is = |row: u32| (row as usize) < values.len() && values.value(row as usize);
                let picked = BooleanBuffer::collect_bool(rows.len(), |i| is(rows[i]));
                Arc::new(BooleanArray::new(picked, nulls(values, rows)))
            }
        }
    }
}

fn pick_text(values: &StringViewArray, rows: &[u32]) -> ArrayRef {
    let at = values.views();
    let views: ScalarBuffer<u128> = rows.iter().map(|&row| at.get(row as usize).copied().unwrap_or(0)).collect();
    let buffers: Arc<[_]> = values.data_buffers().into();
    // SAFETY: each view is one of `values` or the empty text, and the buffers are those of `values`.
    Arc::new(unsafe { StringViewArray::new_unchecked(views, buffers, nulls(values, rows)) })
}

fn nulls(values: &dyn Array, rows: &[u32]) -> Option<NullBuffer> {
    let valid = match values.null_count() {
        0 if rows.iter().fold(0, |most, row| most.max(*row)) < values.len() as u32 => return None,
        0 => BooleanBuffer::collect_bool(rows.len(), |i| (rows[i] as usize) < values.len()),
        _ => BooleanBuffer::collect_bool(rows.len(), |i| (rows[i] as usize) < values.len() && values.is_valid(rows[i] as usize)),
    };
    Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0)
}

/// The columns of a table, in order of the configuration; without values if nobody asked for it.
pub(super) type Columns = Vec<(DataType, Option<Values>)>;

/// The one column of a list: row 0 is not in it, row 1 is.
pub(super) fn listed(wanted: &[bool]) -> Columns {
    let is_wanted = wanted.first().copied().unwrap_or(true);
    vec![(DataType::Boolean, is_wanted.then(|| Values::Bool(BooleanArray::from(vec![false, true]))))]
}

/// One thread's picks from columns.
pub(super) struct Picks(Vec<Unwanted>);

impl Picks {
    pub fn new(columns: &Columns) -> Picks {
        Picks(columns.iter().map(|(kind, _)| Unwanted::new(kind)).collect())
    }

    /// The values of these rows, column by column.
    pub fn of<'a>(&'a mut self, columns: &'a Columns, rows: &'a [u32]) -> impl Iterator<Item = ArrayRef> + 'a {
        columns.iter().zip(&mut self.0).map(|((_, values), unwanted)| match values {
            Some(values) => values.pick(rows),
            None => unwanted.column(rows.len()),
        })
    }
}

/// A column of texts that are made, not picked.
pub(super) struct Texts {
    builder: StringViewBuilder,
    unwanted: Unwanted,
    is_wanted: bool,
}

impl Texts {
    pub fn new(is_wanted: bool) -> Texts {
        let builder = StringViewBuilder::new().with_fixed_block_size(16 << 10);
        Texts { builder, unwanted: Unwanted::new(&DataType::Utf8View), is_wanted }
    }
    #[inline]
    pub fn push(&mut self, text: Option<&str>) {
        if self.is_wanted {
            self.builder.append_option(text);
        }
    }
    /// What was pushed since the last time.
    pub fn column(&mut self, len: usize) -> ArrayRef {
        if self.is_wanted { Arc::new(self.builder.finish()) } else { self.unwanted.column(len) }
    }
}

/// Texts that were made once and go into columns again and again: columns share their bytes.
pub(super) struct Kept {
    /// What no column refers to yet. It comes behind the last of `buffers` while that is small.
    open: Vec<u8>,
    buffers: Vec<Buffer>,
    /// The same, as columns have them.
    shared: Arc<[Buffer]>,
}

/// A buffer that has so many bytes is not added to.
const KEPT_BUFFER_BYTES: usize = 64 << 10;

impl Kept {
    pub fn new() -> Kept {
        Kept { open: Vec::new(), buffers: Vec::new(), shared: Arc::new([]) }
    }

    /// Keeps a text: what stands for it in columns until [`Kept::clear`].
    pub fn keep(&mut self, text: &str) -> u128 {
        let small = self.buffers.last().filter(|last| last.len() < KEPT_BUFFER_BYTES);
        let (buffer, before) = match small {
            Some(last) => (self.buffers.len() - 1, last.len()),
            None => (self.buffers.len(), 0),
        };
        let view = make_view(text.as_bytes(), buffer as u32, (before + self.open.len()) as u32);
        // Shorter ones are in the view itself.
        if text.len() > 12 {
            self.open.extend_from_slice(text.as_bytes());
        }
        view
    }

    /// A column of texts that were kept.
    pub fn column(&mut self, views: Vec<u128>, nulls: Option<NullBuffer>) -> ArrayRef {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            // Places in what is there stay what they were.
            let joined = match self.buffers.pop_if(|last| last.len() < KEPT_BUFFER_BYTES) {
                Some(last) => [last.as_slice(), &open].concat(),
                None => open,
            };
            self.buffers.push(joined.into());
            self.shared = self.buffers.clone().into();
        }
        // SAFETY: each view was made by `keep` since the last `clear`, or is the empty text: its bytes lie in a buffer at the place that it names.
        Arc::new(unsafe { StringViewArray::new_unchecked(views.into(), self.shared.clone(), nulls) })
    }

    pub fn bytes(&self) -> usize {
        self.open.len() + self.buffers.iter().map(Buffer::len).sum::<usize>()
    }

    /// Nothing that was kept is asked for any more.
    pub fn clear(&mut self) {
        *self = Kept::new();
    }
}

/// A column that nobody asked for: made once, then cut to length.
#[derive(Debug)]
pub(super) struct Unwanted(ArrayRef);

impl Unwanted {
    pub fn new(kind: &DataType) -> Unwanted {
        Unwanted(new_null_array(kind, 0))
    }
    pub fn column(&mut self, len: usize) -> ArrayRef {
        if self.0.len() < len {
            self.0 = new_null_array(self.0.data_type(), len.next_power_of_two());
        }
        self.0.slice(0, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns hold what they were made of, whatever is kept or forgotten later.
    #[test]
    fn kept_texts_stay_in_columns() {
        let text = |i: usize| "x".repeat(i % 40) + &i.to_string();
        let mut kept = Kept::new();
        let mut made = Vec::new();
        for round in 0..200 {
            let views = (0..round).map(|i| kept.keep(&text(round * 1000 + i))).collect();
            made.push(kept.column(views, None));
            assert!(kept.buffers.len() <= 1 + kept.bytes() / KEPT_BUFFER_BYTES);
        }
        kept.clear();
        for (round, column) in made.iter().enumerate() {
            let column = column.as_any().downcast_ref::<StringViewArray>().expect("texts");
            assert!(column.iter().enumerate().all(|(i, found)| found == Some(&text(round * 1000 + i))), "{round}");
            column.to_data().validate_full().expect("sound");
        }
    }
}
