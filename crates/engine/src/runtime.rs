//! Running a pipeline.
//!
//! A few threads each take a batch from the source and carry it through all steps. Steps without state run at the same
//! time; steps with state (the clock, each shard of each group, the sinks) take batches in log order, by [`turn::Turn`].
//! A batch that has passed a shard makes room there for the next, so batches follow one another like a wave. Hence one
//! order, no queues, back-pressure by construction, and a lone event passes at once.

mod batch;
mod places;
mod pump;
mod steps;
mod turn;
mod worker;

use crate::journal::Journal;
use crate::plan::Plan;
use crate::registry::SinkContext;
use crate::summary::{PipelineSummary, SinkSummary};
use batch::Counts;
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Framing, Lookup, Result, Sink, Source};
use ouzel_detect::features::{SHARDS, Shard};
use ouzel_detect::partition::{Duplicates, EventClock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use turn::Turn;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that work on batches.
    pub threads: usize,
    /// The terminal shows colours.
    pub colour: bool,
}

/// Shared with whoever watches a run.
#[derive(Default)]
pub struct Control {
    /// Set to end the run cleanly: what has been read is finished, nothing more is read.
    pub stop: Arc<AtomicBool>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub received: u64,
    pub delivered: u64,
    pub seconds: f64,
    /// Bytes in all and bytes read, if the source knows.
    pub bytes: Option<(u64, u64)>,
}

/// Cuts a source's chunks in other places: a test of the promise that it does not matter.
pub type Recut<'a> = &'a dyn Fn(Box<dyn Source>, Box<dyn Fn() -> Box<dyn Framing> + Send>) -> Box<dyn Source>;

/// How a run ended.
pub struct Ended {
    /// Complete even if it failed: what is not accounted for otherwise is `in_flight`.
    pub summary: PipelineSummary,
    /// What ended it before its time.
    pub error: Option<Error>,
}

/// Runs a pipeline until its source ends or `control` says stop. `watch` is called a few times a second.
/// `Err` if it could not begin.
pub fn run(
    plan: &Plan,
    root: &Path,
    lake: &Path,
    options: &Options,
    control: &Control,
    watch: &mut dyn FnMut(Progress),
) -> Result<Ended> {
    run_until_end(plan, root, lake, options, control, watch, &|source, _| source)
}

/// [`run`], with the source's chunks cut in other places. `Err` if it failed in any way.
pub fn run_recut(
    plan: &Plan,
    root: &Path,
    lake: &Path,
    options: &Options,
    control: &Control,
    watch: &mut dyn FnMut(Progress),
    recut: Recut<'_>,
) -> Result<PipelineSummary> {
    let ended = run_until_end(plan, root, lake, options, control, watch, recut)?;
    match ended.error {
        None => Ok(ended.summary),
        Some(error) => Err(error),
    }
}

fn run_until_end(
    plan: &Plan,
    root: &Path,
    lake: &Path,
    options: &Options,
    control: &Control,
    watch: &mut dyn FnMut(Progress),
    recut: Recut<'_>,
) -> Result<Ended> {
    let started = Stopwatch::start();
    let running = Running::open(plan, root, lake, options, control, recut)?;
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(|| worker::run(&running, control))).collect();
        scope.spawn(|| {
            for worker in workers {
                if worker.join().is_err() {
                    running.fail(Error::internal("a thread panicked"));
                }
            }
            finished.store(true, Relaxed);
        });
        let mut since_tick = Stopwatch::start();
        while !finished.load(Relaxed) {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
            if since_tick.seconds() > 0.25 {
                since_tick = Stopwatch::start();
                running.tick();
                watch(running.progress(&started));
            }
        }
    });
    Ok(running.close(&started, control))
}

/// A pipeline that is open.
pub(in crate::runtime) struct Running<'a> {
    plan: &'a Plan,
    /// Part of every id: how often the pipeline has started anew.
    generation: u32,
    source: Mutex<Reading>,
    lookups: Mutex<Vec<Box<dyn Lookup>>>,
    partition: Turn<Partition>,
    groups: Vec<Vec<Turn<Shard>>>,
    output: Turn<Writing>,
    encoders: Mutex<Vec<Vec<Box<dyn ouzel_core::Encode>>>>,
    received: AtomicU64,
    delivered: AtomicU64,
    failure: Mutex<Option<Error>>,
}

struct Reading {
    source: Box<dyn Source>,
    next: u64,
    ended: bool,
    bytes: Option<(u64, u64)>,
}

/// What the one partition of a source remembers.
struct Partition {
    clock: EventClock,
    duplicates: Option<Duplicates>,
    next_offset: u64,
}

/// Everything that is written, in log order.
struct Writing {
    sinks: Vec<Box<dyn Sink>>,
    journal: Journal,
    summary: PipelineSummary,
    counts: Counts,
    decisions: BTreeMap<String, u64>,
}

