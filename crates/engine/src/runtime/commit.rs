//! Commits while batches go on.
//!
//! One batch carries the commit. Behind it no batch enters the groups before all threads together have written down what has changed
//! in them: one cut through the log. Everything else (syncing, the commit itself, publishing) is done by a thread of its own.

use super::lookups::Versions;
use super::memory::{Memory, Weight};
use super::refused::dead_letter_refused;
use super::{Running, Writing};
use crate::checkpoint::{
    Cold, Due, JournalLengths, Leaving, Made, Manifest, NewRun, Section, SectionKind, SinkState, Store, to_hex,
};
use crate::fault;
use crate::summary::PipelineSummary;
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::wire::Wire;
use ouzel_core::{Error, Job, Prepared, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Where state lasts.
pub(super) struct Lasting {
    pub store: Mutex<Store>,
    /// The last commit: what the next one builds on.
    pub last: Mutex<Manifest>,
    /// To the thread that makes commits; `None` once all batches are through.
    pub requests: Mutex<Option<SyncSender<Request>>>,
    pub cut: Cut,
    pub pace: Pace,
    /// Keys that are not in memory.
    pub cold: Cold,
    pub memory: Memory,
    pub made: AtomicU64,
}

/// Everything a commit is made of but the state itself.
pub(super) struct Request {
    pub source: Option<String>,
    /// Makes what the source has given last.
    pub settle: Option<Job>,
    pub partition: PartitionState,
    pub changes: Changes,
    /// As hex.
    pub alerts: String,
    pub lookups: Versions,
    pub sinks: Vec<Prepared>,
    pub journal: (JournalLengths, Vec<File>),
    pub totals: PipelineSummary,
    pub decisions: BTreeMap<String, u64>,
}

/// What the partition knew behind the batch that carries a commit.
pub(super) struct PartitionState {
    pub offset: u64,
    pub clock: Vec<u8>,
    /// The clock; `i64::MIN` as long as it does not run.
    pub now: i64,
    pub ids: Section,
    pub ids_dead_at: i64,
}

/// When a commit is due: often enough that what would be done again after a crash takes well under a second, and seldom
/// enough that commits take a small part of the time.
pub(super) struct Pace {
    /// A commit with each batch: for tests.
    pub each_batch: bool,
    /// Microseconds that threads have worked since the last commit.
    busy: AtomicU64,
    since: Mutex<Stopwatch>,
    /// Microseconds that the last cut took.
    cost: AtomicU64,
    threads: u64,
    /// Commits begun.
    begun: AtomicU64,
    /// A commit is being made.
    under_way: AtomicBool,
}

/// Work per thread between commits; the first comes sooner and each next one later, so that a run that is killed again and again
/// gets on all the same.
const WORK_US: u64 = 500_000;
const FIRST_WORK_US: u64 = 50_000;
/// A cut takes at most one part in so many of the work.
const WORK_PER_CUT: u64 = 16;
const WORK_US_MAX: u64 = 10_000_000;
/// Even where there is little to do.
const WAIT_S: f64 = 1.0;

impl Pace {
    pub fn new(threads: usize, each_batch: bool) -> Pace {
        Pace {
            each_batch,
            busy: AtomicU64::new(0),
            since: Mutex::new(Stopwatch::start()),
            cost: AtomicU64::new(0),
            threads: threads as u64,
            begun: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
        }
    }

    pub fn worked(&self, seconds: f64) {
        self.busy.fetch_add((seconds * 1e6) as u64, Relaxed);
    }

    /// Whether a commit is to begin, if only because it is asked for. Asked of one batch at a time.
    pub fn is_due(&self, memory: &Memory, asked: bool, failed: impl Fn() -> bool) -> bool {
        while (self.each_batch || memory.is_overfull()) && self.under_way.load(Relaxed) && !failed() {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        if self.under_way.load(Relaxed) || failed() {
            return false;
        }
        let at_first = FIRST_WORK_US << self.begun.load(Relaxed).min(10);
        let work = (self.cost.load(Relaxed) * WORK_PER_CUT).clamp(at_first.min(WORK_US), WORK_US_MAX) * self.threads;
        self.each_batch || asked || memory.is_full() || self.busy.load(Relaxed) >= work || self.since().seconds() >= WAIT_S
    }

    /// A commit has begun and is not made yet.
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Relaxed)
    }

    /// A commit begins.
    pub fn begin(&self) {
        self.under_way.store(true, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        self.busy.store(0, Relaxed);
        *self.since() = Stopwatch::start();
    }

    fn since(&self) -> MutexGuard<'_, Stopwatch> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writing down the groups' state, by all threads, between two batches.
pub(super) struct Cut {
    /// The batch behind which it is; no batch after it enters the groups meanwhile. `u64::MAX`: there is none.
    behind: AtomicU64,
    work: Mutex<Work>,
    moved: Condvar,
}

#[derive(Default)]
struct Work {
    /// Which cut it is: a thread may wake up only when the next one has been announced.
    number: u64,
    /// The batch has left the groups.
    may_begin: bool,
    next: usize,
    done: usize,
    saved: Vec<Saved>,
    /// Of all shards, once all are done.
    changes: Changes,
    broken: bool,
}

/// What a shard has written down.
struct Saved {
    group: usize,
    keys: Section,
    gone: Section,
    leaving: Leaving,
    weight: Weight,
}

/// What has changed in the groups since the last cut.
#[derive(Default)]
pub(super) struct Changes {
    /// Keys that are gone come first.
    pub sections: Vec<Section>,
    pub leaving: Vec<NewRun>,
}

impl Cut {
    pub fn new() -> Cut {
        Cut { behind: AtomicU64::new(u64::MAX), work: Mutex::default(), moved: Condvar::new() }
    }

    /// Called with the batch that carries the commit, before any later batch is there.
    pub fn announce(&self, number: u64) {
        let mut work = self.lock();
        *work = Work { number: work.number + 1, broken: work.broken, ..Work::default() };
        self.behind.store(number, Relaxed);
    }

    /// A batch that comes after a cut helps with it before it goes on.
    pub fn pass(&self, number: u64, running: &Running<'_>) -> Result<()> {
        if number <= self.behind.load(Relaxed) {
            return Ok(());
        }
        let mut work = self.lock();
        while !work.may_begin && !work.broken && number > self.behind.load(Relaxed) {
            work = self.moved.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        if number <= self.behind.load(Relaxed) { Ok(()) } else { self.help(work, running) }
    }

    /// Called when the batch that carries the commit has left the groups; gives their state.
    pub fn take(&self, running: &Running<'_>) -> Result<Changes> {
        let mut work = self.lock();
        work.may_begin = true;
        self.moved.notify_all();
        self.help(work, running)?;
        Ok(std::mem::take(&mut self.lock().changes))
    }

    /// All threads are done: gives the groups' state, with some threads of its own.
    pub fn last(&self, running: &Running<'_>, threads: usize) -> Result<Changes> {
        self.announce(u64::MAX - 1);
        self.lock().may_begin = true;
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.help(self.lock(), running));
            }
            self.help(self.lock(), running)
        })?;
        Ok(std::mem::take(&mut self.lock().changes))
    }

    fn help<'a>(&'a self, mut work: MutexGuard<'a, Work>, running: &Running<'_>) -> Result<()> {
        let Some(lasting) = &running.lasting else { return Ok(()) };
        let shards: Vec<_> =
            running.groups.iter().enumerate().flat_map(|(g, shards)| shards.iter().map(move |s| (g, s))).collect();
        let mine = work.number;
        while !work.broken && work.next < shards.len() {
            let (group, shard) = shards[work.next];
            work.next += 1;
            drop(work);
            let saved = shard.visit(|shard| {
                // Before keys leave: a group whose keys all do would have no share of memory ever after.
                let weight = lasting.memory.weight(shard);
                let (leaving, gone) = lasting.memory.relieve(group, shard, &lasting.cold);
                let mut keys = Section::empty(SectionKind::Keys(group as u32));
                keys.entries = shard.save(&mut keys.payload);
                Saved { group, keys, gone, leaving, weight }
            });
            work = self.lock();
            work.saved.push(saved);
            work.done += 1;
            if work.done == shards.len() {
                let saved = std::mem::take(&mut work.saved);
                match lasting.gather(saved, running.groups.len()) {
                    Ok(changes) => work.changes = changes,
                    Err(e) => {
                        work.broken = true;
                        self.moved.notify_all();
                        return Err(e);
                    }
                }
            }
        }
        if work.done == shards.len() {
            self.behind.store(u64::MAX, Relaxed);
            self.moved.notify_all();
        }
        while work.number == mine && work.done < shards.len() && !work.broken {
            work = self.moved.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        if work.broken { Err(Error::internal("another thread failed")) } else { Ok(()) }
    }

    pub fn break_off(&self) {
        self.lock().broken = true;
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lasting {
    /// Nothing moves: keys that leave are found in their runs from here on.
    fn gather(&self, saved: Vec<Saved>, groups: usize) -> Result<Changes> {
        let mut leaving: Vec<Vec<Leaving>> = (0..groups).map(|_| Vec::new()).collect();
        let mut weights = vec![Weight::default(); groups];
        let (mut sections, mut keys) = (Vec::new(), Vec::new());
        for saved in saved {
            leaving[saved.group].push(saved.leaving);
            weights[saved.group].add(saved.weight);
            sections.push(saved.gone);
            keys.push(saved.keys);
        }
        sections.append(&mut keys);
        self.memory.weigh(&weights);
        let runs = leaving.iter().enumerate().map(|(group, leaving)| self.cold.leave(group, leaving));
        Ok(Changes { leaving: runs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(), sections })
    }

    /// Sends a commit on its way. The output's turn is held: commits come in log order.
    pub fn request(&self, request: Request) {
        if let Some(requests) = self.requests.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // Nobody listens only where the run has failed.
            let _ = requests.send(request);
        }
    }

    pub fn merge_due(&self) -> Option<Due> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).merge_due(&self.cold)
    }

    pub fn merged(&self, result: Result<Made>) {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).merged(result);
    }

    pub fn cut_took(&self, seconds: f64) {
        self.pace.cost.store((seconds * 1e6) as u64, Relaxed);
    }

    /// Makes a commit: first everything it speaks of lasts, then the commit, then what waits for it is published.
    pub fn commit(&self, running: &Running<'_>, request: Request) -> Result<()> {
        fault::point("commit-begun");
        let Request { source, settle, partition, changes, alerts, lookups, sinks, journal: (journal, files), totals, decisions } =
            request;
        for file in files {
            file.sync_data().doing(|| "syncing what was set aside".into())?;
        }
        if let Some(settle) = settle {
            settle()?;
        }
        let (mut states, mut publish) = (Vec::new(), Vec::new());
        for (sink, (key, ordinal)) in sinks.into_iter().zip(running.plan.sink_keys()) {
            if let Some(sync) = sink.sync {
                sync()?;
            }
            states.push(SinkState { key, ordinal, position: sink.position });
            publish.extend(sink.publish);
        }
        fault::point("sinks-synced");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let live_from = partition.now.saturating_sub(running.plan.event.lateness);
        let manifest = Manifest {
            definitions: running.plan.definitions.clone(),
            offset: partition.offset,
            // Made anew up to where it was: from here on it is a state like any other.
            rebuild_of: last.rebuild_of.clone().filter(|_| partition.offset < last.from),
            rebuild_table: None,
            source,
            clock: to_hex(&partition.clock),
            dead_at: running.plan.groups.iter().map(|g| g.group.dead_at(live_from)).collect(),
            ids_dead_at: partition.ids_dead_at,
            alerts,
            lookups,
            sinks: states,
            journal,
            totals: PipelineSummary { decisions, ..totals },
            ..last.clone()
        };
        let sections: Vec<Section> = changes.sections.into_iter().chain([partition.ids]).collect();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        *last = store.commit(manifest, &sections, &changes.leaving, &self.cold)?;
        drop(store);
        drop(last);
        for publish in publish {
            publish()?;
        }
        fault::point("published");
        self.made.fetch_add(1, Relaxed);
        self.pace.under_way.store(false, Relaxed);
        Ok(())
    }
}

