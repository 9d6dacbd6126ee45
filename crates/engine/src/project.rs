//! A project directory, read and checked: everything that can be said without looking at files and servers outside.

use crate::config::{
    LakeStore, NotifyConfig, PARTITIONS_MAX, PipelineConfig, ProjectConfig, S3Store, SINK_COLUMN_KEYS, STATE_FOLDER, STREAM_KEEP,
    SinkColumns, SinkEntry, StateStore, StreamStore, given,
};
use crate::graph;
use crate::jobs::{Files, Job, Reading, Sources};
use crate::plan::{Plan, SinkPlan};
use crate::registry::SinkConfig;
use crate::runtime::Place;
use ouzel_connect::log;
use ouzel_connect::streams::{StreamSettings, Streams};
use ouzel_core::units::ByteSize;
use ouzel_core::yaml::{Node, Value, decode, parse};
use ouzel_core::{Report, Span, Spanned};
use ouzel_detect::schema::SchemaConfig;
use ouzel_lake::jobs::landing::Pattern;
use ouzel_lake::location::key_of_prefix;
use ouzel_lake::query::MEMORY_BYTES_MAX;
use ouzel_lake::{Bucket, BucketSettings, Location};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A project whose pipelines are planned.
pub struct Project {
    pub root: PathBuf,
    pub name: String,
    pub pipelines: Vec<Pipeline>,
    /// Each behind those whose tables it reads.
    pub jobs: Vec<Job>,
    lake: Location,
    /// Tables that others make, by the names that SQL has for them.
    pub tables: BTreeMap<String, Location>,
    state: PathBuf,
    streams: Arc<Streams>,
    /// State lasts beyond a run.
    lasting: bool,
    memory: Option<u64>,
    /// Bytes that a job keeps in memory, about.
    pub job_memory: usize,
    /// Who is told of a stopped table.
    pub notify: Option<NotifyConfig>,
    bucket: Option<S3Store>,
}

/// A planned pipeline.
pub struct Pipeline {
    pub name: String,
    /// Relative to the project.
    pub file: String,
    pub plan: Arc<Plan>,
}

/// Reads files of a project once, into the report.
pub struct Reader<'a> {
    root: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    rewrite: &'a dyn Fn(&mut Node),
    schemas: HashMap<String, Option<Schema>>,
    streams: Streams,
}

/// A schema file.
#[derive(Clone)]
pub struct Schema {
    pub config: Arc<SchemaConfig>,
    /// Of what it says; comments and line breaks do not change it.
    pub hash: String,
}

/// Reads and checks a project. Whatever is wrong is in the report; the project is there if nothing is.
/// `env` gives the value of an environment variable.
pub fn load(root: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Option<Project>, Report) {
    load_with(root, env, &|_| {})
}

