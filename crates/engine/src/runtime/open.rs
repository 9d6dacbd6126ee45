//! Opening a pipeline: anew, or from its last commit.

use super::batch::Counts;
use super::commit::{Cut, Lasting, Pace};
use super::definitions::{changes, fits};
use super::lookups::Lookups;
use super::memory::Memory;
use super::prime::{self, Past, Primed};
use super::turn::Turn;
use super::{Control, Options, Partition, Place, Reading, RebuildFrom, Recut, Running, Writing, places, pump};
use crate::checkpoint::{Cold, Manifest, Opened, Restored, Store, alerts, restore, to_hex};
use crate::fault;
use crate::generation;
use crate::journal::{self, Fate, Journal, Journaled};
use crate::plan::Plan;
use crate::registry::{SinkConfig, SinkContext, SourceConfig, Start};
use crate::summary::{PipelineSummary, Resumed, SinkSummary};
use ouzel_core::clock::{Clock, WallClock};
use ouzel_core::error::ResultExt;
use ouzel_core::wire::Wire;
use ouzel_core::{Error, Kind, Result, Sink, Source};
use ouzel_detect::alerts::Throttle;
use ouzel_detect::features::{SHARDS, Shard};
use ouzel_detect::partition::{Duplicates, EventClock};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

impl<'a> Running<'a> {
    pub(super) fn open(
        plan: &'a Plan,
        place: &Place,
        options: &Options,
        control: &Control,
        recut: Recut<'_>,
    ) -> Result<Running<'a>> {
        let threads = options.threads.max(1);
        let mut tries = 0;
        let (source, begun, mut notes) = loop {
            tries += 1;
            match open_state(plan, place, options, control, recut) {
                // On an object store the last commit of a process that was killed may still come, and be first.
                Err(e) if e.kind == Kind::Conflict && place.bucket.is_some() && tries < TRIES_MAX => {}
                opened => break opened?,
            }
        };
        let generation = match &begun {
            Some(begun) => begun.manifest.generation,
            // Where no output carries an id or is added to what was there, nothing need be remembered.
            None if keeps_ids(plan) => generation::next(&place.of(&plan.name))?,
            None => 0,
        };
        let manifest = begun.as_ref().map(|begun| &begun.manifest);
        let state = place.lasting.then(|| place.of(&plan.name));
        // The very first commit of a followed file has a place, and nothing else.
        let has_run = |m: &&Manifest| m.source.is_some() && (m.offset > 0 || !m.totals.sinks.is_empty());
        let committed = manifest.filter(has_run).map(|m| &m.lookups);
        let lookups = Lookups::open(plan, &place.root, state.as_deref(), committed, &mut notes)?;
        // On an object store whoever comes later has the state.
        let take_over = options.take_over || begun.as_ref().is_some_and(|begun| begun.store.is_from_elsewhere());
        let mut sinks = open_sinks(plan, place, options, take_over, manifest, &mut notes).map_err(with_hint)?;
        let keep = manifest.map(|m| m.journal).unwrap_or_default();
        let mut journal = Journal::open(&place.of(&plan.name), keep, options.take_over).map_err(with_hint)?;
        if let Some(begun) = &begun {
            // What is not of the commit is undone next. All is open by now: whoever takes over from here on has files of its own.
            fault::point("sinks-opened");
            begun.store.check_held()?;
        }
        sinks.iter_mut().try_for_each(|sink| sink.begin())?;
        journal.begin()?;
        let mut encoders = Vec::new();
        for _ in 0..threads {
            encoders.push(sinks.iter().map(|s| s.encoder()).collect::<Result<Vec<_>>>()?);
        }
        let totals = manifest.map(|m| m.totals.clone()).unwrap_or_default();
        let primes = manifest.and_then(|m| m.rebuild_table.clone());
        let offset = manifest.map_or(0, |m| if primes.is_some() { m.from } else { m.offset });
        let from = manifest.map_or(options.from, |m| m.from);
        let rebuilt_to = manifest.filter(|m| m.rebuild_of.is_some()).map_or(0, |m| m.from);
        let resumed =
            manifest.filter(has_run).map(|m| Resumed { commit: m.commit, events: m.offset, source: source.whereabouts() });
        let counts = Counts {
            received: offset,
            filtered: totals.filtered,
            duplicate: totals.duplicate,
            late: totals.late,
            malformed: totals.malformed,
            implausible: totals.implausible,
        };
        let (decisions, delivered) = (totals.decisions.clone(), totals.delivered);
        let summary = PipelineSummary {
            version: plan.version.clone(),
            generation,
            sinks: sink_summaries(plan, &sinks, &totals),
            resumed,
            notes,
            alerts: totals.alerts.clone(),
            delivered,
            quarantined: totals.quarantined,
            dead_lettered: totals.dead_lettered,
            ..PipelineSummary::default()
        };
        let (shards, partition, alerts, lasting) = match begun {
            Some(Begun { store, manifest, restored, duplicates }) => {
                let Restored { mut shards, clock, cold, alerts } = restored;
                let mut partition = Partition { clock, duplicates, next_offset: offset };
                if let Some(table) = &primes {
                    let past = Past { table, generation, before: offset, rows: manifest.totals.delivered };
                    let lookups = lookups.fork(plan).0;
                    Primed { plan, lookups, partition: &mut partition, shards: &mut shards }.run(place, &past, threads)?;
                }
                let lasting = Lasting {
                    store: Mutex::new(store),
                    last: Mutex::new(manifest),
                    requests: Mutex::new(None),
                    cut: Cut::new(),
                    pace: Pace::new(threads, options.commit_each_batch),
                    made: AtomicU64::new(0),
                    cold,
                    memory: Memory::new(place.memory, &shards),
                };
                (shards, partition, alerts, Some(lasting))
            }
            None => {
                let partition = Partition { clock: EventClock::default(), duplicates: duplicates(plan, false), next_offset: 0 };
                (empty_shards(plan), partition, Throttle::default(), None)
            }
        };
        Ok(Running {
            plan,
            generation,
            lasting,
            holds: sinks.iter().map(|s| s.holds().max(from)).collect(),
            from,
            source: Mutex::new(Reading { source, next: 0, ended: false, uncommitted: false, bytes: None }),
            lookups,
            partition: Turn::new(partition),
            groups: shards.into_iter().map(|shards| shards.into_iter().map(Turn::new).collect()).collect(),
            alerts: Turn::new(alerts),
            output: Turn::new(Writing { sinks, journal, summary, counts, decisions, rebuilt_to }),
            encoders: Mutex::new(encoders),
            received: AtomicU64::new(offset),
            delivered: AtomicU64::new(delivered),
            failure: Mutex::new(None),
            broken: AtomicBool::new(false),
        })
    }
}

