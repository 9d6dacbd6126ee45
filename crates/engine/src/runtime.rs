//! Running a pipeline.
//!
//! A few threads each take a batch from the source and carry it through all steps. Steps without state run at the same
//! time; steps with state (the clock, each shard of each group, the sinks) take batches in log order, by [`turn::Turn`].
//! A batch that has passed a shard makes room there for the next, so batches follow one another like a wave. Hence one
//! order, no queues, back-pressure by construction, and a lone event passes at once.

mod alerts;
mod batch;
mod commit;
mod definitions;
mod joined;
mod lookups;
mod memory;
mod open;
mod places;
mod poison;
mod prime;
mod pump;
mod records;
mod refused;
mod steps;
mod turn;
mod worker;

pub(crate) use batch::Batch;
pub use joined::run_joined;
pub(crate) use records::RecordReader;

use crate::checkpoint::Mirror;
use crate::config::S3Store;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::summary::PipelineSummary;
use batch::Counts;
use commit::{Lasting, Request};
use lookups::Lookups;
use ouzel_connect::sources::Surroundings;
use ouzel_connect::streams::Streams;
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Error, Framing, Result, Sink, Source};
use ouzel_detect::alerts::Throttle;
use ouzel_detect::features::Shard;
use ouzel_detect::partition::{Duplicates, EventClock};
use ouzel_lake::Location;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use turn::Turn;

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Threads that work on batches.
    pub threads: usize,
    /// The terminal shows colours.
    pub colour: bool,
    /// Start anew, as the next generation, whatever state there is.
    pub fresh: bool,
    /// Where definitions have changed under the state, or it is damaged: make it anew; outputs are kept.
    pub rebuild: Option<RebuildFrom>,
    /// With `fresh`: outputs begin with the event of this offset; what is before it is run for its state only.
    pub from: u64,
    /// Where a source would end, wait for more.
    pub follow: bool,
    /// Pass over another process that holds the state.
    pub take_over: bool,
    /// Commit with each batch: for tests.
    pub commit_each_batch: bool,
    /// Stop dead after so many commits, as if killed: for tests.
    pub die_after_commits: Option<u64>,
}

/// What state is made anew from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildFrom {
    /// The source, read again from its first event.
    Source,
    /// The table of the lake that the pipeline has written all its events to.
    Lake,
}

/// The message of a run that stopped as `die_after_commits` said.
pub const STOPPED_DEAD: &str = "stopped dead, as told";

/// Where a project's pipelines run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The project's name.
    pub project: String,
    /// Its directory.
    pub root: PathBuf,
    /// Where the lake's tables lie.
    pub lake: Location,
    pub streams: Arc<Streams>,
    /// Folder of what pipelines remember; each has one in it.
    pub state: PathBuf,
    /// State lasts beyond a run.
    pub lasting: bool,
    /// Bytes of it that stay in memory, about; `None`: all.
    pub memory: Option<u64>,
    /// The folder is a copy of what lies here.
    pub bucket: Option<S3Store>,
}

impl Place {
    /// A pipeline's folder of state.
    pub fn of(&self, pipeline: &str) -> PathBuf {
        self.state.join(pipeline)
    }

    /// What a pipeline's folder is a copy of, if it is one. [`ouzel_core::Kind::Config`]: it cannot be used.
    pub fn mirror(&self, pipeline: &str) -> Result<Option<Mirror>> {
        self.bucket.as_ref().map(|bucket| Mirror::open(bucket, pipeline)).transpose()
    }

    /// What a source needs to know.
    pub fn around(&self, options: &Options) -> Surroundings<'_> {
        Surroundings { root: &self.root, streams: &self.streams, follow: options.follow }
    }
}

