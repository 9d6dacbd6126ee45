//! Rows that a sink does not take: dead letters.

use super::batch::Batch;
use crate::journal::{Fate, Journal, SetAside};
use crate::summary::SinkSummary;
use ouzel_core::{Error, Rejected, Result, Sink, Which};
use ouzel_detect::expressions::Failed;

/// Dead-letters what a sink has refused since the last look. `of_block`: the entry of a row of the block written last, and why it was refused.
pub fn dead_letter_refused(
    sink: &mut dyn Sink,
    journal: &mut Journal,
    summary: &mut SinkSummary,
    of_block: impl Fn(usize, String) -> Option<SetAside>,
) -> Result<()> {
    for Rejected { which, reason } in sink.rejected() {
        let aside = match which {
            Which::Row(row) => of_block(row, reason).ok_or_else(|| Error::internal("a row was refused after its block"))?,
            Which::Event { id, raw } => {
                let (origin, reason) = ((sink.location(), 0), format!("not delivered: {reason}"));
                SetAside { fate: Fate::DeadLettered, id, origin, reason, raw }
            }
        };
        journal.write(&aside)?;
        // A row that was written by an earlier run may be counted there.
        summary.delivered = summary.delivered.saturating_sub(1);
        summary.dead_lettered += 1;
    }
    Ok(())
}

/// A row that could not be written.
pub fn sink_failure(batch: &Batch, failed: &Failed, what: String, id: impl Fn(u64) -> String) -> SetAside {
    let row = failed.row as usize;
    let (start, end) = batch.raw[row];
    SetAside {
        fate: Fate::DeadLettered,
        id: id(batch.first_offset + u64::from(batch.ordinals[row])),
        origin: (batch.chunk.origin.name.to_string(), batch.chunk.origin.position + u64::from(start)),
        reason: format!("{what}: {}", failed.reason),
        raw: batch.chunk.data.get(start as usize..end as usize).unwrap_or_default().to_vec(),
    }
}