/// A state may be lost to another process so often while it is opened.
const TRIES_MAX: usize = 5;

type OpenState = (Box<dyn Source>, Option<Begun>, Vec<String>);

/// The source, at the place where the state goes on.
fn open_state(plan: &Plan, place: &Place, options: &Options, control: &Control, recut: Recut<'_>) -> Result<OpenState> {
    let mut source = open_source(plan, place, options, control, recut)?;
    let mut notes = Vec::new();
    if !place.lasting {
        return Ok((source, None, notes));
    }
    let mirror = place.mirror(&plan.name)?;
    let opened = Store::open(&place.of(&plan.name), &place.project, &plan.name, options.take_over, mirror)?;
    let begun = begin(plan, opened, options, place.memory, source.as_mut(), &mut notes)?;
    Ok((source, Some(begun), notes))
}

fn open_source(plan: &Plan, place: &Place, options: &Options, control: &Control, recut: Recut<'_>) -> Result<Box<dyn Source>> {
    let (codec, framing) = (plan.codec.clone(), plan.codec.clone());
    let source = plan
        .source
        .clone()
        .open(&place.around(options), Box::new(move || framing.framing()))
        .doing(|| format!("opening the source of `{}`", plan.name))?;
    let source = if plan.source.may_be_silent() { Box::new(pump::Pump::new(source, control.stop.clone())) } else { source };
    places::check(plan, &place.root)?;
    Ok(recut(source, Box::new(move || codec.framing())))
}

