//! Records read without a run around them: no state, no order but their own. What a job takes from files is read so.

use super::batch::Batch;
use super::{poison, steps};
use crate::plan::Plan;
use ouzel_core::{Chunk, Decode, Lookup, Result};
use std::path::Path;

/// Reads chunks. One per thread (`fork`), over the same lookups.
pub struct RecordReader<'p> {
    plan: &'p Plan,
    decoder: Box<dyn Decode>,
    lookups: Vec<Box<dyn Lookup>>,
}

impl<'p> RecordReader<'p> {
    /// Reads the lookups' files, which are named relative to `root`.
    pub fn new(plan: &'p Plan, root: &Path) -> Result<RecordReader<'p>> {
        let open = |lookup: &crate::plan::LookupPlan| lookup.config.open(&|name| root.join(name), &lookup.wanted);
        let lookups = plan.lookups.iter().map(open).collect::<Result<_>>()?;
        Ok(RecordReader { plan, decoder: plan.codec.decoder(plan.wanted.clone())?, lookups })
    }

    pub fn fork(&self) -> Result<RecordReader<'p>> {
        Ok(RecordReader { plan: self.plan, decoder: self.plan.codec.decoder(self.plan.wanted.clone())?, lookups: self.forked() })
    }

    fn forked(&self) -> Vec<Box<dyn Lookup>> {
        self.lookups.iter().map(|lookup| lookup.fork()).collect()
    }

    /// As far as no state is needed. A record that makes a step panic is dead-lettered.
    pub fn read(&mut self, chunk: Chunk) -> Result<Batch> {
        let whole = chunk.clone();
        let plan = self.plan;
        match poison::guard(|| steps::read(plan, self.decoder.as_mut(), &mut self.lookups, chunk)) {
            Ok(batch) => batch,
            Err(_) => {
                // What has panicked is not used again.
                let batch = poison::read(whole, plan.codec.framing().as_mut(), |part| {
                    let mut again = self.fork()?;
                    steps::read(plan, again.decoder.as_mut(), &mut again.lookups, part)
                });
                *self = self.fork()?;
                batch
            }
        }
    }
}
