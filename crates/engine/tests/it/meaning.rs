//! Every row that comes out of the engine is the model's, and the same bytes under every cut, with any number of threads and
//! beside any other pipeline.

use crate::log::{Log, Shape, Step, log, shapes, steps};
use crate::measures::{Group, Kind, groups};
use crate::model::{self, Cell, Fates, Row};
use crate::project::{Folder, How, Settings, plan};
use ouzel_engine::spec::Cuts;
use ouzel_engine::{PipelineSummary, Plan};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::{Map, Value};
use std::cell::Cell as Counter;
use std::sync::Arc;

const SECOND: i64 = 1_000_000;
const SETTINGS: [Settings; 5] = [
    Settings { lateness: 0, duplicates_within: None, quarantines: false, exact_up_to: None },
    Settings { lateness: 5 * SECOND, duplicates_within: Some(30 * SECOND), quarantines: false, exact_up_to: None },
    Settings { lateness: 120 * SECOND, duplicates_within: Some(600 * SECOND), quarantines: false, exact_up_to: None },
    Settings { lateness: 5 * SECOND, duplicates_within: None, quarantines: true, exact_up_to: None },
    Settings { lateness: 86_400 * SECOND, duplicates_within: Some(SECOND), quarantines: false, exact_up_to: None },
];

/// Pipelines of all measures, one for each of the settings.
struct Pipelines {
    groups: Vec<Group>,
    plans: Vec<Arc<Plan>>,
}

impl Pipelines {
    fn new(exact_up_to: Option<usize>) -> Pipelines {
        let groups = groups();
        let plans = SETTINGS.iter().map(|settings| plan(&groups, &Settings { exact_up_to, ..*settings })).collect();
        Pipelines { groups, plans }
    }
}

/// Which pipeline, and what its log is made of.
#[derive(Debug, Clone)]
struct Case {
    settings: usize,
    shape: Shape,
    steps: Vec<Step>,
}

