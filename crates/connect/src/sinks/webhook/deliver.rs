//! The thread that empties an outbox.

use super::sign::sign;
use crate::log::{End, Piece, Place, Reader};
use ouzel_core::clock::{Clock, Stopwatch, WallClock};
use ouzel_core::{Error, Rejected, Result, Secret, Which};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::JoinSet;

/// A receiver, and how it is spoken to.
#[derive(Clone)]
pub struct Target {
    pub url: Url,
    /// Of signatures.
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Secret)>,
    pub timeout: Duration,
    pub give_up_after: Duration,
}

/// Sends what the log of a folder holds, in order of its pieces; within a piece several requests are under way at once.
pub struct Delivery {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// Everything before it is delivered, or given up.
    delivered: Option<Place>,
    /// Rows that are done with.
    done: u64,
    /// Given up, not yet told.
    rejected: Vec<Rejected>,
    failure: Option<Error>,
    stop: bool,
}

const AT_ONCE: usize = 16;
/// A piece is delivered before the next is begun.
const PIECE_BYTES: usize = 64 << 10;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Tries of a message that waits in no outbox.
const POSTS: usize = 3;
/// How long it takes to notice that it is to stop.
const NOTICE: Duration = Duration::from_millis(50);

impl Delivery {
    pub fn start(folder: &Path, delivered: Option<Place>, target: Target) -> Result<Delivery> {
        let client = client(&target)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::internal(e.to_string()))?;
        let reader = Reader::new(folder, delivered.clone());
        let shared = Arc::new(Shared { state: Mutex::new(State { delivered, ..State::default() }), moved: Condvar::new() });
        let (theirs, target) = (shared.clone(), Arc::new(target));
        let thread = std::thread::spawn(move || {
            if let Err(e) = runtime.block_on(work(&theirs, reader, &client, &target)) {
                theirs.lock().failure = Some(e);
            }
        });
        Ok(Delivery { shared, thread: Some(thread) })
    }

    /// Something has come into the log.
    pub fn wake(&self) {
        self.shared.moved.notify_all();
    }

    /// Bytes before this position that are not delivered.
    pub fn waiting(&self, end: u64) -> u64 {
        if self.is_gone() {
            // Nobody waits for what will not come; the next commit tells.
            return 0;
        }
        end - self.shared.lock().delivered.as_ref().map_or(0, |place| place.at).min(end)
    }

    /// How many rows it is done with since it was started.
    pub fn done(&self) -> u64 {
        self.shared.lock().done
    }

    pub fn records_waiting(&self, end: &End) -> u64 {
        let delivered = self.shared.lock().delivered.as_ref().map_or(0, Place::records);
        end.offsets.iter().sum::<u64>().saturating_sub(delivered)
    }

    /// How far it is, and what was given up before that.
    pub fn so_far(&self) -> Result<(Option<Place>, Vec<Rejected>)> {
        let mut state = self.shared.lock();
        match state.failure.take() {
            Some(e) => Err(e),
            None if self.is_gone() => Err(Error::internal("the thread that sends a webhook's rows has ended")),
            None => Ok((state.delivered.clone(), std::mem::take(&mut state.rejected))),
        }
    }

    /// What was given up since it was asked for last.
    pub fn given_up(&self) -> Vec<Rejected> {
        std::mem::take(&mut self.shared.lock().rejected)
    }

    /// It has failed, or panicked.
    fn is_gone(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Ends what is under way; what is not delivered stays in the log.
    pub fn stop(&mut self) {
        self.shared.lock().stop = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn stopped(&self) -> bool {
        self.lock().stop
    }
}

async fn work(shared: &Arc<Shared>, mut reader: Reader, client: &Client, target: &Arc<Target>) -> Result<()> {
    while !shared.stopped() {
        let Some(Piece { data, damage, .. }) = reader.next(PIECE_BYTES)? else {
            let mut state = shared.lock();
            // Frames without rows are passed over too.
            state.delivered = Some(reader.place().clone());
            drop(shared.moved.wait_timeout(state, NOTICE).unwrap_or_else(PoisonError::into_inner));
            continue;
        };
        let mut rejected: Vec<Rejected> = Vec::new();
        if let Some(damage) = damage {
            let which = Which::Event { id: "unknown".into(), raw: Vec::new() };
            rejected.push(Rejected { which, reason: format!("rows of the outbox are lost: {damage}") });
        }
        let mut under_way: JoinSet<Option<Option<Rejected>>> = JoinSet::new();
        let mut rows = data.split(|b| *b == b'\n').filter(|row| !row.is_empty());
        loop {
            while under_way.len() < AT_ONCE
                && let Some(row) = rows.next()
            {
                under_way.spawn(deliver(shared.clone(), client.clone(), target.clone(), row.to_vec()));
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok(Some(one))) => {
                    rejected.extend(one);
                    shared.lock().done += 1;
                }
                // It is to stop: the piece comes again.
                Some(Ok(None)) => return Ok(()),
                Some(Err(e)) => return Err(Error::internal(e.to_string())),
            }
        }
        let mut state = shared.lock();
        state.rejected.extend(rejected);
        state.delivered = Some(reader.place().clone());
    }
    Ok(())
}