fn keeps_ids(plan: &Plan) -> bool {
    plan.is_needed(plan.standard.id) || plan.sinks.iter().any(|s| s.config.is_added_to())
}

/// Rows are seen before the first commit.
fn shows_at_once(plan: &Plan) -> bool {
    plan.sinks.iter().any(|sink| sink.config.shows_at_once())
}

fn duplicates(plan: &Plan, is_saved: bool) -> Option<Duplicates> {
    plan.event.duplicates_within.map(|within| Duplicates::new(within, plan.event.lateness, is_saved))
}

fn empty_shards(plan: &Plan) -> Vec<Vec<Shard>> {
    plan.groups.iter().map(|g| (0..SHARDS).map(|_| g.group.shard()).collect()).collect()
}

fn empty(plan: &Plan) -> Restored {
    Restored {
        shards: empty_shards(plan),
        clock: EventClock::default(),
        cold: Cold::empty(0, plan.groups.len()),
        alerts: Throttle::default(),
    }
}

/// State that lasts, as this run begins with it.
struct Begun {
    store: Store,
    /// This run's first commit, which changes nothing but who writes.
    manifest: Manifest,
    restored: Restored,
    duplicates: Option<Duplicates>,
}

/// Finds the last sound commit and goes back to it, or begins a generation.
fn begin(
    plan: &Plan,
    opened: Opened,
    options: &Options,
    memory: Option<u64>,
    source: &mut dyn Source,
    notes: &mut Vec<String>,
) -> Result<Begun> {
    let threads = options.threads.max(1);
    let Opened { mut store, commits, damaged } = opened;
    notes.extend(damaged);
    let newest = commits.first();
    let last = generation::last(store.folder())?;
    let after_last = last.map_or(0, |last| last + 1);
    let generation = match newest {
        Some(before) if options.fresh && (before.source.is_some() || before.from > 0 || shows_at_once(plan)) => {
            notes.push(anew(plan, before));
            after_last.max(before.generation + 1)
        }
        Some(before) => before.generation,
        None => after_last,
    };
    let mut found = None;
    let has_state = |m: &&Manifest| (m.source.is_some() || m.rebuild_of.is_some()) && m.generation == generation;
    for commit in commits.iter().filter(|m| !options.fresh && has_state(m)) {
        if let Some(from) = options.rebuild.filter(|_| !changes(plan, commit).is_empty()) {
            found = Some(made_anew(plan, commit, from, notes)?);
            break;
        }
        fits(plan, commit)?;
        if commit.source.is_none() {
            // Its making anew has only been begun.
            let restored = Restored { alerts: alerts(plan, commit)?, ..empty(plan) };
            found = Some((commit.clone(), restored, duplicates(plan, true)));
            break;
        }
        let restore = || -> Result<_> {
            let mut duplicates = duplicates(plan, true);
            let restored = restore(plan, store.folder(), commit, &mut duplicates, threads)?;
            // What has left memory is only read where it is needed, unless there is a doubt.
            if options.rebuild.is_some() {
                restored.cold.verify()?;
            }
            Ok((restored, duplicates))
        };
        let restored = match restore() {
            Err(e) if e.kind == Kind::Data && store.fetch_again(commit)? => restore(),
            restored => restored,
        };
        match restored {
            Ok((restored, duplicates)) => {
                found = Some((commit.clone(), restored, duplicates));
                break;
            }
            Err(e) if e.kind == Kind::Data => notes.push(format!("{e}: going back to the commit before")),
            Err(e) => return Err(e),
        }
    }
    if found.is_none()
        && let Some(from) = options.rebuild
        && let Some(commit) = commits.iter().find(has_state)
    {
        found = Some(made_anew(plan, commit, from, notes)?);
    }
    let had_state = commits.iter().any(|m| has_state(&m)) || (newest.is_none() && !notes.is_empty());
    let (mut manifest, mut restored, duplicates) = match found {
        Some((manifest, restored, duplicates)) => {
            match (&manifest.source, &manifest.rebuild_of) {
                (Some(position), _) => source.resume(position).map_err(with_hint)?,
                (None, Some(position)) if manifest.rebuild_table.is_some() => source.resume(position).map_err(with_hint)?,
                (None, Some(position)) => source.rewind(position).map_err(with_hint)?,
                (None, None) => {}
            }
            (manifest, restored, duplicates)
        }
        None if had_state && !options.fresh => {
            let message = format!(
                "no commit in `{}` is sound: {}. Put back a backup of the folder; or make the state anew from the source with `--rebuild`, which keeps what was \
                 written; or start anew with `--fresh`",
                store.folder().display(),
                notes.join("; ")
            );
            return Err(Error::new(Kind::Changed, message));
        }
        None => {
            // Begun and killed before its first commit: rows may have been seen.
            let begun = newest.filter(|m| m.generation == generation && !m.writer.is_empty());
            let manifest = Manifest {
                generation,
                writer: begun.map_or_else(|| format!("{generation}-{:x}", WallClock.now_us()), |m| m.writer.clone()),
                from: begun.map_or(options.from, |m| m.from),
                // What it begins with may have another name by the time of the next commit.
                source: source.position().filter(|_| matches!(plan.source, SourceConfig::Follow(_))),
                clock: to_hex(&written(&EventClock::default())),
                definitions: plan.definitions.clone(),
                ..Manifest::default()
            };
            (manifest, empty(plan), duplicates(plan, true))
        }
    };
    if memory.is_some() && manifest.seed == 0 {
        manifest.seed = Cold::new_seed();
        restored.cold = Cold::empty(manifest.seed, plan.groups.len());
    }
    make_room(store.folder(), &mut manifest)?;
    let manifest = store.commit(manifest, &[], &[], &restored.cold)?;
    store.sweep()?;
    if last != Some(generation) {
        generation::keep(store.folder(), generation)?;
    }
    Ok(Begun { store, manifest, restored, duplicates })
}

