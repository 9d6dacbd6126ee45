//! Against a real PostgreSQL, started for the test: each row once however the run or the server is killed, what it refuses dead-lettered.

use super::sinks::{Subject, hold_often};
use ouzel_engine::{Control, Options, project};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// A server of our own on a free port of this machine; it ends with the test.
struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

/// `None`, loudly, where there is none; in CI that fails.
fn server() -> Option<Server> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let Some(programs) =
        std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().chain(installed).find(|p| p.join("initdb").exists())
    else {
        assert!(std::env::var_os("OUZEL_TEST_SERVERS").is_none(), "no PostgreSQL on this machine");
        eprintln!("!!! SKIPPED: no PostgreSQL on this machine (a folder with `initdb`: PG_BIN)");
        return None;
    };
    let folder = TempDir::new().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let server = Server { folder, programs, port };
    let data = server.data();
    if is_root() {
        // The server refuses to run as root.
        run(Command::new("chmod").arg("755").arg(server.folder.path()));
        std::fs::create_dir(&data).expect("a folder");
        run(Command::new("chown").arg("postgres").arg(&data));
    }
    run(server
        .program("initdb")
        .args(["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data));
    server.start();
    Some(server)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.starts_with(b"0\n"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Server {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&program) };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(program);
        }
        command.current_dir("/");
        command
    }

    fn start(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off", self.port);
        let log = self.data().join("log");
        // Not by `output`: the server would hold its pipes.
        let status = self
            .program("pg_ctl")
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(log)
            .args(["-w", "-s", "-o", &options, "start"])
            .status();
        assert!(status.expect("starts").success());
    }

    /// As if the machine had gone.
    fn kill(&self) {
        run(self.program("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]));
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn ask(&self, sql: &str) -> String {
        run(Command::new(self.programs.join("psql")).args(["-At", "-d", &self.url(), "-c", sql])).trim_end().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.program("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]).output();
    }
}

type Ask = Box<dyn Fn(&str) -> String + Send + Sync>;
static ASK: OnceLock<Ask> = OnceLock::new();

/// The name of a table for a folder.
pub fn table_of(root: &Path) -> String {
    root.file_name().expect("a name").to_string_lossy().trim_start_matches('.').to_string()
}

fn numbers(root: &Path) -> Vec<i64> {
    let ask = ASK.get().expect("a server");
    ask(&format!("select n from \"{}\" order by n", table_of(root))).lines().map(|n| n.parse().expect("a number")).collect()
}

const PIPELINE: &str = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { id: text, t: timestamp, ip: ip, n: int, tags: list<text>, ok: bool, note: text }, time: t }
features: [{ by: ip, measure: { seen: { count: \"*\", within: 1h }, share: { share: note, within: 1h } } }]
sinks: SINKS
";

/// A pipeline over a log into a database, run to its end.
fn score(folder: &Path, log: &str, sinks: &str) -> ouzel_core::Result<ouzel_engine::PipelineSummary> {
    std::fs::create_dir_all(folder.join("pipelines")).expect("a folder");
    std::fs::write(folder.join("ouzel.yaml"), "name: pg\n").expect("written");
    std::fs::write(folder.join("pipelines/p.yaml"), PIPELINE.replace("SINKS", sinks)).expect("written");
    std::fs::write(folder.join("in.ndjson"), log).expect("written");
    let (project, report) = project::load(folder, &|_| None);
    let project = project.unwrap_or_else(|| panic!("{}", report.render(|_, word| word.to_string())));
    let options = Options { threads: 2, ..Options::default() };
    let ended = ouzel_engine::run(&project.pipelines[0].plan, &project.place(), &options, &Control::default(), &mut |_| {})?;
    ended.error.map_or(Ok(ended.summary), Err)
}

fn event(i: usize, note: &str) -> String {
    let (t, ip) = (1_700_000_000 + i, i % 50);
    format!(
        "{{\"id\":\"e{i}\",\"t\":{t},\"ip\":\"10.0.0.{ip}\",\"n\":{i},\"tags\":[\"a\",\"b\\\"c\"],\"ok\":{},\"note\":{note}}}\n",
        i.is_multiple_of(2)
    )
}

#[test]
fn postgresql_holds_each_row_once() {
    let Some(server) = server() else { return };
    let (psql, url) = (server.programs.join("psql"), server.url());
    let asked = url.clone();
    let ask = move |sql: &str| run(Command::new(&psql).args(["-At", "-d", &asked, "-c", sql])).trim_end().to_string();
    assert!(ASK.set(Box::new(ask)).is_ok());
    let config: &'static str = Box::leak(format!("postgres: {{ url: \"{url}\", table: TABLE }}").into_boxed_str());
    hold_often(&Subject { config, read: numbers }, 15);

    columns_have_types(&server);
    documents_are_whole(&server);
    what_it_refuses_is_dead_lettered(&server);
    tables_that_do_not_fit_are_told(&server);
    the_server_may_be_killed(&server);
}

fn columns_have_types(server: &Server) {
    let folder = TempDir::new().expect("a folder");
    let log = event(0, "\"tab\\t, line\\n, back\\\\slash, \\\\N, é\"") + &event(1, "null") + &event(2, "\"\"");
    let summary =
        score(folder.path(), &log, &format!("[{{ postgres: {{ url: \"{}\", table: typed }} }}]", server.url())).expect("runs");
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].dead_lettered), (3, 0));
    let types = server.ask("select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) from information_schema.columns where table_name = 'typed' and column_name in ('_id', 't', 'n', 'ok', 'tags', 'share', '_date')");
    assert_eq!(
        types,
        "t timestamp with time zone, n bigint, tags jsonb, ok boolean, _id text, _date date, share double precision"
    );
    assert_eq!(
        server.ask("select _id, extract(epoch from t)::int, n, ok, tags->>1, seen from typed order by n limit 1"),
        "p.0.0.0.0|1700000000|0|t|b\"c|1"
    );
    assert_eq!(server.ask("select note from typed where n = 0"), "tab\t, line\n, back\\slash, \\N, é");
    assert_eq!(server.ask("select n, note is null, note = '' from typed where n > 0 order by n"), "1|t|\n2|f|t");
}

fn documents_are_whole(server: &Server) {
    let folder = TempDir::new().expect("a folder");
    let sink =
        format!("[{{ postgres: {{ url: \"{}\", table: whole, document: event, columns: [n, tags, note] }} }}]", server.url());
    score(folder.path(), &event(7, "\"x\""), &sink).expect("runs");
    assert_eq!(
        server.ask("select _id, event from whole"),
        "p.0.0.0.0|{\"n\": 7, \"_id\": \"p.0.0.0.0\", \"note\": \"x\", \"tags\": [\"a\", \"b\\\"c\"]}"
    );
}

fn what_it_refuses_is_dead_lettered(server: &Server) {
    let folder = TempDir::new().expect("a folder");
    server.ask("create table strict (_id text primary key, n bigint check (n <> 5), note text)");
    // A text with U+0000, which PostgreSQL has none of, and a row that breaks a constraint of the table's owner.
    let log: String = (0..200).map(|i| event(i, if i == 77 { "\"a\\u0000b\"" } else { "\"x\"" })).collect();
    let sink = format!("[{{ postgres: {{ url: \"{}\", table: strict, columns: [n, note], where: \"n <> 3\" }} }}]", server.url());
    let summary = score(folder.path(), &log, &sink).expect("runs");
    let sink = &summary.sinks[0];
    assert_eq!((sink.offered, sink.filtered, sink.delivered, sink.dead_lettered), (200, 1, 197, 2));
    assert!(summary.adds_up() && summary.delivered == 200);
    assert_eq!(server.ask("select count(*), min(n), max(n) from strict where n not in (3, 5, 77)"), "197|0|199");
    let journal = std::fs::read_to_string(folder.path().join(".ouzel/state/p/dead_letters.ndjson")).expect("a journal");
    let entries: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(entries.len(), 2, "{journal}");
    for (entry, n, why) in [(&entries[0], 5, "check constraint"), (&entries[1], 77, "invalid byte sequence")] {
        assert_eq!(entry["id"], format!("p.0.0.{n}.0"));
        let reason = entry["reason"].as_str().expect("text");
        assert!(reason.contains("the sink `postgres` refused a row") && reason.contains(why), "{reason}");
        assert!(entry["raw"].as_str().is_some_and(|raw| raw.contains(&format!("\"n\":{n},"))), "{entry}");
    }
}

fn tables_that_do_not_fit_are_told(server: &Server) {
    server.ask("create table narrow (_id text primary key)");
    server.ask("create table keyless (_id text, n bigint)");
    for (table, expected) in [("narrow", "add column"), ("keyless", "add primary key (_id)")] {
        let folder = TempDir::new().expect("a folder");
        let sink = format!("[{{ postgres: {{ url: \"{}\", table: {table}, columns: [n] }} }}]", server.url());
        let error = score(folder.path(), &event(0, "null"), &sink).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Killed in the middle of transactions and started again a moment later, several times in one run.
fn the_server_may_be_killed(server: &Server) {
    let folder = TempDir::new().expect("a folder");
    let log: String = (0..60_000).map(|i| event(i, "\"x\"")).collect();
    let sink = format!("[{{ postgres: {{ url: \"{}\", table: killed, columns: [n, seen] }} }}]", server.url());
    let summary = std::thread::scope(|scope| {
        let run = scope.spawn(|| score(folder.path(), &log, &sink));
        let mut kills = 0;
        while !run.is_finished() && kills < 3 {
            std::thread::sleep(Duration::from_millis(150));
            if run.is_finished() {
                break;
            }
            server.kill();
            std::thread::sleep(Duration::from_millis(200));
            server.start();
            kills += 1;
        }
        assert!(kills > 0, "the run was over before the server could be killed");
        run.join().expect("ends")
    });
    assert_eq!(summary.expect("runs").sinks[0].delivered, 60_000);
    assert_eq!(
        server.ask("select count(*), count(distinct _id), sum(n) from killed"),
        format!("60000|60000|{}", 60_000u64 * 59_999 / 2)
    );
}
