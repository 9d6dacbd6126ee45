//! The files of a project as they are written.

mod files;

pub use files::{FilesConfig, RecordConfig};

use crate::lists::ListsConfig;
use crate::registry::{CodecConfig, LookupConfig, SinkConfig, SourceConfig};
use crate::risk::RiskConfig;
use ouzel_connect::sinks::WebhookSink;
use ouzel_core::units::{ByteSize, TimeSpan};
use ouzel_core::{Lenient, OneOrMany, Ordered, Secret, Span, Spanned, TextOr};
use ouzel_detect::alerts::AlertConfig;
use ouzel_detect::decision::DecisionConfig;
use ouzel_detect::features::GroupConfig;
use ouzel_detect::schema::{FieldConfig, SchemaConfig};
use ouzel_lake::BucketSettings;
use schemars::JsonSchema;
use serde::Deserialize;

/// `ouzel.yaml`: the project.
///
/// ```yaml
/// name: shop
/// stores:
///   lake: { local: { path: lake } }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// Names the project.
    pub name: Spanned<String>,
    /// Where things live.
    #[serde(default)]
    pub stores: StoresConfig,
    /// Streams that join pipelines: a pipeline writes to one with `sinks: [{ stream: NAME }]`, others read it with `source: { stream: NAME }`.
    #[serde(default)]
    pub streams: Ordered<Lenient<StreamConfig>>,
    /// Files that others put into a folder or a bucket, for jobs: `{{ source('NAME') }}`.
    #[serde(default)]
    pub sources: Ordered<Lenient<FilesConfig>>,
    /// How jobs run.
    #[serde(default)]
    pub jobs: JobsConfig,
}

fn settings(
    bucket: &str,
    region: &Option<String>,
    endpoint: &Option<String>,
    access_key: &Option<String>,
    secret_key: &Option<Secret>,
) -> BucketSettings {
    let (region, endpoint) = (region.clone(), endpoint.clone());
    BucketSettings { bucket: bucket.into(), region, endpoint, access_key: access_key.clone(), secret_key: secret_key.clone() }
}

/// How jobs run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// What sorts, joins and sums of a job keep in memory, about; what they need beyond goes to disk. 4GB if nothing is said.
    pub memory: Option<Spanned<ByteSize>>,
    /// Who is told when a check has stopped a table.
    pub notify: Option<Lenient<Spanned<NotifyConfig>>>,
}

/// Who is told, and how.
///
/// ```yaml
/// webhook: { url: "${HOOK_URL}", secret: "${HOOK_SECRET}" }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyConfig {
    /// A JSON object is posted: `_id`, `event` (`paused`), `project`, `target`, `owner`, `at`, `checks` with some of the failing rows. It has not arrived before the receiver has answered 2xx: each run tries again
    /// until then, under the same `_id`.
    Webhook(WebhookSink),
}

/// A stream: an ordered log of events that pipelines write to and read from, kept on disk.
///
/// ```yaml
/// streams:
///   scored: { key: customer, keep: 7d }
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// The column whose value decides on the partition: events of one key stay in order.
    pub key: Option<Spanned<String>>,
    /// One uses all cores of a machine; more are for more machines.
    pub partitions: Option<Spanned<u32>>,
    /// Events are kept at least so long; 7 days if nothing is said. Older ones go, by whole segments, also if nobody has read them: whoever comes too late
    /// is told how many.
    pub keep: Option<Lenient<Spanned<TimeSpan>>>,
    /// The oldest events go before `keep` while there is more than this; no bound if nothing is said.
    pub keep_bytes: Option<Lenient<Spanned<ByteSize>>>,
}

/// How long a stream keeps its events if nothing is said.
pub const STREAM_KEEP: TimeSpan = TimeSpan::days(7);
/// More are for no purpose.
pub const PARTITIONS_MAX: u32 = 1024;

/// Where things live.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoresConfig {
    /// Tables that pipelines write.
    #[serde(default)]
    pub lake: LakeStore,
    /// What pipelines remember, and how far they are.
    #[serde(default)]
    pub state: StateStore,
    /// Streams between pipelines.
    #[serde(default)]
    pub streams: StreamStore,
}

/// Where streams lie.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamStore {
    /// A log in a folder of this machine, relative to the project.
    Embedded(EmbeddedStore),
}

/// Logs on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedStore {
    /// Relative to the project.
    #[serde(default = "streams_folder")]
    pub path: String,
}

fn streams_folder() -> String {
    ".ouzel/streams".into()
}

