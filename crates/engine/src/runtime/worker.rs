//! What each thread does: take a batch, carry it through.

use super::alerts::{self, AlertRows};
use super::batch::{Batch, Keep};
use super::commit::{Changes, PartitionState};
use super::lookups::Versions;
use super::refused::{dead_letter_refused, sink_failure};
use super::{Control, Running};
use super::{poison, steps};
use crate::config::TooLate;
use crate::journal::Fate;
use crate::plan::Plan;
use arrow_array::cast::AsArray;
use ouzel_core::clock::Stopwatch;
use ouzel_core::{Chunk, Decode, Encode, Encoded, Error, Job, Lookup, Result};
use ouzel_detect::alerts::Raised;
use ouzel_detect::expressions::Failed;
use ouzel_detect::features::Evicted;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// Works until the source ends, the run is told to stop, or something fails.
pub fn run(running: &Running<'_>, control: &Control) {
    let result = catch_unwind(AssertUnwindSafe(|| Worker::new(running)?.run(control)));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(e)) => running.fail(e),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            running.fail(Error::internal(format!("a step panicked: {}", text.unwrap_or("no message"))));
        }
    }
}

struct Worker<'a, 'r> {
    running: &'a Running<'r>,
    plan: &'r Plan,
    decoder: Box<dyn Decode>,
    lookups: Vec<Box<dyn Lookup>>,
    /// Of the pipeline and its lookups, as outputs name it; and which change of lookups that is.
    version: (String, u64),
    encoders: Vec<Box<dyn Encode>>,
}

/// A chunk in log order, and where the source goes on behind it if a commit is due there.
struct Taken {
    number: u64,
    chunk: Chunk,
    commit: Option<At>,
}

/// A place in the source, and what makes everything before it last.
type At = (String, Option<Job>, Versions);

/// What a batch hands to one sink.
struct Block {
    encoded: Encoded,
    /// Which row of the batch each of its rows is; `None` if they are all there.
    which: Option<Vec<u32>>,
    offered: u64,
    filtered: u64,
    /// It holds so many of them already.
    held: u64,
    failed: Vec<Failed>,
}

impl Block {
    fn empty() -> Block {
        let encoded = Encoded::Bytes { data: Vec::new(), rows: 0 };
        Block { encoded, which: None, offered: 0, filtered: 0, held: 0, failed: Vec::new() }
    }
}

impl<'a, 'r> Worker<'a, 'r> {
    fn new(running: &'a Running<'r>) -> Result<Worker<'a, 'r>> {
        let plan = running.plan;
        let number = running.lookups.number();
        let (lookups, version) = running.lookups.fork(plan);
        let encoders = running.encoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let encoders = encoders.ok_or_else(|| Error::internal("more threads than encoders"))?;
        Ok(Worker {
            running,
            plan,
            decoder: plan.codec.decoder(plan.wanted.clone())?,
            lookups,
            version: (version, number),
            encoders,
        })
    }

    fn run(&mut self, control: &Control) -> Result<()> {
        while let Some(Taken { number, chunk, commit }) = self.next(control)? {
            let at_work = Stopwatch::start();
            self.use_lookups();
            let mut batch = self.read(chunk)?;
            self.running.received.fetch_add(batch.counts.received, Relaxed);
            let partition = self.clock(number, &mut batch, commit.is_some())?;
            if let Some(lasting) = &self.running.lasting {
                lasting.cut.pass(number, self.running)?;
            }
            if batch.rows > 0 {
                steps::after_clock(self.plan, &mut batch, self.running.generation, &self.version.0);
            }
            for (i, round) in self.plan.rounds.iter().enumerate() {
                if i > 0 {
                    self.inputs(&mut batch, round.groups.clone())?;
                }
                self.features(number, &mut batch, round.groups.clone())?;
                if batch.rows > 0 && i + 1 < self.plan.rounds.len() {
                    self.score(&mut batch, round.scores.clone(), false)?;
                }
            }
            let cut = match (&self.running.lasting, partition) {
                (Some(lasting), Some(partition)) => {
                    let took = Stopwatch::start();
                    let changes = lasting.cut.take(self.running)?;
                    lasting.cut_took(took.seconds());
                    Some((commit, partition, changes))
                }
                _ => None,
            };
            let mut alerts = AlertRows::default();
            let mut blocks = Vec::new();
            if batch.rows > 0 {
                let scores = self.plan.rounds.last().map_or(0..0, |round| round.scores.clone());
                self.score(&mut batch, scores, true)?;
            }
            let mut remembered = String::new();
            if !self.plan.alerts.is_empty() {
                let called = self.called(&mut batch)?;
                let mut throttle = self.running.alerts.take(number)?;
                alerts = alerts::raise(self.plan, &batch, called, &mut throttle, self.running.generation)?;
                if cut.is_some() {
                    remembered = alerts::written(&throttle);
                }
            }
            for i in 0..self.encoders.len() {
                blocks.push(match self.plan.sinks[i].of_alerts {
                    true => self.encode_alerts(i, &batch, &alerts)?,
                    false => self.encode(i, &batch)?,
                });
            }
            let cut = cut.map(|(at, partition, changes)| (at, partition, changes, remembered));
            self.write(number, batch, &alerts, blocks, cut)?;
            if let Some(lasting) = &self.running.lasting {
                lasting.pace.worked(at_work.seconds());
            }
        }
        Ok(())
    }

