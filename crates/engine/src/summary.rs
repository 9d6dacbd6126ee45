//! What a run did, so that every event is accounted for.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One pipeline's run, and those before it that it goes on from. received = delivered + filtered + duplicate + quarantined + dead_lettered + in_flight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PipelineSummary {
    /// Events read; an undecodable stretch of bytes counts as one.
    pub received: u64,
    /// Scored and handed to every sink.
    pub delivered: u64,
    /// Left out by the pipeline's `where`.
    pub filtered: u64,
    pub duplicate: u64,
    pub quarantined: u64,
    pub dead_lettered: u64,
    /// 0 after a run that ended well.
    pub in_flight: u64,
    /// Of the delivered: too late for their windows.
    pub late: u64,
    /// Of the received: with at least one malformed field, among the fields that somebody reads (others are not decoded).
    pub malformed: u64,
    /// The same for implausible ones.
    pub implausible: u64,
    /// Of the delivered, by decision.
    pub decisions: BTreeMap<String, u64>,
    /// By alert: raised, and held back by `at_most`.
    pub alerts: BTreeMap<String, AlertCount>,
    pub sinks: Vec<SinkSummary>,
    /// Keys in memory at the end, by group.
    pub keys: BTreeMap<String, u64>,
    /// Heap bytes of the state at the end, about.
    pub state_bytes: u64,
    /// Bytes of files with keys that have left memory.
    #[serde(default)]
    pub evicted_bytes: u64,
    /// Bytes of quarantined and dead-lettered events that wait to be settled.
    pub set_aside_bytes: u64,
    /// Where quarantined and dead-lettered events lie, if there are any.
    pub set_aside: Vec<String>,
    /// How often this pipeline has started anew before: part of every id.
    pub generation: u32,
    /// Version of the definitions.
    pub version: String,
    /// Where this run went on from, if it did.
    pub resumed: Option<Resumed>,
    /// What was found at the start that is worth knowing, for people.
    pub notes: Vec<String>,
    /// Commits that this run has made.
    pub commits: u64,
    /// Wall time of this run.
    pub seconds: f64,
    /// What ended it before its time.
    pub error: Option<String>,
    /// True if it was told to stop before the source ended.
    pub interrupted: bool,
}

/// How often an alert was called for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertCount {
    pub raised: u64,
    pub suppressed: u64,
}

/// What a run goes on from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resumed {
    /// Number of the commit.
    pub commit: u64,
    /// Events that runs before had received.
    pub events: u64,
    /// Where in the source, for people.
    pub source: String,
}

/// One sink of it. offered = delivered + filtered + dead_lettered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkSummary {
    pub kind: String,
    /// Where the results lie.
    pub location: String,
    pub offered: u64,
    pub delivered: u64,
    /// Left out by the sink's `where`.
    pub filtered: u64,
    /// Rows for which a column of the sink could not be computed.
    pub dead_lettered: u64,
    /// Of the delivered: in the outbox, to be sent by the next run.
    pub waiting: u64,
}

impl PipelineSummary {
    /// Of the received: without a fate yet.
    pub fn unfinished(&self) -> u64 {
        self.received.saturating_sub(self.delivered + self.filtered + self.duplicate + self.quarantined + self.dead_lettered)
    }

    /// Every event has one fate.
    pub fn adds_up(&self) -> bool {
        self.received == self.delivered + self.filtered + self.duplicate + self.quarantined + self.dead_lettered + self.in_flight
            && self.sinks.iter().all(|s| s.offered == s.delivered + s.filtered + s.dead_lettered)
    }
}