fn written(clock: &EventClock) -> Vec<u8> {
    let mut bytes = Vec::new();
    clock.put(&mut bytes);
    bytes
}

/// Empty state that is to be made by running the events again; outputs, and what was set aside, are those of the commit.
fn made_anew(
    plan: &Plan,
    commit: &Manifest,
    from: RebuildFrom,
    notes: &mut Vec<String>,
) -> Result<(Manifest, Restored, Option<Duplicates>)> {
    let changed: Vec<&str> = changes(plan, commit).into_iter().map(|(part, _)| part).collect();
    if changed.contains(&"source") {
        let message = "the state cannot be made anew from another `source` than it is of: start anew with `--fresh`";
        return Err(Error::new(Kind::Changed, message));
    }
    // The commit may itself be of a state that was being made anew, and not be as far as the one before.
    let furthest = match &commit.rebuild_of {
        Some(furthest) if commit.offset < commit.from => furthest.clone(),
        _ => commit.source.clone().unwrap_or_default(),
    };
    let events = commit.from.max(commit.offset);
    let mut restored = empty(plan);
    let mut again = Manifest::default();
    let of = match from {
        RebuildFrom::Source => "the first of",
        RebuildFrom::Lake if commit.offset < commit.from && commit.rebuild_table.is_none() => {
            let message = "the state is being made anew from the source, which is not done: go on with `ouzel run`";
            return Err(Error::new(Kind::Changed, message));
        }
        RebuildFrom::Lake => {
            // Alerts that were raised stay raised.
            restored.alerts = alerts(plan, commit)?;
            again.rebuild_table = Some(prime::table_of(plan, &changed)?.to_string());
            again.totals = commit.totals.clone();
            again.alerts = commit.alerts.clone();
            "the lake's rows of"
        }
    };
    notes.push(format!("the state is made anew from {of} {events} events; what was written of them stays"));
    let manifest = Manifest {
        generation: commit.generation,
        writer: commit.writer.clone(),
        from: events,
        rebuild_of: Some(furthest),
        definitions: plan.definitions.clone(),
        sinks: commit.sinks.clone(),
        journal: commit.journal,
        journal_parts: commit.journal_parts.clone(),
        ..again
    };
    Ok((manifest, restored, duplicates(plan, true)))
}