impl Case {
    fn log(&self) -> Log {
        log(&self.shape, &self.steps, SETTINGS[self.settings].lateness)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (0..SETTINGS.len(), shapes(), steps()).prop_map(|(settings, shape, steps)| Case { settings, shape, steps })
}

#[test]
fn rows_are_those_of_the_model_under_every_cut_and_thread_count() {
    let pipelines = Pipelines::new(None);
    let folder = Folder::new();
    let (events, late, duplicates, runs) = (Counter::new(0), Counter::new(0), Counter::new(0), Counter::new(0));
    let name = "the model, cuts and threads";
    check(
        name,
        150,
        &(cases(), any::<u64>()),
        |case| format!("{:?} {:?}\n{:?}", case.0.shape, SETTINGS[case.0.settings], case.0.log()),
        |(case, seed)| {
            let (log, settings, plan) = (case.log(), &SETTINGS[case.settings], &pipelines.plans[case.settings]);
            folder.write(&log.ndjson());
            let (rows, fates) = model::run(&log, &pipelines.groups, settings);
            let (straight, summary) = run(&folder, plan, How::plain(Cuts::Straight, 1))?;
            compare(&pipelines.groups, &rows, &straight)?;
            compare_fates(&fates, &summary)?;
            for how in hows(*seed) {
                let (other, other_summary) = run(&folder, plan, how)?;
                same_bytes(&straight, &other, &format!("{how:?}"))?;
                compare_fates(&fates, &other_summary)?;
            }
            events.set(events.get() + fates.delivered);
            late.set(late.get() + fates.late);
            duplicates.set(duplicates.get() + fates.duplicate);
            runs.set(runs.get() + 1 + hows(*seed).len());
            Ok(())
        },
    );
    println!(
        "  {} rows of {} columns compared ({} too late, {} duplicates left out); {} runs",
        events.get(),
        pipelines.groups.iter().flat_map(|g| &g.measures).map(|m| m.columns().len()).sum::<usize>(),
        late.get(),
        duplicates.get(),
        runs.get(),
    );
}

/// Ways to run a log.
fn hows(seed: u64) -> [How; 9] {
    [
        How::plain(Cuts::Single, 2),
        How::plain(Cuts::OneOf(2, seed), 1),
        How::plain(Cuts::OneOf(3, seed.rotate_left(16)), 3),
        How::plain(Cuts::OneOf(8, seed.rotate_left(32)), 4),
        How::plain(Cuts::OneOf(64, seed.rotate_left(48)), 5),
        How { cuts: Cuts::OneOf(64, seed.rotate_left(24)), threads: 2, killed: Some(1), memory: None },
        How { cuts: Cuts::OneOf(24, seed.rotate_left(40)), threads: 3, killed: Some(3 + seed % 5), memory: None },
        // Every key leaves memory with each commit; or some do.
        How { cuts: Cuts::OneOf(32, seed.rotate_left(8)), threads: 3, killed: Some(2), memory: Some(0) },
        How { cuts: Cuts::OneOf(16, seed.rotate_left(56)), threads: 2, killed: Some(40), memory: Some(4000) },
    ]
}

/// Past `exact_up_to` results are near, and as much the same under every cut. Counts are never too low, and too high by no more
/// than the events of the tiles at the window's ends.
#[test]
fn tiles_are_the_same_under_every_cut_and_thread_count() {
    let pipelines = Pipelines::new(Some(4));
    let mut wider = groups();
    for measure in wider.iter_mut().flat_map(|group| &mut group.measures) {
        measure.slack = measure.within() / 256;
    }
    let folder = Folder::new();
    let counts = Counter::new(0);
    let show = |(case, _): &(Case, u64)| format!("{:?} {:?}\n{:?}", case.shape, SETTINGS[case.settings], case.log());
    check("tiles, cuts and threads", 60, &(cases(), any::<u64>()), show, |(case, seed)| {
        let (log, settings, plan) = (case.log(), &SETTINGS[case.settings], &pipelines.plans[case.settings]);
        folder.write(&log.ndjson());
        let (straight, _) = run(&folder, plan, How::plain(Cuts::Straight, 1))?;
        let exact = model::run(&log, &pipelines.groups, settings).0;
        let wide = model::run(&log, &wider, settings).0;
        counts.set(counts.get() + compare_counts(&pipelines.groups, &exact, &wide, &straight)?);
        for how in hows(*seed) {
            same_bytes(&straight, &run(&folder, plan, how)?.0, &format!("{how:?}"))?;
        }
        Ok(())
    });
    println!("  {} counts are not exact, and within a tile", counts.get());
}

/// A source has one partition today, so what may interleave is two pipelines in one process.
#[test]
fn a_pipeline_beside_it_changes_nothing() {
    let pipelines = Pipelines::new(None);
    let folders = [Folder::new(), Folder::new()];
    let show = |pair: &(Case, Case)| format!("{:?}\nbeside\n{:?}", pair.0.log(), pair.1.log());
    check("two pipelines at once", 60, &(cases(), cases()), show, |(a, b)| {
        let cases = [a, b];
        let mut alone = Vec::new();
        for (case, folder) in cases.into_iter().zip(&folders) {
            folder.write(&case.log().ndjson());
            alone.push(run(folder, &pipelines.plans[case.settings], How::plain(Cuts::Straight, 1))?.0);
        }
        let together: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = cases
                .into_iter()
                .zip(&folders)
                .map(|(case, folder)| {
                    let plan = &pipelines.plans[case.settings];
                    scope.spawn(move || run(folder, plan, How::plain(Cuts::OneOf(4, 7), 2)))
                })
                .collect();
            running.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
        });
        for (alone, together) in alone.iter().zip(together) {
            same_bytes(alone, &together?.0, "two pipelines at once")?;
        }
        Ok(())
    });
}

/// Runs cases: `default` of them unless `PROPTEST_CASES` says otherwise, the same each time unless `PROPTEST_RNG_SEED` does.
/// A failure is made small and shown as a log.
fn check<S: Strategy>(
    name: &str,
    default: u32,
    strategy: &S,
    show: impl Fn(&S::Value) -> String,
    holds: impl Fn(&S::Value) -> Result<(), TestCaseError>,
) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let cases = number("PROPTEST_CASES").unwrap_or(default);
    let seed = number("PROPTEST_RNG_SEED").unwrap_or(1);
    let config = ProptestConfig { cases, max_shrink_iters: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(strategy, |case| holds(&case)) {
        Ok(()) => println!("{name}: {cases} cases hold (PROPTEST_CASES), seed {seed} (PROPTEST_RNG_SEED)"),
        Err(TestError::Abort(why)) => panic!("{name}: {why}"),
        Err(TestError::Fail(first, case)) => {
            // What was told may belong to an earlier, larger case.
            let why = holds(&case).err().map_or_else(|| format!("{first} (it does not fail again)"), |e| e.to_string());
            panic!("{name}, seed {seed}: {why}\n{}", show(&case))
        }
    }
}

