//! Parquet, row group by row group: one that is damaged does not end the file.

use super::{Part, Parts, ROWS_MAX, damaged};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of rows that are in memory at once, as the file tells their size.
const BATCH_BYTES: i64 = 4 << 20;

pub(super) fn open(mut file: File, bytes: Arc<AtomicU64>) -> io::Result<Box<dyn Parts>> {
    // An empty file is empty whatever its kind.
    if file.metadata()?.len() == 0 {
        return Ok(Box::new(super::Nothing));
    }
    // Whether it can be read at all is not for the decoder to tell.
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut [0; 1])?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(damaged)?;
    Ok(Box::new(Groups { file, bytes, metadata, group: 0, first: 0, row: 0, reader: None }))
}

struct Groups {
    file: File,
    bytes: Arc<AtomicU64>,
    metadata: ArrowReaderMetadata,
    /// The row group in hand, its first row, the next one; rows from 0 on, in the file.
    group: usize,
    first: i64,
    row: i64,
    reader: Option<ParquetRecordBatchReader>,
}

impl Parts for Groups {
    fn next(&mut self) -> io::Result<Option<Part>> {
        loop {
            if self.group == self.metadata.metadata().num_row_groups() {
                return Ok(None);
            }
            let step =
                catch_unwind(AssertUnwindSafe(|| self.step())).unwrap_or_else(|_| Err("its bytes make the decoder panic".into()));
            match step {
                Ok(Some(part)) => return Ok(Some(part)),
                Ok(None) => self.next_group(),
                Err(e) => {
                    let rows = self.metadata.metadata().row_group(self.group).num_rows();
                    let reason = format!(
                        "rows {} to {} cannot be read: damaged row group {} ({e})",
                        self.row,
                        (self.first.saturating_add(rows) - 1).max(self.row),
                        self.group
                    );
                    self.next_group();
                    return Ok(Some(Part::Fault(reason)));
                }
            }
        }
    }
}

impl Groups {
    /// `None` at the end of the row group.
    fn step(&mut self) -> Result<Option<Part>, String> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let about = self.metadata.metadata().row_group(self.group);
                let row_bytes = (about.total_byte_size() / about.num_rows().max(1)).max(1);
                let rows = usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(1).clamp(1, ROWS_MAX);
                let file = self.file.try_clone().map_err(|e| e.to_string())?;
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
                let built = builder.with_row_groups(vec![self.group]).with_batch_size(rows).build();
                self.reader.insert(built.map_err(|e| e.to_string())?)
            }
        };
        let Some(batch) = reader.next() else { return Ok(None) };
        let batch = batch.map_err(|e| e.to_string())?;
        self.row += batch.num_rows() as i64;
        Ok(Some(Part::Rows(batch)))
    }

    fn next_group(&mut self) {
        let about = self.metadata.metadata().row_group(self.group);
        self.bytes.fetch_add(about.compressed_size().max(0) as u64, Relaxed);
        self.first = self.first.saturating_add(about.num_rows().max(0));
        self.row = self.first;
        self.group += 1;
        self.reader = None;
    }
}
