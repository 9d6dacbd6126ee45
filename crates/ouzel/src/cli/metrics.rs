//! What a run does, for Prometheus: counts of events by fate, of rows by sink, what state holds; and the limit of everything that has one.

use ouzel_core::limits;
use ouzel_engine::{Control, PipelineSummary};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Nobody who asks for metrics takes longer, or says more.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Serves `GET /metrics` until the process ends.
pub fn serve(address: &str, control: Arc<Control>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    control.is_watched.store(true, Relaxed);
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks wrongly, or goes away, is nobody's problem.
            let _ = answer(stream, &control);
        }
    })?;
    Ok(())
}

fn answer(mut stream: TcpStream, control: &Control) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut block = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        match stream.read(&mut block)? {
            0 => break,
            n => request.extend_from_slice(&block[..n]),
        }
    }
    let line = String::from_utf8_lossy(&request);
    let (status, body) = match line.split_whitespace().take(2).collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics"] => {
            let live = control.live.lock().unwrap_or_else(PoisonError::into_inner);
            ("200 OK", text(live.iter().map(|(name, summary)| (name.as_str(), summary))))
        }
        _ => ("404 Not Found", "metrics are at /metrics\n".into()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Bounds that are the same for every run, by the names they have in the code.
const LIMITS: [(&str, u64); 9] = [
    ("record_bytes", limits::RECORD_BYTES_MAX as u64),
    ("chunk_bytes", limits::CHUNK_BYTES_MAX as u64),
    ("depth", limits::DEPTH_MAX as u64),
    ("exact_up_to", limits::EXACT_UP_TO as u64),
    ("tiles_per_window", limits::TILES_PER_WINDOW as u64),
    ("sketch_bytes", limits::SKETCH_BYTES_MAX as u64),
    ("journal_bytes", limits::JOURNAL_BYTES_MAX),
    ("kept_raw_bytes", limits::KEPT_RAW_BYTES_MAX as u64),
    ("key_bytes", limits::KEY_BYTES_MAX as u64),
];

/// A metric in Prometheus' text format.
struct Metric<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Metric<'a> {
    fn new(out: &'a mut String, name: &'static str, kind: &str, help: &str) -> Metric<'a> {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric { out, name }
    }

    fn value(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(self.out, "{}{{{}}} {value}", self.name, labels.join(","));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn text<'s>(live: impl Iterator<Item = (&'s str, &'s PipelineSummary)>) -> String {
    let live: Vec<_> = live.collect();
    let mut out = String::new();
    let mut received =
        Metric::new(&mut out, "ouzel_events_received_total", "counter", "Events read, by all runs that go on from one another.");
    live.iter().for_each(|(p, s)| received.value(&[("pipeline", p)], s.received));
    let mut events = Metric::new(&mut out, "ouzel_events_total", "counter", "Events by their fate.");
    for (p, s) in &live {
        let fates = [
            ("delivered", s.delivered),
            ("filtered", s.filtered),
            ("duplicate", s.duplicate),
            ("quarantined", s.quarantined),
            ("dead_lettered", s.dead_lettered),
        ];
        fates.iter().for_each(|(fate, n)| events.value(&[("pipeline", p), ("fate", fate)], n));
    }
    let mut noted =
        Metric::new(&mut out, "ouzel_events_noted_total", "counter", "Events that were late, malformed or implausible.");
    for (p, s) in &live {
        let notes = [("late", s.late), ("malformed", s.malformed), ("implausible", s.implausible)];
        notes.iter().for_each(|(what, n)| noted.value(&[("pipeline", p), ("what", what)], n));
    }
    let mut in_flight = Metric::new(&mut out, "ouzel_events_in_flight", "gauge", "Events read that have no fate yet.");
    live.iter().for_each(|(p, s)| in_flight.value(&[("pipeline", p)], s.in_flight));
    let mut decisions = Metric::new(&mut out, "ouzel_decisions_total", "counter", "Delivered events by decision.");
    for (p, s) in &live {
        s.decisions.iter().for_each(|(d, n)| decisions.value(&[("pipeline", p), ("decision", d)], n));
    }
    let mut rows = Metric::new(&mut out, "ouzel_sink_rows_total", "counter", "Rows offered to a sink, by their fate.");
    for (p, s) in &live {
        for (n, sink) in s.sinks.iter().enumerate() {
            let n = n.to_string();
            let fates = [("delivered", sink.delivered), ("filtered", sink.filtered), ("dead_lettered", sink.dead_lettered)];
            for (fate, rows_of) in fates {
                rows.value(
                    &[("pipeline", p), ("n", &n), ("sink", &sink.kind), ("location", &sink.location), ("fate", fate)],
                    rows_of,
                );
            }
        }
    }
    let mut waiting = Metric::new(&mut out, "ouzel_sink_waiting_rows", "gauge", "Rows in a sink's outbox.");
    for (p, s) in &live {
        for (n, k) in s.sinks.iter().enumerate() {
            waiting.value(&[("pipeline", p), ("n", &n.to_string()), ("sink", &k.kind), ("location", &k.location)], k.waiting);
        }
    }
    let mut keys = Metric::new(&mut out, "ouzel_keys", "gauge", "Keys in memory.");
    for (p, s) in &live {
        s.keys.iter().for_each(|(by, n)| keys.value(&[("pipeline", p), ("by", by)], n));
    }
    let mut bytes =
        Metric::new(&mut out, "ouzel_state_bytes", "gauge", "State, in memory and in files of keys that have left it.");
    for (p, s) in &live {
        bytes.value(&[("pipeline", p), ("where", "memory")], s.state_bytes);
        bytes.value(&[("pipeline", p), ("where", "evicted")], s.evicted_bytes);
    }
    let mut aside =
        Metric::new(&mut out, "ouzel_set_aside_bytes", "gauge", "Quarantined and dead-lettered events that wait to be settled.");
    live.iter().for_each(|(p, s)| aside.value(&[("pipeline", p)], s.set_aside_bytes));
    let mut commits = Metric::new(&mut out, "ouzel_commits_total", "counter", "Commits of this run.");
    live.iter().for_each(|(p, s)| commits.value(&[("pipeline", p)], s.commits));
    let mut limit = Metric::new(&mut out, "ouzel_limit", "gauge", "Bounds of the data path.");
    LIMITS.iter().for_each(|(name, value)| limit.value(&[("name", name)], value));
    out
}