/// [`load`], with each pipeline's tree changed before it is read: how specs put their own events in place of the source.
pub fn load_with(root: &Path, env: &dyn Fn(&str) -> Option<String>, rewrite: &dyn Fn(&mut Node)) -> (Option<Project>, Report) {
    let mut report = Report::new();
    let mut reader = Reader { root, env, rewrite, schemas: HashMap::new(), streams: Streams::default() };
    let file = reader.read("ouzel.yaml", &mut report).map(|(node, _)| node);
    let config: Option<ProjectConfig> = file.as_ref().and_then(|node| decode(&mut report, node));
    reader.streams = config.as_ref().map(|config| streams(root, config, &mut report)).unwrap_or_default();
    let mut pipelines = Vec::new();
    match pipeline_files(root) {
        Ok(files) if files.is_empty() && !root.join("jobs").is_dir() => {
            let file = report.file("pipelines", "");
            report
                .error(Span { file, ..Span::default() }, "this project has no pipeline")
                .hint("put one into `pipelines/NAME.yaml`, or make a project with `ouzel init DIR`");
        }
        Ok(files) => {
            for file in files {
                if let Some(pipeline) = reader.pipeline(&file, &mut report) {
                    check_name_is_free(&pipelines, &pipeline, &mut report);
                    pipelines.push(pipeline);
                }
            }
        }
        Err(e) => {
            let file = report.file("pipelines", "");
            report.error(Span { file, ..Span::default() }, format!("cannot list the folder: {e}"));
        }
    }
    let mut jobs = crate::jobs::load(root, env, &mut report);
    let sources = config.as_ref().map(|config| sources(config, file.as_ref(), &mut reader, &mut report)).unwrap_or_default();
    if config.is_some() {
        crate::jobs::check_sources(&mut jobs, &sources, &mut report);
    }
    if let Some(NotifyConfig::Webhook(hook)) =
        config.as_ref().and_then(|config| given(&config.jobs.notify)).map(|notify| &notify.value)
    {
        hook.validate(&mut report);
    }
    check_targets(&pipelines, &mut report);
    if let Some(config) = &config
        && let StateStore::S3(_) = config.stores.state
    {
        check_outboxes(&pipelines, &mut report);
    }
    let streams = reader.streams;
    graph::check(&pipelines, &streams, &mut report);
    let Some(config) = config.filter(|_| !report.has_errors()) else { return (None, report) };
    let lake = lake(root, &config.stores.lake, &mut report);
    let written = lake_tables(&pipelines);
    if let Some(lake) = &lake {
        crate::jobs::check_reads(&jobs, &written, &sources, lake, &mut report);
    }
    let Some(lake) = lake.filter(|_| !report.has_errors()) else { return (None, report) };
    let bytes = |memory: &Option<Spanned<ByteSize>>| memory.as_ref().map(|size| size.value.0);
    let (state, lasting, memory, bucket) = match &config.stores.state {
        StateStore::Local(store) => (store.path.as_str(), true, bytes(&store.memory), None),
        StateStore::S3(store) => (store.path.as_str(), true, bytes(&store.memory), Some(store.clone())),
        StateStore::Memory(_) => (STATE_FOLDER, false, None, None),
    };
    let project = Project {
        root: root.to_path_buf(),
        name: config.name.value.clone(),
        pipelines,
        jobs,
        lake,
        tables: sources.in_sql(),
        state: root.join(state),
        streams: Arc::new(streams),
        lasting,
        memory,
        job_memory: config.jobs.memory.as_ref().map_or(MEMORY_BYTES_MAX, |size| size.value.0 as usize),
        notify: given(&config.jobs.notify).map(|notify| notify.value.clone()),
        bucket,
    };
    (Some(project), report)
}

fn lake_tables(pipelines: &[Pipeline]) -> BTreeSet<String> {
    let table = |sink: &SinkPlan| match &sink.config {
        SinkConfig::Lake(lake) => Some(lake.table.value.clone()),
        _ => None,
    };
    pipelines.iter().flat_map(|pipeline| &pipeline.plan.sinks).filter_map(table).collect()
}

/// Where the tables lie. `None`, and a problem, where that makes no sense.
fn lake(root: &Path, store: &LakeStore, report: &mut Report) -> Option<Location> {
    match store {
        LakeStore::Local(local) => Some(Location::Folder(root.join(&local.path))),
        LakeStore::S3(there) => {
            let bucket = open(&there.settings(), Span::default(), report)?;
            let key = key_of_prefix(&there.prefix).map_err(|e| _ = report.error(Span::default(), e.to_string())).ok()?;
            Some(Location::Bucket { bucket, key, work: root.join(&there.path) })
        }
    }
}

/// The sources of jobs. `file`: `ouzel.yaml` as it is written.
fn sources(config: &ProjectConfig, file: Option<&Node>, reader: &mut Reader<'_>, report: &mut Report) -> Sources {
    let mut sources = Sources::default();
    for (name, source) in &config.sources.0 {
        let Some(source) = source.0.as_ref() else { continue };
        let Some(place) = source.place(name.span, report) else { continue };
        let folder = reader.root.join(&place.value);
        let bucket = source.bucket(place).map(|(settings, within)| (open(&settings, place.span, report), within));
        if source.delta.is_some() {
            let location = match bucket {
                None => Some(Location::Folder(folder)),
                Some((bucket, within)) => {
                    let key = key_of_prefix(within).map_err(|e| _ = report.error(place.span, e.to_string())).ok();
                    bucket.zip(key).map(|(bucket, key)| Location::Bucket { bucket, key, work: PathBuf::new() })
                }
            };
            sources.tables.extend(location.map(|location| (name.value.clone(), location)));
            continue;
        }
        let pattern = match bucket {
            None => Some(Pattern::of_folder(&folder)),
            Some((bucket, within)) => {
                let pattern = bucket.map(|bucket| Pattern::of_bucket(bucket, within)).transpose();
                pattern.unwrap_or_else(|e| {
                    report.error(place.span, e.to_string());
                    None
                })
            }
        };
        let reading = source.codec.is_some().then(|| {
            let written = file.and_then(|file| of_key(of_key(file, "sources")?, &name.value));
            let definition = written.map(definition).unwrap_or_default();
            let plan = Plan::of_files(&name.value, &definition, (source, place), reader, report)?;
            Some(Arc::new(Reading { plan, root: reader.root.to_path_buf() }))
        });
        // What is wrong was told.
        let reading = reading.flatten();
        sources.files.extend(pattern.map(|pattern| {
            let base = base(reader.root, &pattern);
            Files { name: name.value.clone(), pattern, base, reading }
        }));
    }
    sources
}