/// Shared with whoever watches a run.
#[derive(Default)]
pub struct Control {
    /// Set to end the run cleanly: what has been read is finished, nothing more is read.
    pub stop: Arc<AtomicBool>,
    /// What people should know while runs go on; whoever tells it takes it.
    pub news: Mutex<Vec<String>>,
    /// Somebody looks at `live`.
    pub is_watched: AtomicBool,
    /// What each pipeline that runs has done so far, a second old at most.
    pub live: Mutex<BTreeMap<String, PipelineSummary>>,
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
pub fn run(plan: &Plan, place: &Place, options: &Options, control: &Control, watch: &mut dyn FnMut(Progress)) -> Result<Ended> {
    run_until_end(plan, place, options, control, watch, &|source, _| source)
}

/// [`run`], with the source's chunks cut in other places. `Err` if it failed in any way.
pub fn run_recut(plan: &Plan, place: &Place, options: &Options, control: &Control, recut: Recut<'_>) -> Result<PipelineSummary> {
    let ended = run_until_end(plan, place, options, control, &mut |_| {}, recut)?;
    match ended.error {
        None => Ok(ended.summary),
        Some(error) => Err(error),
    }
}

fn run_until_end(
    plan: &Plan,
    place: &Place,
    options: &Options,
    control: &Control,
    watch: &mut dyn FnMut(Progress),
    recut: Recut<'_>,
) -> Result<Ended> {
    let started = Stopwatch::start();
    let running = Running::open(plan, place, options, control, recut)?;
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let committer = running.lasting.as_ref().map(|lasting| {
            let (sender, requests) = std::sync::mpsc::sync_channel(1);
            *lasting.requests.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
            scope.spawn(|| running.make_commits(scope, requests, options.die_after_commits))
        });
        let workers: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(|| worker::run(&running, control))).collect();
        scope.spawn(|| {
            for thread in workers {
                if thread.join().is_err() {
                    running.fail(Error::internal("a thread panicked"));
                }
            }
            if let (Some(lasting), Some(committer)) = (&running.lasting, committer) {
                lasting.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
                if committer.join().is_err() {
                    running.fail(Error::internal("a thread panicked"));
                }
            }
            finished.store(true, Relaxed);
        });
        let (mut since_tick, mut since_live) = (Stopwatch::start(), None::<Stopwatch>);
        while !finished.load(Relaxed) {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
            if since_tick.seconds() > 0.25 {
                since_tick = Stopwatch::start();
                running.tick();
                if let Some(news) = running.lookups.look(plan) {
                    running.output.visit(|output| output.summary.notes.push(news.clone()));
                    control.news.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {news}", plan.name));
                }
                if control.is_watched.load(Relaxed) && since_live.as_ref().is_none_or(|live| live.seconds() >= 1.0) {
                    since_live = Some(Stopwatch::start());
                    let mut live = control.live.lock().unwrap_or_else(PoisonError::into_inner);
                    running.so_far(live.entry(plan.name.clone()).or_default(), &started);
                }
                watch(running.progress(&started));
            }
        }
    });
    if options.die_after_commits.is_some() && running.broken() {
        // Nothing is finished, nothing closed.
        let error = running.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        return Err(error.unwrap_or_else(|| Error::internal("stopped dead")));
    }
    Ok(running.close(&started, control, options.threads.max(1)))
}

/// A pipeline that is open.
pub(in crate::runtime) struct Running<'a> {
    plan: &'a Plan,
    /// Part of every id: how often the pipeline has started anew.
    generation: u32,
    /// `None` where state ends with the run.
    lasting: Option<Lasting>,
    source: Mutex<Reading>,
    lookups: Lookups,
    partition: Turn<Partition>,
    groups: Vec<Vec<Turn<Shard>>>,
    alerts: Turn<Throttle>,
    output: Turn<Writing>,
    encoders: Mutex<Vec<Vec<Box<dyn ouzel_core::Encode>>>>,
    /// By sink: it has the rows of the events before this offset.
    holds: Vec<u64>,
    /// Outputs begin with the event of this offset.
    from: u64,
    received: AtomicU64,
    delivered: AtomicU64,
    failure: Mutex<Option<Error>>,
    /// What has been read could not be finished: there is nothing to commit any more.
    broken: AtomicBool,
}