impl<'a> Running<'a> {
    fn open(
        plan: &'a Plan,
        root: &Path,
        lake: &Path,
        options: &Options,
        control: &Control,
        recut: Recut<'_>,
    ) -> Result<Running<'a>> {
        let codec = plan.codec.clone();
        let framing = plan.codec.clone();
        let source = plan
            .source
            .clone()
            .open(root, Box::new(move || framing.framing()))
            .doing(|| format!("opening the source of `{}`", plan.name))?;
        let source = if plan.source.may_be_silent() { Box::new(pump::Pump::start(source, control.stop.clone())) } else { source };
        places::check(plan, root)?;
        let source = recut(source, Box::new(move || codec.framing()));
        // Where no output carries an id or is added to what was there, nothing need be remembered.
        let keeps = plan.is_needed(plan.standard.id) || plan.sinks.iter().any(|s| s.config.is_added_to());
        let generation = if keeps { crate::generation::next(root, &plan.name)? } else { 0 };
        let lookups = plan.lookups.iter().map(|l| l.config.open(root, &l.wanted)).collect::<Result<Vec<_>>>()?;
        let sinks = open_sinks(plan, root, lake, options)?;
        let mut encoders = Vec::new();
        for _ in 0..options.threads.max(1) {
            encoders.push(sinks.iter().map(|s| s.encoder()).collect::<Result<Vec<_>>>()?);
        }
        let summary = PipelineSummary {
            version: plan.version.clone(),
            generation,
            sinks: plan
                .sinks
                .iter()
                .zip(&sinks)
                .map(|(p, s)| SinkSummary { kind: p.config.kind().into(), location: s.location(), ..SinkSummary::default() })
                .collect(),
            ..PipelineSummary::default()
        };
        let duplicates = plan.event.duplicates_within.map(|within| Duplicates::new(within, plan.event.lateness));
        Ok(Running {
            plan,
            generation,
            source: Mutex::new(Reading { source, next: 0, ended: false, bytes: None }),
            lookups: Mutex::new(lookups),
            partition: Turn::new(Partition { clock: EventClock::default(), duplicates, next_offset: 0 }),
            groups: plan.groups.iter().map(|g| (0..SHARDS).map(|_| Turn::new(g.group.shard())).collect()).collect(),
            output: Turn::new(Writing {
                sinks,
                journal: Journal::new(root, &plan.name),
                summary,
                counts: Counts::default(),
                decisions: BTreeMap::new(),
            }),
            encoders: Mutex::new(encoders),
            received: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failure: Mutex::new(None),
        })
    }

    /// The first failure is the run's; every thread that waits for a turn is let go.
    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.partition.break_off();
        self.groups.iter().flatten().for_each(Turn::break_off);
        self.output.break_off();
    }

    /// The source failed: what was read before is finished as at its end.
    fn end_early(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn tick(&self) {
        let ticked = self.output.peek(|w| w.sinks.iter_mut().try_for_each(|s| s.tick()));
        if let Some(Err(e)) = ticked {
            self.fail(e);
        }
    }

    fn progress(&self, started: &Stopwatch) -> Progress {
        let bytes = self.source.try_lock().ok().and_then(|r| r.bytes);
        Progress {
            received: self.received.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            seconds: started.seconds(),
            bytes,
        }
    }

    /// Closes what is open, whatever has happened, and counts.
    fn close(self, started: &Stopwatch, control: &Control) -> Ended {
        let mut error = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Writing { sinks, journal, mut summary, counts, decisions } = self.output.into_inner();
        for mut sink in sinks {
            if let Err(e) = sink.close() {
                error.get_or_insert(e);
            }
        }
        match journal.close() {
            Ok(files) => summary.set_aside = files,
            Err(e) => drop(error.get_or_insert(e)),
        }
        for (plan, shards) in self.plan.groups.iter().zip(self.groups) {
            let shards: Vec<Shard> = shards.into_iter().map(Turn::into_inner).collect();
            summary.keys.insert(plan.group.name.clone(), shards.iter().map(|s| s.active_keys() as u64).sum());
            summary.state_bytes += shards.iter().map(|s| s.bytes() as u64).sum::<u64>();
        }
        summary.received = self.received.load(Relaxed);
        summary.filtered = counts.filtered;
        summary.duplicate = counts.duplicate;
        summary.late = counts.late;
        summary.malformed = counts.malformed;
        summary.implausible = counts.implausible;
        summary.decisions = decisions;
        summary.in_flight = summary.received.saturating_sub(
            summary.delivered + summary.filtered + summary.duplicate + summary.quarantined + summary.dead_lettered,
        );
        if summary.in_flight > 0 && error.is_none() {
            error = Some(Error::internal(format!("{} events have no fate", summary.in_flight)));
        }
        summary.seconds = started.seconds();
        let reading = self.source.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.interrupted = control.stop.load(Relaxed) && !reading.ended;
        summary.error = error.as_ref().map(ToString::to_string);
        Ended { summary, error }
    }
}

fn open_sinks(plan: &Plan, root: &Path, lake: &Path, options: &Options) -> Result<Vec<Box<dyn Sink>>> {
    let context = |position| SinkContext {
        root: PathBuf::from(root),
        lake: PathBuf::from(lake),
        pipeline: plan.name.clone(),
        position,
        colour: options.colour,
    };
    plan.sinks.iter().enumerate().map(|(i, sink)| sink.config.clone().open(&context(i), sink.schema.clone())).collect()
}