/// Where files lie, to the project if it is within: a project may be moved.
fn base(root: &Path, pattern: &Pattern) -> String {
    let Location::Folder(folder) = &pattern.folder else { return pattern.folder.to_string() };
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned()
}

/// A hash of how a source's records are read, whatever files it is of.
fn definition(source: &Node) -> String {
    let Value::Map(pairs) = &source.value else { return String::new() };
    let where_they_lie = ["files", "region", "endpoint", "access_key", "secret_key"];
    let says =
        |(key, _): &&(Node, Node)| matches!(&key.value, Value::Scalar { text, .. } if !where_they_lie.contains(&text.as_str()));
    hash(&Node { span: source.span, value: Value::Map(pairs.iter().filter(says).cloned().collect()) })
}

fn of_key<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(pairs) = &node.value else { return None };
    pairs.iter().find(|(name, _)| matches!(&name.value, Value::Scalar { text, .. } if text == key)).map(|(_, value)| value)
}

fn open(settings: &BucketSettings, span: Span, report: &mut Report) -> Option<Arc<Bucket>> {
    match Bucket::open(settings) {
        Ok(bucket) => Some(Arc::new(bucket)),
        Err(e) => {
            report.error(span, e.to_string());
            None
        }
    }
}

impl Project {
    /// The pipelines of these names, all if none is given. `Err`: a name there is none of.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Pipeline>, String> {
        if names.is_empty() {
            return Ok(self.pipelines.iter().collect());
        }
        names
            .iter()
            .map(|name| {
                self.pipelines.iter().find(|p| p.name == *name).ok_or_else(|| {
                    let known: Vec<&str> = self.pipelines.iter().map(|p| p.name.as_str()).collect();
                    format!("there is no pipeline `{name}`; known are {}", known.join(", "))
                })
            })
            .collect()
    }
    /// Tables that its pipelines write.
    pub fn lake_tables(&self) -> BTreeSet<String> {
        lake_tables(&self.pipelines)
    }

    /// Where its pipelines run.
    pub fn place(&self) -> Place {
        Place {
            project: self.name.clone(),
            root: self.root.clone(),
            lake: self.lake.clone(),
            state: self.state.clone(),
            streams: self.streams.clone(),
            lasting: self.lasting,
            memory: self.memory,
            bucket: self.bucket.clone(),
        }
    }
}

fn streams(root: &Path, config: &ProjectConfig, report: &mut Report) -> Streams {
    let StreamStore::Embedded(store) = &config.stores.streams;
    let mut settings = BTreeMap::new();
    for (name, stream) in &config.streams.0 {
        let Some(stream) = &stream.0 else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            report.error(name.span, format!("`{}` is no name of a stream", name.value)).hint("letters, digits, `_`, `-` and `.`");
        }
        let partitions = stream.partitions.as_ref().map_or(1, |p| p.value);
        if let Some(given) = stream.partitions.as_ref().filter(|p| !(1..=PARTITIONS_MAX).contains(&p.value)) {
            report.error(given.span, format!("`{}` partitions: expected 1 to {PARTITIONS_MAX}", given.value));
        } else if let (Some(given), None) = (stream.partitions.as_ref().filter(|p| p.value > 1), &stream.key) {
            report.error(given.span, "several partitions need a `key` that decides which event goes where");
        }
        let log = log::Settings {
            partitions,
            keep_us: Some(given(&stream.keep).map_or(STREAM_KEEP, |k| k.value).micros()),
            keep_bytes: given(&stream.keep_bytes).map(|k| k.value.0),
            ..log::Settings::default()
        };
        settings.insert(name.value.clone(), StreamSettings { log, key: stream.key.as_ref().map(|k| k.value.clone()) });
    }
    Streams { folder: root.join(&store.path), settings }
}

