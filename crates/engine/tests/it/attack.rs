//! A key under attack: ten million events on one key, spread over time and at one instant. What is kept of the key stays under a
//! bound, and results are off by no more than one tile of the window or what a sketch promises.
//!
//! `ATTACK_EVENTS` is how many.

use crate::project::{Folder, plan_of};
use ouzel_core::{Chunk, Origin, Result, Source};
use serde_json::Value;
use std::sync::Arc;

const START: i64 = 1_772_323_200_000_000;
const WITHIN: i64 = 3_600_000_000;
const TILE: i64 = WITHIN / 256;
const HALF_LIFE: i64 = 600_000_000;
/// Different values of `v`.
const VALUES: u64 = 1_000_000;
/// Different values of `w`.
const RECURRING: u64 = 1_000;
/// Tiles of `first_seen` that become one, at most, where 1,000 values come back in each.
const TILES_JOINED: f64 = 32.0;
/// Rows that are looked at.
const EVERY: u64 = 100_000;

/// For this one key, at the end: 1 MiB a measure on average. (Sketches take 64 KiB each, their sum over the window more; `last`
/// and `ewma` keep up to `exact_up_to` entries of the time that may still come late.) One byte per event would be more.
const STATE_BYTES_MAX: u64 = 9 << 20;

const PIPELINE: &str = "
name: p
source: { file: { path: in.ndjson } }
codec: json
event:
  time: t
  lateness: 1m
  fields: { n: int, t: timestamp, k: text, v: text, u: text, w: int, x: int }
features:
  - by: k
    measure:
      events:   { count: \"*\", within: 1h }
      lowest:   { min: n, within: 1h }
      values:   { distinct: v, within: 1h }
      median:   { quantile: x, q: 0.5, within: 1h }
      often:    { share: u, within: 1h }
      mixed:    { entropy: w, within: 1h }
      pace:     { ewma: \"*\", half_life: 10m }
      previous: { last: n }
      is_new:   { first_seen: w, within: 1h }
sinks:
  - file:
      path: out.ndjson
      where: \"n % 100000 = 0\"
      columns: [n, events, lowest, values, median, often, mixed, pace, previous, is_new, is_new_age]
";

#[test]
fn ten_million_events_spread_over_time() {
    attack("spread over time", 1_000);
}

#[test]
fn ten_million_events_at_one_instant() {
    attack("at one instant", 0);
}

/// `gap`: microseconds between two events.
fn attack(name: &str, gap: i64) {
    let events = std::env::var("ATTACK_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000u64);
    let plan = plan_of(PIPELINE);
    let folder = Folder::new();
    folder.write("");
    let flood = move |_| -> Box<dyn Source> { Box::new(Flood { next: 0, events, gap }) };
    let (rows, summary) = folder.run_of(&plan, 2, &flood).expect("the run ends well");
    assert_eq!((summary.received, summary.delivered, summary.keys["k"]), (events, events, 1));
    let state = summary.state_bytes;
    println!(
        "a key under attack, {events} events {name}: {state} bytes of state (bound {STATE_BYTES_MAX}), {:.1} s",
        summary.seconds
    );
    assert!(state <= STATE_BYTES_MAX, "{state} bytes of state");
    let mut looked_at = 0;
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).expect("JSON");
        check(&row, gap);
        looked_at += 1;
    }
    assert_eq!(looked_at, events.div_ceil(EVERY));
}

fn check(row: &Value, gap: i64) {
    let n = row["n"].as_u64().expect("a number");
    let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
    let between = |name: &str, low: f64, high: f64| {
        assert!((low..=high).contains(&number(name)), "event {n}: expected {name} from {low} to {high}, found {}", row[name]);
    };
    // Events in the window, and in one tile of it.
    let (in_window, in_tile) = match gap {
        0 => (n + 1, 0),
        gap => ((n + 1).min((WITHIN / gap) as u64), (TILE / gap) as u64 + 1),
    };
    between("events", in_window as f64, (in_window + in_tile).min(n + 1) as f64);
    let lowest = n + 1 - in_window;
    between("lowest", lowest.saturating_sub(in_tile) as f64, lowest as f64);
    // HyperLogLog of 256 registers in the worst case: three standard errors of 6.5 %.
    let values = in_window.min(VALUES) as f64;
    between("values", values * 0.8, values * 1.2 + in_tile as f64);
    if n >= EVERY {
        between("median", 5_000.0 * 0.9, 5_000.0 * 1.1);
        between("often", 0.08, 0.12);
        let bits = (RECURRING as f64).log2();
        between("mixed", bits - 0.5, bits + 0.5);
        // So few values that all are remembered, in tiles that may be wider.
        assert_eq!(row["is_new"], Value::Bool(false), "event {n}");
        let age = (n as i64 * gap).min(WITHIN - RECURRING as i64 * gap) as f64 / 1e6;
        let tile = TILE.min(n as i64 * gap) as f64 / 1e6;
        between("is_new_age", (age - TILES_JOINED * tile).max(0.0), age + tile);
    }
    let rate = std::f64::consts::LN_2 / (HALF_LIFE as f64 / 1e6);
    let weights = match gap {
        0 => (n + 1) as f64,
        gap => {
            let fades = (-(gap as f64) / HALF_LIFE as f64).exp2();
            (1.0 - fades.powf((n + 1) as f64)) / (1.0 - fades)
        }
    };
    between("pace", weights * rate * (1.0 - 1e-9), weights * rate * (1.0 + 1e-9));
    match n {
        0 => assert!(row["previous"].is_null()),
        n => assert_eq!(row["previous"].as_u64(), Some(n - 1)),
    }
}

/// The attacker's events, made as they are read.
struct Flood {
    next: u64,
    events: u64,
    gap: i64,
}

impl Source for Flood {
    fn next(&mut self) -> Result<Option<Chunk>> {
        use std::io::Write;
        let mut lines: Vec<u8> = Vec::with_capacity(256 << 10);
        while self.next < self.events && lines.len() < 250 << 10 {
            let n = self.next;
            let v = n % VALUES;
            let t = START + n as i64 * self.gap;
            let x = n.wrapping_mul(2_654_435_761) % 10_000 + 1;
            // Writing to a vector does not fail.
            let w = n % RECURRING;
            let _ = if n.is_multiple_of(10) {
                writeln!(lines, r#"{{"n":{n},"t":{t},"k":"a","v":"{v}","u":"often","w":{w},"x":{x}}}"#)
            } else {
                writeln!(lines, r#"{{"n":{n},"t":{t},"k":"a","v":"{v}","u":"{v}","w":{w},"x":{x}}}"#)
            };
            self.next += 1;
        }
        let origin = Origin { name: Arc::from("flood"), position: 0, header: None };
        Ok((!lines.is_empty()).then(|| Chunk { partition: 0, origin, data: lines.into(), ingested: Vec::new(), fault: None }))
    }

    fn position(&self) -> Option<String> {
        None
    }

    fn resume(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
}
