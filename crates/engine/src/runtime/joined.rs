//! Pipelines that streams join run at the same time: each reads what the one before it has written, until that one has ended.

use super::{Control, Ended, Options, Place, Progress, run};
use crate::graph::writes;
use crate::project::Pipeline;
use ouzel_connect::log::Alive;
use ouzel_core::{Error, Result};

/// Runs pipelines side by side until each has ended. `watch` is called a few times a second for each, `ended` once.
pub fn run_joined(
    pipelines: &[&Pipeline],
    place: &Place,
    options: &Options,
    control: &Control,
    watch: &(dyn Fn(&Pipeline, Progress) + Sync),
    ended: &(dyn Fn(&Pipeline, Result<Ended>) + Sync),
) -> Result<()> {
    if options.take_over {
        let mut streams = pipelines.iter().flat_map(|pipeline| writes(&pipeline.plan));
        streams.try_for_each(|stream| Alive::pass_over(&place.streams.folder_of(stream)))?;
    }
    // A reader that is quicker to begin than its writer finds that somebody is going to write.
    let mut alive = Vec::new();
    for pipeline in pipelines {
        let streams = writes(&pipeline.plan).map(|stream| Alive::hold(&place.streams.folder_of(stream)));
        alive.push(streams.collect::<Result<Vec<_>>>()?);
    }
    std::thread::scope(|scope| {
        for (pipeline, alive) in pipelines.iter().copied().zip(alive) {
            scope.spawn(move || {
                let run = || run(&pipeline.plan, place, options, control, &mut |progress| watch(pipeline, progress));
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
                    .unwrap_or_else(|_| Err(Error::internal("the pipeline's thread panicked")));
                ended(pipeline, result);
                drop(alive);
            });
        }
    });
    Ok(())
}