fn pipeline_files(root: &Path) -> std::io::Result<Vec<String>> {
    let folder = root.join("pipelines");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut files: Vec<String> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.starts_with('.'))
        .map(|name| format!("pipelines/{name}"))
        .collect();
    files.sort();
    Ok(files)
}

fn check_name_is_free(pipelines: &[Pipeline], new: &Pipeline, report: &mut Report) {
    if let Some(other) = pipelines.iter().find(|p| p.name == new.name) {
        let file = report.file(new.file.clone(), "");
        report
            .error(Span { file, ..Span::default() }, format!("the pipeline name `{}` is taken by {}", new.name, other.file))
            .hint("give one of them another `name`");
    }
}

/// Two pipelines must not write to one file.
fn check_targets(pipelines: &[Pipeline], report: &mut Report) {
    let mut taken: HashMap<String, &Pipeline> = HashMap::new();
    for pipeline in pipelines {
        for target in pipeline.plan.sinks.iter().filter_map(|s| s.config.target()) {
            match taken.get(&target) {
                Some(other) if other.name != pipeline.name => {
                    let file = report.file(pipeline.file.clone(), "");
                    report
                        .error(Span { file, ..Span::default() }, format!("`{target}` is written by {} already", other.file))
                        .hint("one would overwrite the other: name another place");
                }
                _ => {
                    taken.insert(target, pipeline);
                }
            }
        }
    }
}

/// What waits to be sent lies in a log on this machine, which another would not have.
fn check_outboxes(pipelines: &[Pipeline], report: &mut Report) {
    for pipeline in pipelines {
        if pipeline.plan.sinks.iter().any(|sink| matches!(sink.config, SinkConfig::Webhook(_))) {
            let file = report.file(pipeline.file.clone(), "");
            report
                .error(Span { file, ..Span::default() }, "a webhook's outbox cannot lie on an object store yet")
                .hint("keep the state of this project in a folder (`stores: { state: { local: {} } }`), or write to a stream that another project sends from");
        }
    }
}

impl Reader<'_> {
    /// Parses a file of the project. Also gives its text.
    fn read(&mut self, name: &str, report: &mut Report) -> Option<(Node, Arc<str>)> {
        match std::fs::read(self.root.join(name)) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => {
                    let text: Arc<str> = text.into();
                    let file = report.file(name, text.clone());
                    parse(report, file, &text, self.env).map(|node| (node, text))
                }
                Err(e) => {
                    let file = report.file(name, "");
                    report
                        .error(Span { file, ..Span::default() }, format!("not UTF-8 (byte {})", e.utf8_error().valid_up_to()))
                        .hint("save it as UTF-8");
                    None
                }
            },
            Err(e) => {
                let file = report.file(name, "");
                let problem = report.error(Span { file, ..Span::default() }, format!("cannot read it: {e}"));
                if name == "ouzel.yaml" {
                    problem.hint("run in a project directory or name one with `-p DIR`; `ouzel init DIR` makes one");
                }
                None
            }
        }
    }

    /// A schema file, read once. `at`: who asks.
    pub fn schema(&mut self, name: &str, at: Span, report: &mut Report) -> Option<Schema> {
        if let Some(known) = self.schemas.get(name) {
            return known.clone();
        }
        let schema = if self.root.join(name).is_file() {
            self.read(name, report)
                .and_then(|(node, _)| Some(Schema { config: Arc::new(decode(report, &node)?), hash: hash(&node) }))
        } else {
            report.error(at, format!("there is no file `{name}` in the project"));
            None
        };
        self.schemas.insert(name.to_string(), schema.clone());
        schema
    }

    fn pipeline(&mut self, file: &str, report: &mut Report) -> Option<Pipeline> {
        let (mut node, text) = self.read(file, report)?;
        (self.rewrite)(&mut node);
        let columns = take_sink_columns(&mut node, report);
        let mut config: PipelineConfig = decode(report, &node)?;
        crate::lists::spell_out(&mut config, report);
        crate::risk::spell_out(&mut config, report);
        let config = config;
        let sinks: Vec<SinkEntry> = config
            .sinks
            .iter()
            .zip(columns)
            .filter_map(|(sink, columns)| {
                let sink = sink.0.clone()?;
                Some(SinkEntry { sink: sink.value, columns: columns?, span: sink.span })
            })
            .collect();
        let read = config.source.0.as_ref().and_then(|source| source.value.stream());
        for stream in read.into_iter().chain(sinks.iter().filter_map(|sink| sink.sink.stream())) {
            graph::check_declared(stream, &self.streams, report);
        }
        let stem = file.trim_start_matches("pipelines/").rsplit_once('.').map_or(file, |(stem, _)| stem);
        let name = config.name.as_ref().map_or(stem, |n| n.value.as_str()).to_string();
        let mut plan = Plan::compile(&name, &text, &config, sinks, self, report)?;
        plan.definitions.extend(definitions(&node, plan.has_later_groups()));
        Some(Pipeline { name, file: file.to_string(), plan: Arc::new(plan) })
    }
}