/// Sends a row until it is taken or given up; `None` if it is to stop before.
async fn deliver(shared: Arc<Shared>, client: Client, target: Arc<Target>, row: Vec<u8>) -> Option<Option<Rejected>> {
    #[derive(Deserialize)]
    struct Row {
        _id: String,
    }
    let id = match serde_json::from_slice::<Row>(&row) {
        Ok(row) => row._id,
        Err(e) => {
            let which = Which::Event { id: "unknown".into(), raw: row };
            return Some(Some(Rejected { which, reason: format!("a row without an id: {e}") }));
        }
    };
    let (tried, mut wait) = (Stopwatch::start(), FIRST_WAIT);
    loop {
        let (reason, is_final, asked) = match send(&client, &target, &id, &row).await {
            Ok(response) => {
                let status = response.status();
                if status.is_success() {
                    return Some(None);
                }
                let about_the_row =
                    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY].contains(&status);
                let asked =
                    response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok().map(Duration::from_secs));
                (format!("the receiver answered {status}"), about_the_row, asked)
            }
            // Without the URL, which may hold a secret.
            Err(e) => (format!("the receiver did not answer: {}", cause(&e.without_url())), false, None),
        };
        if is_final || tried.seconds() >= target.give_up_after.as_secs_f64() {
            let which = Which::Event { id, raw: row };
            return Some(Some(Rejected { which, reason }));
        }
        let mut left = asked.unwrap_or(wait).min(LONGEST_WAIT);
        while !left.is_zero() {
            if shared.stopped() {
                return None;
            }
            let now = left.min(NOTICE);
            tokio::time::sleep(now).await;
            left -= now;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Tries a few times to send something that waits in no outbox.
pub fn post(target: &Target, id: &str, body: &[u8]) -> Result<()> {
    let unavailable = |why: String| Error::unavailable(format!("the receiver of the webhook: {why}"));
    let client = client(target)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::internal(e.to_string()))?;
    let mut wait = FIRST_WAIT;
    let mut last = String::new();
    for tried in 0..POSTS {
        if tried > 0 {
            std::thread::sleep(wait);
            wait *= 4;
        }
        match runtime.block_on(send(&client, target, id, body)) {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => last = format!("it answered {}", response.status()),
            Err(e) => last = format!("it did not answer: {}", cause(&e.without_url())),
        }
    }
    Err(unavailable(last))
}

fn client(target: &Target) -> Result<Client> {
    let client = Client::builder().timeout(target.timeout).redirect(Policy::none()).build();
    client.map_err(|e| Error::config(e.to_string()))
}

async fn send(client: &Client, target: &Target, id: &str, row: &[u8]) -> reqwest::Result<reqwest::Response> {
    let timestamp = WallClock.now_us() / 1_000_000;
    let mut request = client
        .post(target.url.clone())
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("idempotency-key", id)
        .header("webhook-timestamp", timestamp);
    for (name, value) in &target.headers {
        request = request.header(name, value.expose());
    }
    if let Some(key) = &target.key {
        request = request.header("webhook-signature", sign(key, id, timestamp, row));
    }
    request.body(row.to_vec()).send().await
}

/// What lies at the bottom of an error says most.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