struct Reading {
    source: Box<dyn Source>,
    next: u64,
    ended: bool,
    /// Chunks have come since the last commit was begun.
    uncommitted: bool,
    bytes: Option<(u64, u64)>,
}

/// What the one partition of a source remembers.
struct Partition {
    clock: EventClock,
    duplicates: Option<Duplicates>,
    next_offset: u64,
}

impl Partition {
    /// Whether each row is late or another's duplicate, in log order.
    fn judge(&mut self, batch: &mut batch::Batch, keep: &mut batch::Keep, lateness: i64) {
        for row in 0..batch.rows {
            let time = batch.times[row];
            if let (Some(duplicates), Some(Some(id))) = (&mut self.duplicates, batch.ids.as_ref().map(|ids| ids[row]))
                && duplicates.is_duplicate(id, time, self.clock.now())
            {
                keep.drop(row);
                batch.counts.duplicate += 1;
                batch.live_from.push(i64::MIN);
                batch.late.push(false);
                continue;
            }
            let live_from = self.clock.advance(time).saturating_sub(lateness);
            batch.live_from.push(live_from);
            batch.late.push(time < live_from);
        }
    }
}

/// Everything that is written, in log order.
struct Writing {
    sinks: Vec<Box<dyn Sink>>,
    journal: Journal,
    summary: PipelineSummary,
    counts: Counts,
    decisions: BTreeMap<String, u64>,
    /// What is set aside and written of the events before this one is there already.
    rebuilt_to: u64,
}