/// Every sink takes `columns` and `where` beside its own keys: takes them out of the tree, one result per sink.
fn take_sink_columns(pipeline: &mut Node, report: &mut Report) -> Vec<Option<SinkColumns>> {
    let Value::Map(pairs) = &mut pipeline.value else { return Vec::new() };
    let sinks = pairs.iter_mut().find(|(key, _)| matches!(&key.value, Value::Scalar { text, .. } if text == "sinks"));
    let Some((_, Node { value: Value::List(sinks), .. })) = sinks else { return Vec::new() };
    sinks
        .iter_mut()
        .map(|sink| {
            let Value::Map(kinds) = &mut sink.value else { return Some(SinkColumns::default()) };
            let Some((_, Node { value: Value::Map(own), span })) = kinds.first_mut() else { return Some(SinkColumns::default()) };
            let shared =
                |key: &Node| matches!(&key.value, Value::Scalar { text, .. } if SINK_COLUMN_KEYS.contains(&text.as_str()));
            let (taken, kept) = own.drain(..).partition(|(key, _)| shared(key));
            *own = kept;
            decode(report, &Node { span: *span, value: Value::Map(spell_out(taken)) })
        })
        .collect()
}

/// `columns: [a, b]` is short for `columns: { a: a, b: b }`.
fn spell_out(mut pairs: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    for (_, value) in &mut pairs {
        if let Value::List(names) = &value.value {
            value.value = Value::Map(names.iter().map(|n| (n.clone(), n.clone())).collect());
        }
    }
    pairs
}

/// What state depends on besides the log, part by part, each with a hash that comments and line breaks do not change. Scores, rules and
/// sinks are not among it: they may change under a state. Scores are where features read some.
fn definitions(pipeline: &Node, reads_scores: bool) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let Value::Map(pairs) = &pipeline.value else { return parts };
    for (key, value) in pairs {
        let Value::Scalar { text: key, .. } = &key.value else { continue };
        match (key.as_str(), &value.value) {
            ("codec" | "select" | "where" | "event" | "lookups" | "risk", _) => _ = parts.insert(key.clone(), hash(value)),
            ("scores", _) if reads_scores => _ = parts.insert(key.clone(), hash(value)),
            // Which files there are is the position's matter; another stream is another log.
            ("source", Value::Map(source)) => {
                let is_stream = |kind: &Node| matches!(&kind.value, Value::Scalar { text, .. } if text == "stream");
                let log = source.iter().map(|(kind, of)| if is_stream(kind) { hash(kind) + &hash(of) } else { hash(kind) });
                parts.insert(key.clone(), log.collect());
            }
            ("features", Value::List(groups)) => {
                for (at, group) in groups.iter().enumerate() {
                    parts.insert(format!("features[{at}]"), hash(group));
                }
            }
            _ => {}
        }
    }
    parts
}

fn hash(node: &Node) -> String {
    fn write(node: &Node, out: &mut String) {
        match &node.value {
            Value::Scalar { text, plain } => *out += &format!("{plain}{}:{text}", text.len()),
            Value::List(items) => {
                out.push('[');
                items.iter().for_each(|item| write(item, out));
                out.push(']');
            }
            Value::Map(pairs) => {
                out.push('{');
                pairs.iter().for_each(|(key, value)| {
                    write(key, out);
                    write(value, out);
                });
                out.push('}');
            }
        }
    }
    let mut text = String::new();
    write(node, &mut text);
    crate::plan::version(&[&text])
}
