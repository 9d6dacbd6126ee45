//! Rows to an HTTP receiver, from an outbox that the commit covers.

mod deliver;
mod sign;

use super::NdjsonEncoder;
use crate::log::{Appender, Busy, End, Place, Settings, Writer, remove_before};
use arrow_schema::SchemaRef;
use deliver::{Delivery, Target};
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::units::TimeSpan;
use ouzel_core::{Encode, Encoded, Error, Kind, Ordered, Prepared, Rejected, Report, Result, Run, Secret, Sink, Spanned};
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Rows to a URL: each is the JSON body of a POST.
///
/// ```yaml
/// webhook: { url: "${HOOK_URL}", secret: "${HOOK_SECRET}", give_up_after: 1d }
/// ```
///
/// After the Standard Webhooks specification: `webhook-id` is the row's `_id` (also sent as `Idempotency-Key`), `webhook-timestamp` the seconds since 1970, `webhook-signature` is
/// `v1,` and the base64 of the HMAC-SHA256 of `ID.TIMESTAMP.BODY` under the secret. Rows wait in an outbox on disk, also across runs, and are sent several at a time,
/// roughly in order. A receiver that answers 2xx has the row. One that does not answer, or answers otherwise, is tried again, after 0.1 s and then longer and longer up to a
/// minute, or when its `Retry-After` says, until `give_up_after`: then the row is dead-lettered; at once where the answer is 400, 413 or 422, which are about the row. After a
/// kill, rows may come again under the ids they had: a receiver that keeps the ids it has seen has each row once.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSink {
    /// `https://HOST/PATH`
    pub url: Spanned<Secret>,
    /// What bodies are signed with: any text, or `whsec_` and base64. Without it they are not signed.
    #[serde(default)]
    pub secret: Option<Spanned<Secret>>,
    /// Sent with each request.
    #[serde(default)]
    pub headers: Ordered<Secret>,
    /// A request that takes longer has failed.
    #[serde(default = "ten_seconds")]
    pub timeout: Spanned<TimeSpan>,
    /// A row is tried for so long.
    #[serde(default = "three_days")]
    pub give_up_after: Spanned<TimeSpan>,
}

fn ten_seconds() -> Spanned<TimeSpan> {
    Spanned::nowhere(TimeSpan::seconds(10))
}

fn three_days() -> Spanned<TimeSpan> {
    Spanned::nowhere(TimeSpan::days(3))
}

/// What a webhook's outbox needs to know.
pub struct Outbox<'a> {
    /// Where it lies.
    pub folder: PathBuf,
    pub writer: Writer,
    /// Of the last commit.
    pub position: Option<&'a str>,
    pub busy: Busy,
}

impl WebhookSink {
    pub fn validate(&self, report: &mut Report) {
        // Empty where a variable is not set and nothing is asked of it yet.
        if !self.url.expose().is_empty() && self.target().is_err() {
            report.error(self.url.span, "this is no URL of a receiver").hint("https://HOST/PATH");
        }
        if let Some(secret) = self.secret.as_ref().filter(|s| sign::key(s.expose()).is_none()) {
            report.error(secret.span, "what follows `whsec_` is no base64");
        }
        for (name, _) in &self.headers.0 {
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                report.error(name.span, format!("`{}` is no name of a header", name.value));
            }
        }
        if self.timeout.micros() == 0 {
            report.error(self.timeout.span, "a timeout of nothing");
        }
    }

    /// Which receiver it is, without anything secret.
    pub fn receiver(&self) -> String {
        let url = self.url.expose().parse::<Url>().ok();
        let origin = url.map(|url| url.origin().ascii_serialization());
        origin.unwrap_or_else(|| "of no URL".into())
    }

    /// Tells receivers of one origin apart, without saying anything of the URL.
    pub fn hash(&self) -> String {
        format!("{:016x}", xxh3_64(self.url.expose().as_bytes()))
    }

    pub fn open(self, schema: SchemaRef, outbox: Outbox<'_>) -> Result<Box<dyn Sink>> {
        let Outbox { folder, writer, position, busy } = outbox;
        let position: Position = match position {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| Error::new(Kind::Changed, format!("the state is of another kind of sink ({e})")))?,
            None => Position::default(),
        };
        let folder = of_writer(folder, writer)?;
        let settings = Settings { segment_bytes: SEGMENT_BYTES, ..Settings::default() };
        let (appender, opening) = Appender::open(&folder, &settings, writer, &position.end, busy)?;
        let receiver = self.receiver();
        let delivery = Delivery::start(&folder, position.delivered, self.target()?)?;
        Ok(Box::new(WebhookWriter {
            receiver,
            schema,
            folder,
            appender,
            holds: opening.holds,
            delivery,
            rejected: Vec::new(),
            is_prepared: false,
            committed: VecDeque::new(),
        }))
    }

    /// Sends one message, from no outbox: whoever asks keeps in mind whether it has arrived. [`Kind::Unavailable`]: after some tries it has not.
    pub fn post(&self, id: &str, body: &[u8]) -> Result<()> {
        deliver::post(&self.target()?, id, body)
    }

    fn target(&self) -> Result<Target> {
        let url: Url =
            self.url.expose().parse().map_err(|_| Error::config("the `url` is no URL of a receiver: https://HOST/PATH"))?;
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
            return Err(Error::config("the `url` is no URL of a receiver: https://HOST/PATH"));
        }
        let key = self.secret.as_ref().map(|secret| sign::key(secret.expose()).unwrap_or_default());
        let headers = self.headers.0.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
        let micros = |span: &Spanned<TimeSpan>| Duration::from_micros(span.micros().unsigned_abs());
        Ok(Target { url, key, headers, timeout: micros(&self.timeout), give_up_after: micros(&self.give_up_after) })
    }
}