impl<'a> Running<'a> {
    /// The first failure is the run's; every thread that waits for a turn is let go.
    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.broken.store(true, Relaxed);
        if let Some(lasting) = &self.lasting {
            lasting.cut.break_off();
        }
        self.partition.break_off();
        self.groups.iter().flatten().for_each(Turn::break_off);
        self.alerts.break_off();
        self.output.break_off();
    }

    /// The source failed: what was read before is finished as at its end.
    fn end_early(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Makes commits as they come, until all batches are through.
    fn make_commits<'s>(&'s self, scope: &'s Scope<'s, '_>, requests: Receiver<Request>, die_after: Option<u64>) {
        let Some(lasting) = &self.lasting else { return };
        let merge = || {
            if let Some(due) = lasting.merge_due() {
                scope.spawn(|| {
                    let merged = due.run(self.plan);
                    if let Err(e) = &merged {
                        let note = format!("files of state could not be merged, and are tried again later: {e}");
                        self.output.visit(|output| output.summary.notes.push(note));
                    }
                    lasting.merged(merged);
                });
            }
        };
        // Runs that are too short for a merge of their own leave files too.
        merge();
        for request in requests {
            if self.broken() {
                continue;
            }
            match lasting.commit(self, request) {
                Ok(()) => merge(),
                Err(e) => self.fail(e),
            }
            if die_after.is_some_and(|n| lasting.made.load(Relaxed) >= n) && !self.broken() {
                self.fail(Error::internal(STOPPED_DEAD));
            }
        }
    }

    /// Commits what the last commit does not have.
    fn commit_rest(&self, threads: usize) -> Result<()> {
        let Some(lasting) = &self.lasting else { return Ok(()) };
        let (source, settle, uncommitted) = {
            let reading = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            (reading.source.position(), reading.source.settle()?, reading.uncommitted)
        };
        let state = self.partition.visit(Partition::state);
        let is_last = lasting.last.lock().unwrap_or_else(PoisonError::into_inner).source == source;
        let waits = self.output.visit(|output| output.sinks.iter().any(|sink| sink.waiting() > 0));
        if !uncommitted && is_last && !waits {
            return Ok(());
        }
        let changes = lasting.cut.last(self, threads)?;
        let alerts = self.alerts.visit(|throttle| alerts::written(throttle));
        self.output.visit(|output| output.sinks.iter_mut().try_for_each(|sink| sink.finish()))?;
        let request =
            self.output.visit(|output| output.request(source, settle, state, changes, alerts, self.lookups.versions()))?;
        lasting.commit(self, request)
    }

    fn check_held(&self) -> Result<()> {
        self.lasting.as_ref().map_or(Ok(()), |lasting| lasting.store.lock().unwrap_or_else(PoisonError::into_inner).check_held())
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

    /// Makes a summary what it would be now, with what is under way in flight. What is written stays as it was while a sink is at it.
    fn so_far(&self, summary: &mut PipelineSummary, started: &Stopwatch) {
        self.output.peek(|output| {
            *summary = output.summary.clone();
            output.counts.tell(summary);
            summary.decisions = output.decisions.clone();
            for (sink, summary) in output.sinks.iter().zip(&mut summary.sinks) {
                summary.waiting = sink.waiting();
            }
            summary.set_aside_bytes = output.journal.bytes();
        });
        self.measure(summary);
        summary.received = self.received.load(Relaxed);
        summary.in_flight = summary.unfinished();
        summary.seconds = started.seconds();
    }

    /// What the state holds, and how often it was committed.
    fn measure(&self, summary: &mut PipelineSummary) {
        summary.state_bytes = 0;
        for (plan, shards) in self.plan.groups.iter().zip(&self.groups) {
            let (keys, bytes) = shards.iter().fold((0, 0), |(keys, bytes), shard| {
                shard.visit(|shard| (keys + shard.active_keys() as u64, bytes + shard.bytes() as u64))
            });
            summary.keys.insert(plan.group.name.clone(), keys);
            summary.state_bytes += bytes;
        }
        if let Some(lasting) = &self.lasting {
            summary.evicted_bytes =
                lasting.last.lock().unwrap_or_else(PoisonError::into_inner).cold.iter().map(|file| file.bytes).sum();
            summary.commits = lasting.made.load(Relaxed);
        }
    }

    /// Closes what is open, whatever has happened, and counts.
    fn close(self, started: &Stopwatch, control: &Control, threads: usize) -> Ended {
        let last = if self.broken() { Ok(()) } else { self.commit_rest(threads).and_then(|()| self.check_held()) };
        let mut measured = PipelineSummary::default();
        self.measure(&mut measured);
        let mut error = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner).or(last.err());
        let Writing { mut sinks, mut journal, mut summary, counts, decisions, .. } = self.output.into_inner();
        // Where a run goes on from the last commit, what is behind it is not finished; and another process may have taken over.
        if self.lasting.is_none() || error.is_none() {
            for (sink, summary) in sinks.iter_mut().zip(&mut summary.sinks) {
                let closed = if self.lasting.is_none() { sink.finish() } else { Ok(()) };
                if let Err(e) = closed.and_then(|()| sink.close()) {
                    error.get_or_insert(e);
                }
                if self.lasting.is_none()
                    && let Err(e) = refused::dead_letter_refused(sink.as_mut(), &mut journal, summary, |_, _| None)
                {
                    error.get_or_insert(e);
                }
                summary.waiting = sink.waiting();
            }
        }
        summary.set_aside_bytes = journal.bytes();
        match journal.close() {
            Ok(files) => summary.set_aside = files,
            Err(e) => drop(error.get_or_insert(e)),
        }
        let PipelineSummary { keys, state_bytes, evicted_bytes, commits, .. } = measured;
        (summary.keys, summary.state_bytes, summary.evicted_bytes, summary.commits) = (keys, state_bytes, evicted_bytes, commits);
        // Giving back the memory of a large state takes as long as many events: nobody waits for it.
        let groups = self.groups;
        std::thread::spawn(move || drop(groups));
        summary.received = self.received.load(Relaxed);
        counts.tell(&mut summary);
        summary.decisions = decisions;
        summary.in_flight = summary.unfinished();
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