impl Default for StreamStore {
    fn default() -> StreamStore {
        StreamStore::Embedded(EmbeddedStore { path: streams_folder() })
    }
}

/// Where the lake lies.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LakeStore {
    /// A folder, relative to the project.
    Local(LocalStore),
    /// A bucket of S3, or of any store that speaks as it does.
    S3(LakeBucket),
}

/// Where state lies.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateStore {
    /// A folder, relative to the project: a run goes on where the last one stopped, however it stopped.
    Local(StateFolder),
    /// A bucket of S3, or of any store that speaks as it does: a run goes on where the last one stopped, on whatever machine.
    S3(S3Store),
    /// In memory: a run starts with none and leaves none.
    Memory(MemoryStore),
}

/// A folder on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalStore {
    /// Relative to the project.
    pub path: String,
}

/// A folder of state on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateFolder {
    /// Relative to the project.
    #[serde(default = "state_folder")]
    pub path: String,
    /// How much of what each pipeline remembers of keys stays in memory, about; the keys without an event for longest leave it, and
    /// are read from disk when they return. It changes no output. No bound if nothing is said.
    pub memory: Option<Spanned<ByteSize>>,
}

fn state_folder() -> String {
    STATE_FOLDER.into()
}

/// State in a bucket. The store must create objects conditionally (`If-None-Match: *`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Store {
    pub bucket: String,
    /// Before the names of all objects; each pipeline has a folder there.
    pub prefix: String,
    /// Of the bucket; `AWS_REGION`, or `us-east-1`, if nothing is said.
    pub region: Option<String>,
    /// URL of a store other than AWS, as `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    /// With `secret_key`: who writes. What the environment has if nothing is said: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or what
    /// AWS gives a machine. Take them from variables (`${NAME}`), not into the file.
    pub access_key: Option<String>,
    pub secret_key: Option<Secret>,
    /// Folder of the copy that a run works with, relative to the project. What is missing there is fetched.
    #[serde(default = "state_folder")]
    pub path: String,
    /// As of a local folder.
    pub memory: Option<Spanned<ByteSize>>,
}

impl S3Store {
    pub fn settings(&self) -> BucketSettings {
        settings(&self.bucket, &self.region, &self.endpoint, &self.access_key, &self.secret_key)
    }
}

/// Tables in a bucket. The store must create objects conditionally (`If-None-Match: *`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeBucket {
    pub bucket: String,
    /// Before the names of all tables.
    pub prefix: String,
    /// Of the bucket; `AWS_REGION`, or `us-east-1`, if nothing is said.
    pub region: Option<String>,
    /// URL of a store other than AWS, as `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    /// With `secret_key`: who writes. What the environment has if nothing is said: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or what
    /// AWS gives a machine. Take them from variables (`${NAME}`), not into the file.
    pub access_key: Option<String>,
    pub secret_key: Option<Secret>,
    /// Folder of this machine, relative to the project, for files on their way there, and for what jobs remember to be fast. It may go at any time between runs.
    #[serde(default = "lake_folder")]
    pub path: String,
}

fn lake_folder() -> String {
    ".ouzel/lake".into()
}

impl LakeBucket {
    pub fn settings(&self) -> BucketSettings {
        settings(&self.bucket, &self.region, &self.endpoint, &self.access_key, &self.secret_key)
    }
}

/// Nothing to set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryStore {}

impl Default for LakeStore {
    fn default() -> LakeStore {
        LakeStore::Local(LocalStore { path: "lake".into() })
    }
}
impl Default for StateStore {
    fn default() -> StateStore {
        StateStore::Local(StateFolder { path: state_folder(), memory: None })
    }
}

/// Where state lies if nothing is said, and where a pipeline without lasting state keeps what it sets aside.
pub const STATE_FOLDER: &str = ".ouzel/state";