/// As it stands in a commit.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Position {
    end: End,
    /// `None`: nothing is delivered yet.
    delivered: Option<Place>,
}

struct WebhookWriter {
    receiver: String,
    schema: SchemaRef,
    folder: PathBuf,
    appender: Appender,
    holds: u64,
    delivery: Delivery,
    /// Not yet told.
    rejected: Vec<Rejected>,
    /// They are those of a commit that is being made.
    is_prepared: bool,
    /// What the last commits had delivered: a run may have to go back to one of them.
    committed: VecDeque<u64>,
}

const SEGMENT_BYTES: u64 = 8 << 20;
/// More than this is not kept waiting: the source waits.
pub const OUTBOX_BYTES_MAX: u64 = 256 << 20;
/// As many commits as may be gone back to, and one.
const COMMITS: usize = 4;
/// At its end a run waits for deliveries as long as there are any within this time.
const PATIENCE_S: f64 = 10.0;
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Sink for WebhookWriter {
    fn encoder(&self) -> Result<Box<dyn Encode>> {
        Ok(Box::new(NdjsonEncoder::new(&self.schema)))
    }

    fn write(&mut self, block: Encoded, upto: u64) -> Result<()> {
        let Encoded::Bytes { data, rows } = block else { return Err(Error::internal("a webhook takes encoded rows")) };
        while self.delivery.waiting(self.appender.end().position) > OUTBOX_BYTES_MAX {
            std::thread::sleep(LOOK_EVERY);
        }
        self.appender.append(&data, &[Run { partition: 0, records: rows as u32, bytes: data.len() as u32 }], upto)?;
        self.delivery.wake();
        Ok(())
    }

    fn rejected(&mut self) -> Vec<Rejected> {
        // What a commit says is delivered, and what it says was given up before that, are of one moment.
        if !std::mem::take(&mut self.is_prepared) {
            self.rejected.extend(self.delivery.given_up());
        }
        std::mem::take(&mut self.rejected)
    }

    fn prepare(&mut self, _offset: u64) -> Result<Prepared> {
        let (delivered, rejected) = self.delivery.so_far()?;
        self.rejected.extend(rejected);
        self.is_prepared = true;
        let end = self.appender.end();
        let sync = self.appender.sync().clone();
        self.committed.push_back(delivered.as_ref().map_or(0, |place| place.at));
        let old = if self.committed.len() > COMMITS { self.committed.pop_front() } else { None };
        let (folder, to) = (self.folder.clone(), end.position);
        let position = serde_json::to_string(&Position { end, delivered }).map_err(|e| Error::internal(e.to_string()))?;
        let publish = move || old.map_or(Ok(()), |old| remove_before(&folder, old));
        Ok(Prepared { position, sync: Some(Box::new(move || sync.wait(to))), publish: Some(Box::new(publish)) })
    }

    fn holds(&self) -> u64 {
        self.holds
    }

    fn finish(&mut self) -> Result<()> {
        let (mut done, mut since) = (self.delivery.done(), Stopwatch::start());
        while self.delivery.waiting(self.appender.end().position) > 0 && since.seconds() < PATIENCE_S {
            std::thread::sleep(LOOK_EVERY);
            if self.delivery.done() != done {
                (done, since) = (self.delivery.done(), Stopwatch::start());
            }
        }
        Ok(())
    }

    fn waiting(&self) -> u64 {
        self.delivery.records_waiting(&self.appender.end())
    }

    fn close(&mut self) -> Result<()> {
        self.delivery.stop();
        self.appender.sync().wait(self.appender.end().position)
    }

    fn location(&self) -> String {
        format!("webhook {}", self.receiver)
    }
}

/// A writer's outbox; those of writers nobody goes on from are removed.
fn of_writer(folder: PathBuf, writer: Writer) -> Result<PathBuf> {
    let own = folder.join(format!("{:016x}", writer.id));
    let doing = || format!("making the outbox `{}`", own.display());
    std::fs::create_dir_all(&own).doing(doing)?;
    for other in std::fs::read_dir(&folder).doing(doing)?.flatten().filter(|entry| entry.path() != own) {
        std::fs::remove_dir_all(other.path()).doing(doing)?;
    }
    Ok(own)
}