/// What was set aside and has all been settled need not be kept. (The counts stay.)
fn make_room(folder: &Path, manifest: &mut Manifest) -> Result<()> {
    if !journal::holds(folder, manifest.journal) {
        return Ok(());
    }
    for (fate, length) in
        [(Fate::Quarantined, &mut manifest.journal.quarantine), (Fate::DeadLettered, &mut manifest.journal.dead_letters)]
    {
        if *length > 0 && Journaled::open(folder, fate, None)?.is_settled()? {
            *length = 0;
            manifest.journal_parts.retain(|part| part.dead != (fate == Fate::DeadLettered));
        }
    }
    Ok(())
}

/// What starting anew discards.
fn anew(plan: &Plan, before: &Manifest) -> String {
    let mut what = format!("started anew: the state of {} events is discarded", before.offset);
    for sink in &plan.sinks {
        let fate = match &sink.config {
            SinkConfig::Webhook(_) => "what waits in its outbox is not sent",
            config if config.is_added_to() => "keeps the rows of earlier generations",
            _ => "is written over",
        };
        if !matches!(sink.config, SinkConfig::Stdout(_)) {
            what += &format!("; {} {fate}", sink.config.key());
        }
    }
    what
}

/// What a run is to go on from is not what it was: says what would work.
fn with_hint(e: Error) -> Error {
    match e.kind {
        Kind::Changed => Error::new(Kind::Changed, format!("{e}: put back what was there, or start anew with `--fresh`")),
        _ => e,
    }
}

fn open_sinks(
    plan: &Plan,
    place: &Place,
    options: &Options,
    take_over: bool,
    manifest: Option<&Manifest>,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<dyn Sink>>> {
    let mut sinks = Vec::new();
    for (sink, (key, ordinal)) in plan.sinks.iter().zip(plan.sink_keys()) {
        let start = match manifest {
            None => Start::ForOnce,
            Some(manifest) => {
                let known = manifest.sinks.iter().find(|s| (&s.key, s.ordinal) == (&key, ordinal));
                if known.is_none() && manifest.offset > 0 {
                    notes.push(format!("the sink `{key}` is new: it gets the events from here on"));
                }
                Start::Lasting {
                    writer: manifest.writer.clone(),
                    epoch: manifest.epoch,
                    position: known.map(|s| s.position.clone()),
                }
            }
        };
        let context = SinkContext {
            root: place.root.clone(),
            lake: place.lake.clone(),
            streams: place.streams.clone(),
            state: place.of(&plan.name),
            pipeline: plan.name.clone(),
            ordinal,
            start,
            take_over,
            colour: options.colour,
        };
        let sink = sink.config.clone().open(&context, sink.schema.clone())?;
        notes.extend(sink.notes());
        sinks.push(sink);
    }
    Ok(sinks)
}

fn sink_summaries(plan: &Plan, sinks: &[Box<dyn Sink>], totals: &PipelineSummary) -> Vec<SinkSummary> {
    let mut summaries = Vec::new();
    for (plan, sink) in plan.sinks.iter().zip(sinks) {
        let (kind, location) = (plan.config.kind().to_string(), sink.location());
        // Several may write to one place: the n-th is the n-th.
        let is_alike = |s: &&SinkSummary| s.kind == kind && s.location == location;
        let before = totals.sinks.iter().filter(is_alike).nth(summaries.iter().filter(is_alike).count());
        summaries.push(SinkSummary { kind, location, ..before.cloned().unwrap_or_default() });
    }
    summaries
}
