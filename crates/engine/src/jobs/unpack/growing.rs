//! Rows on this machine, of which those of the last file may be forgotten.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use ouzel_core::Result;
use ouzel_lake::jobs::landing::Arrived;
use ouzel_lake::jobs::scratch::{Rows, Scratch};

/// Of a file, what is held in memory until it is known whether it can be read; rows of a larger one go to a file of their own.
const HELD_BYTES_MAX: usize = 32 << 20;
/// What a file that is being written may keep in memory.
const WRITING_BYTES_MAX: usize = 64 << 20;
/// Rows of a file on this machine, about: what is read at once later.
const ROWS_MAX: u64 = 1 << 18;
/// Rows of a unit's files on this machine, of which those of the last file may be forgotten.
pub struct Growing<'s> {
    scratch: &'s Scratch,
    pub schema: SchemaRef,
    unit: usize,
    /// Files so far.
    number: usize,
    done: Vec<Arrived>,
    open: Option<Rows>,
    /// Of the present file.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// The present file's rows have files of their own, those of `done` from here on.
    own: Option<usize>,
}

impl<'s> Growing<'s> {
    pub fn new(scratch: &'s Scratch, schema: &SchemaRef, unit: usize) -> Growing<'s> {
        let schema = schema.clone();
        Growing { scratch, schema, unit, number: 0, done: Vec::new(), open: None, held: Vec::new(), held_bytes: 0, own: None }
    }

    /// `bytes`: what they take in memory, about.
    pub fn hold(&mut self, batch: RecordBatch, bytes: usize) -> Result<()> {
        if self.own.is_some() {
            return self.write(&batch);
        }
        self.held_bytes += bytes;
        self.held.push(batch);
        if self.held_bytes > HELD_BYTES_MAX {
            self.end()?;
            self.own = Some(self.done.len());
            self.write_held()?;
        }
        Ok(())
    }

    /// The present file is taken.
    pub fn keep(&mut self) -> Result<()> {
        self.write_held()?;
        if self.own.take().is_some() {
            self.end()?;
        }
        Ok(())
    }

    /// It is not.
    pub fn forget(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        if let Some(from) = self.own.take() {
            self.open.take().into_iter().for_each(Rows::discard);
            self.done.drain(from..).for_each(|file| _ = std::fs::remove_file(self.scratch.path(&file.path)));
        }
    }

    pub fn finish(mut self) -> Result<Vec<Arrived>> {
        self.end()?;
        Ok(self.done)
    }

    fn write_held(&mut self) -> Result<()> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held).iter().try_for_each(|batch| self.write(batch))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = match &mut self.open {
            Some(rows) => rows,
            none => {
                self.number += 1;
                none.insert(self.scratch.rows(format!("{:08}-{}.parquet", self.unit, self.number), self.schema.clone())?)
            }
        };
        rows.write(batch)?;
        if rows.rows >= ROWS_MAX || rows.memory() > WRITING_BYTES_MAX { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(rows) = self.open.take() {
            self.done.push(rows.finish()?);
        }
        Ok(())
    }
}