/// A file of `pipelines/`: source, fields, lookups, features, scores, decision, alerts, sinks, in this order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// The default is the file's name.
    pub name: Option<Spanned<String>>,
    /// Where events come from.
    pub source: Lenient<Spanned<SourceConfig>>,
    /// Their format; the source may know.
    #[serde(default)]
    pub codec: Option<Lenient<Spanned<CodecConfig>>>,
    /// Maps any shape to fields, in SQL: name to expression. Adds to the event's fields or overrides those of the same name.
    /// A name that is no field is a path into the raw record, typed text, null if absent.
    #[serde(default)]
    pub select: Ordered<Spanned<String>>,
    /// Only events for which this SQL condition over the fields is true go on; the others are counted as filtered.
    #[serde(default, rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// What an event is: its fields, its time, its identity.
    pub event: Lenient<Spanned<EventConfig>>,
    /// Columns looked up by the value of a field.
    #[serde(default)]
    pub lookups: Vec<Lenient<Spanned<LookupConfig>>>,
    /// What a key has done in windows of time.
    #[serde(default)]
    pub features: Vec<Lenient<GroupConfig>>,
    /// Name to SQL expression over fields, lookups, features and the scores above it. Features may read features of fields,
    /// and scores of those.
    #[serde(default)]
    pub scores: Ordered<Spanned<String>>,
    /// Points that entities gather, and lose again by half-life.
    #[serde(default)]
    pub risk: RisksConfig,
    /// Rules, the first that matches wins.
    #[serde(default)]
    pub decision: DecisionConfig,
    /// Who is decided on before any rule is tried: a decision to its list, the first that has the value decides.
    #[serde(default)]
    pub lists: ListsConfig,
    /// What is worth somebody's attention.
    #[serde(default)]
    pub alerts: Vec<Lenient<Spanned<AlertConfig>>>,
    /// Where the results go.
    #[serde(default)]
    pub sinks: Vec<Lenient<Spanned<SinkConfig>>>,
}

/// One risk, or several with a `name` each.
pub type RisksConfig = OneOrMany<Lenient<Spanned<RiskConfig>>>;

/// What an event is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventConfig {
    /// File with the event's fields, relative to the project. Some codecs know their fields; then it may be left out.
    pub schema: Option<Spanned<String>>,
    /// The fields right here, instead of in a file.
    pub fields: Option<Ordered<TextOr<FieldConfig>>>,
    /// The field that holds the event's time, a timestamp. An event without a readable time is quarantined.
    pub time: Spanned<String>,
    /// An event later than this, by the partition's clock, is too late for its windows.
    #[serde(default)]
    pub lateness: Option<Lenient<Spanned<TimeSpan>>>,
    /// What becomes of an event that is too late.
    #[serde(default)]
    pub too_late: TooLate,
    /// An event dated further ahead of its ingestion time than this is quarantined, where the source records one.
    #[serde(default)]
    pub ahead: Option<Lenient<Spanned<TimeSpan>>>,
    /// The field that identifies an event.
    pub id: Option<Spanned<String>>,
    /// Events whose `id` has come within this span of event time are dropped and counted as duplicates.
    #[serde(default)]
    pub duplicates_within: Option<Lenient<Spanned<TimeSpan>>>,
    /// Entries a measure keeps per key before it goes to tiles of 1/256 of its window.
    #[serde(default)]
    pub exact_up_to: Option<Lenient<Spanned<u64>>>,
}

/// A setting that was given and is right.
pub fn given<T>(setting: &Option<Lenient<Spanned<T>>>) -> Option<&Spanned<T>> {
    setting.as_ref()?.0.as_ref()
}

/// What becomes of an event later than `lateness`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TooLate {
    /// Delivered, with `_late` true and null features.
    #[default]
    Deliver,
    /// Quarantined.
    Quarantine,
}

/// How late an event may be where the pipeline does not say.
pub const LATENESS: TimeSpan = TimeSpan::seconds(300);

/// Keys every sink takes beside its own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkColumns {
    /// Column name to SQL expression, in this order. Without it: all columns.
    pub columns: Option<Ordered<Spanned<String>>>,
    /// Only rows for which this SQL condition is true; the others count as filtered for this sink.
    #[serde(rename = "where")]
    pub condition: Option<Spanned<String>>,
    /// `alerts`: a row for each alert instead of each event, with the columns `alert_name`, `alert_severity`, `alert_entity`, `alert_message`,
    /// `alert_tags`, `alert_suppressed`, `alert_closing`, `alert_time` and `alert_event` (the `_id` of the event's output).
    pub only: Option<Spanned<Only>>,
}

/// What a sink takes instead of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    Alerts,
}

/// Names of the keys of [`SinkColumns`].
pub const SINK_COLUMN_KEYS: [&str; 3] = ["columns", "where", "only"];

/// A schema file, or the fields given in the pipeline.
pub fn inline_schema(fields: &Ordered<TextOr<FieldConfig>>) -> SchemaConfig {
    SchemaConfig { fields: fields.clone(), ..SchemaConfig::default() }
}

/// A sink and what every sink takes.
#[derive(Debug, Clone)]
pub struct SinkEntry {
    pub sink: SinkConfig,
    pub columns: SinkColumns,
    pub span: Span,
}
