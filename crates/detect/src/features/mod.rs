//! Features: what a key has done in a window of time.

mod config;
mod group;
mod keys;
pub mod measure;
pub mod measures;
mod plan;
mod shard;
mod values;
pub mod windows;

pub use config::{GroupConfig, GroupConfigs, MeasureConfig, MeasureKind, MeasureSpec, WindowDefaults};
pub use group::{Group, GroupOutput, OwnedInput, PlannedMeasure, Prepared};
pub use shard::{Entry, Evicted, SHARDS, Shard, keys_by_shard};
pub use values::ids;

use plan::{Make, plan_measure};

/// Asks for a cache line ahead of its use. Does nothing where there is no such instruction.
#[inline(always)]
fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching reads nothing and cannot fault; the instruction is in the x86-64 baseline.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
