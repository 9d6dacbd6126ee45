//! The state of `distinct` as bytes.

use super::{Large, Many, Rest, Run, Slot};
use ouzel_core::wire::{Damaged, Taker, Wire};

impl Wire for Slot {
    fn put(&self, out: &mut Vec<u8>) {
        self.first.put(out);
        match &self.rest {
            Rest::Few(runs) => {
                0u8.put(out);
                // Places without a run are kept: which place a run takes depends on them.
                runs.len().put(out);
                runs.iter().for_each(|run| run.put(out));
            }
            Rest::Large(large) => match &**large {
                Large::Many(many) => {
                    1u8.put(out);
                    many.newest.put(out);
                    many.runs.len().put(out);
                    many.runs.iter().for_each(|(&(id, start), &last)| Run { id, start, last }.put(out));
                }
                Large::Tiles(tiles) => {
                    2u8.put(out);
                    tiles.put(out);
                }
            },
        }
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        let first = from.take()?;
        let rest = match from.take::<u8>()? {
            0 => Rest::Few(from.take::<Vec<Run>>()?.into()),
            1 => {
                let newest = from.take()?;
                let mut many = Many::default();
                from.take::<Vec<Run>>()?.into_iter().for_each(|run| many.insert(run));
                many.newest = newest;
                Rest::Large(Box::new(Large::Many(many)))
            }
            2 => Rest::Large(Box::new(Large::Tiles(from.take()?))),
            _ => return Err(Damaged),
        };
        Ok(Slot { first, rest })
    }
}

impl Wire for Run {
    fn put(&self, out: &mut Vec<u8>) {
        // The default, an empty place, is one byte.
        let is_some = *self != Run::default();
        is_some.put(out);
        if is_some {
            self.id.put(out);
            self.start.put(out);
            self.last.wrapping_sub(self.start).put(out);
        }
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        if !from.take::<bool>()? {
            return Ok(Run::default());
        }
        let (id, start): (u128, i64) = (from.take()?, from.take()?);
        Ok(Run { id, start, last: start.wrapping_add(from.take()?) })
    }
}
