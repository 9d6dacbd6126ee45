//! State on an object store, against a real one that is started for the test: killed and gone on with on another machine each time, and
//! two machines at once.

use super::weed;
use ouzel_core::{Chunk, Kind, Source};
use ouzel_engine::journal::{Fate, Journaled};
use ouzel_engine::runtime::{STOPPED_DEAD, run_recut};
use ouzel_engine::spec::Cuts;
use ouzel_engine::{Control, Options, PipelineSummary, project};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const PIPELINE: &str = "source: { file: { path: \"${ROOT}/in.ndjson\" } }
codec: json
event: { fields: { t: timestamp, ip: text, n: int }, time: t, lateness: 1s, too_late: quarantine }
features: [{ by: ip, measure: { seen: { count: \"*\", within: 1h }, share: { share: n, within: 1h } } }]
sinks: [{ file: { path: \"${ROOT}/out.ndjson\" } }]
";

/// Events, some of which are too late and some of which are none.
fn log() -> String {
    let event = |n: i64| match n % 50 {
        7 => format!("{{\"t\":{},\"ip\":\"x\",\"n\":1}}\n", n - 40),
        13 => format!("nonsense {n}\n"),
        _ => format!("{{\"t\":{n},\"ip\":\"10.0.0.{}\",\"n\":{}}}\n", n % 17, n % 5),
    };
    (1000..1600).map(event).collect()
}

/// A machine's copy of a project.
fn machine(state: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::create_dir_all(folder.path().join("pipelines")).expect("a folder");
    std::fs::write(folder.path().join("ouzel.yaml"), format!("name: s3\nstores: {{ state: {state} }}\n")).expect("written");
    std::fs::write(folder.path().join("pipelines/p.yaml"), PIPELINE).expect("written");
    folder
}

fn run(machine: &Path, data: &Path, options: &Options) -> ouzel_core::Result<PipelineSummary> {
    run_with(machine, data, options, |source| source)
}

fn run_with(
    machine: &Path,
    data: &Path,
    options: &Options,
    wrap: impl Fn(Box<dyn Source>) -> Box<dyn Source>,
) -> ouzel_core::Result<PipelineSummary> {
    let env = |name: &str| (name == "ROOT").then(|| data.display().to_string());
    let (project, report) = project::load(machine, &env);
    let project = project.unwrap_or_else(|| panic!("{}", report.render(|_, word| word.to_string())));
    let plan = &project.pipelines[0].plan;
    run_recut(plan, &project.place(), options, &Control::default(), &|source, framing| {
        wrap(Cuts::OneOf(40, 3).apply(source, framing))
    })
}

/// The results, what is quarantined, what is dead.
fn found(machine: &Path, data: &Path) -> [Vec<u8>; 3] {
    let state = machine.join(".ouzel/state/p");
    [data.join("out.ndjson"), state.join("quarantine.ndjson"), state.join("dead_letters.ndjson")]
        .map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

#[test]
fn each_machine_goes_on_where_the_one_before_was_killed() {
    let Some(server) = weed::start("states") else { return };
    let state = |prefix: &str| {
        let port = server.port;
        format!(
            "{{ s3: {{ bucket: states, prefix: {prefix}, endpoint: \"http://127.0.0.1:{port}\", access_key: key, secret_key: secret }} }}"
        )
    };
    let data = TempDir::new().expect("a folder");
    std::fs::write(data.path().join("in.ndjson"), log()).expect("written");
    let local = machine("{ local: {} }");
    run(local.path(), data.path(), &Options { threads: 2, ..Options::default() }).expect("runs");
    let expected = found(local.path(), data.path());
    assert!(expected.iter().all(|bytes| !bytes.is_empty()));

    // It makes the bucket a moment after it answers.
    let is_up = || run(machine(&state("up")).path(), data.path(), &Options { threads: 1, ..Options::default() }).is_ok();
    assert!(
        (0..300).any(|_| is_up() || (std::thread::sleep(Duration::from_millis(100)), false).1),
        "the server does not come up"
    );

    // Killed after every so many commits.
    for commits in [3, 1, 20] {
        let state = state(&format!("killed-{commits}"));
        let options = Options { threads: 2, commit_each_batch: true, die_after_commits: Some(commits), ..Options::default() };
        let mut machines = 0;
        loop {
            let machine = machine(&state);
            match run(machine.path(), data.path(), &options) {
                Err(e) if e.message() == STOPPED_DEAD => machines += 1,
                ended => {
                    let summary = ended.expect("runs");
                    assert!(summary.adds_up() && summary.resumed.is_some(), "{summary:?}");
                    assert!(found(machine.path(), data.path()) == expected, "other results after {machines} machines");
                    break;
                }
            }
        }
        assert!(machines > 0);
    }

    // A damaged copy is got once more.
    let machine_of = |prefix: &str| machine(&state(prefix));
    let (copy, options) = (machine_of("killed-3"), Options { threads: 1, ..Options::default() });
    run(copy.path(), data.path(), &options).expect("goes on");
    for file in std::fs::read_dir(copy.path().join(".ouzel/state/p")).expect("a folder").flatten() {
        if [".delta", ".merged"].iter().any(|end| file.file_name().to_string_lossy().ends_with(end)) {
            let mut bytes = std::fs::read(file.path()).expect("readable");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file.path(), bytes).expect("writable");
        }
    }
    let summary = run(copy.path(), data.path(), &options).expect("goes on");
    assert!(summary.notes.is_empty() && found(copy.path(), data.path()) == expected, "{:?}", summary.notes);

    // What is settled on one machine is settled on all, and what another has settled stays so.
    let settle = |machine: &Path, n: usize| {
        let (project, _) = project::load(machine, &|_| Some(data.path().display().to_string()));
        let place = project.expect("sound").place();
        let mirror = place.mirror("p").expect("reachable");
        let mut journaled = Journaled::open(&place.of("p"), Fate::DeadLettered, mirror).expect("readable");
        let left: Vec<String> = journaled.entries().expect("readable").map(|entry| entry.id).collect();
        journaled.settle(&left[..n]).expect("writable");
        left.len()
    };
    let other = machine_of("killed-3");
    let all = settle(copy.path(), 0);
    assert_eq!((settle(other.path(), 2), settle(copy.path(), 1), settle(other.path(), 0)), (all, all - 2, all - 3));

    // A bucket that has nothing does not stand for a folder that has something.
    let local_state = format!("{}\n", std::fs::read_to_string(local.path().join("ouzel.yaml")).expect("readable"));
    std::fs::write(local.path().join("ouzel.yaml"), format!("name: s3\nstores: {{ state: {} }}\n", state("empty")))
        .expect("written");
    let refused = run(local.path(), data.path(), &options).expect_err("refused");
    assert!(refused.kind == Kind::Changed && refused.message().contains("holds none"), "{refused}");
    std::fs::write(local.path().join("ouzel.yaml"), local_state).expect("written");
    assert!(run(local.path(), data.path(), &options).expect("goes on").resumed.is_some());

    // Two at once: whoever comes later has it, and the other stops.
    let state = state("two");
    let (first, second) = (machine(&state), machine(&state));
    let options = Options { threads: 2, commit_each_batch: true, die_after_commits: Some(2), ..Options::default() };
    assert!(run(first.path(), data.path(), &options).expect_err("killed").message() == STOPPED_DEAD);
    let sleeper =
        run_with(first.path(), data.path(), &Options { commit_each_batch: true, threads: 1, ..Options::default() }, |source| {
            let (second, data) = (second.path().to_path_buf(), data.path().to_path_buf());
            let meanwhile = move || {
                let options = Options { threads: 2, take_over: true, ..Options::default() };
                // A commit of the sleeper may be on its way, and come first.
                while let Err(e) = run(&second, &data, &options) {
                    assert_eq!(e.kind, Kind::Conflict, "{e}");
                }
            };
            Box::new(Sleeper { source, chunks: 0, meanwhile: Box::new(meanwhile) })
        });
    assert_eq!(sleeper.expect_err("fenced off").kind, Kind::Conflict);
    assert!(found(second.path(), data.path()) == expected, "other results where two were at once");
}

/// A machine that sleeps for a while after some chunks.
struct Sleeper {
    source: Box<dyn Source>,
    chunks: usize,
    meanwhile: Box<dyn Fn() + Send>,
}

impl Source for Sleeper {
    fn next(&mut self) -> ouzel_core::Result<Option<Chunk>> {
        self.chunks += 1;
        if self.chunks == 3 {
            (self.meanwhile)();
        }
        self.source.next()
    }
    fn position(&self) -> Option<String> {
        self.source.position()
    }
    fn resume(&mut self, position: &str) -> ouzel_core::Result<()> {
        self.source.resume(position)
    }
}