fn run(folder: &Folder, plan: &Plan, how: How) -> Result<(String, PipelineSummary), TestCaseError> {
    let (rows, summary) = folder.run(plan, how).map_err(|e| TestCaseError::fail(format!("{how:?}: {e}")))?;
    match summary.adds_up() {
        true => Ok((rows, summary)),
        false => Err(TestCaseError::fail(format!("{how:?}: the counts do not add up: {summary:?}"))),
    }
}

fn compare(groups: &[Group], expected: &[Row], found: &str) -> Result<(), TestCaseError> {
    let measures = || groups.iter().flat_map(|group| &group.measures);
    let columns: Vec<(String, String)> = measures().flat_map(|m| m.columns().into_iter().map(|c| (c, m.yaml()))).collect();
    let found: Vec<Map<String, Value>> =
        found.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(|e| TestCaseError::fail(e.to_string()))?;
    if found.len() != expected.len() {
        return Err(TestCaseError::fail(format!("{} rows came out, expected {}", found.len(), expected.len())));
    }
    for (row, found) in expected.iter().zip(&found) {
        let own = [
            ("seq", "the event's number", Cell::Int(row.event.seq as i64)),
            ("_id", "offset in the log", Cell::Text(format!("p.0.0.{}.0", row.offset))),
            ("_late", "too late", Cell::Bool(row.late)),
        ];
        let features = columns.iter().zip(&row.features).map(|((name, yaml), cell)| (name.as_str(), yaml.as_str(), cell));
        for (name, meaning, cell) in own.iter().map(|(name, meaning, cell)| (*name, *meaning, cell)).chain(features) {
            if !cell.is(&found[name]) {
                return Err(TestCaseError::fail(format!(
                    "event {}, {meaning}: expected {name} = {cell:?}, found {}",
                    row.event.seq, found[name]
                )));
            }
        }
    }
    Ok(())
}

/// Gives how many counts differ from the exact ones.
fn compare_counts(groups: &[Group], exact: &[Row], wide: &[Row], found: &str) -> Result<u64, TestCaseError> {
    let mut inexact = 0;
    for ((exact, wide), found) in exact.iter().zip(wide).zip(found.lines()) {
        let found: Value = serde_json::from_str(found).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let columns = groups.iter().flat_map(|g| &g.measures).flat_map(|m| m.columns().into_iter().map(move |c| (m, c)));
        for (((measure, name), low), high) in columns.zip(&exact.features).zip(&wide.features) {
            // Null below `min_events`.
            let count = |cell: &Cell| if let Cell::Int(n) = cell { *n } else { 0 };
            let found = found[&name].as_i64().unwrap_or(0);
            if measure.kind == Kind::Count && !(count(low)..=count(high)).contains(&found) {
                let (event, yaml) = (exact.event.seq, measure.yaml());
                return Err(TestCaseError::fail(format!("event {event}, {yaml}: expected {low:?} to {high:?}, found {found}")));
            }
            inexact += u64::from(measure.kind == Kind::Count && found != count(low));
        }
    }
    Ok(inexact)
}

fn compare_fates(expected: &Fates, summary: &PipelineSummary) -> Result<(), TestCaseError> {
    let found = Fates {
        received: summary.received,
        delivered: summary.delivered,
        duplicate: summary.duplicate,
        quarantined: summary.quarantined,
        dead_lettered: summary.dead_lettered,
        late: summary.late,
    };
    if *expected == found {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("expected {expected:?}, found {found:?}")))
}

fn same_bytes(straight: &str, other: &str, how: &str) -> Result<(), TestCaseError> {
    if straight == other {
        return Ok(());
    }
    let differs = straight.lines().zip(other.lines()).find(|(a, b)| a != b);
    let (a, b) = differs.map_or(("the end", "the end"), |pair| pair);
    Err(TestCaseError::fail(format!("{how}: other bytes\n- {a}\n+ {b}")))
}
