//! Against a receiver that fails in every way it can: each row is accepted once by its id, however the run is killed.

use super::sinks::{Subject, hold_often};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ouzel_engine::runtime::{STOPPED_DEAD, run_recut};
use ouzel_engine::{Control, Options, PipelineSummary, project};
use serde_json::Value;
use sha2::Sha256;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::TempDir;

struct Request {
    headers: HashMap<String, String>,
    body: String,
}

impl Request {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// Status and more headers; a status of 0 hangs up without an answer. `nth`: how often this id has come before.
type Answer = fn(&Request, nth: usize) -> (u16, &'static str);

/// Keeps what it has accepted, by id, as a receiver does that honours idempotency keys.
struct Receiver {
    port: u16,
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
    seen: Arc<Mutex<HashMap<String, usize>>>,
}

impl Receiver {
    /// Its threads end with the test process.
    fn start(answer: Answer) -> Receiver {
        Receiver::start_at(0, answer)
    }

    fn start_at(port: u16, answer: Answer) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let receiver = Receiver { port, accepted: Arc::default(), seen: Arc::default() };
        let (accepted, seen) = (receiver.accepted.clone(), receiver.seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (accepted, seen) = (accepted.clone(), seen.clone());
                std::thread::spawn(move || serve(stream, answer, &accepted, &seen));
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?token=s3cret", self.port)
    }

    fn accepted(&self) -> BTreeMap<String, String> {
        self.accepted.lock().expect("sound").clone()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn serve(stream: TcpStream, answer: Answer, accepted: &Mutex<BTreeMap<String, String>>, seen: &Mutex<HashMap<String, usize>>) {
    let mut input = BufReader::new(stream.try_clone().expect("a socket"));
    let mut output = stream;
    while let Some(request) = read(&mut input) {
        let nth = {
            let mut seen = seen.lock().expect("sound");
            let times = seen.entry(request.id().to_string()).or_default();
            *times += 1;
            *times - 1
        };
        let (status, more) = answer(&request, nth);
        if (200..300).contains(&status) {
            let before = accepted.lock().expect("sound").insert(request.id().to_string(), request.body.clone());
            assert!(before.is_none_or(|before| before == request.body), "another body under the same id");
        }
        let response = format!("HTTP/1.1 {status} x\r\n{more}content-length: 0\r\n\r\n");
        if status == 0 || output.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut headers = HashMap::new();
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    assert!(line.starts_with("POST /hook?token=s3cret HTTP/1.1"), "{line}");
    loop {
        line.clear();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let mut body = vec![0; headers["content-length"].parse().ok()?];
    input.read_exact(&mut body).ok()?;
    Some(Request { headers, body: String::from_utf8(body).ok()? })
}

const PIPELINE: &str = "source: { file: { path: in.ndjson } }
codec: json
event: { fields: { t: timestamp, n: int }, time: t }
sinks: [{ webhook: { url: \"URL\", secret: whsec_c2VjcmV0, headers: { x-team: fraud }, MORE columns: [n] } }]
";

fn log(n: usize) -> String {
    (0..n).map(|i| format!("{{\"t\":{i},\"n\":{i}}}\n")).collect()
}

fn lay_out(root: &Path, url: &str, more: &str, log: &str) {
    std::fs::create_dir_all(root.join("pipelines")).expect("a folder");
    std::fs::write(root.join("ouzel.yaml"), "name: hooks\n").expect("written");
    std::fs::write(root.join("pipelines/p.yaml"), PIPELINE.replace("URL", url).replace("MORE", more)).expect("written");
    std::fs::write(root.join("in.ndjson"), log).expect("written");
}

fn run(root: &Path, options: Options) -> ouzel_core::Result<PipelineSummary> {
    let (project, report) = project::load(root, &|_| None);
    let project = project.unwrap_or_else(|| panic!("{}", report.render(|_, word| word.to_string())));
    let options = Options { threads: 2, ..options };
    run_recut(&project.pipelines[0].plan, &project.place(), &options, &Control::default(), &|source, _| source)
}

fn ids(n: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..n).map(|i| format!("p.0.0.{i}.0")).collect();
    ids.sort();
    ids
}

#[test]
fn a_receiver_that_fails_now_and_then_has_each_row_once() {
    let receiver = Receiver::start(|request, nth| {
        let n: u64 = request.id().split('.').nth(3).and_then(|n| n.parse().ok()).expect("an id");
        match (n % 5, nth) {
            (1, 0) => (500, ""),
            (2, 0) => (429, "retry-after: 0\r\n"),
            (3, 0) => (0, ""),
            (3, 1) => (404, ""),
            _ => (204, ""),
        }
    });
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &receiver.url(), "", &log(100));
    let summary = run(folder.path(), Options::default()).expect("runs");
    let sink = &summary.sinks[0];
    assert_eq!((sink.delivered, sink.dead_lettered, sink.waiting), (100, 0, 0));
    assert_eq!(sink.location, format!("webhook http://127.0.0.1:{}", receiver.port), "no secrets");
    let accepted = receiver.accepted();
    assert_eq!(accepted.keys().cloned().collect::<Vec<_>>(), ids(100));
    assert_eq!(accepted["p.0.0.7.0"], r#"{"_id":"p.0.0.7.0","n":7}"#);
    // A second run has nothing to send.
    run(folder.path(), Options::default()).expect("runs");
    assert_eq!(receiver.seen.lock().expect("sound")["p.0.0.99.0"], 1);
}

/// A redirect would turn the POST into a GET, and send headers to who knows whom.
#[test]
fn a_redirect_is_no_delivery() {
    let receiver = Receiver::start(|_, nth| if nth == 0 { (302, "location: /elsewhere\r\n") } else { (200, "") });
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &receiver.url(), "", &log(3));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((summary.sinks[0].delivered, receiver.accepted().len()), (3, 3));
}

#[test]
fn requests_are_signed_and_have_their_headers() {
    let receiver = Receiver::start(|request, _| {
        let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
        let signed = format!("{}.{}.{}", request.id(), header("webhook-timestamp"), request.body);
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("a key");
        mac.update(signed.as_bytes());
        let good = header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            && header("webhook-timestamp").parse::<i64>().is_ok_and(|t| t > 1_700_000_000)
            && header("idempotency-key") == request.id()
            && header("content-type") == "application/json"
            && header("x-team") == "fraud";
        (if good { 200 } else { 422 }, "")
    });
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &receiver.url(), "", &log(3));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].dead_lettered), (3, 0));
}

#[test]
fn what_the_receiver_refuses_is_dead_lettered() {
    let receiver = Receiver::start(|request, _| (if request.body.contains("\"n\":4}") { 422 } else { 200 }, ""));
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &receiver.url(), "", &log(10));
    let summary = run(folder.path(), Options::default()).expect("runs");
    let sink = &summary.sinks[0];
    assert_eq!((sink.offered, sink.delivered, sink.dead_lettered), (10, 9, 1));
    assert!(summary.adds_up());
    let journal = std::fs::read_to_string(folder.path().join(".ouzel/state/p/dead_letters.ndjson")).expect("a journal");
    let entry: Value = serde_json::from_str(journal.trim_end()).expect("one entry");
    assert_eq!((&entry["id"], &entry["raw"]), (&"p.0.0.4.0".into(), &r#"{"_id":"p.0.0.4.0","n":4}"#.into()));
    assert!(entry["reason"].as_str().is_some_and(|r| r.contains("answered 422")), "{entry}");
    // Given up for good: the next run does not send it again.
    let again = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((again.sinks[0].dead_lettered, receiver.seen.lock().expect("sound")["p.0.0.4.0"]), (1, 1));
}

#[test]
fn what_cannot_be_sent_waits_for_the_next_run_or_is_given_up() {
    let port = free_port();
    let url = format!("https://127.0.0.1:{port}/hook?token=s3cret");
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &url, "", &log(5));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].waiting), (5, 5));
    // Another receiver is another sink: it gets what is new, and what waits for the one before stays.
    let receiver = Receiver::start(|_, _| (200, ""));
    lay_out(folder.path(), &receiver.url(), "", &log(5));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert!(summary.notes.iter().any(|note| note.contains("is new")) && receiver.accepted().is_empty(), "{:?}", summary.notes);
    // The one before again: what has waited for it is there.
    lay_out(folder.path(), &url, "give_up_after: 300ms,", &log(5));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!(summary.sinks[0].dead_lettered, 5, "tried, and given up");

