//! From the files of a commit to state in memory, on all cores.

use super::Cold;
use super::files::{Section, SectionKind, Sections};
use super::manifest::Manifest;
use crate::plan::Plan;
use ouzel_core::wire::{Damaged, Taker};
use ouzel_core::{Error, Kind, Result};
use ouzel_detect::alerts::Throttle;
use ouzel_detect::features::{Entry, SHARDS, Shard, keys_by_shard};
use ouzel_detect::partition::{Duplicates, EventClock};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// State as of a commit.
pub struct Restored {
    /// By group.
    pub shards: Vec<Vec<Shard>>,
    pub clock: EventClock,
    pub cold: Cold,
    pub alerts: Throttle,
}

/// Bytes of sections that are taken apart together.
const BATCH_BYTES: usize = 64 << 20;
/// Less is done before another thread has begun.
const WORTH_A_THREAD: usize = 1 << 18;

/// [`Kind::Data`] names a file that is damaged.
pub fn restore(
    plan: &Plan,
    folder: &Path,
    manifest: &Manifest,
    duplicates: &mut Option<Duplicates>,
    threads: usize,
) -> Result<Restored> {
    let clock = from_hex(&manifest.clock)
        .and_then(|bytes| Taker(&bytes).take().ok())
        .ok_or_else(|| Error::new(Kind::Data, format!("the clock in `{}` cannot be read", manifest.file_name())))?;
    let cold = Cold::open(folder, manifest, plan.groups.len())?;
    let shards = plan.groups.iter().map(|g| (0..SHARDS).map(|_| g.group.shard()).collect()).collect();
    let mut restored = Restored { shards, clock, cold, alerts: alerts(plan, manifest)? };
    for file in &manifest.files {
        let damaged = |_: Damaged| Error::new(Kind::Data, format!("`{}` cannot be read", folder.join(&file.name).display()));
        let mut sections = Sections::open(&folder.join(&file.name), file.bytes)?;
        loop {
            let (batch, ended) = some(&mut sections)?;
            let bytes: usize = batch.iter().map(|s| s.payload.len()).sum();
            let threads = if bytes < WORTH_A_THREAD { 1 } else { threads };
            for section in batch.iter().filter(|s| s.kind == SectionKind::Ids) {
                if let Some(duplicates) = duplicates {
                    duplicates.load(Taker(&section.payload), restored.clock.now()).map_err(damaged)?;
                }
            }
            for (at, shards) in restored.shards.iter_mut().enumerate() {
                for section in batch.iter().filter(|s| s.kind == SectionKind::Gone(at as u32)) {
                    let gone = keys_by_shard(Taker(&section.payload)).map_err(damaged)?;
                    shards.iter_mut().zip(gone).for_each(|(shard, gone)| shard.remove(&gone));
                }
                let dead_at = manifest.dead_at.get(at).copied().unwrap_or(i64::MIN);
                let payloads: Vec<&[u8]> =
                    batch.iter().filter(|s| s.kind == SectionKind::Keys(at as u32)).map(|s| s.payload.as_slice()).collect();
                let found: Vec<[Vec<Entry<'_>>; SHARDS]> =
                    on_all(threads, payloads.len(), |i| Entry::by_shard(Taker(payloads[i]))).map_err(damaged)?;
                let shards: Vec<Mutex<&mut Shard>> = shards.iter_mut().map(Mutex::new).collect();
                on_all(threads, SHARDS, |shard| {
                    let mut into = shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
                    found.iter().try_for_each(|found| into.load(&found[shard], dead_at))
                })
                .map_err(damaged)?;
            }
            if ended {
                break;
            }
        }
    }
    restored.shards.iter_mut().flatten().for_each(Shard::loaded);
    Ok(restored)
}

/// What a commit knows of the alerts there still are. [`Kind::Data`]: it is damaged.
pub fn alerts(plan: &Plan, manifest: &Manifest) -> Result<Throttle> {
    if manifest.alerts.is_empty() {
        return Ok(Throttle::default());
    }
    let alerts = from_hex(&manifest.alerts).and_then(|bytes| Taker(&bytes).take::<Throttle>().ok());
    let damaged = || Error::new(Kind::Data, format!("the alerts in `{}` cannot be read", manifest.file_name()));
    let mut alerts = alerts.ok_or_else(damaged)?;
    alerts.keep(&plan.alerts);
    Ok(alerts)
}

fn some(sections: &mut Sections) -> Result<(Vec<Section>, bool)> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(section) = sections.next()? else { return Ok((batch, true)) };
        bytes += section.payload.len();
        batch.push(section);
    }
    Ok((batch, false))
}

/// Does so many pieces of work on some threads; results in order.
fn on_all<T: Send>(threads: usize, pieces: usize, work: impl Fn(usize) -> Result<T, Damaged> + Sync) -> Result<Vec<T>, Damaged> {
    if threads <= 1 {
        return (0..pieces).map(work).collect();
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(pieces)));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(pieces) {
            scope.spawn(|| {
                loop {
                    let piece = next.fetch_add(1, Relaxed);
                    if piece >= pieces {
                        return;
                    }
                    let result = work(piece);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((piece, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(piece, _)| *piece);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Bytes as text.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}