    fn read(&mut self, chunk: Chunk) -> Result<Batch> {
        let whole = chunk.clone();
        match poison::guard(|| steps::read(self.plan, self.decoder.as_mut(), &mut self.lookups, chunk)) {
            Ok(batch) => batch,
            Err(_) => {
                let (plan, running) = (self.plan, self.running);
                // What has panicked is not used again.
                let batch = poison::read(whole, plan.codec.framing().as_mut(), |part| {
                    let mut decoder = plan.codec.decoder(plan.wanted.clone())?;
                    steps::read(plan, decoder.as_mut(), &mut running.lookups.fork(plan).0, part)
                });
                (self.decoder, self.lookups) = (plan.codec.decoder(plan.wanted.clone())?, running.lookups.fork(plan).0);
                batch
            }
        }
    }

    /// Those that hold now. They change while no batch is under way.
    fn use_lookups(&mut self) {
        let number = self.running.lookups.number();
        if number != self.version.1 {
            let (lookups, version) = self.running.lookups.fork(self.plan);
            (self.lookups, self.version) = (lookups, (version, number));
        }
    }

    /// The rows that call for an alert.
    fn called(&self, batch: &mut Batch) -> Result<Vec<Raised>> {
        poison::guard(|| alerts::called(self.plan, batch)).unwrap_or_else(|_| {
            poison::take_out(batch, |some| alerts::called(self.plan, some).map(drop))?;
            alerts::called(self.plan, batch)
        })
    }

    fn score(&self, batch: &mut Batch, which: Range<usize>, decide: bool) -> Result<()> {
        let score = |batch: &mut Batch| steps::score(self.plan, batch, which.clone(), decide);
        poison::guard(|| score(batch)).unwrap_or_else(|_| {
            poison::take_out(batch, score)?;
            if batch.rows > 0 { score(batch) } else { Ok(()) }
        })
    }

    /// Arguments of features that read others, or scores.
    fn inputs(&self, batch: &mut Batch, which: Range<usize>) -> Result<()> {
        if batch.rows == 0 {
            batch.inputs = steps::empty_inputs(self.plan, which)?;
            return Ok(());
        }
        let inputs = |batch: &mut Batch| steps::inputs(self.plan, batch, which.clone());
        poison::guard(|| inputs(batch)).unwrap_or_else(|_| {
            poison::take_out(batch, inputs)?;
            batch.inputs.clear();
            inputs(batch)
        })
    }