impl super::Partition {
    /// As of now: behind the batch that has its turn.
    pub fn state(&mut self) -> PartitionState {
        let mut clock = Vec::new();
        self.clock.put(&mut clock);
        let mut payload = Vec::new();
        let entries = self.duplicates.as_mut().map_or(0, |d| d.save(&mut payload));
        PartitionState {
            offset: self.next_offset,
            clock,
            now: self.clock.now(),
            ids: Section { kind: SectionKind::Ids, entries, payload },
            ids_dead_at: self.duplicates.as_ref().map_or(i64::MIN, |d| d.dead_at(self.clock.now())),
        }
    }
}

impl Writing {
    /// What a commit says of everything that is written, as of now.
    pub fn request(
        &mut self,
        source: Option<String>,
        settle: Option<Job>,
        partition: PartitionState,
        changes: Changes,
        alerts: String,
        lookups: Versions,
    ) -> Result<Request> {
        let sinks =
            self.sinks.iter_mut().map(|s| s.prepare(partition.offset.max(self.rebuilt_to))).collect::<Result<Vec<_>>>()?;
        for (sink, summary) in self.sinks.iter_mut().zip(&mut self.summary.sinks) {
            dead_letter_refused(sink.as_mut(), &mut self.journal, summary, |_, _| None)?;
        }
        let counts = self.counts;
        let totals = PipelineSummary {
            received: partition.offset,
            filtered: counts.filtered,
            duplicate: counts.duplicate,
            late: counts.late,
            malformed: counts.malformed,
            implausible: counts.implausible,
            ..self.summary.clone()
        };
        let (journal, decisions) = (self.journal.prepare()?, self.decisions.clone());
        Ok(Request { source, settle, partition, changes, alerts, lookups, sinks, journal, totals, decisions })
    }
}