    // The receiver is there again: another run sends what has waited.
    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &url.replace("https", "http"), "", &log(5));
    assert_eq!(run(folder.path(), Options::default()).expect("runs").sinks[0].waiting, 5);
    let receiver = Receiver::start_at(port, |_, _| (200, ""));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].waiting), (5, 0));
    assert_eq!(receiver.accepted().len(), 5);
    drop(receiver);

    let port = free_port();
    let url = format!("https://127.0.0.1:{port}/hook?token=s3cret");

    let folder = TempDir::new().expect("a folder");
    lay_out(folder.path(), &url, "give_up_after: 300ms,", &log(5));
    let summary = run(folder.path(), Options::default()).expect("runs");
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].dead_lettered, summary.sinks[0].waiting), (0, 5, 0));
    let journal = std::fs::read_to_string(folder.path().join(".ouzel/state/p/dead_letters.ndjson")).expect("a journal");
    assert!(journal.contains("did not answer") && !journal.contains("s3cret"), "{journal}");
}

#[test]
fn killed_at_every_commit_each_row_is_accepted_once() {
    let receiver = Receiver::start(|_, _| (200, ""));
    let folder = TempDir::new().expect("a folder");
    let lines = 20_000;
    lay_out(folder.path(), &receiver.url(), "", &log(lines));
    let mut kills = 0;
    let summary = loop {
        let options = Options { commit_each_batch: true, die_after_commits: Some(1), ..Options::default() };
        match run(folder.path(), options) {
            Err(e) if e.message() == STOPPED_DEAD => kills += 1,
            ended => break ended.expect("runs"),
        }
    };
    assert!(kills > 0);
    assert_eq!((summary.sinks[0].delivered, summary.sinks[0].waiting), (lines as u64, 0));
    assert_eq!(receiver.accepted().keys().cloned().collect::<Vec<_>>(), ids(lines));
}

static RECEIVER: OnceLock<Receiver> = OnceLock::new();

/// The rows that came from this folder, once each.
fn numbers(root: &Path) -> Vec<i64> {
    let from = super::postgres::table_of(root);
    let accepted = RECEIVER.get().expect("started").accepted();
    let rows = accepted.values().map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
    let mut numbers: Vec<i64> = rows
        .filter(|row| row["_id"].as_str().is_some_and(|id| id.starts_with(&from)))
        .map(|row| row["n"].as_i64().expect("a number"))
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_outbox_holds_each_row_once_however_often_it_is_killed() {
    let receiver = RECEIVER.get_or_init(|| Receiver::start(|_, _| (200, "")));
    let config = format!("webhook: {{ url: \"{}\" }}", receiver.url());
    hold_often(&Subject { config: Box::leak(config.into_boxed_str()), read: numbers }, 20);
}