    fn next(&self, control: &Control) -> Result<Option<Taken>> {
        let mut reading = self.running.source.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if reading.ended || control.stop.load(Relaxed) || self.running.failed() {
                return Ok(None);
            }
            self.turn_lookups();
            let chunk = match reading.source.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    reading.ended = !control.stop.load(Relaxed);
                    return Ok(None);
                }
                Err(e) => {
                    reading.ended = true;
                    self.running.end_early(e);
                    return Ok(None);
                }
            };
            let nothing = chunk.data.is_empty() && chunk.fault.is_none();
            let mut commit = None;
            if let Some(lasting) = &self.running.lasting
                && (!nothing || reading.uncommitted || self.may_turn())
                && lasting.pace.is_due(&lasting.memory, self.may_turn(), || self.running.failed())
                && let Some(position) = reading.source.position()
            {
                lasting.pace.begin();
                lasting.cut.announce(reading.next);
                let turn = self.may_turn().then(|| self.running.lookups.begin_turn()).flatten();
                let versions = turn.unwrap_or_else(|| self.running.lookups.versions());
                commit = Some((position, reading.source.settle()?, versions));
            }
            if nothing && commit.is_none() {
                continue;
            }
            reading.bytes = reading.source.progress();
            let number = reading.next;
            reading.next += 1;
            reading.uncommitted = commit.is_none();
            return Ok(Some(Taken { number, chunk, commit }));
        }
    }

    /// Other lookups may be used behind a commit: no sink has rows of later events already.
    fn may_turn(&self) -> bool {
        let held = self.running.holds.iter().max().copied().unwrap_or(0);
        self.running.lookups.is_due() && self.running.received.load(Relaxed) >= held
    }

    /// Lookups change behind the commit that names them, when it is made; at once where there are no commits.
    fn turn_lookups(&self) {
        let lookups = &self.running.lookups;
        match &self.running.lasting {
            None if lookups.is_due() => {
                lookups.begin_turn();
                lookups.turn();
            }
            Some(lasting) if lookups.is_turning() => {
                while lasting.pace.is_under_way() && !self.running.failed() {
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
                lookups.turn();
            }
            _ => {}
        }
    }

    /// Offsets, the partition's clock, duplicates; then what follows from them. Gives the partition's state, if asked.
    fn clock(&self, number: u64, batch: &mut Batch, commit: bool) -> Result<Option<PartitionState>> {
        let event = &self.plan.event;
        let mut keep = Keep::all(batch.rows);
        let state;
        {
            let mut partition = self.running.partition.take(number)?;
            let partition = &mut *partition;
            batch.first_offset = partition.next_offset;
            partition.next_offset += batch.counts.received;
            partition.judge(batch, &mut keep, event.lateness);
            state = commit.then(|| partition.state());
        }
        if event.too_late == TooLate::Quarantine && batch.late.contains(&true) {
            for row in 0..batch.rows {
                if batch.late[row] {
                    batch.put_aside(
                        &mut keep,
                        row,
                        Fate::Quarantined,
                        "later than the event's `lateness` by the partition's clock".into(),
                    );
                }
            }
        }
        batch.retain(keep)?;
        batch.counts.late = batch.late.iter().filter(|late| **late).count() as u64;
        Ok(state)
    }

    fn features(&self, number: u64, batch: &mut Batch, which: Range<usize>) -> Result<()> {
        let inputs = std::mem::take(&mut batch.inputs);
        let lasting = self.running.lasting.as_ref();
        for (at, inputs) in which.zip(inputs) {
            let (plan, shards) = (&self.plan.groups[at], &self.running.groups[at]);
            let enters = |row: usize| !batch.late[row];
            let mut prepared = plan.group.prepare(&batch.columns, &batch.times, &batch.live_from, &enters, inputs);
            // As of the last cut: none comes while this batch is here.
            let mut finder = lasting.and_then(|lasting| lasting.cold.finder(at));
            for (index, shard) in shards.iter().enumerate() {
                let mut shard = shard.take(number)?;
                let before = shard.active_keys();
                let evicted = finder.as_mut().map(|finder| finder as &mut dyn Evicted);
                plan.group.apply(&mut shard, index, &mut prepared, evicted)?;
                if let Some(lasting) = lasting {
                    lasting.memory.grown(before, shard.active_keys());
                }
            }
            for (i, column) in prepared.into_columns().into_iter().enumerate() {
                batch.columns[plan.first + i] = column;
            }
        }
        Ok(())
    }

    fn encode_alerts(&mut self, sink: usize, batch: &Batch, alerts: &AlertRows) -> Result<Block> {
        let plan = &self.plan.sinks[sink];
        if alerts.rows() == 0 {
            return Ok(Block::empty());
        }
        let holds = self.running.holds[sink];
        let encoder = self.encoders[sink].as_mut();
        let mut encode = |alerts: &AlertRows| -> Result<Block> {
            let rows = steps::sink_rows(plan, &alerts.given(batch), holds)?;
            let encoded = encoder.encode(&rows.rows)?;
            let of_event = |row: u32| alerts.at[row as usize];
            let which = rows.which.map_or_else(|| alerts.at.clone(), |which| which.into_iter().map(of_event).collect());
            let failed = rows.failed.into_iter().map(|f| Failed { row: of_event(f.row), ..f }).collect();
            let (offered, filtered, held) = (alerts.rows() as u64, rows.filtered as u64, rows.held as u64);
            Ok(Block { encoded, which: Some(which), offered, filtered, held, failed })
        };
        poison::guard(|| encode(alerts)).unwrap_or_else(|_| {
            // Few enough to be tried one by one.
            let mut sound = Vec::new();
            let mut poisoned = Vec::new();
            for row in 0..alerts.rows() {
                match poison::guard(|| encode(&alerts.one(row)).map(drop)) {
                    Ok(tried) => {
                        tried?;
                        sound.push(row);
                    }
                    Err(reason) => poisoned.push(Failed { row: alerts.at[row], reason }),
                }
            }
            let mut block = encode(&alerts.only(&sound)?)?;
            block.offered = alerts.rows() as u64;
            block.failed.extend(poisoned);
            Ok(block)
        })
    }

    fn encode(&mut self, sink: usize, batch: &Batch) -> Result<Block> {
        let plan = &self.plan.sinks[sink];
        if batch.rows == 0 {
            return Ok(Block::empty());
        }
        let holds = self.running.holds[sink];
        let encoder = self.encoders[sink].as_mut();
        let mut encode = |batch: &Batch| -> Result<Block> {
            let rows = steps::sink_rows(plan, &steps::Given::of(batch), holds)?;
            let encoded = encoder.encode(&rows.rows)?;
            let (offered, filtered, held) = (batch.rows as u64, rows.filtered as u64, rows.held as u64);
            Ok(Block { encoded, which: rows.which, offered, filtered, held, failed: rows.failed })
        };
        poison::guard(|| encode(batch)).unwrap_or_else(|_| {
            let poisoned = poison::failed(batch, |some| encode(some).map(drop));
            let mut keep = Keep::all(batch.rows);
            poisoned.iter().for_each(|failed| _ = keep.drop(failed.row as usize));
            let left: Vec<u32> = (0..batch.rows as u32).filter(|row| !poisoned.iter().any(|f| f.row == *row)).collect();
            let mut rest = batch.part(0..batch.rows);
            rest.retain(keep)?;
            let mut block = encode(&rest)?;
            block.offered = batch.rows as u64;
            block.which = Some(match block.which {
                Some(which) => which.into_iter().map(|row| left[row as usize]).collect(),
                None => left.clone(),
            });
            block.failed.iter_mut().for_each(|failed| failed.row = left[failed.row as usize]);
            block.failed.extend(poisoned);
            Ok(block)
        })
    }

    fn write(&self, number: u64, mut batch: Batch, alerts: &AlertRows, blocks: Vec<Block>, commit: Option<Commit>) -> Result<()> {
        let plan = self.plan;
        let partition = batch.chunk.partition;
        let id = |offset: u64| {
            let mut id = String::new();
            steps::write_id(&mut id, plan, self.running.generation, partition, offset);
            id
        };
        let mut asides = batch.asides(id);
        let events = asides.len();
        for (block, sink) in blocks.iter().zip(&plan.sinks) {
            let computed =
                |f: &Failed| sink_failure(&batch, f, format!("a column of the sink `{}` failed", sink.config.kind()), id);
            let offset = |f: &Failed| batch.first_offset + u64::from(batch.ordinals[f.row as usize]);
            asides.extend(block.failed.iter().map(|f| (offset(f), computed(f))));
        }
        let mut output = self.running.output.take(number)?;
        let output = &mut *output;
        for (i, (offset, aside)) in asides.iter().enumerate() {
            if *offset >= output.rebuilt_to {
                output.journal.write(aside)?;
            }
            match aside.fate {
                _ if i >= events => {}
                Fate::Quarantined => output.summary.quarantined += 1,
                Fate::DeadLettered => output.summary.dead_lettered += 1,
            }
        }
        for (((block, sink), summary), plan) in
            blocks.into_iter().zip(&mut output.sinks).zip(&mut output.summary.sinks).zip(&plan.sinks)
        {
            let rows = block.encoded.rows() as u64;
            if rows > 0 {
                sink.write(block.encoded, batch.first_offset + batch.counts.received)?;
            }
            sink.tick()?;
            // A sink that holds rows has been given them before; those before a replay's beginning are no output of it.
            let is_before = batch.first_offset < self.running.from && output.rebuilt_to == 0;
            let held = if is_before { 0 } else { block.held };
            summary.offered += block.offered - (block.held - held);
            summary.filtered += block.filtered;
            summary.delivered += rows + held;
            summary.dead_lettered += block.failed.len() as u64;
            dead_letter_refused(sink.as_mut(), &mut output.journal, summary, |row, reason| {
                let row = block.which.as_ref().map_or(row as u32, |which| which[row]);
                let what = format!("the sink `{}` refused a row", plan.config.kind());
                Some(sink_failure(&batch, &Failed { row, reason }, what, id))
            })?;
        }
        if batch.rows > 0
            && let Some(d) = &plan.decision
        {
            for decision in batch.columns[d.decision_column].as_string_view().iter().flatten() {
                match output.decisions.get_mut(decision) {
                    Some(count) => *count += 1,
                    None => {
                        output.decisions.insert(decision.to_string(), 1);
                    }
                }
            }
        }
        alerts.count(self.plan, &mut output.summary.alerts);
        output.counts.add(&batch.counts);
        output.summary.delivered += batch.rows as u64;
        self.running.delivered.fetch_add(batch.rows as u64, Relaxed);
        if let (Some(lasting), Some((at, partition, changes, remembered))) = (&self.running.lasting, commit) {
            // What carries a commit has a place; only then is there one.
            let Some((source, settle, versions)) = at else { return Ok(()) };
            lasting.request(output.request(Some(source), settle, partition, changes, remembered, versions)?);
        }
        Ok(())
    }
}

/// Where the source goes on, what the partition knew there, the groups and the alerts.
type Commit = (Option<At>, PartitionState, Changes, String);
