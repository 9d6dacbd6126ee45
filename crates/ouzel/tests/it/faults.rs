//! What goes wrong around a run: the disk, other engines, and what comes meanwhile.

use super::commands::write;
use super::jobs::{call, project, recomputed, rows};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A run that sleeps at a point, until it is told to go on.
pub struct Asleep(Child);

impl Asleep {
    /// `names`: what is run; everything, if none is named.
    pub fn at(root: &Path, names: &[&str], point: &str) -> Asleep {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ouzel"));
        command.arg("run").args(names).arg("-p").arg(root).env("OUZEL_FAULT", format!("stop:{point}:1"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let stat = format!("/proc/{}/stat", process.id());
        while !std::fs::read_to_string(&stat).expect("it lives").contains(") T ") {
            std::thread::sleep(Duration::from_millis(10));
        }
        Asleep(process)
    }

    /// How it ends, and what it says.
    pub fn wake(self) -> (Option<i32>, String) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-CONT", &id]).status().expect("sent").success());
        let ended = self.0.wait_with_output().expect("ended");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

/// What comes while a run is under way is taken by the next one; so is what comes a year late.
#[test]
fn rows_may_come_while_a_run_is_under_way_and_a_year_late() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 500, 0..4));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    for (i, point) in ["job-planned", "job-written", "job-checked"].iter().enumerate() {
        write(root, &format!("in-{}1.ndjson", i + 1), &rows(i as u64 + 2, 30, 0..2));
        assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
        let asleep = Asleep::at(root, &["daily"], point);
        let late = rows(i as u64 + 9, 5, 0..28).replace("\"2026-", "\"2025-");
        write(root, &format!("in-{}2.ndjson", i + 1), &(rows(i as u64 + 7, 30, 1..5) + &late));
        assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
        let (code, err) = asleep.wake();
        assert_eq!(code, Some(0), "{err}");
        let (code, told, err) = call(root, &["run"], &[]);
        let partitions = told["jobs"]["daily"]["partitions"].to_string();
        assert!(code == Some(0) && partitions.contains("day=2025-11"), "{partitions} {err}");
        recomputed(root);
    }
}

/// As much as it may write is too little: nothing has happened, and nothing is left of it.
#[test]
fn a_disk_that_is_full_changes_nothing() {
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 500, 0..4));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    write(root, "in-01.ndjson", &rows(2, 500, 0..9));
    assert_eq!(call(root, &["run", "web"], &[]).0, Some(0));
    let files = || Command::new("find").arg(root.join("lake")).args(["-type", "f"]).output().expect("runs").stdout;
    let (before, audit) = (files(), call(root, &["audit"], &[]).1);
    // A write that would make a file longer than this fails, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {} run daily -p {}", env!("CARGO_BIN_EXE_ouzel"), root.display());
    let full = Command::new("sh").args(["-c", &script]).output().expect("runs");
    let err = String::from_utf8_lossy(&full.stderr);
    assert!(full.status.code() == Some(4) && err.contains("writing"), "{:?} {err}", full.status);
    assert_eq!((files(), call(root, &["audit"], &[]).1), (before, audit), "{err}");
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    recomputed(root);
}

/// Another engine writes to a job's table while it is made: who comes later is told, and a full refresh makes it good.
#[test]
fn another_engine_may_write_to_the_table() {
    let python = std::env::var("OUZEL_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let run_python = |script: &str, table: &Path| Command::new(&python).args(["-c", script]).arg(table).output();
    if !run_python("import deltalake, pyarrow", Path::new("")).is_ok_and(|out| out.status.success()) {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "`{python}` has no deltalake and pyarrow");
        eprintln!("!!! SKIPPED: `{python}` has no deltalake and pyarrow; set OUZEL_TEST_PYTHON");
        return;
    }
    let folder = project();
    let root = folder.path();
    write(root, "in-00.ndjson", &rows(1, 500, 0..4));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    write(root, "in-01.ndjson", &rows(2, 50, 0..2));
    assert_eq!(call(root, &["run", "web", "hourly"], &[]).0, Some(0));
    let asleep = Asleep::at(root, &["daily"], "job-written");
    let append = "import sys, os, deltalake
table = deltalake.DeltaTable(sys.argv[1])
deltalake.write_deltalake(table, table.to_pyarrow_table().slice(0, 3), mode='append')
os._exit(0)";
    let wrote = run_python(append, &root.join("lake/daily")).expect("runs");
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let (code, err) = asleep.wake();
    assert!(code == Some(7) && err.contains("somebody else has written"), "{code:?} {err}");
    let (code, told, _) = call(root, &["verify", "daily"], &[]);
    assert_ne!(code, Some(0), "three rows are too many: {told}");
    assert_eq!(call(root, &["run", "daily", "--full-refresh"], &[]).0, Some(0));
    assert_eq!(call(root, &["run"], &[]).0, Some(0));
    recomputed(root);
}
