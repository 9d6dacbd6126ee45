//! A lake in a bucket, of a real server that is started for the test: the same rows as on disk, also where the server is slow, fails, and fails after it has done
//! what it was asked for.

use super::commands::write;
use super::faults::Asleep;
use super::jobs::{call, verified};
use super::landing::{bytes_of, increments, land, number, only, project_with, rows, run, two_at_once};
use super::{ouzel, records, weed};
use ouzel_core::Secret;
use ouzel_lake::location::key_of_prefix;
use ouzel_lake::{Bucket, BucketSettings, Location};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

fn stores(prefix: &str, port: u16) -> String {
    format!(
        "stores: {{ lake: {{ s3: {{ bucket: lake, prefix: \"{prefix}\", endpoint: \"http://127.0.0.1:{port}\", access_key: key, secret_key: secret }} }} }}\n"
    )
}

/// `None`, loudly, where there is none.
fn server() -> Option<weed::Server> {
    let server = weed::start("lake")?;
    let up = project_with(&stores("up", server.port));
    land(up.path(), "0.parquet", &bytes_of(&rows(1, 10, 0..1)));
    for _ in 0..100 {
        if call(up.path(), &["run"], &[]).0 == Some(0) {
            return Some(server);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the server does not come up: {:?}", call(up.path(), &["run"], &[]));
}

/// All rows of a table, sorted.
fn all(root: &Path, table: &str) -> Vec<String> {
    let (output, out, err) =
        ouzel(&["query", &format!("select * from {table}"), "-p", &root.display().to_string(), "--format", "json"], &[]);
    assert!(output.status.success(), "{err}");
    let mut rows: Vec<String> = out.lines().map(String::from).collect();
    rows.sort();
    rows
}

#[test]
fn jobs_make_the_same_tables_in_a_bucket() {
    let Some(server) = server() else { return };
    let there = project_with(&stores("a/b", server.port));
    increments(there.path(), 12, &[".ouzel/lake"]);
    // A prefix is taken as it is.
    let odd = project_with(&stores("50%~x/[y]", server.port));
    land(odd.path(), "0.parquet", &bytes_of(&rows(1, 100, 0..2)));
    run(odd.path());
    verified(odd.path());
    // What files in a bucket give is what files on disk give.
    let here = project_with("");
    let there = project_with(&stores("c", server.port));
    for i in 0..3 {
        for root in [here.path(), there.path()] {
            land(root, &format!("{i}.parquet"), &bytes_of(&rows(i + 1, 2_000, 0..5)));
            run(root);
        }
    }
    for table in ["clean", "daily", "kinds", "twice", "latest"] {
        assert_eq!(all(here.path(), table), all(there.path(), table), "{table}");
    }
    assert!(!there.path().join("lake").exists());
    // Another machine goes on: it remembers nothing, and sees what was paused.
    let other = project_with(&stores("c", server.port));
    let hold = ["pause", "daily", "--reason", "a look at it"];
    assert_eq!(call(there.path(), &hold, &[]).0, Some(0));
    for root in [here.path(), other.path()] {
        for i in 0..4 {
            land(root, &format!("{i}.parquet"), &bytes_of(&rows(i + 1, 2_000, 0..5)));
        }
    }
    let (code, _, err) = call(other.path(), &["run"], &[]);
    assert!(code != Some(0) && err.contains("a look at it"), "{code:?} {err}");
    assert_eq!(call(other.path(), &["resume", "daily", "--reason", "looked at"], &[]).0, Some(0));
    for root in [here.path(), other.path()] {
        run(root);
    }
    for table in ["clean", "daily", "kinds", "twice", "latest"] {
        assert_eq!(all(here.path(), table), all(other.path(), table), "{table}");
    }
    read_by_others(&server, "c");
    files_lie_in_a_bucket(&server, here.path());
}

/// A commit is there once, whoever was first; and logs that are longer than what a listing looks at are read from their last checkpoint.
#[test]
fn commits_in_a_bucket_exclude_one_another() {
    let Some(server) = server() else { return };
    two_at_once(project_with(&stores("two", server.port)).path());
    let long = project_with(&stores("long", server.port));
    only(long.path(), "clean");
    for i in 0..104 {
        land(long.path(), &format!("{i:03}.parquet"), &bytes_of(&rows(i + 1, 10, 0..2)));
        assert_eq!(run(long.path())["clean"]["version"], i + 1);
    }
    let last = Command::new("find").arg(long.path()).args(["-name", "_last_checkpoint"]).output().expect("runs");
    assert!(last.stdout.is_empty(), "it is in the bucket");
    assert_eq!(run(long.path())["clean"]["kind"], "nothing");
    verified(long.path());
}

/// delta-rs, of Python, finds what we find.
fn read_by_others(server: &weed::Server, prefix: &str) {
    let python = std::env::var("OUZEL_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import deltalake, pyarrow"]).output().is_ok_and(|out| out.status.success());
    if !has {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "`{python}` has no deltalake and pyarrow");
        eprintln!("!!! SKIPPED: `{python}` has no deltalake and pyarrow; set OUZEL_TEST_PYTHON");
        return;
    }
    let script = "import sys, deltalake
at, options = sys.argv[1], dict(AWS_ENDPOINT_URL=sys.argv[2], AWS_ACCESS_KEY_ID='key', AWS_SECRET_ACCESS_KEY='secret', AWS_REGION='us-east-1', AWS_ALLOW_HTTP='true')
rows = deltalake.DeltaTable(at, storage_options=options).to_pyarrow_table().to_pylist()
print(len(rows), sum(row['total'] for row in rows), sorted({str(row['kind']) for row in rows}))";
    let (table, endpoint) = (format!("s3://lake/{prefix}/kinds"), format!("http://127.0.0.1:{}", server.port));
    let read = Command::new(&python).args(["-c", script, &table, &endpoint]).output().expect("starts");
    let (out, err) = (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
    let there = project_with(&stores(prefix, server.port));
    let (rows, total) =
        (number(there.path(), "select count(*) from kinds"), number(there.path(), "select sum(total) from kinds"));
    assert_eq!(out.trim(), format!("{rows} {total} ['None', 'a', 'b', 'c']"), "{err}");
}

/// Files that lie in a bucket: those of a lake's table are Parquet files like others.
/// Files in folders that say the day.
const OF_DAYS: &str = "---\nwrite: append\nunique_key: id\npartition_by: day\n---\nselect * exclude (day), cast(day as date) as day from {{ source('landing') }}\n";

fn files_lie_in_a_bucket(server: &weed::Server, here: &Path) {
    let there = project_with("");
    let files = format!(
        "name: test\nsources: {{ landing: {{ files: \"s3://lake/c/clean/**/*.parquet\", endpoint: \"http://127.0.0.1:{}\", access_key: key, secret_key: secret }} }}\n",
        server.port
    );
    write(there.path(), "ouzel.yaml", &files);
    write(there.path(), "jobs/clean.sql", OF_DAYS);
    let jobs = run(there.path());
    assert!(jobs["clean"]["landing"]["files"].as_u64() > Some(4), "{jobs}");
    assert_eq!(all(here, "clean"), all(there.path(), "clean"));
    verified(there.path());
    assert_eq!(run(there.path())["clean"]["kind"], "nothing");
}

/// Records are read from objects as from files, through a server that fails now and then, into a lake in the bucket; what of them is set aside lies there too.
#[test]
fn records_lie_in_a_bucket() {
    let Some(server) = server() else { return };
    let faults = faults(&server, 2);
    let endpoint = |port: u16| format!("http://127.0.0.1:{port}");
    let settings = BucketSettings {
        bucket: "lake".into(),
        region: None,
        endpoint: Some(endpoint(server.port)),
        access_key: Some("key".into()),
        secret_key: Some(Secret::new("secret")),
    };
    let bucket = Arc::new(Bucket::open(&settings).expect("opens"));
    let incoming = Location::Bucket { bucket, key: key_of_prefix("incoming").expect("one"), work: Default::default() };
    let (here, there) = (records::project("json"), records::project("json"));
    let yaml = std::fs::read_to_string(there.path().join("ouzel.yaml")).expect("there");
    let files = format!(
        "\"s3://lake/incoming/**/*\"\n    endpoint: \"{}\"\n    access_key: key\n    secret_key: secret",
        endpoint(faults.port)
    );
    write(there.path(), "ouzel.yaml", &(yaml.replace("\"in/**/*\"", &files) + &stores("r", faults.port)));
    for i in 0..4_u64 {
        let text = records::lines(i + 1, 2_000);
        let packed = records::gzip(text.as_bytes());
        let bytes = match i {
            1 => &packed[..packed.len() - 20],
            3 => text.as_bytes(),
            _ => &packed[..],
        };
        let name = format!("site=a%2Fb/day={i}/{i}.json");
        records::land(here.path(), &name, bytes);
        incoming.put(&name, bytes).expect("put");
        for root in [here.path(), there.path()] {
            let (code, told, err) = call(root, &["run"], &[]);
            assert_eq!(code, Some(0), "{told} {err}");
            let aside = told["jobs"]["events"]["landing"]["aside"].as_object().map_or(0, |files| files.len());
            assert_eq!(aside, usize::from(i > 0), "{told}");
        }
    }
    let packed = records::gzip(records::lines(2, 2_000).as_bytes());
    records::land(here.path(), "site=a%2Fb/day=1/1.json", &packed);
    incoming.put("site=a%2Fb/day=1/1.json", &packed).expect("put");
    for root in [here.path(), there.path()] {
        let (_, told, err) = call(root, &["run"], &[]);
        assert_eq!(told["jobs"]["events"]["landing"]["files"], 1, "{told} {err}");
        verified(root);
    }
    assert!(faults.cut.load(Relaxed) > 0);
    let yaml = std::fs::read_to_string(there.path().join("ouzel.yaml")).expect("there");
    write(there.path(), "ouzel.yaml", &yaml.replace(&endpoint(faults.port), &endpoint(server.port)));
    // The rows, but for where they lie and when they came to lie there.
    let alike = |root: &Path, table: &str| {
        let place = if root == here.path() { "in/" } else { "s3://lake/incoming/" };
        let columns = match table {
            "events" => "*".to_string(),
            _ => format!("reason, replace(file, '{place}', '') as file, byte, raw"),
        };
        let sql = format!("select {columns} from {table}")
            .replace('*', &format!("* exclude (_file), replace(_file, '{place}', '') as _file"));
        let mut rows = records::query(root, &sql);
        rows.sort();
        rows
    };
    assert_eq!(alike(here.path(), "events"), alike(there.path(), "events"));
    for table in ["dead_letters", "quarantine"] {
        assert!(number(here.path(), &format!("select count(*) from {table}")) > 50);
        assert_eq!(alike(here.path(), table), alike(there.path(), table));
    }
    // Another machine finds it all there.
    std::fs::remove_dir_all(there.path().join(".ouzel")).expect("removed");
    assert_eq!(alike(here.path(), "dead_letters"), alike(there.path(), "dead_letters"));
}

/// A pipeline's table, with odd names of partitions, killed again and again.
#[test]
fn a_pipeline_writes_the_same_table_to_a_bucket() {
    let Some(server) = server() else { return };
    let pipeline = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { t: timestamp, kind: text, n: int }, time: t, lateness: 1h }
features: [{ by: kind, measure: { seen: { count: \"*\", within: 1h } } }]
sinks: [{ lake: { table: events, partition_by: [kind] } }]
";
    let kinds = ["a", "with space", "50%", "a/b", "ünï=çode", "", "..", "a+b&c?d#e"];
    let log: String =
        (0..4000_usize).map(|n| format!("{{\"t\":{},\"kind\":\"{}\",\"n\":{n}}}\n", 1000 + n, kinds[n % 8])).collect();
    let project = |stores: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "ouzel.yaml", &format!("name: test\n{stores}"));
        write(folder.path(), "pipelines/p.yaml", pipeline);
        write(folder.path(), "in.ndjson", &log);
        folder
    };
    let (here, there) = (project(""), project(&stores("p", server.port)));
    assert_eq!(super::run(here.path(), &[], &[]).0, Some(0));
    let mut killed = 0;
    for point in ["sinks-opened", "commit-begun", "sinks-synced", "manifest-linked", "published"] {
        let fault = format!("kill:{point}:1");
        killed += u64::from(super::run(there.path(), &[], &[("OUZEL_FAULT", &fault)]).0 != Some(0));
    }
    assert_eq!(killed, 5);
    let (code, summary, err) = super::run(there.path(), &[], &[]);
    assert_eq!(code, Some(0), "{summary} {err}");
    assert_eq!(all(here.path(), "events"), all(there.path(), "events"));
    assert_eq!(number(there.path(), "select count(*) from events where kind = 'a/b'"), 500);
}

/// Between us and the server: slow now and then, and cuts connections, some of them after the server has done what it was asked for.
struct Faults {
    port: u16,
    cut: Arc<AtomicU64>,
    /// Each connection is cut.
    out: Arc<AtomicBool>,
}

/// `often`: of a hundred stretches of bytes so many end their connection.
fn faults(server: &weed::Server, often: u64) -> Faults {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (port, server, cut) = (listener.local_addr().expect("bound").port(), server.port, Arc::new(AtomicU64::new(0)));
    let (count, out) = (cut.clone(), Arc::new(AtomicBool::new(false)));
    let is_out = out.clone();
    let seed = AtomicU64::new(7);
    let random = move || {
        let next = seed.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) >> 11
    };
    let random = Arc::new(random);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if is_out.load(Relaxed) {
                continue;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                let (random, cut, is_out) = (random.clone(), count.clone(), is_out.clone());
                std::thread::spawn(move || {
                    let mut bytes = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from.read(&mut bytes) {
                        if is_out.load(Relaxed) {
                            break;
                        }
                        match random() % 100 {
                            n if n < often => {
                                cut.fetch_add(1, Relaxed);
                                break;
                            }
                            n if often > 0 && n < 6 => std::thread::sleep(Duration::from_millis(50)),
                            _ => {}
                        }
                        if to.write_all(&bytes[..n]).is_err() {
                            break;
                        }
                    }
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    Faults { port, cut, out }
}

/// Files are not set aside because their store does not answer; one that is empty is.
#[test]
fn an_outage_is_no_fault_of_a_file() {
    let Some(server) = server() else { return };
    let (faults, there) = (faults(&server, 0), project_with(&stores("in", server.port)));
    for i in 0..4 {
        land(there.path(), &format!("{i}.parquet"), &bytes_of(&rows(i + 1, 3_000, 0..5)));
        run(there.path());
    }
    let here = project_with("");
    let source = format!(
        "name: test\nsources: {{ landing: {{ files: \"s3://lake/in/clean/**/*.parquet\", endpoint: \"http://127.0.0.1:{}\", access_key: key, secret_key: secret }} }}\n",
        faults.port
    );
    write(here.path(), "ouzel.yaml", &source);
    only(here.path(), "clean");
    write(here.path(), "jobs/clean.sql", OF_DAYS);
    let asleep = Asleep::at(here.path(), &[], "job-planned");
    faults.out.store(true, Relaxed);
    let (code, err) = asleep.wake();
    assert_eq!(code, Some(4), "{err}");
    faults.out.store(false, Relaxed);
    let jobs = run(here.path());
    assert!(jobs["clean"]["landing"]["aside"].is_null(), "{jobs}");
    assert_eq!(all(there.path(), "clean"), all(here.path(), "clean"));
}

#[test]
fn a_server_that_fails_now_and_then_changes_no_row() {
    let Some(server) = server() else { return };
    let faults = faults(&server, 2);
    let there = project_with(&stores("f", faults.port));
    increments(there.path(), 8, &[".ouzel/lake"]);
    assert!(faults.cut.load(Relaxed) > 20, "{:?}", faults.cut);
}
